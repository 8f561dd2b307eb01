package loglimit

import (
	"regexp"
	"slices"
	"strings"
)

// What varies between attempts although the cause is the same. The order matters: addresses and times contain numbers
// too.
var (
	localEnd = regexp.MustCompile(`(?:\[[0-9a-fA-F:.%\w]*\]|[0-9.]+):\d+->`) // "read tcp 10.0.0.7:43210->10.0.0.9:1883"
	// crypto/x509 about a certificate outside its validity
	nowIs = regexp.MustCompile(`current time \S+ is`)

	varying = []struct {
		what *regexp.Regexp
		with string
	}{
		{regexp.MustCompile(`\[[0-9a-fA-F:.]+(?:%\w+)?\](?::\d+)?`), "<address>"},
		{regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b`), "<address>"},
		{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?UTC|Z|[+-]\d\d:?\d\d)?`), "<time>"},
		{regexp.MustCompile(`\b\d\d:\d\d:\d\d(?:\.\d+)?\b`), "<time>"},
		{regexp.MustCompile(`\b(?:[0-9a-fA-F]{1,4}:){2,7}[0-9a-fA-F]{1,4}\b|\b[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*::(?:[0-9a-fA-F:]*)`), "<address>"},
		{regexp.MustCompile(`\b(?:\d+(?:\.\d+)?(?:ns|µs|us|ms|s|m|h))+\b`), "<duration>"},
		{regexp.MustCompile(`\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b`), "<id>"},
		{regexp.MustCompile(`\b\d{5,}\b`), "<number>"},
	}
	hexRun = regexp.MustCompile(`\b(?:0x)?[0-9a-fA-F]{8,}\b`)
)

// Stable returns an error text as it is logged: without the local end of a connection and without the current time.
func Stable(text string) string {
	return nowIs.ReplaceAllString(localEnd.ReplaceAllString(text, ""), "current time is")
}

// Cause returns the key by which error texts are compared: without addresses (a name has several), times, durations,
// identifiers and long numbers, and with its parts in a fixed order. Short numbers stay: "exception 2" and "exception
// 4" are two causes.
func Cause(text string) string {
	text = Stable(text)
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.with)
	}
	text = hexRun.ReplaceAllStringFunc(text, func(run string) string {
		if strings.ContainsAny(run, "0123456789") {
			return "<id>"
		}
		return run // a word
	})
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' })
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), "; ")
}
