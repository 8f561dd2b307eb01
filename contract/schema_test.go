package contract

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compileSchemas loads every embedded schema. References between them must be met from the embedded files alone.
func compileSchemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	names, err := fs.Glob(Schemas, "schema/*.schema.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	ids := map[string]string{}
	for _, name := range names {
		b, err := Schemas.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		short := strings.TrimSuffix(filepath.Base(name), ".schema.json")
		id, _ := doc.(map[string]any)["$id"].(string)
		if want := "bordo://contract/v1/" + short + ".schema.json"; id != want {
			t.Errorf("%s: $id is %q, want %q", name, id, want)
		}
		if err := c.AddResource(id, doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ids[short] = id
	}
	out := map[string]*jsonschema.Schema{}
	for short, id := range ids {
		s, err := c.Compile(id)
		if err != nil {
			t.Fatalf("compile %s: %v", short, err)
		}
		out[short] = s
	}
	return out
}

// goldens are the messages under testdata/v1 by name; the word before the first hyphen says what they are.
func goldens(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/v1/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	out := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(name), ".json")] = bytes.TrimSuffix(b, []byte("\n"))
	}
	return out
}

func kindOf(golden string) string {
	kind, _, _ := strings.Cut(golden, "-")
	return kind
}

func validate(t *testing.T, s *jsonschema.Schema, doc []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return s.Validate(v)
}

