package record

import (
	"encoding/binary"

	"bordo/buffer"
	"bordo/drivers/catalogue"
)

// shape is what rows of one device have in common: the same kind, boot and, of a sample, the same points in the same
// order; of an event, the same type. Shape numbers count from 1; 0 are rows that are not ours.
type shape struct {
	kind      byte
	dev, boot int32 // texts
	set       int32 // of a sample: the set of keys; of an event: the text of its type
	cols      []int32
	keys      []string // of a sample
}

// column is everything that a block holds of one point of one device.
type column struct {
	key   int32 // see sealer.key
	tags  []uint8
	nums  []uint64
	texts []int32
}

// sealer gathers records into columns. It is reused for the next block; it retains only memory.
type sealer struct {
	texts  []string
	textOf map[string]int32

	sets   [][]int32 // the keys of each set
	setOf  map[string]int32
	shapes []shape
	found  map[string]int32 // by everything that makes a shape
	last   map[string]int32 // by device: the shape of its latest sample
	cols   []column
	colOf  map[int64]int32 // by device and key

	epochs, ids     []int32
	class, clk      []uint8
	seq, mono       []int64
	from, to, sizes []int64
	times           []devTimes // by place of the device
	timesOf         map[int32]int
	raw             []byte

	row    []reading
	scrap  []byte
	firsts []int64
	whole  []int64
	order  grouping
	ints   intCoder
	float  floatCoder
	w      bitWriter
}

// devTimes are the times of one device's rows.
type devTimes struct{ ts []int64 }

func newSealer() *sealer {
	return &sealer{
		textOf: map[string]int32{}, setOf: map[string]int32{}, found: map[string]int32{}, last: map[string]int32{},
		colOf: map[int64]int32{}, timesOf: map[int32]int{},
	}
}

// reset forgets the block but keeps the memory.
func (s *sealer) reset() {
	clear(s.textOf)
	clear(s.setOf)
	clear(s.found)
	clear(s.last)
	clear(s.colOf)
	clear(s.timesOf)
	clear(s.texts)
	clear(s.shapes)
	s.texts, s.sets, s.shapes = s.texts[:0], s.sets[:0], s.shapes[:0]
	s.cols, s.times = s.cols[:0], s.times[:0]
	s.epochs, s.ids, s.class, s.clk = s.epochs[:0], s.ids[:0], s.class[:0], s.clk[:0]
	s.seq, s.mono, s.from, s.to, s.sizes = s.seq[:0], s.mono[:0], s.from[:0], s.to[:0], s.sizes[:0]
	s.raw = s.raw[:0]
	s.w.reset()
}

// text returns the number of a text of this block.
func (s *sealer) text(b []byte) int32 {
	if i, ok := s.textOf[string(b)]; ok {
		return i
	}
	i := int32(len(s.texts))
	s.texts = append(s.texts, string(b))
	s.textOf[s.texts[i]] = i
	return i
}

// key returns the number of a reading's key: the odd ones are places in keysV1, the even ones texts.
func (s *sealer) key(row []byte, r *reading) int32 {
	if r.place > 0 {
		return int32(r.place-1)<<1 | 1
	}
	return s.text(row[r.key.from:r.key.to]) << 1
}

// add takes one record into the columns.
func (s *sealer) add(rec *buffer.Record) {
	s.epochs = append(s.epochs, s.text([]byte(rec.Epoch)))
	s.class = append(s.class, uint8(rec.Class))
	s.seq = append(s.seq, int64(rec.Seq))
	ts := int64(0)
	h, rest, ok := s.parse(rec.Payload)
	if ok {
		ts = h.ts
		s.clk = append(s.clk, h.clk)
		s.mono = append(s.mono, h.ts-h.mono)
		id := s.shape(rec.Payload, &h)
		s.ids = append(s.ids, id+1)
		sh := &s.shapes[id]
		t := &s.times[s.timesOf[sh.dev]]
		t.ts = append(t.ts, h.ts)
		if sh.kind == sampleV1 {
			s.readings(rec.Payload, sh)
		} else {
			s.sizes = append(s.sizes, int64(len(rec.Payload)-rest))
			s.raw = append(s.raw, rec.Payload[rest:]...)
		}
	} else {
		s.ids = append(s.ids, 0)
		s.sizes = append(s.sizes, int64(len(rec.Payload)))
		s.raw = append(s.raw, rec.Payload...)
	}
	s.from = append(s.from, rec.From-ts)
	s.to = append(s.to, rec.To-rec.From)
}

// parse reads a row completely, a sample's readings into s.row. Not ok means that the bytes are not a row of this
// package, or that there are too many distinct texts already; one row adds at most two for each of its readings.
func (s *sealer) parse(row []byte) (h head, rest int, ok bool) {
	kind, err := TypeOf(row)
	if err != nil || len(s.texts) > maxTexts/2 {
		return head{}, 0, false
	}
	if h, rest, err = readHead(row, row[0]); err != nil {
		return head{}, 0, false
	}
	if kind == KindEvent {
		return h, rest, true
	}
	if cap(s.row) < h.n {
		s.row = make([]reading, h.n)
	}
	s.row = s.row[:h.n]
	for i := range s.row {
		if s.row[i], rest, err = readReading(row, rest); err != nil {
			return head{}, 0, false
		}
	}
	return h, rest, rest == len(row)
}

