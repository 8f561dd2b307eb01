package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrBlock is in the tree of every error about bytes that are not a block.
var ErrBlock = errors.New("not a block")

// metaReader reads the meta section of a block. After the first fault it gives zeros and keeps the error.
type metaReader struct {
	in  []byte
	err error
}

func (m *metaReader) fail(format string, args ...any) error {
	if m.err == nil {
		m.err = fmt.Errorf("%w: %s", ErrBlock, fmt.Sprintf(format, args...))
	}
	return m.err
}

func (m *metaReader) byte() byte {
	if len(m.in) == 0 || m.err != nil {
		_ = m.fail("ends early") // kept in m.err
		return 0
	}
	b := m.in[0]
	m.in = m.in[1:]
	return b
}

func (m *metaReader) uvarint() uint64 {
	if m.err != nil {
		return 0
	}
	if len(m.in) > 0 && m.in[0] < 0x80 {
		v := m.in[0]
		m.in = m.in[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(m.in)
	if n <= 0 {
		_ = m.fail("bad number") // kept in m.err
		return 0
	}
	m.in = m.in[n:]
	return v
}

// below reads a number that must be smaller than limit.
func (m *metaReader) below(limit int, what string) int {
	v := m.uvarint()
	if m.err == nil && v >= uint64(max(limit, 0)) {
		_ = m.fail("%s %d of %d", what, v, limit) // kept in m.err
	}
	if m.err != nil {
		return 0
	}
	return int(v)
}

func (m *metaReader) bytes(n int) []byte {
	if m.err != nil || n > len(m.in) {
		_ = m.fail("%d bytes of %d", n, len(m.in)) // kept in m.err
		return nil
	}
	b := m.in[:n:n]
	m.in = m.in[n:]
	return b
}

// appendRuns writes a column of small numbers of which most equal the one before: value and length of each run.
func appendRuns[T ~uint8 | ~int32](dst []byte, col []T) []byte {
	for i := 0; i < len(col); {
		from := i
		for i < len(col) && col[i] == col[from] {
			i++
		}
		dst = binary.AppendUvarint(dst, uint64(col[from]))
		if i == len(col) {
			return append(dst, 0) // to the end
		}
		dst = binary.AppendUvarint(dst, uint64(i-from))
	}
	return dst
}

// getRuns reads a column of len(dst) numbers, each below limit.
func getRuns[T ~uint8 | ~int32](m *metaReader, dst []T, limit int, what string) error {
	for i := 0; i < len(dst) && m.err == nil; {
		v := T(m.below(min(limit, math.MaxInt32), what))
		n := m.below(len(dst)-i, "run")
		if n == 0 {
			n = len(dst) - i
		}
		for j := i; j < i+n; j++ {
			dst[j] = v
		}
		i += n
	}
	return m.err
}
