package record

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"bordo/buffer"
)

// Limits of one block.
const (
	MaxRecords = 1 << 16 // records
	MaxPayload = 8 << 20 // bytes of all payloads together

	maxMeta   = 2 * MaxPayload // bytes of the meta section, unpacked
	maxTexts  = 1 << 17        // distinct texts; rows beyond are stored unchanged
	keepBytes = 1 << 20        // a scratch that has become larger is thrown away after use
)

// A block of version 1 is
//
//	0xB1  packing  bits:n  n bytes  meta:m  the meta section, m bytes unpacked, up to the end
//
// where n and m are unsigned varints. The bit section holds the residuals of all number columns in Rice's code and does
// not compress further. The meta section holds everything else and is packed with zstd where that makes it shorter. A
// block carries no checksum: its user adds one.
const (
	blockV1   = 0xB1
	packPlain = 0
	packZstd  = 1
)

// Codec seals rows into blocks by column and opens them again. It implements buffer.Codec. Every payload is restored
// exactly, rows of this package and any other bytes alike; only the former shrink. It is not safe for concurrent use,
// starts no goroutine, and holds about a megabyte of memory.
type Codec struct {
	enc    *zstd.Encoder
	dec    *zstd.Decoder
	sealer *sealer
	opener *opener
	meta   []byte
}

var _ buffer.Codec = (*Codec)(nil)

// NewCodec makes a codec.
func NewCodec() *Codec {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(fmt.Sprintf("record: zstd refuses its own options: %v", err))
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxMeta), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(fmt.Sprintf("record: zstd refuses its own options: %v", err))
	}
	return &Codec{enc: enc, dec: dec, sealer: newSealer(), opener: &opener{}}
}

// Seal packs records into a block. It fails only beyond MaxRecords and MaxPayload.
func (c *Codec) Seal(recs []buffer.Record) ([]byte, error) {
	if len(recs) > MaxRecords {
		return nil, fmt.Errorf("seal %d records: more than %d", len(recs), MaxRecords)
	}
	payload := 0
	for i := range recs {
		payload += len(recs[i].Payload)
	}
	if payload > MaxPayload {
		return nil, fmt.Errorf("seal %d bytes of payload: more than %d", payload, MaxPayload)
	}
	s := c.sealer
	s.reset()
	for i := range recs {
		s.add(&recs[i])
	}
	c.meta = s.write(c.meta[:0], payload)
	bits := s.w.finish()
	out := make([]byte, 0, 16+len(bits)+len(c.meta)/2)
	out = append(out, blockV1, packZstd)
	out = append(binary.AppendUvarint(out, uint64(len(bits))), bits...)
	out = binary.AppendUvarint(out, uint64(len(c.meta)))
	at := len(out)
	if out = c.enc.EncodeAll(c.meta, out); len(out)-at >= len(c.meta) {
		out[1] = packPlain
		out = append(out[:at], c.meta...)
	}
	if s.held()+cap(c.meta) > keepBytes {
		c.sealer, c.meta = newSealer(), nil
	}
	return out, nil
}

// Open unpacks a block of any version. The payloads of a block share memory with each other, not with block. Bytes that
// are no block give an error that matches ErrBlock, and never more than some multiples of MaxPayload of memory.
func (c *Codec) Open(block []byte) ([]buffer.Record, error) {
	recs, err := c.open(block)
	if err != nil {
		return nil, fmt.Errorf("open block: %w", err)
	}
	return recs, nil
}

func (c *Codec) open(block []byte) ([]buffer.Record, error) {
	m := &metaReader{in: block}
	if v := m.byte(); v != blockV1 {
		return nil, m.fail("unknown version %#02x", v)
	}
	pack := m.byte()
	bits := m.bytes(m.below(len(m.in)+1, "bit section"))
	size := m.below(maxMeta+1, "meta section")
	if m.err != nil {
		return nil, m.err
	}
	meta := m.in
	switch pack {
	case packPlain:
	case packZstd:
		var err error
		if cap(c.meta) < size {
			c.meta = make([]byte, 0, size)
		}
		if meta, err = c.dec.DecodeAll(meta, c.meta[:0:size]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBlock, err)
		}
	default:
		return nil, m.fail("unknown packing %d", pack)
	}
	if len(meta) != size {
		return nil, m.fail("meta section of %d bytes instead of %d", len(meta), size)
	}
	recs, err := c.opener.open(meta, bits)
	if cap(c.meta)+c.opener.held() > keepBytes {
		c.opener, c.meta = &opener{}, nil
	}
	return recs, err
}
