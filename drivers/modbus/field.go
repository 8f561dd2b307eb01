package modbus

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Type is how a value is encoded in registers.
type Type string

// The types. High byte and high register come first unless the field says otherwise.
const (
	Bool   Type = "bool"   // one coil, one discrete input, or one bit of a register
	U8Hi   Type = "u8hi"   // the upper half of a register
	U8Lo   Type = "u8lo"   // the lower half of a register
	U16    Type = "u16"    //
	U32    Type = "u32"    //
	U64    Type = "u64"    //
	I16    Type = "i16"    // two's complement, like all i types
	I32    Type = "i32"    //
	I64    Type = "i64"    //
	S16    Type = "s16"    // sign bit and magnitude
	S32    Type = "s32"    //
	BCD16  Type = "bcd16"  // four decimal digits
	BCD32  Type = "bcd32"  // eight decimal digits
	F32    Type = "f32"    // IEEE 754
	F64    Type = "f64"    //
	Bits   Type = "bits"   // flags in one to four registers
	String Type = "string" // two characters per register, padded with NUL or space
	Date   Type = "date"   // packed; Format gives the layout
	Dotted Type = "dotted" // one number per register, such as the version 1.2.3
)

// maxFactor limits a scale factor (SunSpec: -10 to 10). 0x8000 and anything else out of range makes the value
// unusable.
const maxFactor = 10

// The smallest normal floats. A smaller value other than 0 is not a measurement: it is typically an integer,
// or a float in another word order, that was decoded as a float.
const (
	smallest32 = 0x1p-126
	smallest64 = 0x1p-1022
)

// registers returns the number of registers that a type takes, 0 if the field's Length decides. ok is false
// for unknown types.
func (t Type) registers() (int, bool) {
	switch t {
	case Bool, U8Hi, U8Lo, U16, I16, S16, BCD16:
		return 1, true
	case U32, I32, S32, BCD32, F32:
		return 2, true
	case U64, I64, F64:
		return 4, true
	case Bits, String, Date, Dotted:
		return 0, true
	}
	return 0, false
}

// Order states which part of a value comes first.
type Order string

// LowFirst means that the low part comes first. The zero value and "high" mean the opposite.
const LowFirst Order = "low"

// Flag is one bit of a Bits field and its text when set.
type Flag struct {
	Bit  int
	Text string
}

// Field is the address and encoding of a value.
type Field struct {
	At      Address
	Type    Type
	Length  int      // in registers
	Words   Order    // order of the registers of one value
	Bytes   Order    // order of the bytes in each register
	SF      *Address // register with a power of ten (i16, -10 to 10) that scales the value; read in the same reply
	Scale   Scale
	Offset  Scale             // added after scaling, if HasOff
	HasOff  bool              //
	Bit     int               // for a Bool in a register
	Invert  bool              // for a Bool
	NA      []uint64          // raw patterns that mean "no value"
	NAWords bool              // Bits only: a register of all ones is not available
	NATop   bool              // Bits with NAWords only: the highest bit makes the whole field unavailable
	Enum    map[uint64]string // texts for numbers
	Flags   []Flag            // texts for bits
	Format  string            // texts: how to print a number (%d, 0x%04X, E%03d); Date: days2000 or ymdhms
}

// Span returns what must be in one reply to decode the field.
func (f *Field) Span() Span {
	s := f.valueSpan()
	if f.SF != nil {
		s = s.join(Span{f.SF.Table, f.SF.Number, 1})
	}
	return s
}

// valueSpan returns the registers of the value itself.
func (f *Field) valueSpan() Span { return Span{f.At.Table, f.At.Number, f.Length} }

// Answer is the content of a read reply: a run of registers or bits.
type Answer struct {
	Span
	Data []byte // registers: two bytes each, high byte first; bits: eight per byte, the first in the lowest bit
}

// register returns the bytes of n registers from number on, or nil if the reply does not contain all of them.
func (a Answer) register(number uint16, n int) []byte {
	if number < a.First {
		return nil
	}
	i := 2 * int(number-a.First)
	if i+2*n > len(a.Data) {
		return nil
	}
	return a.Data[i : i+2*n]
}

// part returns a copy of the registers in s.
func (a Answer) part(s Span) Answer {
	return Answer{s, slices.Clone(a.register(s.First, s.Count))}
}

