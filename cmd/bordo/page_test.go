package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	firmwarenotes "bordo/firmware-notes"
)

// The notes stand on a phone as on a wide screen, without marks, and lose no word on the way.
func TestPages(t *testing.T) {
	text, _ := firmwarenotes.Note("eastron-sdm630")
	asExpected(t, "note-phone.txt", page(text, 40))
	asExpected(t, "note-80.txt", page(text, 80))
	for _, model := range firmwarenotes.Models() {
		text, _ := firmwarenotes.Note(model)
		for _, width := range []int{40, 60, 80, 132} {
			got := page(text, width)
			for l := range strings.Lines(got) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > width {
					t.Errorf("%s, %d columns: %d characters in %q", model, width, n, l)
				}
			}
			if strings.ContainsAny(got, "`|") || strings.Contains(got, "**") || strings.Contains(got, "\n#") {
				t.Errorf("%s, %d columns: marks in\n%s", model, width, got)
			}
			if a, b := letters(got), letters(text); model == "eastron-sdm630" && width == 132 && a != b {
				t.Errorf("%s, %d columns: %d letters, of %d", model, width, a, b)
			}
		}
	}
	if got, want := page("# A [link](https://a.example)\ntext `code`\n- one\n  two\n- **three**\n", 80),
		"A link (https://a.example)\n==========================\ntext code\n- one two\n- three\n"; got != want {
		t.Errorf("got\n%s", got)
	}
}

func letters(text string) (n int) {
	for _, r := range text {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			n++
		}
	}
	return n
}

// An Italian is given the chapter in Italian, and told where the rest is.
func TestNotesInItalian(t *testing.T) {
	for _, model := range firmwarenotes.Models() {
		stdout, stderr, code := invoke(t, "notes", model, "--lang", "it")
		if code != 0 || !strings.Contains(stdout, "In breve (installatore)\n---") ||
			strings.Contains(stdout, "\nRegisters\n") ||
			!strings.HasSuffix(stdout, "\nIl resto, in inglese: bordo notes "+model+" --all\n") {
			t.Errorf("%s: exit code %d, %s, printed\n%s", model, code, stderr, stdout)
		}
	}
	whole, _ := firmwarenotes.Note("sunspec")
	if stdout, _, code := invoke(t, "notes", "--all", "sunspec", "--lang", "it"); code != 0 ||
		stdout != page(whole, plainWidth) {
		t.Errorf("exit code %d, printed\n%s", code, stdout)
	}
}
