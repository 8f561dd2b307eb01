package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// MaxFaults is the maximum number of reported faults of one file; the rest is counted.
const MaxFaults = 100

// Place is a position in the file. Lines and columns start at 1; a column counts characters.
type Place struct{ Line, Column int }

// Fault is one thing that is wrong with a file.
type Fault struct {
	File string
	Place
	Path string // lines[0].devices[2].unit; "" when the fault is the file's own
	What string // a sentence without capital or full stop, with what is allowed
	It   string // the same in Italian; "" if there is none, as with most values: the keys are English, too
}

// Error gives file:line:column: path: what.
func (f Fault) Error() string {
	if f.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.What)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Path, f.What)
}

// Italian gives the fault as Error does, in Italian where it has a sentence.
func (f Fault) Italian() string {
	if f.It != "" {
		f.What = f.It
	}
	return f.Error()
}

// Faults are all faults of a file, in the order of their places.
type Faults []Fault

// Error gives one fault per line.
func (f Faults) Error() string { return f.text(Fault.Error, "and %d more") }

// Italian gives the faults as Error does, in Italian where they have a sentence.
func (f Faults) Italian() string { return f.text(Fault.Italian, "e altri %d") }

func (f Faults) text(one func(Fault) string, more string) string {
	shown, rest := f, 0
	if len(f) > MaxFaults {
		shown, rest = f[:MaxFaults], len(f)-MaxFaults
	}
	lines := make([]string, 0, len(shown)+1)
	for _, x := range shown {
		lines = append(lines, one(x))
	}
	if rest > 0 {
		lines = append(lines, fmt.Sprintf("%s: "+more, f[0].File, rest))
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the single faults.
func (f Faults) Unwrap() []error {
	out := make([]error, len(f))
	for i, one := range f {
		out[i] = one
	}
	return out
}

func (f Faults) sorted() Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return f
}