// TestGoldensValidate: every golden meets its schema, and every schema has a golden.
func TestGoldensValidate(t *testing.T) {
	schemas := compileSchemas(t)
	met := map[string]bool{"events": true} // part of event
	for name, doc := range goldens(t) {
		s := schemas[kindOf(name)]
		if s == nil {
			t.Errorf("%s: no schema for %s", name, kindOf(name))
			continue
		}
		met[kindOf(name)] = true
		if err := validate(t, s, doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(doc) > MaxPayload {
			t.Errorf("%s: %d bytes", name, len(doc))
		}
	}
	for kind := range schemas {
		if !met[kind] {
			t.Errorf("schema %s has no golden", kind)
		}
	}
}

// TestEveryEventTypeHasAGolden: the table of types and the goldens are the same list.
func TestEveryEventTypeHasAGolden(t *testing.T) {
	var seen []string
	for name, doc := range goldens(t) {
		if kindOf(name) != "event" {
			continue
		}
		e, err := DecodeEvent(doc)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		seen = append(seen, e.Type)
	}
	for _, e := range EventTypes() {
		if !slices.Contains(seen, e.Type) {
			t.Errorf("no golden of %s", e.Type)
		}
	}
}

// TestBadMessages: each change of a golden breaks a rule and must be refused by the schema.
func TestBadMessages(t *testing.T) {
	schemas, good := compileSchemas(t), goldens(t)
	for _, c := range []struct{ name, golden, old, new string }{
		{"another version", "batch-tele", `"sv":1`, `"sv":2`},
		{"no version", "batch-tele", `"sv":1,`, ``},
		{"node with a capital", "batch-tele", `"pi-0042"`, `"Pi-0042"`},
		{"device with a dot", "batch-tele", `"inv-1"`, `"inv.1"`},
		{"no epoch", "batch-tele", `"ep":"k3f9x2q7",`, ``},
		{"epoch too short", "batch-tele", `"k3f9x2q7"`, `"k3f9x2q"`},
		{"hist as text", "batch-tele", `"hist":false`, `"hist":"false"`},
		{"unknown clock", "batch-tele", `"clk":"sync"`, `"clk":"ntp"`},
		{"sent as text", "batch-tele", `1760000005123`, `"2025-10-09T08:53:25Z"`},
		{"no samples", "batch-tele", `[{"seq":10231,"ts":1760000000000,"v":{"ac_power":1234.5,"on":true},"q":{"flow":0}}]`, `[]`},
		{"seq 0", "batch-tele", `"seq":10231`, `"seq":0`},
		{"seq beyond 2^53", "batch-tele", `"seq":10231`, `"seq":9007199254740992`},
		{"seq with a fraction", "batch-tele", `"seq":10231`, `"seq":10231.5`},
		{"no time", "batch-tele", `"ts":1760000000000,`, ``},
		{"time with a fraction", "batch-tele", `"ts":1760000000000`, `"ts":1760000000000.25`},
		{"no values", "batch-tele", `"v":{"ac_power":1234.5,"on":true},`, ``},
		{"null as a value", "batch-tele", `1234.5`, `null`},
		{"object as a value", "batch-tele", `1234.5`, `{"w":1234.5}`},
		{"list as a value", "batch-tele", `1234.5`, `[1234.5]`},
		{"key with a capital", "batch-tele", `"ac_power"`, `"acPower"`},
		{"quality good", "batch-tele", `"flow":0`, `"flow":192`},
		{"quality as a word", "batch-tele", `"flow":0`, `"flow":"bad"`},
		{"empty qualities", "batch-tele", `{"flow":0}`, `{}`},

		{"other specversion", "event-store-gap", `"1.0"`, `"0.3"`},
		{"id without seq", "event-store-gap", `"k3f9x2q7-10240"`, `"k3f9x2q7"`},
		{"source without tenant", "event-store-gap", `"/cremasco/quintano/node"`, `"/quintano/node"`},
		{"type of somebody else", "event-store-gap", `"bordo.store.gap.v1"`, `"com.example.gap"`},
		{"time without milliseconds", "event-store-gap", `20.001Z`, `20Z`},
		{"time of a zone", "event-store-gap", `20.001Z`, `20.001+02:00`},
		{"data as a list", "event-unknown", `{"by":{"nested":[1,2]}}`, `[1,2]`},
		{"no data", "event-unknown", `,"data":{"by":{"nested":[1,2]}}`, ``},
		{"no clock", "event-unknown", `"clk":"est",`, ``},
		{"gap without from", "event-store-gap", `"from":9001,`, ``},
		{"gap of an unknown class", "event-store-gap", `"class":"reading"`, `"class":"everything"`},
		{"gap without an end", "event-store-gap", `"to":9400,`, ``},
		{"gap for no known reason", "event-store-gap", `"evicted"`, `"unlucky"`},
		{"opened without clean", "event-store-opened", `"clean":false,`, ``},
		{"offset as text", "event-clock-set", `1759913600000`, `"1759913600 s"`},
		{"interval without its start", "event-energy-interval", `"start":1759999500000,`, ``},
		{"interval by guessing", "event-energy-interval", `"method":"counter"`, `"method":"guess"`},
		{"energy as text", "event-energy-interval", `"kwh":1.25`, `"kwh":"1.25"`},
		{"result in an unknown state", "event-result", `"state":"done"`, `"state":"maybe"`},
		{"condition without severity", "event-condition-raised", `"severity":"fault",`, ``},

		{"status of an unknown state", "status-online", `"online"`, `"up"`},
		{"status without session", "status-lost", `,"sess":"a81f20c9"`, ``},
		{"online without backlog", "status-offline", `"backlog":[],`, ``},
		{"online without health", "status-offline", `,"health":[]`, ``},
		{"offline without clock", "status-offline", `"clk":"sync",`, ``},
		{"backlog as a number", "status-offline", `"backlog":[]`, `"backlog":0`},
		{"backlog without epoch", "status-online", `{"ep":"k3f8a0zz","first"`, `{"first"`},
		{"site on the moon", "status-online", `"lat":45.42`, `"lat":145.42`},
		{"checksum cut off", "status-online", `0f00a08`, ``},
		{"condition in one language", "status-online", `,"en":"The device does not answer"`, ``},
		{"condition without since", "status-online", `"since":1760000000250,`, ``},

		{"meta without points", "meta-barrier", `"points"`, `"point"`},
		{"meta without revision", "meta-barrier", `"rev":1,`, ``},
		{"point of an unknown type", "meta-barrier", `"t":"bool"`, `"t":"boolean"`},
		{"point of an unknown kind", "meta-barrier", `"kind":"state"`, `"kind":"status"`},
		{"point without a label", "meta-barrier", `,"label":{"it":"Fotocellula libera","en":"Photocell clear"}`, ``},
		{"point with a bad key", "meta-barrier", `"photocell_clear"`, `"photocell-clear"`},
		{"words twice", "meta-inverter", `"off","sleeping"`, `"off","off"`},
		{"about nested", "meta-inverter", `"role":"production"`, `"role":{"is":"production"}`},
		{"poll every 0 ms", "meta-inverter", `"every":10000`, `"every":0`},

		{"ack without ok", "ack", `"ok"`, `"ko"`},
		{"ack range of one", "ack", `[1,9400]`, `[1]`},
		{"ack range from 0", "ack", `[1,9400]`, `[0,9400]`},
		{"ack of a bad epoch", "ack", `"k3f8a0zz"`, `"K3F8A0ZZ"`},

		{"command with another uuid", "command", `-7a31-`, `-4a31-`},
		{"command without an end", "command", `"exp":1760000015000,`, ``},
		{"command without args", "command", `"args":{},`, ``},
		{"command for no device", "command", `"dev":"barrier-1",`, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := string(good[c.golden])
			if strings.Count(doc, c.old) == 0 {
				t.Fatalf("%s has no %s", c.golden, c.old)
			}
			doc = strings.Replace(doc, c.old, c.new, 1)
			if err := validate(t, schemas[kindOf(c.golden)], []byte(doc)); err == nil {
				t.Errorf("was accepted: %s", doc)
			}
		})
	}
}

// TestUnknownKeysPass: what is added later does not break today's consumer.
func TestUnknownKeysPass(t *testing.T) {
	schemas := compileSchemas(t)
	for name, doc := range goldens(t) {
		later := append([]byte(`{"later":{"than":["today",null]},`), doc[1:]...)
		if err := validate(t, schemas[kindOf(name)], later); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
