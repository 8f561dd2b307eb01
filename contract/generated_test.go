package contract

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
)

var update = flag.Bool("update", false, "rewrite the generated files")

// TestGenerated compares what is generated from the tables with the tables; -update rewrites it.
func TestGenerated(t *testing.T) {
	for name, fresh := range map[string][]byte{
		"events.md":                 eventsPage(),
		"schema/events.schema.json": eventsSchema(t),
	} {
		stale, err := os.ReadFile(name)
		if err == nil && bytes.Equal(stale, fresh) {
			continue
		}
		if !*update {
			t.Errorf("%s is stale: go test ./contract -run TestGenerated -update", name)
			continue
		}
		if err := os.WriteFile(name, fresh, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// eventsPage writes events.md.
func eventsPage() []byte {
	var b strings.Builder
	b.WriteString(`<!-- generated from events.go and conditions.go: go test ./contract -run TestGenerated -update -->

# Events and conditions

An event is a message on ` + "`event/{dev}`" + ` (a command's result: on ` + "`res`" + `) in the form of CloudEvents 1.0. This page says what its
` + "`data`" + ` hold for each type. A type that is not listed comes from a newer node: keep it. A key marked * may be missing.

## Types

`)
	for _, e := range EventTypes() {
		fmt.Fprintf(&b, "### `%s`\n\n%s.\\\n*%s.*\n\n| key | type | meaning |\n|---|---|---|\n", e.Type, e.Text.En,
			e.Text.It)
		for _, f := range e.Fields {
			key, typ, text := "`"+f.Key+"`", f.JSON, f.Text
			if f.Optional {
				key += "*"
			}
			if f.Null {
				typ += " or null"
			}
			if f.JSON == "value" {
				typ = "any"
			}
			if f.Words != nil {
				text += " (`" + strings.Join(f.Words, "`, `") + "`)"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", key, typ, text)
		}
		b.WriteString("\n")
	}
	b.WriteString(`## Conditions

A condition is a fault that lasts. It begins with ` + "`bordo.condition.raised.v1`" + `, stands in ` + "`status.health`" + ` while it is open, and ends
with ` + "`bordo.condition.cleared.v1`" + `, each with the code below and the device that it concerns. The sentence comes along in
` + "`status.health[].text`" + `. A restart of the node ends every condition without a word: those that last begin anew. So
` + "`bordo.store.opened.v1`" + ` closes what was open before it.

| code | severity | in English | in italiano |
|---|---|---|---|
`)
	for _, c := range Conditions() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Code, c.Severity, c.Text.En, c.Text.It)
	}
	debouncePart(&b)
	return []byte(b.String())
}

// debouncePart says when conditions are raised and cleared.
func debouncePart(b *strings.Builder) {
	fmt.Fprintf(b, `
### When they are raised and cleared

A fault that comes and goes is one condition. It is raised when the fault has lasted for the time below, or when it begins for the
%s time within %d minutes. It is cleared when the fault has been absent for the time below; each further raise within an hour
doubles that time, up to %d minutes. While it is open, a fault that comes back is only counted (`+"`flaps`"+`), and
`+"`status.health[].ok_since`"+` says since when it has been absent. So one condition (a code and a device) causes at most %d events in any hour of
one run of a node, and the retained status follows each of them within 5 s.

| code | evidence | raised after | cleared after |
|---|---|---|---|
`, map[int]string{3: "third"}[RaiseCount], int(RaiseWindow.Minutes()), int(MaxClear.Minutes()), MaxConditionEvents)
	for _, c := range Conditions() {
		d := DebounceOf(c.Code)
		raise := "at once"
		if d.Raise > 0 {
			raise = fmt.Sprintf("%d s", int(d.Raise.Seconds()))
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %d min |\n", c.Code, d.Evidence, raise, int(d.Clear.Minutes()))
	}
}

// TestConditionsAreBounded plays the fastest fault that the rules allow against each condition: it comes back the moment its
// condition was cleared.
func TestConditionsAreBounded(t *testing.T) {
	for _, c := range Conditions() {
		d := DebounceOf(c.Code)
		var raises, events []time.Duration
		for at := time.Duration(0); at < 5*time.Hour; {
			raises, events = append(raises, at), append(events, at)
			recent := 0
			for _, r := range raises {
				if at-r < time.Hour {
					recent++
				}
			}
			at += d.ClearAfter(recent)
			events = append(events, at)
		}
		for i := range events {
			n := 0
			for _, e := range events[i:] {
				if e-events[i] < time.Hour {
					n++
				}
			}
			if n > MaxConditionEvents {
				t.Fatalf("%s: %d events in the hour from %v", c.Code, n, events[i])
			}
		}
	}
	for code := range debounces {
		if _, ok := ConditionOf(code); !ok {
			t.Errorf("%s is debounced and is no condition", code)
		}
	}
}

// eventsSchema writes the schema of the data of each type.
func eventsSchema(t *testing.T) []byte {
	t.Helper()
	type object = map[string]any
	defs, all := object{}, []any{}
	for _, e := range EventTypes() {
		props, required := object{}, []string{}
		for _, f := range e.Fields {
			p := object{"description": f.Text}
			switch {
			case f.Words != nil:
				p["enum"] = f.Words
			case f.JSON == "value":
			case f.Null:
				p["type"] = []string{f.JSON, "null"}
			default:
				p["type"] = f.JSON
			}
			props[f.Key] = p
			if !f.Optional {
				required = append(required, f.Key)
			}
		}
		defs[e.Type] = object{"description": e.Text.En, "required": required, "properties": props}
		all = append(all, object{
			"if":   object{"properties": object{"type": object{"const": e.Type}}, "required": []string{"type"}},
			"then": object{"properties": object{"data": object{"$ref": "#/$defs/" + e.Type}}},
		})
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "bordo://contract/v1/events.schema.json",
		"$comment": "generated from events.go: go test ./contract -run TestGenerated -update",
		"title":    "The data of each type of event; types that are not here are free", "allOf": all, "$defs": defs,
	}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestTables: keys, codes and types are well formed and stand once, and every sentence is there in both languages.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	once := func(what string) {
		if seen[what] {
			t.Errorf("%s stands twice", what)
		}
		seen[what] = true
	}
	sentence := func(what string, l Label) {
		for _, s := range []string{l.It, l.En} {
			if s == "" || strings.HasSuffix(s, ".") || !unicode.IsUpper([]rune(s)[0]) {
				t.Errorf("%s: %q is not a sentence without its full stop", what, s)
			}
		}
	}
	for _, e := range EventTypes() {
		once(e.Type)
		sentence(e.Type, e.Text)
		if _, ok := EventTypeOf(e.Type); !ok {
			t.Errorf("%s is not found", e.Type)
		}
		for _, f := range e.Fields {
			once(e.Type + " " + f.Key)
			if CheckKey(f.Key) != nil || f.Text == "" || strings.Contains(f.Text, "|") {
				t.Errorf("%s: key %q, text %q", e.Type, f.Key, f.Text)
			}
		}
	}
	for _, c := range Conditions() {
		once(c.Code)
		sentence(c.Code, c.Text)
		if CheckKey(c.Code) != nil || c.Severity != Warning && c.Severity != Fault {
			t.Errorf("condition %q, %q", c.Code, c.Severity)
		}
		if _, ok := ConditionOf(c.Code); !ok {
			t.Errorf("%s is not found", c.Code)
		}
	}
	if _, ok := ConditionOf("sunny"); ok {
		t.Error("an unknown condition is found")
	}
	if _, ok := EventTypeOf("bordo.tank.emptied.v1"); ok {
		t.Error("an unknown type is found")
	}
}
