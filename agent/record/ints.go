package record

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A column of whole numbers is its first value followed by the residuals of the rest against a prediction. The header
// byte says which prediction, and how the residuals are packed:
//
//	bits 0-1  packing: none (all residuals are zero), rice (in the bit section), sparse (runs of zeros, varints)
//	bits 2-3  order: level (against a pivot), delta, second delta, slope (delta against a fixed step)
//	bit  4    all differences are multiples of a divisor, which follows
//
// All arithmetic is modulo 2^64, so that every int64 is restored whatever its neighbours are. A column of one value has
// no header.
const (
	packNone = iota
	packRice
	packSparse
)

const (
	orderLevel = iota
	orderDelta
	orderSecond
	orderSlope
)

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// intCoder writes columns of whole numbers. It reuses its scratch memory for every column.
type intCoder struct {
	x []int64  // the column, from 0, divided
	u []uint64 // residuals
}

// put writes vals to meta and w.
func (c *intCoder) put(meta []byte, w *bitWriter, vals []int64) []byte {
	if len(vals) == 0 {
		return meta
	}
	return c.rest(binary.AppendUvarint(meta, zigzag(vals[0])), w, vals)
}

// rest writes all but the first of vals, which the reader knows.
func (c *intCoder) rest(meta []byte, w *bitWriter, vals []int64) []byte {
	if len(vals) < 2 {
		return meta
	}
	div := c.scale(vals)
	order, param := c.choose()
	pack, k := c.pack()
	head := byte(pack | order<<2)
	if div > 1 {
		head |= 1 << 4
	}
	meta = append(meta, head)
	if div > 1 {
		meta = binary.AppendUvarint(meta, uint64(div))
	}
	if order != orderDelta {
		meta = binary.AppendUvarint(meta, zigzag(param))
	}
	switch pack {
	case packRice:
		meta = append(meta, byte(k))
		for _, u := range c.u {
			w.rice(u, k)
		}
	case packSparse:
		meta = appendSparse(meta, c.u)
	}
	return meta
}

// scale fills x with vals less the first, divided by what divides all differences.
func (c *intCoder) scale(vals []int64) (div int64) {
	var g uint64
	for i := 1; i < len(vals) && g != 1; i++ {
		d := vals[i] - vals[i-1]
		if d == math.MinInt64 {
			g = 1
			break
		}
		g = gcd(g, uint64(max(d, -d)))
	}
	div = max(1, int64(g))
	c.x = append(c.x[:0], 0)
	for i := 1; i < len(vals); i++ {
		d := vals[i] - vals[i-1]
		if div > 1 {
			d /= div
		}
		c.x = append(c.x, c.x[i-1]+d)
	}
	return div
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		if a <= math.MaxUint32 && b <= math.MaxUint32 {
			a, b = b, uint64(uint32(a)%uint32(b)) // half the time of the long division
			continue
		}
		a, b = b, a%b
	}
	return a
}

// choose fills u with the residuals of the order that makes them smallest.
func (c *intCoder) choose() (order int, param int64) {
	x, n := c.x, len(c.x)
	var sum int64
	for _, v := range x {
		sum += v
	}
	pivot, step, first := sum/int64(n), x[n-1]/int64(n-1), x[1]
	level, delta, slope, second := bits.Len64(zigzag(-pivot)), 0, 0, 0
	last := int64(0)
	for i := 1; i < n; i++ {
		d := x[i] - x[i-1]
		level += bits.Len64(zigzag(x[i] - pivot))
		delta += bits.Len64(zigzag(d))
		slope += bits.Len64(zigzag(d - step))
		if i > 1 {
			second += bits.Len64(zigzag(d - last))
		}
		last = d
	}
	order = orderDelta
	best := delta
	if v := slope + 12; v < best {
		order, param, best = orderSlope, step, v
	}
	if v := level + 12; v < best {
		order, param, best = orderLevel, pivot, v
	}
	if v := second + 12; v < best {
		order, param = orderSecond, first
	}
	c.residuals(order, param)
	return order, param
}

func (c *intCoder) residuals(order int, param int64) {
	x, u := c.x, c.u[:0]
	switch order {
	case orderLevel:
		for _, v := range x {
			u = append(u, zigzag(v-param))
		}
	case orderDelta, orderSlope:
		for i := 1; i < len(x); i++ {
			u = append(u, zigzag(x[i]-x[i-1]-param))
		}
	case orderSecond:
		last := param
		for i := 2; i < len(x); i++ {
			d := x[i] - x[i-1]
			u = append(u, zigzag(d-last))
			last = d
		}
	}
	c.u = u
}

