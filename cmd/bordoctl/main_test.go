package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"bordo/cmd/bordoctl/roster"
	"bordo/cmd/commandline"
	"bordo/contract/consumer"
)

func TestCommandLines(t *testing.T) {
	for line, want := range map[string]struct {
		code        int
		out, errors string
	}{
		"":               {2, "", "a command is missing: see bordoctl help"},
		"help":           {0, "usage: bordoctl COMMAND [flags]", ""},
		"help watch":     {0, "--json                print each change as JSON", ""},
		"help verify":    {0, "how long, as a DURATION such as 90s or 1h (default 5m)", ""},
		"help inventory": {0, "--password-file FILE", ""},
		"--version":      {0, "bordoctl unknown\ngo", ""},
		"watch": {2, "",
			"bordoctl: watch: which broker? --url mqtts://HOST: see bordoctl help watch\n"},
		"verify --url mqtt://a --for 0": {2, "",
			"bordoctl: verify: --for and --max-skew must be more than 0, and --wait not less: see bordoctl help verify\n"},
		"inventory --url http://a": {2, "",
			`bordoctl: inventory: --url: must be mqtts://HOST:PORT or mqtt://HOST:PORT`},
		"watch --url mqtt://a --node X": {2, "", `bordoctl: watch: --node: id "X" must be 1 to 48 of a-z, 0-9 and -`},
		"watch --lang fr":               {2, "", "want it or en"},
		"wach":                          {2, "", `unknown command "wach" (did you mean watch?)`},
	} {
		var out, errs strings.Builder
		code := execute(t.Context(), strings.Fields(line), commandline.Console{Out: &out, Err: &errs})
		if code != want.code || !strings.Contains(out.String(), want.out) ||
			!strings.Contains(errs.String(), want.errors) ||
			(want.out == "") != (out.Len() == 0) || (want.errors == "") != (errs.Len() == 0) {
			t.Errorf("%q: exit code %d, %q, %q", line, code, out.String(), errs.String())
		}
	}
}

// TestShower: where nobody draws a table each change is a line, for people or for programs.
func TestShower(t *testing.T) {
	status, err := os.ReadFile("../../contract/testdata/v1/status-online.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, asJSON := range []bool{false, true} {
		r, err := roster.New("")
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		show := showerFor(&out, asJSON, "it", "")
		for _, c := range r.Take(consumer.Message{Topic: "bordo/v1/cremasco/quintano/status", Payload: status},
			time.Now()) {
			if err := show.change(c); err != nil {
				t.Fatal(err)
			}
		}
		if err := show.moment(r, time.Now()); err != nil {
			t.Fatal(err)
		}
		show.end()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[1], "Il dispositivo non risponde") {
			t.Errorf("JSON %v: %q", asJSON, lines)
		}
		if asJSON != json.Valid([]byte(lines[0])) {
			t.Errorf("JSON %v: %s", asJSON, lines[0])
		}
	}
}
