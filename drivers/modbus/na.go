package modbus

import (
	"fmt"
	"slices"
)

// rawNA is the key "na" of a field: a list of patterns or a word.
type rawNA struct {
	Patterns []uint64
	Word     string
}

// UnmarshalYAML accepts a list of numbers or a word.
func (n *rawNA) UnmarshalYAML(unmarshal func(any) error) error {
	err := unmarshal(&n.Patterns)
	if err == nil || unmarshal(&n.Word) != nil {
		return err
	}
	n.Patterns = nil
	return nil
}

// The words of "na".
const (
	naWords = "words" // Bits only: a register of all ones is not available; the other registers are
	naTop   = "top"   // Bits only: like words, and the highest bit makes the whole field unavailable (SunSpec)
	naNone  = "none"  // every pattern is a value; na_reason explains why
)

// allOnes is the content of a register that the device does not fill.
const allOnes = 0xFFFF

// noValuePatterns checks the "no value" patterns of a field. Flags need such a pattern or an explicit none:
// otherwise a word of all ones would set sixteen alarms.
func (c *compiler) noValuePatterns(path string, r *rawField, f *Field) {
	f.NA = c.na[f.Type]
	if r.NA == nil {
		if f.Type == Bits {
			f.NAWords = true
			c.require(path+".na",
				"must state which pattern means \"no value\": words (a register of all ones), top (SunSpec), "+
					"a list of patterns, or none with na_reason")
		}
		return
	}
	switch word := r.NA.Word; {
	case word == "":
		f.NA = r.NA.Patterns
		c.patterns(path+".na", f.NA, min(max(f.Length, 1), 4))
	case word == naNone:
		f.NA = nil
		if r.NAReason == "" {
			c.require(path+".na_reason", "must say why every pattern is a value, because na is none")
		}
	case (word == naWords || word == naTop) && f.Type == Bits:
		f.NAWords, f.NATop = true, word == naTop
	case f.Type == Bits:
		c.fault(path+".na", "must be words, top, none or a list of patterns (got %q)", word)
	default:
		c.fault(path+".na", "must be none or a list of patterns (got %q)", word)
	}
	if r.NAReason != "" && r.NA.Word != naNone {
		c.fault(path+".na_reason", "must be left out unless na is none")
	}
}

// require adds a fault, or a warning if the profile may predate the rule.
func (c *compiler) require(path, text string) {
	if !c.lenient {
		c.fault(path, "%s", text)
		return
	}
	n := len(c.faults)
	c.fault(path, "%s", text+"; this will be a fault with the next release")
	c.warnings = append(c.warnings, c.faults[n:]...)
	c.faults = c.faults[:n]
}

// available clears the registers of flags that the device does not fill, and reports whether any register
// with a flag remains.
func (f *Field) available(bits uint64) (uint64, bool) {
	if f.Type != Bits || !f.NAWords {
		return bits, true
	}
	if f.NATop && bits>>(16*f.Length-1)&1 == 1 {
		return 0, false
	}
	left := false
	for i := range f.Length {
		switch {
		case bits>>(16*i)&allOnes != allOnes:
			left = left || f.flagged(i)
		case len(f.Flags) > 0:
			bits &^= allOnes << (16 * i)
		}
	}
	return bits, left
}

// flagged reports whether a flag lies in register i, counted from the lowest. Without flags the whole number
// is printed.
func (f *Field) flagged(i int) bool {
	return len(f.Flags) == 0 || slices.ContainsFunc(f.Flags, func(flag Flag) bool { return flag.Bit/16 == i })
}

// Missing describes the "no value" patterns of a Bits field; "" if it has none.
func (f *Field) Missing() string {
	switch {
	case f.NATop:
		return "bit " + fmt.Sprint(16*f.Length-1) + " set, or a register of all ones"
	case f.NAWords && f.Length == 1:
		return "0xFFFF"
	case f.NAWords:
		return "0xFFFF, by register"
	}
	return ""
}
