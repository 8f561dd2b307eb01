package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"bordo/agent/config"
	"bordo/agent/control"
	"bordo/buffer"
	"bordo/cmd/commandline"
	"bordo/cmd/terminal"
	"bordo/drivers/nearest"
)

// langValue is a language as a flag: it or en. There is one in a run of the program, made by execute: every sentence for a
// person is a phrase, and what is for a machine (JSON, logs, exports) is English.
type langValue = commandline.Language

// langFlag is the language in which people are spoken to, as a flag of a command. It is known already when the verb is made.
func langFlag(set *flag.FlagSet, l *langValue) {
	set.Var(l, "lang", phrase{"la `LINGUA` delle parole: it o en", "the `LANGUAGE` of the words: it or en"}.in(l))
}

// phrase is a sentence for who stands before the device.
type phrase struct{ it, en string }

// in gives the sentence in a language.
func (p phrase) in(l *langValue, args ...any) string {
	text := l.Of(p.it, p.en)
	if len(args) == 0 {
		return text
	}
	for i, a := range args {
		switch x := a.(type) {
		case phrase:
			args[i] = x.in(l)
		case error:
			args[i] = sentence(x, l)
		}
	}
	return fmt.Sprintf(text, args...)
}

// fault makes an error of the sentence. Errors among its arguments are its causes.
func (p phrase) fault(args ...any) error { return localizedError{p, args} }

// localizedError is an error that is a phrase.
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
		return x.in(l, append([]any(nil), x.args...)...)
	case mistake:
		return sentence(x.Err, l)
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
		return phrase{"l'agente non è in funzione", err.Error()}.in(l)
	case control.ErrTaken:
		return phrase{"un altro bordo è in funzione con questa configurazione", err.Error()}.in(l)
	case buffer.ErrInUse:
		return phrase{"l'archivio è in uso", err.Error()}.in(l)
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
		lineNoun:    {phrase{"linea", "line"}, phrase{"linee", "lines"}},
		deviceNoun:  {phrase{"dispositivo", "device"}, phrase{"dispositivi", "devices"}},
		recordNoun:  {phrase{"record", "record"}, phrase{"record", "records"}},
		valueNoun:   {phrase{"valore", "value"}, phrase{"valori", "values"}},
		blockNoun:   {phrase{"blocco", "block"}, phrase{"blocchi", "blocks"}},
		byteNoun:    {phrase{"byte", "byte"}, phrase{"byte", "bytes"}},
		attemptNoun: {phrase{"tentativo", "attempt"}, phrase{"tentativi", "attempts"}},
		timeNoun:    {phrase{"volta", "time"}, phrase{"volte", "times"}},
		fileNoun:    {phrase{"file", "file"}, phrase{"file", "files"}},
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
func oneOf(name string, names []string) phrase {
	if near := nearest.Names(name, names, 3); len(near) > 0 {
		list := strings.Join(near, ", ")
		return phrase{" (forse " + list + "?)", " (did you mean " + list + "?)"}
	}
	const few = 12
	if len(names) == 0 || len(names) > few {
		return phrase{}
	}
	list := strings.Join(names, ", ")
	return phrase{" (ci sono: " + list + ")", " (there are: " + list + ")"}
}
