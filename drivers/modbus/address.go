package modbus

import (
	"fmt"
	"strconv"
	"strings"
)

// Table is one of the four address spaces of a Modbus device.
type Table uint8

// The tables. Coils and holding registers can be written.
const (
	Coil Table = iota + 1
	Discrete
	Input
	Holding
)

var tableNames = [...]string{Coil: "coil", Discrete: "discrete", Input: "input", Holding: "holding"}

// String returns the table's name as it appears before the colon of an address, such as "holding".
func (t Table) String() string {
	if t < Coil || t > Holding {
		return "table?"
	}
	return tableNames[t]
}

// Bits reports whether the table holds single bits; the others hold 16-bit registers.
func (t Table) Bits() bool { return t == Coil || t == Discrete }

// Read returns the function code that reads the table.
func (t Table) Read() byte { return [...]byte{Coil: 1, Discrete: 2, Holding: 3, Input: 4}[t] }

// Address is a register or bit as it is numbered in the frame: from 0, whatever numbering the manual uses.
type Address struct {
	Table  Table
	Number uint16
}

// String formats the address as profiles write it, such as "holding:0x0048".
func (a Address) String() string { return fmt.Sprintf("%s:0x%04X", a.Table, a.Number) }

// Span is a contiguous run of registers (or bits) of one table.
type Span struct {
	Table Table
	First uint16
	Count int // at least 1; First+Count is at most 65536
}

// String formats the span as profiles write it, such as "holding:0x0048-0x0049".
func (s Span) String() string {
	if s.Count == 1 {
		return Address{s.Table, s.First}.String()
	}
	return fmt.Sprintf("%s:0x%04X-0x%04X", s.Table, s.First, s.End()-1)
}

// End returns the first address after the span, at most 65536.
func (s Span) End() int { return int(s.First) + s.Count }

// contains reports whether all of o lies within s.
func (s Span) contains(o Span) bool {
	return s.Table == o.Table && s.First <= o.First && o.End() <= s.End()
}

// Meets reports whether s and o share an address.
func (s Span) Meets(o Span) bool {
	return s.Table == o.Table && int(s.First) < o.End() && int(o.First) < s.End()
}

// join returns the smallest span that covers s and o. Both must be in the same table.
func (s Span) join(o Span) Span {
	first, end := min(s.First, o.First), max(s.End(), o.End())
	return Span{s.Table, first, end - int(first)}
}

// parseAddress parses "holding:0x0048" or "input:30000".
func parseAddress(text string) (Address, error) {
	name, number, ok := strings.Cut(text, ":")
	if !ok {
		return Address{}, fmt.Errorf("must be TABLE:NUMBER, such as holding:0x0048 (got %q)", text)
	}
	table, err := parseTable(name)
	if err != nil {
		return Address{}, err
	}
	n, err := parseNumber(number)
	if err != nil {
		return Address{}, err
	}
	return Address{table, n}, nil
}

// parseSpan parses "holding:30000-30014" or a single address.
func parseSpan(text string) (Span, error) {
	head, last, many := strings.Cut(text, "-")
	a, err := parseAddress(head)
	if err != nil {
		return Span{}, err
	}
	if !many {
		return Span{a.Table, a.Number, 1}, nil
	}
	n, err := parseNumber(last)
	if err != nil {
		return Span{}, err
	}
	if n < a.Number {
		return Span{}, fmt.Errorf("must end after it begins (got %q)", text)
	}
	return Span{a.Table, a.Number, int(n) - int(a.Number) + 1}, nil
}

func parseTable(name string) (Table, error) {
	for t := Coil; t <= Holding; t++ {
		if tableNames[t] == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("must begin with coil:, discrete:, input: or holding: (got %q)", name)
}

func parseNumber(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 0, 16)
	if err != nil {
		return 0, fmt.Errorf("must be a number from 0 to 65535, decimal or 0x hexadecimal (got %q)", text)
	}
	return uint16(n), nil
}