func (a Answer) bit(number uint16) (set, ok bool) {
	if number < a.First {
		return false, false
	}
	i := int(number - a.First)
	if i/8 >= len(a.Data) || i >= a.Count {
		return false, false
	}
	return a.Data[i/8]>>(i%8)&1 == 1, true
}

// Decode returns the field's value in a reply, in the catalogue's type. It is a pure function: any input
// gives a value with Good or an absent value with Bad. A value is absent for a "no value" pattern, a float
// that is NaN, infinite or denormal, an invalid scale factor or digit, a number without an entry in Enum, and
// a reply that does not contain the field.
func (f *Field) Decode(a Answer, as catalogue.Type) (catalogue.Value, drivers.Quality) {
	v, ok := f.decode(a, as)
	if !ok || v.Type() == catalogue.None {
		return catalogue.Value{}, drivers.Bad
	}
	return v, drivers.Good
}

func (f *Field) decode(a Answer, as catalogue.Type) (catalogue.Value, bool) {
	none := catalogue.Value{}
	if a.Table != f.At.Table {
		return none, false
	}
	if f.At.Table.Bits() {
		set, ok := a.bit(f.At.Number)
		return catalogue.Truth(set != f.Invert), ok
	}
	raw := a.register(f.At.Number, f.Length)
	if raw == nil {
		return none, false
	}
	if f.Type == String {
		text := stringOf(raw, f.Bytes)
		return catalogue.Words(text), text != ""
	}
	if f.Type == Date {
		text, ok := dateOf(raw, f.Format)
		return catalogue.Words(text), ok
	}
	if f.Type == Dotted {
		return catalogue.Words(dottedOf(raw)), true
	}
	bits := f.pattern(raw)
	bits, available := f.available(bits)
	if !available || slices.Contains(f.NA, bits) {
		return none, false
	}
	switch as {
	case catalogue.Bool:
		return catalogue.Truth((bits>>f.Bit&1 == 1) != f.Invert), true
	case catalogue.Text:
		text, ok := f.textOf(bits)
		return catalogue.Words(text), ok
	}
	return f.number(a, bits)
}

// pattern combines the field's registers into one number, in the device's order.
func (f *Field) pattern(raw []byte) uint64 {
	var bits uint64
	for i := range f.Length {
		at := i
		if f.Words == LowFirst {
			at = f.Length - 1 - i
		}
		w := binary.BigEndian.Uint16(raw[2*at:])
		if f.Bytes == LowFirst {
			w = w>>8 | w<<8
		}
		bits = bits<<16 | uint64(w)
	}
	switch f.Type {
	case U8Hi:
		return bits >> 8
	case U8Lo:
		return bits & 0xFF
	}
	return bits
}

// number decodes a numeric value and scales it.
func (f *Field) number(a Answer, bits uint64) (catalogue.Value, bool) {
	none, sf := catalogue.Value{}, 0
	if f.SF != nil {
		raw := a.register(f.SF.Number, 1)
		if raw == nil {
			return none, false
		}
		if sf = int(int16(binary.BigEndian.Uint16(raw))); sf < -maxFactor || sf > maxFactor {
			return none, false
		}
	}
	var x float64
	switch f.Type {
	case F32:
		if raw := math.Float32frombits(uint32(bits)); raw != 0 && math.Abs(float64(raw)) < smallest32 {
			return none, false
		}
		x = f.Scale.applyDecimal(float64(math.Float32frombits(uint32(bits))), 32, sf)
		return f.shift(x, -1)
	case F64:
		if raw := math.Float64frombits(bits); raw != 0 && math.Abs(raw) < smallest64 {
			return none, false
		}
		x = f.Scale.applyDecimal(math.Float64frombits(bits), 64, sf)
		return f.shift(x, -1)
	case BCD16, BCD32:
		n, ok := bcdOf(bits)
		if !ok {
			return none, false
		}
		x = n
	default:
		x = whole(f.Type, bits)
	}
	return f.shift(f.Scale.apply(x, sf), f.Scale.decimals(sf))
}

