package config

import (
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Whatever the text is, Parse answers: either with faults that a person can read, one to a line and each with a place, or
// with a configuration that reads back to itself.
func FuzzParse(f *testing.F) {
	for _, ending := range []string{".bad.yaml", ".good.yaml"} {
		for _, file := range filesOf(f, ending) {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse("bordo.yaml", text, testDrivers(), 64)
		if err == nil {
			same(t, c)
			return
		}
		faults, ok := err.(Faults) //nolint:errorlint // exactly this type is promised
		if !ok || len(faults) == 0 || c != nil {
			t.Fatalf("got %T with %d faults and configuration %v", err, len(faults), c)
		}
		for _, x := range faults {
			s := x.Error()
			if x.Line < 1 || x.Column < 1 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("unreadable fault %q", s)
			}
		}
	})
}
