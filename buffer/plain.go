package buffer

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// plain is the default codec: length-prefixed records, compressed with zstd if that makes them shorter. The first byte
// says whether they are compressed.
type plain struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
	buf []byte
}

const (
	plainRaw  = 0
	plainZstd = 1

	// plainMax is the maximum decompressed size of a body, in bytes.
	plainMax = 4 << 20
)

// newPlain returns the codec. Its settings limit the encoder to about 300 KB of memory. It starts no goroutines.
func newPlain() (*plain, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(128<<10),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(plainMax))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &plain{enc: enc, dec: dec}, nil
}

// close releases the compressor.
func (p *plain) close() {
	p.dec.Close()
	_ = p.enc.Close() //nolint:errcheck // it writes to nothing
}

// Seal implements [Codec].
func (p *plain) Seal(recs []Record) ([]byte, error) {
	b := appendText(p.buf[:0], recs[0].Epoch)
	b = binary.AppendUvarint(b, uint64(len(recs)))
	seq, at := uint64(0), int64(0)
	for _, r := range recs {
		b = binary.AppendUvarint(b, r.Seq-seq)
		b = binary.AppendVarint(b, r.From-at)
		b = binary.AppendVarint(b, r.To-r.From)
		b = binary.AppendUvarint(b, uint64(len(r.Payload)))
		b = append(b, r.Payload...)
		seq, at = r.Seq, r.From
	}
	p.buf = b
	if z := p.enc.EncodeAll(b, []byte{plainZstd}); len(z) <= len(b) {
		return z, nil
	}
	return append([]byte{plainRaw}, b...), nil
}

// Open implements [Codec].
func (p *plain) Open(block []byte) ([]Record, error) {
	if len(block) == 0 {
		return nil, errTruncated
	}
	var b []byte
	switch block[0] {
	case plainRaw:
		b = append(b, block[1:]...)
	case plainZstd:
		var err error
		if b, err = p.dec.DecodeAll(block[1:], nil); err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
	default:
		return nil, fmt.Errorf("plain form %d: %w", block[0], errTruncated)
	}
	r := &reader{b: b}
	epoch := r.text()
	recs := make([]Record, 0, r.count())
	seq, at := uint64(0), int64(0)
	for len(recs) < cap(recs) && r.err == nil {
		rec := Record{ID: ID{Epoch: epoch, Seq: seq + r.uvarint()}, From: at + r.varint()}
		rec.To = rec.From + r.varint()
		rec.Payload = r.take(r.uvarint())
		recs = append(recs, rec)
		seq, at = rec.Seq, rec.From
	}
	if r.err != nil {
		return nil, r.err
	}
	return recs, nil
}
