package commandline

import (
	"fmt"
	"strings"
)

// Language is a language as a flag: it or en.
type Language string

// String implements flag.Value.
func (l *Language) String() string { return string(*l) }

// Set implements flag.Value.
func (l *Language) Set(text string) error {
	if text != "it" && text != "en" {
		return fmt.Errorf("want it or en")
	}
	*l = Language(text)
	return nil
}

// Of chooses between two sentences.
func (l Language) Of(it, en string) string {
	if l == "it" {
		return it
	}
	return en
}

// ArgsLanguage is the language that a command line asks for with --lang, and otherwise that of the environment. It is for
// what is said before the flags are read, such as what is wrong with them.
func ArgsLanguage(args []string, getenv func(string) string) Language {
	l := EnvLanguage(getenv)
	for i, a := range args {
		name, value, valued := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		if name != "lang" && name != "-lang" || name == a {
			continue
		}
		if !valued && i+1 < len(args) {
			value = args[i+1]
		}
		l.Set(value) //nolint:errcheck // whoever reads the flag tells it
	}
	return l
}

// EnvLanguage is the language of the user's environment: Italian where that says so.
func EnvLanguage(getenv func(string) string) Language {
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
