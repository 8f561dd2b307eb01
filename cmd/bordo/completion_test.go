package main

import (
	"strings"
	"testing"
)

// What a shell asks for when the Tab key is pressed.
func TestCompletion(t *testing.T) {
	for _, x := range []struct {
		line string
		has  string // a line of the answer
		not  string
	}{
		{"|ch", "check", "run"},
		{"|scan|", "tcp", "stat"},
		{"|buffer|", "verify", "tcp"},
		{"|notes|eastron", "eastron-sdm630", "came-gard-ptx"},
		{"|notes|sunspec|", ":4", "eastron-sdm630"}, // nothing more, and no files
		{"|run|--lo", "--log-level", "--config"},
		{"|completion|", "bash", "tcp"},
	} {
		args := strings.Split("__complete"+x.line, "|")
		out, _, code := invoke(t, args...)
		found := false
		for line := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if found = found || word == x.has; word == x.not {
				t.Errorf("%s offers %s", x.line, x.not)
			}
		}
		if code != 0 || !found {
			t.Errorf("%s: exit code %d, no %s in\n%s", x.line, code, x.has, out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, errs, code := invoke(t, "completion", shell); code != 0 || !strings.Contains(out, "__complete") ||
			errs != "" {
			t.Errorf("%s: exit code %d, %s", shell, code, errs)
		}
	}
	if _, errs, code := invoke(t, "completion", "tcsh"); code != 2 || !strings.Contains(errs, "bash, zsh or fish") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}
