package firmwarenotes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bordo/drivers/modbus"
)

// place is where a field lies: "holding 32080 (0x7D50)".
func place(f *modbus.Field) string {
	text := fmt.Sprintf("%v %d (0x%04X)", f.At.Table, f.At.Number, f.At.Number)
	if f.SF != nil {
		text += fmt.Sprintf(", factor at %d", f.SF.Number)
	}
	return text
}

// offset is where a field lies in a SunSpec model.
func offset(f *modbus.Field) string {
	text := fmt.Sprintf("+%d", f.At.Number)
	if f.SF != nil {
		text += fmt.Sprintf(", factor at +%d", f.SF.Number)
	}
	return text
}

// coding is how a field is coded.
func coding(f *modbus.Field) string {
	parts := []string{string(f.Type)}
	switch {
	case f.Type == modbus.String || f.Type == modbus.Bits:
		parts[0] += fmt.Sprintf(", %d registers", f.Length)
	case f.Type == modbus.Bool && !f.At.Table.Bits():
		parts[0] += fmt.Sprintf(", bit %d", f.Bit)
	case f.Type == modbus.Date:
		parts[0] += " (" + f.Format + ")"
	}
	// its registers stand as they are read
	text := f.Type == modbus.String || f.Type == modbus.Date || f.Type == modbus.Dotted
	if f.Length > 1 && f.Words == modbus.LowFirst && !text {
		parts = append(parts, "low word first")
	}
	if f.Bytes == modbus.LowFirst {
		parts = append(parts, "low byte first")
	}
	if s := f.Scale.String(); s != "1" {
		parts = append(parts, "× "+s)
	}
	if f.HasOff {
		parts = append(parts, "then "+f.Offset.String())
	}
	if f.Invert {
		parts = append(parts, "inverted")
	}
	return strings.Join(parts, ", ")
}

// remarks are a point's "no value" patterns, its range, its condition and its pace.
func remarks(q *modbus.Point) string {
	var parts []string
	if text := q.Missing(); text != "" {
		parts = append(parts, "none: "+text)
	} else if len(q.NA) > 0 {
		var na []string
		for _, x := range q.NA {
			na = append(na, pattern(x))
		}
		parts = append(parts, "none: "+strings.Join(na, ", "))
	}
	if q.Range != nil {
		parts = append(parts, fmt.Sprintf("%s to %s", number(q.Range[0]), number(q.Range[1])))
	}
	if q.When != nil {
		parts = append(parts, "when "+condition(q.When))
	}
	if q.Fallback {
		parts = append(parts, "where the one above has no value")
	}
	if q.Pace != modbus.Fast {
		parts = append(parts, string(q.Pace))
	}
	return strings.Join(parts, "; ")
}

// condition is a test in words.
func condition(t *modbus.Test) string {
	where := fmt.Sprintf("%v %d", t.At.Table, t.At.Number)
	switch {
	case t.Starts != "":
		return fmt.Sprintf("%s begins with %q", where, t.Starts)
	case len(t.Contains) > 0:
		return fmt.Sprintf("%s contains %q", where, strings.Join(t.Contains, `" or "`))
	}
	var in []string
	for _, x := range t.In {
		in = append(in, pattern(x))
	}
	return where + " is " + strings.Join(in, " or ")
}

// wordList is what the numbers or bits of a field mean.
func wordList(f *modbus.Field) string {
	var parts []string
	for _, n := range slices.Sorted(maps.Keys(f.Enum)) {
		if f.Enum[n] != "" {
			parts = append(parts, fmt.Sprintf("%s %s", pattern(n), f.Enum[n]))
		}
	}
	for _, b := range f.Flags {
		parts = append(parts, fmt.Sprintf("bit %d %s", b.Bit, b.Text))
	}
	return strings.Join(parts, ", ")
}

// commandTable lists what may be written.
func commandTable(commands []modbus.Command) string {
	rows := [][]string{{"action", "written", "confirmed by"}}
	for _, c := range commands {
		var written []string
		for _, s := range c.Steps {
			what := pattern(s.Value)
			if s.Arg != nil {
				what = fmt.Sprintf("`%s` from %s to %s", s.Arg.Name, number(s.Arg.Range[0]), number(s.Arg.Range[1]))
			}
			at := fmt.Sprintf("%v %d (0x%04X)", s.At.Table, s.At.Number, s.At.Number)
			if ch := s.Choose; ch != nil {
				at += fmt.Sprintf(" for `%s` %d, up to %d", ch.Arg, ch.First, ch.First+ch.Count-1)
			}
			written = append(written, fmt.Sprintf("%s to %s, function %d", what, at, s.Function))
		}
		rows = append(rows, []string{"`" + c.Action + "`", strings.Join(written, "; then "), confirmation(c.Check)})
	}
	return table(rows)
}

func confirmation(k *modbus.Check) string {
	switch {
	case k == nil:
		return "the answer to the write"
	case k.Field != nil:
		return fmt.Sprintf("reading %s back within %s", place(k.Field), short(k.Within))
	}
	return fmt.Sprintf("`%s` %s within %s", k.Point, strings.Join(k.Words, " or "), short(k.Within))
}

// guards is what keeps values out that cannot be.
func guards(g *modbus.Guards) string {
	var b strings.Builder
	if len(g.NullFrame) > 0 {
		fmt.Fprintf(&b, "- an answer in which %s are all zero or absent counts for nothing\n",
			strings.Join(g.NullFrame, ", "))
	}
	if g.Frozen > 0 {
		fmt.Fprintf(&b, "- %d polls with the same values while power flows: the values are stale\n", g.Frozen)
	}
	if g.Counters {
		b.WriteString("- a lifetime counter that falls or leaps is held back until it is confirmed\n")
	}
	if g.RatedW > 0 {
		fmt.Fprintf(&b, "- rated power: %s W\n", number(g.RatedW))
	}
	if g.Rated != nil {
		fmt.Fprintf(&b, "- rated power: read from %s, %s\n", place(g.Rated), coding(g.Rated))
	}
	return b.String()
}

func spans(list []modbus.Span) string {
	var out []string
	for _, s := range list {
		last := int(s.First) + s.Count - 1
		out = append(out, fmt.Sprintf("%v %d to %d", s.Table, s.First, last))
	}
	return strings.Join(out, ", ")
}

// table lays rows out in Markdown; the first row is the head.
func table(rows [][]string) string {
	var b strings.Builder
	for i, r := range rows {
		for j := range r {
			r[j] = strings.ReplaceAll(r[j], "|", `\|`)
		}
		b.WriteString("| " + strings.Join(r, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(r)) + "|\n")
		}
	}
	return b.String()
}

// pattern prints a raw value: small ones as people count, others as they stand in the frame.
func pattern(x uint64) string {
	if x < 10000 {
		return strconv.FormatUint(x, 10)
	}
	return fmt.Sprintf("0x%X", x)
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// short prints a duration as a profile writes it: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
