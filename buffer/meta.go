package buffer

import (
	"encoding/binary"
	"fmt"
)

// Keys. Blocks lie in segments, and segments are placed so that the newest of both groups meet in the middle of the key
// space, with everything that is rewritten often between them:
//
//	'b' segment ^ class number      bulk: readings, oldest segment first
//	'm' …                           state, segments, spans, gaps, partial acknowledgements
//	'n' ^segment class number       kept long: events, intervals, cards, newest segment first
//
// A table that Badger flushes contains only new keys, and these lie close together. Compacting it into the bottom level
// therefore rewrites almost no older data, and a whole segment is dropped by removing its files (ADR in docs/adr).
const (
	keyBulk = 'b'
	keyMeta = 'm'
	keyLong = 'n'

	metaState   = 's' // "ms": state of the last transaction
	metaSegment = 't' // "mt" group segment: where the classes begin in it
	metaSpan    = 'e' // "me" epoch: its unacknowledged records
	metaGap     = 'g' // "mg" key: an unreported gap
	metaAcks    = 'p' // "mp" class number: which records of a block are acknowledged
	metaFlush   = 'x' // "mx": written and dropped to make Badger flush

	stateVersion = 1
)

// group is one of the two directions in which segments grow.
type group uint8

const (
	bulk group = iota
	long
	groups
)

// groupOf returns bulk for readings and long for all other classes.
func groupOf(c Class) group {
	if c == Reading || c == privateReading {
		return bulk
	}
	return long
}

// segPrefix is the prefix of all blocks of class c in segment seg.
func segPrefix(c Class, seg uint32) []byte {
	k := make([]byte, 0, 14)
	if groupOf(c) == bulk {
		k = binary.BigEndian.AppendUint32(append(k, keyBulk), seg)
	} else {
		k = binary.BigEndian.AppendUint32(append(k, keyLong), ^seg)
	}
	return append(k, byte(c))
}

func blockKey(c Class, seg uint32, no uint64) []byte {
	return binary.BigEndian.AppendUint64(segPrefix(c, seg), no)
}

// parseBlockKey is the inverse of blockKey.
func parseBlockKey(k []byte) (c Class, seg uint32, no uint64, ok bool) {
	if len(k) != 14 || k[0] != keyBulk && k[0] != keyLong {
		return 0, 0, 0, false
	}
	seg, c, no = binary.BigEndian.Uint32(k[1:]), Class(k[5]), binary.BigEndian.Uint64(k[6:])
	if k[0] == keyLong {
		seg = ^seg
	}
	return c, seg, no, c != Any && int(c) < classes && (groupOf(c) == bulk) == (k[0] == keyBulk)
}

func metaKey(kind byte, tail ...byte) []byte { return append([]byte{keyMeta, kind}, tail...) }

func acksKey(c Class, no uint64) []byte {
	return binary.BigEndian.AppendUint64(metaKey(metaAcks, byte(c)), no)
}

func gapKey(key uint64) []byte { return binary.BigEndian.AppendUint64(metaKey(metaGap), key) }

func segmentKey(g group, seg uint32) []byte {
	return binary.BigEndian.AppendUint32(metaKey(metaSegment, byte(g)), seg)
}

// state is written with every transaction: the position of each class, and the sequence below which nothing can be
// missing.
type state struct {
	txn        uint64
	epoch      string
	known      uint64 // everything of epoch below it is sealed or acknowledged
	lastSealed uint64
	nextGap    uint64
	age        uint64 // age of the store in seconds, see ageClock
	wall       uint64 // trusted seconds since 1970 at that age, 0: unknown
	lanes      [classes]laneState
	segs       [groups]uint32 // the segments being written
}

// laneState is the position of one class on disk.
type laneState struct {
	low   uint64 // no block below it is on disk
	next  uint64 // number of the next block
	done  ranges // blocks not below low that are acknowledged
	bytes uint64 // bytes of the class in the segment being written
}

func (s *state) encode() []byte {
	b := []byte{stateVersion}
	b = binary.AppendUvarint(b, s.txn)
	b = append(b, s.epoch...)
	b = binary.AppendUvarint(b, s.known)
	b = binary.AppendUvarint(b, s.lastSealed)
	b = binary.AppendUvarint(b, s.nextGap)
	b = binary.AppendUvarint(b, s.age)
	b = binary.AppendUvarint(b, s.wall)
	for _, seg := range s.segs {
		b = binary.AppendUvarint(b, uint64(seg))
	}
	return sealBytes(appendLanes(b, &s.lanes))
}

func appendLanes(b []byte, lanes *[classes]laneState) []byte {
	b = binary.AppendUvarint(b, uint64(len(lanes)))
	for i := range lanes {
		l := &lanes[i]
		b = binary.AppendUvarint(b, l.low)
		b = binary.AppendUvarint(b, l.next-l.low)
		b = binary.AppendUvarint(b, l.bytes)
		b = l.done.append(b)
	}
	return b
}

