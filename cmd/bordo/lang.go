package main

import (
	"fmt"
	"strings"

	"bordo/agent/config/nearest"
	"bordo/cmd/commandline"
)

// langValue is a language as a flag: it or en.
type langValue = commandline.Language

// phrase is a sentence for who stands before the device.
type phrase struct{ it, en string }

// in gives the sentence in a language.
func (p phrase) in(l *langValue, args ...any) string {
	text := p.en
	if *l == "it" {
		text = p.it
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// oneOf suggests names to who gave none of them.
func oneOf(name string, names []string) string {
	if near := nearest.Names(name, names, 3); len(near) > 0 {
		return " (did you mean " + strings.Join(near, ", ") + "?)"
	}
	const few = 12
	if len(names) == 0 || len(names) > few {
		return ""
	}
	return " (there are: " + strings.Join(names, ", ") + ")"
}
