package buffer

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// errTruncated means that bytes end too early or contain impossible values.
var errTruncated = errors.New("bytes are cut off or damaged")

// castagnoli is the polynomial with hardware support on arm64 and amd64.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealBytes appends the CRC-32C of b to b, little endian.
func sealBytes(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// openBytes checks the CRC at the end of b and returns what precedes it.
func openBytes(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, errTruncated
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, errTruncated
	}
	return body, nil
}

// reader consumes values from the front of b. After the first failure it returns zero values and keeps the error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() { r.b, r.err = nil, errTruncated }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// take returns the next n bytes, sharing memory with the input.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// text returns a length-prefixed string.
func (r *reader) text() string { return string(r.take(r.uvarint())) }

// count reads the number of following elements, each of at least one byte: a damaged number must not cause a large
// allocation.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