func readLanes(r *reader, lanes *[classes]laneState) {
	for i, n := 0, r.count(); i < n && r.err == nil; i++ {
		l := laneState{low: r.uvarint()}
		l.next = l.low + r.uvarint()
		l.bytes = r.uvarint()
		l.done = readRanges(r)
		if i < classes {
			lanes[i] = l
		}
	}
}

func decodeState(b []byte) (*state, error) {
	b, err := openBytes(b)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	r := &reader{b: b}
	if v := r.byte(); v != stateVersion {
		return nil, fmt.Errorf("read state: version %d: %w", v, errTruncated)
	}
	s := &state{txn: r.uvarint()}
	s.epoch = string(r.take(epochLen))
	s.known, s.lastSealed, s.nextGap = r.uvarint(), r.uvarint(), r.uvarint()
	s.age, s.wall = r.uvarint(), r.uvarint()
	for i := range s.segs {
		s.segs[i] = uint32(r.uvarint())
	}
	readLanes(r, &s.lanes)
	if r.err != nil {
		return nil, fmt.Errorf("read state: %w", r.err)
	}
	return s, nil
}

// segment is a run of consecutive blocks. Its space is reclaimed as a whole, one class at a time.
type segment struct {
	no      uint32
	first   [classes]uint64 // number of the first block of each class
	bytes   [classes]uint64
	dropped [classes]bool // dropped
}

func (g *segment) encode() []byte {
	var b []byte
	for c := range classes {
		b = binary.AppendUvarint(b, g.first[c])
		b = binary.AppendUvarint(b, g.bytes[c])
		b = append(b, boolByte(g.dropped[c]))
	}
	return sealBytes(b)
}

func decodeSegment(no uint32, b []byte) (*segment, error) {
	r, g := &reader{b: b}, &segment{no: no}
	for c := 0; c < classes && len(r.b) > 0; c++ {
		g.first[c], g.bytes[c], g.dropped[c] = r.uvarint(), r.uvarint(), r.byte() == 1
	}
	if r.err != nil {
		return nil, fmt.Errorf("read segment %d: %w", no, r.err)
	}
	return g, nil
}

// spanEntry counts the unacknowledged records of one epoch, by class.
type spanEntry struct {
	epoch string
	class [classes]spanCount
}

// spanCount counts n records between first and last.
type spanCount struct{ first, last, n uint64 }

func (e *spanEntry) empty() bool {
	for _, c := range e.class {
		if c.n > 0 {
			return false
		}
	}
	return true
}

// total returns the sum over all classes.
func (e *spanEntry) total() Span {
	out := Span{Epoch: e.epoch}
	for _, c := range e.class {
		if c.n == 0 {
			continue
		}
		if out.N == 0 || c.first < out.First {
			out.First = c.first
		}
		out.Last = max(out.Last, c.last)
		out.N += c.n
	}
	return out
}

func (e *spanEntry) append(b []byte) []byte {
	b = append(b, e.epoch...)
	set := byte(0)
	for i, c := range e.class {
		if c.n > 0 {
			set |= 1 << i
		}
	}
	b = append(b, set)
	for _, c := range e.class {
		if c.n > 0 {
			b = binary.AppendUvarint(b, c.first)
			b = binary.AppendUvarint(b, c.last-c.first)
			b = binary.AppendUvarint(b, c.n)
		}
	}
	return b
}

func readSpan(r *reader) spanEntry {
	e := spanEntry{epoch: string(r.take(epochLen))}
	set := r.byte()
	for i := range e.class {
		if set&(1<<i) != 0 {
			c := spanCount{first: r.uvarint()}
			c.last = c.first + r.uvarint()
			c.n = r.uvarint()
			e.class[i] = c
		}
	}
	return e
}

func appendGap(b []byte, g Gap) []byte {
	b = binary.AppendUvarint(b, g.Key)
	b = appendText(b, g.Epoch)
	b = append(b, byte(g.Class))
	b = binary.AppendUvarint(b, g.From)
	if g.To == nil {
		b = append(b, 0)
	} else {
		b = binary.AppendUvarint(append(b, 1), *g.To)
	}
	b = appendText(b, string(g.Reason))
	return binary.AppendUvarint(b, g.Count)
}

func readGap(r *reader) Gap {
	g := Gap{Key: r.uvarint(), Epoch: r.text(), Class: Class(r.byte()), From: r.uvarint()}
	if r.byte() == 1 {
		to := r.uvarint()
		g.To = &to
	}
	g.Reason = Reason(r.text())
	g.Count = r.uvarint()
	return g
}
