package modbus

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"bordo/drivers/catalogue"
)

// Encode is the inverse of Decode; the device side and commands use it. It returns the registers that hold v,
// with the scale factor sf if the field has one. It returns an error if v does not fit.
func (f *Field) Encode(v catalogue.Value, sf int) ([]uint16, error) {
	switch f.Type {
	case String:
		return f.encodeText(v.Text())
	case Bool:
		return []uint16{uint16(truth(v.Bool() != f.Invert)) << f.Bit}, nil
	case Dotted:
		return f.encodeDotted(v.Text())
	case Date:
		return nil, fmt.Errorf("encode %s: dates are not encoded", f.At)
	}
	if v.Type() == catalogue.Text {
		bits, err := f.numberOf(v.Text())
		if err != nil {
			return nil, err
		}
		return f.Registers(bits), nil
	}
	x := v.Float()
	if f.HasOff {
		x -= f.Offset.apply(1, 0)
	}
	x = f.Scale.undo(x, sf)
	switch f.Type {
	case F32:
		return f.Registers(uint64(math.Float32bits(float32(x)))), nil
	case F64:
		return f.Registers(math.Float64bits(x)), nil
	}
	bits, err := integer(f.Type, math.RoundToEven(x), f.Length)
	if err != nil {
		return nil, fmt.Errorf("encode %v at %s: %w", v, f.At, err)
	}
	return f.Registers(bits), nil
}

// numberOf returns the number for a word (the smallest if several have it) or for a list of flag words.
func (f *Field) numberOf(text string) (uint64, error) {
	for _, n := range slices.Sorted(maps.Keys(f.Enum)) {
		if f.Enum[n] == text {
			return n, nil
		}
	}
	if f.Format != "" {
		var n uint64
		if _, err := fmt.Sscanf(text, f.Format, &n); err == nil {
			return n, nil
		}
	}
	if f.Type == Bits {
		var bits uint64
		words := strings.Split(text, ", ")
		for _, flag := range f.Flags {
			if slices.Contains(words, flag.Text) {
				bits |= 1 << flag.Bit
			}
		}
		if bits != 0 || text == "" {
			return bits, nil
		}
	}
	return 0, fmt.Errorf("encode %q at %s: no number has this text", text, f.At)
}

// integer returns the bit pattern of a whole number.
func integer(t Type, x float64, registers int) (uint64, error) {
	var low, high float64
	bits := 16 * registers
	switch t {
	case I16, I32, I64:
		low, high = -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1)-1
	case S16, S32:
		high = math.Ldexp(1, bits-1) - 1
		low = -high
	case U8Hi, U8Lo:
		high = 255
	case BCD16, BCD32:
		high = math.Pow10(4*registers) - 1
	default:
		high = math.Ldexp(1, bits) - 1
	}
	if !(x >= low && x <= high) {
		return 0, fmt.Errorf("%v does not fit into %s (%v to %v)", x, t, low, high)
	}
	switch t {
	case S16, S32:
		if x < 0 {
			return uint64(-x) | 1<<(bits-1), nil
		}
	case BCD16, BCD32:
		var out uint64
		for n, shift := uint64(x), 0; n > 0; n, shift = n/10, shift+4 {
			out |= n % 10 << shift
		}
		return out, nil
	case U8Hi:
		return uint64(x) << 8, nil
	case I16, I32, I64:
		return uint64(int64(x)), nil
	}
	if x >= math.Ldexp(1, 63) {
		return uint64(x/2) * 2, nil // a conversion from such a float64 is not defined on all machines
	}
	return uint64(x), nil
}

// Registers splits a raw pattern into registers in the device's byte and word order.
func (f *Field) Registers(bits uint64) []uint16 {
	out := make([]uint16, f.Length)
	for i := range out {
		w := uint16(bits >> (16 * i))
		if f.Bytes == LowFirst {
			w = w>>8 | w<<8
		}
		at := f.Length - 1 - i
		if f.Words == LowFirst {
			at = i
		}
		out[at] = w
	}
	return out
}

func (f *Field) encodeText(text string) ([]uint16, error) {
	if len(text) > 2*f.Length {
		return nil, fmt.Errorf("encode %q at %s: longer than %d characters", text, f.At, 2*f.Length)
	}
	raw := make([]byte, 2*f.Length)
	copy(raw, text)
	out := make([]uint16, f.Length)
	for i := range out {
		hi, lo := raw[2*i], raw[2*i+1]
		if f.Bytes == LowFirst {
			hi, lo = lo, hi
		}
		out[i] = uint16(hi)<<8 | uint16(lo)
	}
	return out, nil
}

func (f *Field) encodeDotted(text string) ([]uint16, error) {
	parts := strings.Split(text, ".")
	out := make([]uint16, f.Length)
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil || i >= f.Length {
			return nil, fmt.Errorf("encode %q at %s: want at most %d numbers with dots", text, f.At, f.Length)
		}
		out[i] = uint16(n)
	}
	return out, nil
}