// shape finds the shape of a parsed row; most rows have that of the device's row before.
func (s *sealer) shape(row []byte, h *head) int32 {
	dev, boot := row[h.dev.from:h.dev.to], row[h.boot.from:h.boot.to]
	sample := row[0] == sampleV1
	if sample {
		if id, ok := s.last[string(dev)]; ok && s.same(id, row, boot) {
			return id
		}
	}
	// What makes the shape is spelt out as a map key. Texts carry their length, so that no two shapes are spelt alike.
	k := append(s.scrap[:0], row[0])
	k = append(binary.AppendUvarint(k, uint64(len(dev))), dev...)
	k = append(binary.AppendUvarint(k, uint64(len(boot))), boot...)
	setFrom := len(k)
	if sample {
		for i := range s.row {
			k = binary.AppendUvarint(k, uint64(s.key(row, &s.row[i])))
		}
	} else {
		k = append(k, row[h.typ.from:h.typ.to]...)
	}
	s.scrap = k
	id, ok := s.found[string(k)]
	if !ok {
		id = int32(len(s.shapes))
		s.found[string(k)] = id
		sh := shape{kind: row[0], dev: s.text(dev), boot: s.text(boot)}
		if sample {
			s.columnsOf(row, &sh, string(k[setFrom:]))
		} else {
			sh.set = s.text(row[h.typ.from:h.typ.to])
		}
		if _, ok := s.timesOf[sh.dev]; !ok {
			s.timesOf[sh.dev] = len(s.times)
			s.times = grow(s.times)
			t := &s.times[len(s.times)-1]
			t.ts = t.ts[:0]
		}
		s.shapes = append(s.shapes, sh)
	}
	if sample {
		s.last[s.texts[s.shapes[id].dev]] = id
	}
	return id
}

// same reports whether the parsed sample has shape id.
func (s *sealer) same(id int32, row, boot []byte) bool {
	sh := &s.shapes[id]
	if len(sh.keys) != len(s.row) || s.texts[sh.boot] != string(boot) {
		return false
	}
	for i := range s.row {
		r := &s.row[i]
		if r.place > 0 {
			if sh.keys[i] != keysV1[r.place-1] {
				return false
			}
		} else if sh.keys[i] != string(row[r.key.from:r.key.to]) {
			return false
		}
	}
	return true
}

// columnsOf finds or makes the set of keys and the columns of a new shape.
func (s *sealer) columnsOf(row []byte, sh *shape, set string) {
	n, ok := s.setOf[set]
	if !ok {
		n = int32(len(s.sets))
		s.setOf[set] = n
		keys := make([]int32, len(s.row))
		for i := range s.row {
			keys[i] = s.key(row, &s.row[i])
		}
		s.sets = append(s.sets, keys)
	}
	sh.set = n
	sh.cols, sh.keys = make([]int32, len(s.row)), make([]string, len(s.row))
	for i, key := range s.sets[n] {
		if sh.keys[i] = s.row[i].key.text(row); s.row[i].place > 0 {
			sh.keys[i] = keysV1[s.row[i].place-1]
		}
		place := int64(sh.dev)<<32 | int64(key)
		c, ok := s.colOf[place]
		if !ok {
			c = int32(len(s.cols))
			s.colOf[place] = c
			s.cols = grow(s.cols)
			col := &s.cols[c]
			*col = column{key: key, tags: col.tags[:0], nums: col.nums[:0], texts: col.texts[:0]}
		}
		sh.cols[i] = c
	}
}

// grow lengthens a list by one and keeps the memory that the new element had before.
func grow[T any](list []T) []T {
	if len(list) < cap(list) {
		return list[:len(list)+1]
	}
	var zero T
	return append(list, zero)
}

// readings appends the parsed sample to its columns.
func (s *sealer) readings(row []byte, sh *shape) {
	for i := range s.row {
		r := &s.row[i]
		c := &s.cols[sh.cols[i]]
		switch r.kind() {
		case catalogue.Float:
			c.nums = append(c.nums, r.bits)
		case catalogue.Text:
			c.texts = append(c.texts, s.text(row[r.text.from:r.text.to]))
		}
		c.tags = append(c.tags, r.tag)
	}
}

