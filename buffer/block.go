package buffer

import (
	"encoding/binary"
	"fmt"
)

// Layout of a block value, version 1. Store images of every release must open for ever, so a new layout gets a new
// first byte.
//
//	byte     version (1)
//	byte     codec of the body: 0 plain, 1 Options.Codec
//	byte     class
//	byte     flags: 1 kept, 2 aged
//	uvarint  age of the store in seconds when the block was written, only with flag 2
//	uvarint  number of the block within its class
//	8 bytes  epoch
//	uvarint  first sequence, then last sequence minus first, then records
//	varint   from (ms), then to minus from
//	uvarint  bytes of body, then the body
//	4 bytes  CRC-32C of all before, little endian
const (
	blockVersion = 1

	codecPlain = 0
	codecGiven = 1

	// flagKept: every record was already acknowledged when the block was written.
	flagKept = 1 << 0
	// flagAged: the age of the store follows the flags, as uvarint seconds.
	flagAged = 1 << 1
)

// header is the decoded header of a block.
type header struct {
	no          uint64
	class       Class
	codec       byte
	flags       byte
	age         uint64 // seconds, 0 without flagAged
	epoch       string
	first, last uint64
	n           int
	from, to    int64
}

// appendBlock encodes a block around body.
func appendBlock(b []byte, h header, body []byte) []byte {
	b = append(b, blockVersion, h.codec, byte(h.class), h.flags)
	if h.flags&flagAged != 0 {
		b = binary.AppendUvarint(b, h.age)
	}
	b = binary.AppendUvarint(b, h.no)
	b = append(b, h.epoch...)
	b = binary.AppendUvarint(b, h.first)
	b = binary.AppendUvarint(b, h.last-h.first)
	b = binary.AppendUvarint(b, uint64(h.n))
	b = binary.AppendVarint(b, h.from)
	b = binary.AppendVarint(b, h.to-h.from)
	b = binary.AppendUvarint(b, uint64(len(body)))
	b = append(b, body...)
	return sealBytes(b)
}

// readHeader decodes the header of a block without checking the sum; the body shares memory with v.
func readHeader(v []byte) (header, []byte, error) {
	r := &reader{b: v}
	if ver := r.byte(); r.err == nil && ver != blockVersion {
		return header{}, nil, fmt.Errorf("block version %d: %w", ver, errTruncated)
	}
	h := header{codec: r.byte(), class: Class(r.byte()), flags: r.byte()}
	if h.flags&flagAged != 0 {
		h.age = r.uvarint()
	}
	h.no = r.uvarint()
	h.epoch = string(r.take(epochLen))
	h.first = r.uvarint()
	h.last = h.first + r.uvarint()
	n := r.uvarint()
	h.from = r.varint()
	h.to = h.from + r.varint()
	body := r.take(r.uvarint())
	if r.err != nil || len(r.b) != 4 || h.last < h.first || n == 0 || n > blockRecords || n-1 > h.last-h.first {
		return header{}, nil, errTruncated
	}
	h.n = int(n)
	return h, body, nil
}

// openBlock decodes a whole block and checks its sum, and that it is block no of class. It returns header and body.
func openBlock(v []byte, class Class, no uint64) (header, []byte, error) {
	if _, err := openBytes(v); err != nil {
		return header{}, nil, err
	}
	h, body, err := readHeader(v)
	if err != nil {
		return header{}, nil, err
	}
	if h.class != class || h.no != no {
		return header{}, nil, fmt.Errorf("block header names %s %d: %w", h.class, h.no, errTruncated)
	}
	return h, body, nil
}

// headerOf returns the header for records of one class and epoch, Seq ascending. The caller sets the other fields.
func headerOf(recs []Record) header {
	h := header{epoch: recs[0].Epoch, first: recs[0].Seq, last: recs[len(recs)-1].Seq, n: len(recs)}
	for _, r := range recs {
		if r.From != 0 && (h.from == 0 || r.From < h.from) {
			h.from = r.From
		}
		h.to = max(h.to, r.To)
	}
	if h.to < h.from {
		h.to = h.from
	}
	return h
}

// decode opens the body of a block with the codec named in its header and checks the records against the header. A
// codec that returned a different identity than was sealed would give one identity two payloads.
func (s *Store) decode(h header, body []byte) ([]Record, error) {
	codec := Codec(s.plain)
	if h.codec == codecGiven {
		if s.opt.Codec == nil {
			return nil, fmt.Errorf("open block %s %d: no codec configured", h.class, h.no)
		}
		codec = s.opt.Codec
	}
	recs, err := codec.Open(body)
	if err != nil {
		return nil, fmt.Errorf("open block %s %d: %w", h.class, h.no, err)
	}
	if len(recs) != h.n {
		return nil, fmt.Errorf("open block %s %d: %d records instead of %d: %w",
			h.class, h.no, len(recs), h.n, errTruncated)
	}
	prev := uint64(0)
	for i := range recs {
		r := &recs[i]
		if r.Epoch != h.epoch || r.Seq < h.first || r.Seq > h.last || i > 0 && r.Seq <= prev {
			return nil, fmt.Errorf("open block %s %d: unexpected identity %s: %w", h.class, h.no, r.ID, errTruncated)
		}
		r.Class, prev = h.class.public(), r.Seq
	}
	return recs, nil
}
