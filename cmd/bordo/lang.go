package main

import (
	"fmt"
	"strings"

	"bordo/agent/config/nearest"
)

// langValue is a language as a flag: it or en.
type langValue string

// String implements flag.Value.
func (l *langValue) String() string { return string(*l) }

// Set implements flag.Value.
func (l *langValue) Set(text string) error {
	if text != "it" && text != "en" {
		return fmt.Errorf("want it or en")
	}
	*l = langValue(text)
	return nil
}

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

// envLang is the language of the user's environment: Italian where that says so.
func envLang(getenv func(string) string) string {
	for _, key := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := getenv(key); v != "" {
			if strings.HasPrefix(strings.ToLower(v), "it") {
				return "it"
			}
			return "en"
		}
	}
	return "en"
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