// pack chooses how the residuals lie.
func (c *intCoder) pack() (pack int, k uint) {
	var sum, most uint64
	sparse, run := uint(0), false
	for _, v := range c.u {
		most |= v
		if v != 0 {
			s := sum + v
			if s < sum {
				s = math.MaxUint64
			}
			sum = s
			sparse += uint(bits.Len64(v)+6) / 7 * 8
			run = false
		} else if !run {
			sparse += 16
			run = true
		}
	}
	if most == 0 {
		return packNone, 0
	}
	k = uint(max(0, bits.Len64(sum/uint64(len(c.u)))-1))
	best := c.cost(k)
	for _, try := range [...]uint{k - 1, k + 1} { // k-1 of 0 wraps around and is not tried
		if try < 64 {
			if v := c.cost(try); v < best {
				best, k = v, try
			}
		}
	}
	if sparse < best {
		return packSparse, 0
	}
	return packRice, k
}

func (c *intCoder) cost(k uint) (n uint) {
	for _, v := range c.u {
		n += riceCost(v, k)
	}
	return n
}

// appendSparse writes each run of zeros as 0 and its length less one, everything else as itself.
func appendSparse(dst []byte, u []uint64) []byte {
	for i := 0; i < len(u); {
		if u[i] != 0 {
			dst = binary.AppendUvarint(dst, u[i])
			i++
			continue
		}
		from := i
		for i < len(u) && u[i] == 0 {
			i++
		}
		dst = binary.AppendUvarint(append(dst, 0), uint64(i-from-1))
	}
	return dst
}

// getInts reads a column of len(dst) values.
func getInts(m *metaReader, r *bitReader, dst []int64) error {
	if len(dst) == 0 {
		return m.err
	}
	return getRest(m, r, dst, unzigzag(m.uvarint()))
}

// getRest reads a column of len(dst) values of which the first is known.
func getRest(m *metaReader, r *bitReader, dst []int64, first int64) error {
	if dst[0] = first; len(dst) == 1 || m.err != nil {
		return m.err
	}
	head := m.byte()
	pack, order := int(head&3), int(head>>2&3)
	div, param := int64(1), int64(0)
	if head&(1<<4) != 0 {
		div = int64(m.uvarint())
	}
	if order != orderDelta {
		param = unzigzag(m.uvarint())
	}
	if head>>5 != 0 || pack > packSparse {
		return m.fail("column header %#02x", head)
	}
	res := dst[1:] // where the residuals go before they are summed up
	switch order {
	case orderLevel:
		res = dst
	case orderSecond:
		res = dst[2:]
	}
	if err := getResiduals(m, r, res, pack); err != nil {
		return err
	}
	sumUp(dst, order, param)
	if first == 0 && div == 1 {
		return nil
	}
	for i, x := range dst {
		dst[i] = first + x*div
	}
	return nil
}

func getResiduals(m *metaReader, r *bitReader, res []int64, pack int) error {
	switch pack {
	case packNone:
		clear(res)
	case packRice:
		k := uint(m.byte())
		if k > 63 {
			return m.fail("rice parameter %d", k)
		}
		for i := range res {
			res[i] = unzigzag(r.rice(k))
		}
		if r.over() {
			return m.fail("bit section ends early")
		}
	case packSparse:
		for i := 0; i < len(res) && m.err == nil; {
			u := m.uvarint()
			if u != 0 {
				res[i] = unzigzag(u)
				i++
				continue
			}
			n := m.uvarint()
			if n >= uint64(len(res)-i) {
				return m.fail("run of %d zeros in %d values", n, len(res)-i)
			}
			clear(res[i : i+int(n)+1])
			i += int(n) + 1
		}
	}
	return m.err
}

// sumUp turns residuals into the column from 0.
func sumUp(dst []int64, order int, param int64) {
	switch order {
	case orderLevel:
		for i := range dst {
			dst[i] += param
		}
	case orderDelta, orderSlope:
		dst[0] = 0
		for i := 1; i < len(dst); i++ {
			dst[i] += dst[i-1] + param
		}
	case orderSecond:
		dst[0], dst[1] = 0, param
		d := param
		for i := 2; i < len(dst); i++ {
			d += dst[i]
			dst[i] = dst[i-1] + d
		}
	}
}
