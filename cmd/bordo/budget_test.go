package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The estimate is a table that fits a terminal, adds up, and needs none of the files that the configuration names.
func TestBudget(t *testing.T) {
	text := strings.NewReplacer("{url: mqtts://broker.example}",
		"{url: mqtts://broker.example, username: a, password_file: /nowhere/password}",
		"unit: 3}", "unit: 3, every: 1m, report: {on: change, at_least: 10m}}").Replace(plant) + "site: {lat: 45.4, lon: 9.7}\n"
	path := filepath.Join(t.TempDir(), "bordo.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := invoke(t, "check", "--budget", "--config", path)
	want := "testdata/budget.txt"
	if *update {
		if err := os.WriteFile(want, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expected, err := os.ReadFile(want)
	if err != nil || code != 0 || errs != "" || out != string(expected) {
		t.Errorf("exit code %d, %s, %v, printed\n%s--- want\n%s", code, errs, err, out, expected)
	}
	for l := range strings.Lines(out) {
		if len(l) > 80 {
			t.Errorf("%d characters in %q", len(l), l)
		}
	}
	if _, errs, code := invoke(t, "check", "--config", path); code != 2 ||
		!strings.Contains(errs, "/nowhere/password") {
		t.Errorf("without --budget: exit code %d, %s", code, errs)
	}
}