// shift adds the offset. decimals is the largest number of decimals of x, or -1 if unknown; the sum is
// rounded accordingly.
func (f *Field) shift(x float64, decimals int) (catalogue.Value, bool) {
	if f.HasOff && !math.IsNaN(x) && !math.IsInf(x, 0) {
		x += f.Offset.apply(1, 0)
		if decimals >= 0 {
			p := math.Pow10(max(decimals, f.Offset.decimals(0)))
			x = math.Round(x*p) / p
		}
	}
	v := catalogue.Number(x)
	return v, v.Type() != catalogue.None
}

// whole converts an integer pattern to its number.
func whole(t Type, bits uint64) float64 {
	switch t {
	case I16:
		return float64(int16(bits))
	case I32:
		return float64(int32(bits))
	case I64:
		return float64(int64(bits))
	case S16:
		return magnitude(bits, 15)
	case S32:
		return magnitude(bits, 31)
	}
	return float64(bits)
}

func magnitude(bits uint64, sign int) float64 {
	x := float64(bits &^ (1 << sign))
	if bits>>sign&1 == 1 && x != 0 {
		return -x
	}
	return x
}

// bcdOf decodes decimal digits of four bits each.
func bcdOf(bits uint64) (float64, bool) {
	n := 0.0
	for shift := 60; shift >= 0; shift -= 4 {
		d := bits >> shift & 0xF
		if d > 9 {
			return 0, false
		}
		n = n*10 + float64(d)
	}
	return n, true
}

// textOf returns the text of a number, the texts of its flags, or the number printed in the profile's format.
func (f *Field) textOf(bits uint64) (string, bool) {
	if word, ok := f.Enum[bits]; ok {
		return word, true
	}
	if f.Type == Bits && (len(f.Flags) > 0 || f.Format == "") {
		var words []string
		for _, flag := range f.Flags {
			if bits>>flag.Bit&1 == 1 {
				words = append(words, flag.Text)
			}
		}
		return strings.Join(words, ", "), true
	}
	if f.Format == "" {
		return "", false
	}
	switch f.Type {
	case I16, I32, I64:
		return fmt.Sprintf(f.Format, int64(whole(f.Type, bits))), true
	}
	return fmt.Sprintf(f.Format, bits), true
}

// stringOf cuts the text at the first NUL and trims it: some makers leave garbage after the NUL and others
// pad with spaces. Characters that are not printable ASCII become "?", because names are logged and
// displayed.
func stringOf(raw []byte, bytes Order) string {
	b := slices.Clone(raw)
	if bytes == LowFirst {
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	if i := slices.Index(b, 0); i >= 0 {
		b = b[:i]
	}
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return strings.Trim(string(b), " ?")
}

// dottedOf joins registers with dots, as in a version number.
func dottedOf(raw []byte) string {
	var b strings.Builder
	for i := 0; i+1 < len(raw); i += 2 {
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprintf(&b, "%d", binary.BigEndian.Uint16(raw[i:]))
	}
	return b.String()
}

// Date formats.
const (
	daysSince2000 = "days2000" // u16, days since 1 January 2000
	ymdhms        = "ymdhms"   // six registers: year (two or four digits), month, day, hour, minute, second
)

// dateOf returns a date as YYYY-MM-DD, with THH:MM:SS if the device provides it. The device's clock runs on
// local time.
func dateOf(raw []byte, format string) (string, bool) {
	word := func(i int) int { return int(binary.BigEndian.Uint16(raw[2*i:])) }
	switch {
	case format == daysSince2000 && len(raw) == 2:
		if d := word(0); d != 0 && d != 0xFFFF {
			return time.Date(2000, 1, 1+d, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), true
		}
	case format == ymdhms && len(raw) == 12:
		y := word(0)
		if y < 100 {
			y += 2000
		}
		t := time.Date(y, time.Month(word(1)), word(2), word(3), word(4), word(5), 0, time.UTC)
		if y <= 9999 && int(t.Month()) == word(1) && t.Day() == word(2) && t.Hour() == word(3) &&
			t.Minute() == word(4) && t.Second() == word(5) {
			return t.Format("2006-01-02T15:04:05"), true
		}
	}
	return "", false
}

// matchesText reports whether a text meets the condition.
func (t *Test) matchesText(text string) bool {
	if t.Starts != "" {
		return strings.HasPrefix(text, t.Starts)
	}
	return slices.ContainsFunc(t.Contains, func(part string) bool { return strings.Contains(text, part) })
}
