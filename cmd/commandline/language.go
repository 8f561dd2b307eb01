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
