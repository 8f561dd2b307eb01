// Package locale translates what the programs say to people. English is in the code; the translations into a language
// are a gettext file in this directory (it.po), which translators edit with their usual tools. The English text is the
// key. A text without translation is shown in English.
//
// Output for machines (JSON, logs, exports, messages of the contract) is never translated.
package locale

import (
	_ "embed" // the translations
	"fmt"
	"strings"
	"sync"

	"github.com/chai2010/gettext-go/po"
)

//go:embed it.po
var italian []byte

// catalog holds the translations of a language.
type catalog struct {
	texts  map[string]string // by English text
	causes map[string]string // by pattern
}

// causeContext is the context (msgctxt) of patterns in the file.
const causeContext = "cause"

// inItalian is the Italian catalogue. It is read when it is first needed.
var inItalian = sync.OnceValue(func() catalog {
	c := catalog{map[string]string{}, map[string]string{}}
	file, err := po.Load(italian)
	if err != nil { // a test reads it
		return c
	}
	for _, m := range file.Messages {
		switch {
		case m.MsgStr == "":
		case m.MsgContext == causeContext:
			c.causes[m.MsgId] = m.MsgStr
		default:
			c.texts[m.MsgId] = m.MsgStr
		}
	}
	return c
})

// Language is a language as a flag: it or en. "" is English.
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

// Text translates an English text, which may have verbs of package fmt.
func (l Language) Text(english string) string {
	if l == "it" {
		if text, ok := inItalian().texts[english]; ok {
			return text
		}
	}
	return english
}

// Cause returns the translation of a pattern of error messages, which may refer to its groups ($1). It is "" if there
// is none.
func (l Language) Cause(pattern string) string {
	if l != "it" {
		return ""
	}
	return inItalian().causes[pattern]
}

// Of chooses between two texts that come with data, such as the labels of the contract.
func (l Language) Of(it, en string) string {
	if l == "it" {
		return it
	}
	return en
}

// OfArgs returns the language that a command line selects with --lang, otherwise that of the environment. It is for
// messages before the flags are parsed, such as errors about them.
func OfArgs(args []string, getenv func(string) string) Language {
	l := OfEnv(getenv)
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

// OfEnv is the language of the user's environment: Italian where that says so.
func OfEnv(getenv func(string) string) Language {
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
