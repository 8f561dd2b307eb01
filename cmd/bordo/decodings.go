package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"bordo/cmd/terminal"
	"bordo/drivers"
)

// row is one register with everything that it can mean, alone and together with those after it.
type row struct {
	Address int     `json:"address"`
	Hex     string  `json:"hex"`
	Text    string  `json:"text,omitempty"` // its characters, where it can be a piece of a text
	U16     uint16  `json:"u16"`
	I16     int16   `json:"i16"`
	BCD     *uint64 `json:"bcd,omitempty"`     // as four decimal digits
	Two     *number `json:"two,omitempty"`     // with the next register, high register first
	TwoLow  *number `json:"two_low,omitempty"` // the same, low register first
	Four    *number `json:"four,omitempty"`    // with the next three
	FourLow *number `json:"four_low,omitempty"`
}

// number is what several registers mean together.
type number struct {
	Unsigned uint64   `json:"unsigned"`
	Signed   int64    `json:"signed"`
	Float    *float64 `json:"float,omitempty"` // absent when the bits are not a number
	BCD      *uint64  `json:"bcd,omitempty"`
	text     string   // of the float, as short as its size allows
}

// decodings is a pure function: what registers can mean. first is the address of the first one.
func decodings(first int, data []byte) []row {
	words := make([]uint16, len(data)/2)
	for i := range words {
		words[i] = binary.BigEndian.Uint16(data[2*i:])
	}
	rows := make([]row, len(words))
	for i, w := range words {
		rows[i] = row{
			Address: first + i, Hex: fmt.Sprintf("%04X", w), U16: w, I16: int16(w), BCD: bcd(uint64(w), 4),
			Text: pair(data[2*i], data[2*i+1]),
		}
		rows[i].Two, rows[i].TwoLow = together(words[i:], 2)
		rows[i].Four, rows[i].FourLow = together(words[i:], 4)
	}
	return rows
}

// together reads the first n registers as one number, in both orders; nil when there are fewer.
func together(words []uint16, n int) (high, low *number) {
	if len(words) < n {
		return nil, nil
	}
	var h, l uint64
	for i := range n {
		h = h<<16 | uint64(words[i])
		l = l<<16 | uint64(words[n-1-i])
	}
	return numberOf(h, n), numberOf(l, n)
}

func numberOf(bits uint64, registers int) *number {
	n := &number{Unsigned: bits, Signed: int64(bits), BCD: bcd(bits, 4*registers)}
	f, size := math.Float64frombits(bits), 64
	if registers == 2 {
		n.Signed = int64(int32(bits))
		f, size = float64(math.Float32frombits(uint32(bits))), 32
	}
	if !math.IsNaN(f) && !math.IsInf(f, 0) {
		n.text = strconv.FormatFloat(f, 'g', -1, size)
		short, _ := strconv.ParseFloat(n.text, 64) // it was written so
		n.Float = &short
	}
	return n
}

// bcd reads decimal digits of four bits each; nil when one of them is not a digit.
func bcd(bits uint64, digits int) *uint64 {
	var n uint64
	for i := digits - 1; i >= 0; i-- {
		d := bits >> (4 * i) & 0xF
		if d > 9 {
			return nil
		}
		n = 10*n + d
	}
	return &n
}

// pair gives the characters of a register that is a piece of a text: two of them, or the last one and what fills up.
func pair(high, low byte) string {
	if !printable(high) || low != 0 && !printable(low) {
		return ""
	}
	return strings.TrimRight(string([]byte{high, low}), "\x00")
}

func printable(c byte) bool { return c >= ' ' && c <= '~' }

// shown makes characters visible: a point for what cannot be printed, nothing at all when no character can.
func shown(b []byte) string {
	text := bytes.Clone(b)
	for i, c := range text {
		if !printable(c) {
			text[i] = '.'
		}
	}
	if strings.Trim(string(text), ".") == "" {
		return ""
	}
	return string(text)
}

// Bounds of a plausible float.
const (
	leastFloat = 1e-3
	mostFloat  = 1e10
)

// likely formats a number for the table: a float only where it is plausible.
func (n *number) likely() (whole, float string) {
	if n == nil {
		return "", ""
	}
	whole = strconv.FormatInt(n.Signed, 10)
	if n.Float == nil {
		return whole, "-"
	}
	if x := math.Abs(*n.Float); x != 0 && (x < leastFloat || x > mostFloat) {
		return whole, "-"
	}
	return whole, strconv.FormatFloat(*n.Float, 'g', 6, 64)
}

// writeRegisters prints what fits side by side on a narrow screen; --json has all.
func writeRegisters(c console, rows []row, data []byte, l *langValue) error {
	t := newTable(c.out, l)
	wide := fmt.Sprintf("%29s%-23s %s\n", "", phrase("high register first").in(l), phrase("low register first").in(l)) +
		fmt.Sprintf("%5s  %-4s %6s %6s  %-2s  %11s %10s  %11s %10s\n", phrase("ADDR").in(l), "HEX", "U16", "I16", "TX",
			"32 BIT", "FLOAT", "32 BIT", "FLOAT")
	narrow := phrase("ADDR   HEX  below: 32 bits, high register first | low register first\n").in(l)
	for _, r := range rows {
		signed := ""
		if r.I16 < 0 {
			signed = strconv.Itoa(int(r.I16))
		}
		whole, float := r.Two.likely()
		lowWhole, lowFloat := r.TwoLow.likely()
		wide += strings.TrimRight(fmt.Sprintf("%5d  %s %6d %6s  %-2s  %11s %10s  %11s %10s", r.Address, r.Hex, r.U16,
			signed, r.Text, whole, float, lowWhole, lowFloat), " ") + "\n"
		narrow += strings.TrimRight(fmt.Sprintf("%5d  %s %d %s %s", r.Address, r.Hex, r.U16, signed, r.Text),
			" ") + "\n"
		if r.Two != nil {
			narrow += fmt.Sprintf("       %s %s | %s %s\n", whole, float, lowWhole, lowFloat)
		}
	}
	if t.width == 0 || t.width >= registersWidth {
		t.WriteString(wide)
	} else {
		t.WriteString(terminal.FoldLines(narrow, t.width, 7))
	}
	if text := shown(data); len(strings.Trim(text, ".")) >= 4 {
		fmt.Fprintf(t, "\n%s\n", terminal.Fold(fmt.Sprintf("%s  %q", phrase("text").in(l), text), t.width, 0))
	}
	_, err := io.WriteString(c.out, t.String())
	return err
}

// registersWidth is how wide the table of registers is.
const registersWidth = 78

// bitsInRow is the number of bits per line.
const bitsInRow = 16

func writeBits(c console, q drivers.RawQuery, data []byte, asJSON bool) error {
	bits := make([]int, q.Count)
	for i := range bits {
		bits[i] = int(data[i/8] >> (i % 8) & 1)
	}
	if asJSON {
		return writeJSON(c, struct {
			First int   `json:"first"`
			Bits  []int `json:"bits"`
		}{q.First, bits})
	}
	var b strings.Builder
	for i, bit := range bits {
		if i%bitsInRow == 0 {
			fmt.Fprintf(&b, "%5d ", q.First+i)
		}
		fmt.Fprintf(&b, " %d", bit)
		if i%bitsInRow == bitsInRow-1 || i == len(bits)-1 {
			b.WriteByte('\n')
		}
	}
	_, err := fmt.Fprint(c.out, b.String())
	return err
}
