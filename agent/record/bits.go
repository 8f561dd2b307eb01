package record

import (
	"encoding/binary"
	"math/bits"
)

// A residual is written in Rice's code: u>>k in unary (ones, closed by a zero), then the k low bits. An outlier has
// riceMax+1 ones, then its number of significant bits in 6 bits and then u itself, so it costs at most riceMax+6+64
// bits.
const riceMax = 24

// bitWriter appends bits, lowest first.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint // bits in acc, below 8 between calls
}

func (w *bitWriter) reset() { w.out, w.acc, w.n = w.out[:0], 0, 0 }

// put appends the low n bits of v, n up to 56. Bits above n must be zero.
func (w *bitWriter) put(v uint64, n uint) {
	w.acc |= v << w.n
	w.n += n
	if w.n >= 8 {
		w.out = binary.LittleEndian.AppendUint64(w.out, w.acc)
		whole := w.n / 8
		w.out = w.out[:len(w.out)-8+int(whole)]
		w.acc >>= whole * 8
		w.n &= 7
	}
}

// putLong appends the low n bits of v, n up to 64.
func (w *bitWriter) putLong(v uint64, n uint) {
	if n > 32 {
		w.put(v&(1<<32-1), 32)
		v, n = v>>32, n-32
	}
	w.put(v, n)
}

func (w *bitWriter) rice(u uint64, k uint) {
	q := u >> k
	if q >= riceMax {
		size := uint(bits.Len64(u))
		w.put(1<<riceMax-1, riceMax)
		w.put(uint64(size-1), 6)
		w.putLong(u, size)
		return
	}
	w.put(1<<q-1, uint(q)+1)
	w.putLong(u&(1<<k-1), k)
}

// finish closes the last byte.
func (w *bitWriter) finish() []byte {
	if w.n > 0 {
		w.out = append(w.out, byte(w.acc))
		w.acc, w.n = 0, 0
	}
	return w.out
}

// riceCost returns the number of bits that rice(u, k) takes.
func riceCost(u uint64, k uint) uint {
	q := u >> k
	if q >= riceMax {
		return riceMax + 6 + uint(bits.Len64(u))
	}
	return uint(q) + 1 + k
}

// bitReader reads what bitWriter wrote. Reading beyond the end returns zeros, and over reports it.
type bitReader struct {
	in  []byte
	pos uint // in bits
}

// peek returns at least 57 bits.
func (r *bitReader) peek() uint64 {
	at := r.pos >> 3
	if at+8 <= uint(len(r.in)) {
		return binary.LittleEndian.Uint64(r.in[at:]) >> (r.pos & 7)
	}
	var tail [8]byte
	if at < uint(len(r.in)) {
		copy(tail[:], r.in[at:])
	}
	return binary.LittleEndian.Uint64(tail[:]) >> (r.pos & 7)
}

func (r *bitReader) long(n uint) uint64 {
	if n <= 56 {
		v := r.peek() & (1<<n - 1)
		r.pos += n
		return v
	}
	low := r.peek() & (1<<32 - 1)
	r.pos += 32
	high := r.peek() & (1<<(n-32) - 1)
	r.pos += n - 32
	return low | high<<32
}

func (r *bitReader) rice(k uint) uint64 {
	v := r.peek()
	q := uint(bits.TrailingZeros64(^v))
	if q >= riceMax {
		r.pos += riceMax
		return r.long(r.size())
	}
	if q+1+k <= 56 {
		r.pos += q + 1 + k
		return uint64(q)<<k | v>>(q+1)&(1<<k-1)
	}
	r.pos += q + 1
	return uint64(q)<<k | r.long(k)
}

// size reads the number of significant bits after an escape.
func (r *bitReader) size() uint {
	n := uint(r.peek()&63) + 1
	r.pos += 6
	return n
}

// over reports whether more was read than exists.
func (r *bitReader) over() bool { return r.pos > uint(len(r.in))*8 }
