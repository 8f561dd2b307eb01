//go:build e2e

package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bordo/agent"
)

// edit rewrites a part of a configuration file, and returns what undoes it.
func edit(t *testing.T, path, from, to string) (undo func()) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(string(text), from, to)
	if changed == string(text) {
		t.Fatalf("no %q in %s", from, path)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(changed)
	return func() { write(string(text)) }
}

// A configuration that changed while the agent runs is not applied, and check and status say so in both languages.
func TestConfigurationChangedSinceStart(t *testing.T) {
	dir, path := lonely(t, nobody(t), "")
	runAgent(t, path).Says(t, "msg=running")
	ask := func(verb string, more ...string) (string, int) {
		t.Helper()
		out, errs, code := bordo(t, append([]string{verb, "--config", path}, more...)...)
		return out + errs, code
	}
	const english, italian = "onfiguration changed since start: systemctl restart bordo",
		"onfigurazione cambiata dopo l'avvio: systemctl restart bordo"
	says := func(what string, want bool) {
		t.Helper()
		for verb, lang := range map[string]string{"check": "en", "status": "it"} {
			text := map[string]string{"en": english, "it": italian}[lang]
			if said, code := ask(verb, "--lang", lang); code != 0 ||
				strings.Count(said, text) != map[bool]int{true: 1}[want] {
				t.Errorf("%s: %s --lang %s: exit code %d\n%s", what, verb, lang, code, said)
			}
		}
		var s agent.Status
		if out, _ := ask("status", "--json"); json.Unmarshal([]byte(out), &s) != nil ||
			(len(s.Config.Changed) > 0) != want || s.Config.File != path {
			t.Errorf("%s: status --json: %+v", what, s.Config)
		}
	}
	says("as it was started", false)
	for what, by := range map[string][2]string{
		"a device":   {"meter-1", "meter-9"},
		"the socket": {"/run/b.sock", "/run/c.sock"},
	} {
		undo := edit(t, path, by[0], by[1])
		says(what, true)
		undo()
	}
	says("changed back", false)

	// A file with faults: they are told, and that the agent still runs the old one. The status is shown all the same.
	undo := edit(t, path, "unit: 1", "unit: 1000")
	for verb, shown := range map[string]string{"check": "must be 1 to 247",
		"status": "meter-1  eastron-sdm630  never answered"} {
		said, code := ask(verb)
		if code != 2 || !strings.Contains(said, shown) || !strings.Contains(said, "must be 1 to 247 (got 1000)") ||
			!strings.Contains(said, "the running agent still uses the old configuration") {
			t.Errorf("%s: exit code %d\n%s", verb, code, said)
		}
		if said, _ := ask(verb, "--lang", "it"); !strings.Contains(said,
			"l'agente in funzione usa ancora la configurazione vecchia") {
			t.Errorf("%s\n%s", verb, said)
		}
	}
	undo()

	// A copy elsewhere that is to become the configuration is another file.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.yaml")
	for content, want := range map[string]bool{string(text): false, string(text) + "# new\n": true} {
		if err := os.WriteFile(other, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, code := bordo(t, "check", "--config", other)
		if code != 0 || strings.Contains(out+errs,
			"the running agent uses another file, with other content: "+path) != want {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
	}
}
