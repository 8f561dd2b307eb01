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

// langValue is a language as a flag: it or en. execute creates one per run of the program. Every text for people is a
// phrase; output for machines (JSON, logs, exports) is English.
type langValue = locale.Language

// langFlag adds the flag for the language of texts for people. The language is already known when the command is
// created.
func langFlag(set *flag.FlagSet, l *langValue) {
	set.Var(l, "lang", phrase("the `LANGUAGE` of the words: it or en").in(l))
}

// phrase is a text for people, in English, with formatting verbs for its arguments. Package locale has its translation.
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

// label is a text in both languages that comes with data.
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

// Error returns the text in English.
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

// sentence returns the text of an error in a language, as far as it can be translated.
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

// Things that are counted.
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

// ageText formats the time since a moment.
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
