package record

import (
	"math"
	"math/bits"
)

// A column of floats is turned into whole numbers m by the first of these that gives every float back to the bit:
//
//	div e   m / 10^e                 what a device counts in tenths, divided
//	mul e   m × 10^-e                the same, multiplied: not always the same double
//	single e  m / 10^e rounded to a float32
//	bits s  the double's bits as an ordered integer, shifted right by the zeros at the end that all have in common
//
// The header byte is the kind in the high half and e in the low half; of bits the shift follows in a byte.
const (
	floatDiv = iota
	floatMul
	floatSingle
	floatBits
)

const maxExp = 9

var (
	pow10    = [maxExp + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}
	invPow10 = [maxExp + 1]float64{1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9}
)

// rebuild returns the float of m.
func rebuild(kind, e int, m int64) float64 {
	switch kind {
	case floatDiv:
		return float64(m) / pow10[e]
	case floatMul:
		return float64(m) * invPow10[e]
	}
	return float64(float32(float64(m) / pow10[e]))
}

// scaled returns the m of f, and whether it gives f back.
func scaled(kind, e int, f float64) (m int64, ok bool) {
	x := f * pow10[e]
	if !(x > -1<<53 && x < 1<<53) {
		return 0, false
	}
	m = int64(x + math.Copysign(0.5, x))
	return m, math.Float64bits(rebuild(kind, e, m)) == math.Float64bits(f)
}

// floatCoder finds the whole numbers of a column.
type floatCoder struct{ m []int64 }

// decimal fills m with kind and returns the smallest exponent that serves all.
func (c *floatCoder) decimal(kind int, col []uint64) (e int, ok bool) {
	for from := 0; ; {
		c.m = c.m[:from]
		for from < len(col) {
			m, ok := scaled(kind, e, math.Float64frombits(col[from]))
			if !ok {
				break
			}
			c.m = append(c.m, m)
			from++
		}
		if from == len(col) {
			return e, true
		}
		bad := math.Float64frombits(col[from])
		for e++; ; e++ {
			if e > maxExp {
				return 0, false
			}
			if _, ok := scaled(kind, e, bad); ok {
				break
			}
		}
		from = 0
	}
}

const signBit = 1 << 63

// ordered maps the bits of a double, without its shift trailing zeros, to an integer that rises with it; -0 is below 0.
func ordered(b uint64, shift int) int64 {
	v := int64(b &^ signBit >> shift)
	if b&signBit != 0 {
		return ^v
	}
	return v
}

func unordered(v int64, shift int) uint64 {
	if v < 0 {
		return uint64(^v)<<shift | signBit
	}
	return uint64(v) << shift &^ signBit
}

// transform says how a column of floats became whole numbers.
type transform struct{ kind, e, shift int }

func (t transform) append(meta []byte) []byte {
	meta = append(meta, byte(t.kind<<4|t.e))
	if t.kind == floatBits {
		meta = append(meta, byte(t.shift))
	}
	return meta
}

// choose fills m.
func (c *floatCoder) choose(col []uint64) transform {
	single := true
	for _, b := range col {
		if f := math.Float64frombits(b); float64(float32(f)) != f {
			single = false
			break
		}
	}
	for kind := floatDiv; kind <= floatSingle; kind++ {
		if kind == floatSingle && !single {
			continue
		}
		if e, ok := c.decimal(kind, col); ok {
			return transform{kind: kind, e: e}
		}
	}
	all := uint64(signBit) // the shift is 63 at most
	for _, b := range col {
		all |= b
	}
	shift := bits.TrailingZeros64(all)
	c.m = c.m[:0]
	for _, b := range col {
		c.m = append(c.m, ordered(b, shift))
	}
	return transform{kind: floatBits, shift: shift}
}

// getTransform reads the header of a column.
func getTransform(meta *metaReader) (t transform) {
	head := int(meta.byte())
	t = transform{kind: head >> 4, e: head & 15}
	if t.kind == floatBits {
		if t.shift = int(meta.byte()); t.shift > 63 || t.e != 0 {
			_ = meta.fail("float header %#02x, shift %d", head, t.shift) // kept in meta.err
		}
	} else if t.kind > floatBits || t.e > maxExp {
		_ = meta.fail("float header %#02x", head) // kept in meta.err
	}
	return t
}

// undo turns whole numbers into the bits of the floats.
func (t transform) undo(meta *metaReader, m []int64) error {
	kind, e, shift := t.kind, t.e, t.shift
	switch kind {
	case floatBits:
		for i, v := range m {
			b := unordered(v, shift)
			if f := math.Float64frombits(b); f-f != 0 {
				return meta.fail("number that is not finite")
			}
			m[i] = int64(b)
		}
	case floatDiv:
		p := pow10[e]
		for i, v := range m {
			m[i] = int64(math.Float64bits(float64(v) / p))
		}
	default:
		for i, v := range m {
			m[i] = int64(math.Float64bits(rebuild(kind, e, v)))
		}
	}
	return nil
}