// write appends the meta section of everything that was added; the residuals go to s.w.
//
//	number of records, bytes of all payloads
//	texts · sets of keys · shapes
//	runs of epochs, classes · shape of each record (0: not a row of ours) · runs of clock qualities
//	seq · ts-mono · from-ts · to-from
//	first ts of each device · the other ts, device by device
//	columns, see writeColumns
//	sizes of what is raw (data of events, what is not a row) · the raw bytes
func (s *sealer) write(meta []byte, payload int) []byte {
	meta = binary.AppendUvarint(meta, uint64(len(s.seq)))
	meta = binary.AppendUvarint(meta, uint64(payload))
	meta = binary.AppendUvarint(meta, uint64(len(s.texts)))
	for _, t := range s.texts {
		meta = appendText(meta, t)
	}
	meta = binary.AppendUvarint(meta, uint64(len(s.sets)))
	for _, set := range s.sets {
		meta = binary.AppendUvarint(meta, uint64(len(set)))
		for _, key := range set {
			meta = binary.AppendUvarint(meta, uint64(key))
		}
	}
	meta = binary.AppendUvarint(meta, uint64(len(s.shapes)))
	for i := range s.shapes {
		sh := &s.shapes[i]
		meta = append(meta, sh.kind)
		for _, v := range [...]int32{sh.dev, sh.boot, sh.set} {
			meta = binary.AppendUvarint(meta, uint64(v))
		}
	}
	meta = appendRuns(meta, s.epochs)
	meta = appendRuns(meta, s.class)
	for _, id := range s.ids {
		meta = binary.AppendUvarint(meta, uint64(id))
	}
	meta = appendRuns(meta, s.clk)
	for _, col := range [...][]int64{s.seq, s.mono, s.from, s.to} {
		meta = s.ints.put(meta, &s.w, col)
	}
	s.firsts = s.firsts[:0]
	for i := range s.times {
		s.firsts = append(s.firsts, s.times[i].ts[0])
	}
	meta = s.ints.put(meta, &s.w, s.firsts)
	for i := range s.times {
		meta = s.ints.rest(meta, &s.w, s.times[i].ts)
	}
	meta = s.writeColumns(meta)
	meta = s.ints.put(meta, &s.w, s.sizes)
	return append(meta, s.raw...)
}

// writeColumns writes the tags of all columns, then the texts, then the numbers point by point: the transforms of a
// point's columns, their first values as their own column, and the rest. Similar data compresses better side by side,
// and in a small block the same point of another device is the only basis for a prediction.
func (s *sealer) writeColumns(meta []byte) []byte {
	for i := range s.cols {
		meta = appendRuns(meta, s.cols[i].tags)
	}
	for i := range s.cols {
		if c := &s.cols[i]; len(c.texts) > 0 {
			meta = appendRuns(meta, c.texts)
		}
	}
	s.order.sort(len(s.cols), func(i int) (int32, bool) { return s.cols[i].key, len(s.cols[i].nums) > 0 })
	for _, group := range s.order.groups {
		s.firsts, s.whole = s.firsts[:0], s.whole[:0]
		for _, i := range group {
			t := s.float.choose(s.cols[i].nums)
			meta = t.append(meta)
			s.firsts = append(s.firsts, s.float.m[0])
			s.whole = append(s.whole, s.float.m...)
		}
		meta = s.ints.put(meta, &s.w, s.firsts)
		meta = s.writeRest(meta, group)
	}
	return meta
}

// writeRest writes the values after the first ones of a point's columns, which are in s.whole.
func (s *sealer) writeRest(meta []byte, group []int32) []byte {
	if together(len(s.whole), len(group)) {
		s.firsts = s.firsts[:0]
		at := 0
		for _, i := range group {
			for range len(s.cols[i].nums) - 1 {
				at++
				s.firsts = append(s.firsts, s.whole[at]-s.whole[at-1])
			}
			at++
		}
		return s.ints.put(meta, &s.w, s.firsts)
	}
	at := 0
	for _, i := range group {
		n := len(s.cols[i].nums)
		meta = s.ints.rest(meta, &s.w, s.whole[at:at+n])
		at += n
	}
	return meta
}

// together reports whether the columns of a point are so short that their differences are written as one column:
// describing each separately would cost more than it saves.
func together(values, columns int) bool { return values < shortColumn*columns }

const shortColumn = 16

// grouping gathers columns by key, in the order in which keys first appear.
type grouping struct {
	groups [][]int32
	at     map[int32]int
}

// sort groups the columns 0 to n-1. key returns the key of each, and whether it takes part.
func (g *grouping) sort(n int, key func(int) (int32, bool)) {
	if g.at == nil {
		g.at = map[int32]int{}
	}
	clear(g.at)
	g.groups = g.groups[:0]
	for i := range n {
		k, ok := key(i)
		if !ok {
			continue
		}
		at, ok := g.at[k]
		if !ok {
			at = len(g.groups)
			g.at[k] = at
			g.groups = grow(g.groups)
			g.groups[at] = g.groups[at][:0]
		}
		g.groups[at] = append(g.groups[at], int32(i))
	}
}

// held estimates the size of the scratch memory in bytes.
func (s *sealer) held() int {
	n := cap(s.raw) + cap(s.w.out) + 8*(cap(s.seq)*5+cap(s.ints.x)*2+cap(s.float.m)+cap(s.whole)) + 72*cap(s.row)
	for _, c := range s.cols[:cap(s.cols)] {
		n += cap(c.tags) + 8*cap(c.nums) + 4*cap(c.texts) + 80
	}
	return n
}
