package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"bordo/agent/config"
	"bordo/agent/control"
	"bordo/buffer"
	"bordo/cmd/locale"
	"bordo/cmd/terminal"
	"bordo/contract"
	"bordo/drivers/nearest"
)

// langValue is a language as a flag: it or en. There is one in a run of the program, made by execute: every sentence for a
// person is a phrase, and what is for a machine (JSON, logs, exports) is English.
type langValue = locale.Language

// langFlag is the language in which people are spoken to, as a flag of a command. It is known already when the verb is made.
func langFlag(set *flag.FlagSet, l *langValue) {
	set.Var(l, "lang", phrase("the `LANGUAGE` of the words: it or en").in(l))
}

// phrase is a text for people: in English, with verbs of package fmt for its arguments. Package locale has its translation.
type phrase string

// in gives the text in a language. Among the arguments, phrases and errors are translated as well.
func (p phrase) in(l *langValue, args ...any) string {
	text := l.Text(string(p))
	if len(args) == 0 {
		return text
	}
	args = slices.Clone(args)
	for i, a := range args {
		switch x := a.(type) {
		case phrase:
			args[i] = x.in(l)
		case label:
			args[i] = l.Of(x.It, x.En)
		case error:
			args[i] = sentence(x, l)
		}
	}
	return fmt.Sprintf(text, args...)
}

// label is a text that comes in both languages with the data it belongs to.
type label = contract.Label

// with binds a phrase to its arguments. The result is an argument of other phrases.
func (p phrase) with(args ...any) localizedError { return localizedError{p, args} }

// fault makes an error of the text. Errors among its arguments are its causes.
func (p phrase) fault(args ...any) error { return p.with(args...) }

// localizedError is a phrase with its arguments, and an error.
type localizedError struct {
	phrase
	args []any
}

// Error tells it in English.
func (t localizedError) Error() string {
	l := langValue("en")
	return sentence(t, &l)
}

// Unwrap returns the causes.
func (t localizedError) Unwrap() (causes []error) {
	for _, a := range t.args {
		if err, ok := a.(error); ok {
			causes = append(causes, err)
		}
	}
	return causes
}

// sentence is an error in a language, as far as it is a phrase.
func sentence(err error, l *langValue) string {
	switch x := err.(type) {
	case localizedError:
		return x.in(l, x.args...)
	case mistake:
		return sentence(x.Err, l)
	case hintedError:
		if *l == "it" {
			return sentence(x.error, l) + "\n" + x.hint.in(l)
		}
		return sentence(x.error, l)
	case config.Faults:
		return l.Of(x.Italian(), x.Error())
	case config.Fault:
		return l.Of(x.Italian(), x.Error())
	case interface{ Unwrap() []error }: // as errors.Join makes them
		var all, lines []string
		for _, part := range x.Unwrap() {
			all, lines = append(all, part.Error()), append(lines, sentence(part, l))
		}
		if strings.Join(all, "\n") == err.Error() {
			return strings.Join(lines, "\n")
		}
	}
	switch err {
	case control.ErrNotRunning:
		return phrase("the agent does not run").in(l)
	case control.ErrTaken:
		return phrase("another bordo runs with this configuration").in(l)
	case buffer.ErrInUse:
		return phrase("the store is in use").in(l)
	}
	return causeText(err.Error(), l)
}

// noun is a thing that is counted.
type noun struct{ one, many phrase }

func (n noun) count(k int, l *langValue) string {
	if k == 1 {
		return fmt.Sprint(k, " ", n.one.in(l))
	}
	return fmt.Sprint(k, " ", n.many.in(l))
}

// What is counted.
const (
	lineNoun = iota
	deviceNoun
	recordNoun
	valueNoun
	blockNoun
	byteNoun
	attemptNoun
	timeNoun
	fileNoun
)

// count is a number of things.
func count(k, what int, l *langValue) string {
	return [...]noun{
		lineNoun:    {phrase("line"), phrase("lines")},
		deviceNoun:  {phrase("device"), phrase("devices")},
		recordNoun:  {phrase("record"), phrase("records")},
		valueNoun:   {phrase("value"), phrase("values")},
		blockNoun:   {phrase("block"), phrase("blocks")},
		byteNoun:    {phrase("byte"), phrase("bytes")},
		attemptNoun: {phrase("attempt"), phrase("attempts")},
		timeNoun:    {phrase("time"), phrase("times")},
		fileNoun:    {phrase("file"), phrase("files")},
	}[what].count(k, l)
}

// ageText is how long ago something was.
func ageText(now, then time.Time, l *langValue) string {
	text := terminal.Age(now, then)
	if *l == "it" {
		return strings.Replace(text, "d", "g", 1)
	}
	return text
}

// oneOf suggests names to who gave none of them.
func oneOf(name string, names []string) localizedError {
	if near := nearest.Names(name, names, 3); len(near) > 0 {
		return phrase(" (did you mean %s?)").with(strings.Join(near, ", "))
	}
	const few = 12
	if len(names) == 0 || len(names) > few {
		return phrase("").with()
	}
	return phrase(" (there are: %s)").with(strings.Join(names, ", "))
}
