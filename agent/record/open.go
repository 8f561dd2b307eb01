package record

import (
	"encoding/binary"
	"math"
	"slices"

	"bordo/buffer"
	"bordo/drivers/catalogue"
)

// opener reads the meta section of one block. It reuses its scratch memory for every block.
type opener struct {
	m       metaReader
	r       bitReader
	n       int // records
	payload int // bytes of all payloads

	texts  []string
	sets   [][]int32
	shapes []openShape
	cols   []openColumn
	colOf  map[int64]int32
	order  grouping
	firsts []int64
	diffs  []int64
	forms  []transform

	epochs, ids         []int32
	class, clk          []uint8
	seq, mono, from, to []int64
	sizes               []int64
	times               []int64 // device by device
	clocks              []cursor
	timeAt              map[int32]int // by device: place in clocks
	nums                []int64       // all floats, as bits, column by column
	words               []int32       // all texts
	tags                []uint8       // of the columns where they differ
	structured          int           // records that are rows of ours
}

// cursor walks over a column.
type cursor struct{ at, end int }

type openShape struct {
	kind      byte
	dev, boot int32
	set       int32
	used      int
	clock     int // place of the device's times in clocks
	cols      []int32
	head      []byte // boot, dev and number of readings, or type, as encoded in a row
}

type openColumn struct {
	slots int
	key   int32
	name  []byte // as encoded in a row
	tag   uint8  // of all readings, when they agree
	mixed bool
	tags  cursor
	nums  cursor
	words cursor
}

// fill gives s length n, re-using its memory.
func fill[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// open reads a meta section and its bit section into records. Payloads lie in one piece of memory.
func (o *opener) open(meta, bits []byte) ([]buffer.Record, error) {
	o.m, o.r = metaReader{in: meta}, bitReader{in: bits}
	for _, step := range [...]func() error{o.tables, o.records, o.layout, o.columns, o.rest} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return o.build()
}

// tables reads counts, texts, sets of keys and shapes.
func (o *opener) tables() error {
	m := &o.m
	o.n = m.below(MaxRecords+1, "record count")
	o.payload = m.below(MaxPayload+1, "payload size")
	o.texts = o.texts[:0]
	for range m.below(min(maxTexts, len(m.in))+1, "text count") {
		o.texts = append(o.texts, string(m.bytes(m.below(len(m.in)+1, "text length"))))
	}
	o.sets = o.sets[:0]
	keys := 0
	for range m.below(min(o.n, len(m.in))+1, "set count") {
		n := m.below(min(MaxReadings, len(m.in))+1, "set size")
		if keys += n; keys > o.payload {
			return m.fail("%d keys in %d bytes", keys, o.payload)
		}
		set := make([]int32, n)
		for i := range set {
			k := m.uvarint()
			if k&1 == 1 && k>>1 >= uint64(len(keysV1)) || k&1 == 0 && k>>1 >= uint64(len(o.texts)) {
				return m.fail("key %d", k)
			}
			set[i] = int32(k)
		}
		o.sets = append(o.sets, set)
	}
	o.shapes = o.shapes[:0]
	for range m.below(min(o.n, len(m.in))+1, "shape count") {
		sh := openShape{kind: m.byte()}
		sh.dev = int32(m.below(len(o.texts), "device"))
		sh.boot = int32(m.below(len(o.texts), "boot"))
		limit := len(o.texts)
		if sh.kind == sampleV1 {
			limit = len(o.sets)
		} else if sh.kind != eventV1 {
			return m.fail("row kind %#02x", sh.kind)
		}
		sh.set = int32(m.below(limit, "set or type"))
		o.shapes = append(o.shapes, sh)
	}
	return m.err
}

// records reads the fields that each record has of its own.
func (o *opener) records() error {
	m := &o.m
	o.epochs, o.class, o.ids = fill(o.epochs, o.n), fill(o.class, o.n), fill(o.ids, o.n)
	if err := getRuns(m, o.epochs, len(o.texts), "epoch"); err != nil {
		return err
	}
	if err := getRuns(m, o.class, 256, "class"); err != nil {
		return err
	}
	o.structured = 0
	for i := range o.ids {
		id := m.below(len(o.shapes)+1, "shape")
		o.ids[i] = int32(id)
		if id > 0 {
			o.structured++
			o.shapes[id-1].used++
		}
	}
	o.clk, o.mono = fill(o.clk, o.structured), fill(o.mono, o.structured)
	if err := getRuns(m, o.clk, len(clkOf), "clock quality"); err != nil {
		return err
	}
	o.seq, o.from, o.to = fill(o.seq, o.n), fill(o.from, o.n), fill(o.to, o.n)
	for _, col := range [...][]int64{o.seq, o.mono, o.from, o.to} {
		if err := getInts(m, &o.r, col); err != nil {
			return err
		}
	}
	return m.err
}

// layout computes the length of every column and checks that all of it fits the announced payload.
func (o *opener) layout() error {
	if o.colOf == nil {
		o.colOf, o.timeAt = map[int64]int32{}, map[int32]int{}
	}
	clear(o.colOf)
	clear(o.timeAt)
	o.cols, o.clocks = o.cols[:0], o.clocks[:0]
	slots := 0
	for i := range o.shapes {
		sh := &o.shapes[i]
		if sh.used == 0 {
			return o.m.fail("shape %d is not used", i)
		}
		if sh.kind == sampleV1 {
			if slots += sh.used * len(o.sets[sh.set]); slots > o.payload {
				return o.m.fail("%d readings in %d bytes", slots, o.payload)
			}
		}
		at, ok := o.timeAt[sh.dev]
		if !ok {
			at = len(o.clocks)
			o.timeAt[sh.dev] = at
			o.clocks = append(o.clocks, cursor{})
		}
		sh.clock = at
		o.clocks[at].end += sh.used
		o.head(sh)
	}
	return nil
}

// head prepares the fixed part of a shape's rows, and its columns.
func (o *opener) head(sh *openShape) {
	sh.head = appendText(appendText(nil, o.texts[sh.boot]), o.texts[sh.dev])
	if sh.kind == eventV1 {
		sh.head = appendText(sh.head, o.texts[sh.set])
		return
	}
	set := o.sets[sh.set]
	sh.head = binary.AppendUvarint(sh.head, uint64(len(set)))
	sh.cols = make([]int32, len(set))
	for i, key := range set {
		place := int64(sh.dev)<<32 | int64(key)
		c, ok := o.colOf[place]
		if !ok {
			c = int32(len(o.cols))
			o.colOf[place] = c
			col := openColumn{key: key}
			if key&1 == 1 {
				col.name = []byte{byte(key>>1) + 1}
			} else {
				col.name = appendText([]byte{0}, o.texts[key>>1])
			}
			o.cols = append(o.cols, col)
		}
		sh.cols[i] = c
		o.cols[c].slots += sh.used
	}
}

// columns reads times, tags, texts and numbers.
func (o *opener) columns() error {
	m := &o.m
	o.times = fill(o.times, o.structured)
	o.firsts = fill(o.firsts, len(o.clocks))
	if err := getInts(m, &o.r, o.firsts); err != nil {
		return err
	}
	at := 0
	for i := range o.clocks {
		c := &o.clocks[i]
		c.at, c.end = at, at+c.end
		if err := getRest(m, &o.r, o.times[c.at:c.end], o.firsts[i]); err != nil {
			return err
		}
		at = c.end
	}
	nums, words, err := o.readTags()
	if err != nil {
		return err
	}
	o.words = fill(o.words, words)
	for i := range o.cols {
		if c := &o.cols[i]; c.words.at < c.words.end {
			if err := getRuns(m, o.words[c.words.at:c.words.end], len(o.texts), "text"); err != nil {
				return err
			}
		}
	}
	o.nums = fill(o.nums, nums)
	o.order.sort(len(o.cols), func(i int) (int32, bool) {
		return o.cols[i].key,
			o.cols[i].nums.at < o.cols[i].nums.end
	})
	for _, group := range o.order.groups {
		if err := o.readNumbers(group); err != nil {
			return err
		}
	}
	return m.err
}

// readNumbers reads the numbers of all columns of one point.
func (o *opener) readNumbers(group []int32) error {
	m := &o.m
	o.forms, o.firsts = o.forms[:0], fill(o.firsts, len(group))
	for range group {
		o.forms = append(o.forms, getTransform(m))
	}
	if err := getInts(m, &o.r, o.firsts); err != nil {
		return err
	}
	values := 0
	for _, i := range group {
		values += o.cols[i].nums.end - o.cols[i].nums.at
	}
	joint := together(values, len(group))
	if joint {
		o.diffs = fill(o.diffs, values-len(group))
		if err := getInts(m, &o.r, o.diffs); err != nil {
			return err
		}
	}
	diffs := o.diffs
	for j, i := range group {
		nums := o.nums[o.cols[i].nums.at:o.cols[i].nums.end]
		if !joint {
			if err := getRest(m, &o.r, nums, o.firsts[j]); err != nil {
				return err
			}
		} else {
			nums[0] = o.firsts[j]
			for k := 1; k < len(nums); k++ {
				nums[k] = nums[k-1] + diffs[k-1]
			}
			diffs = diffs[len(nums)-1:]
		}
		if err := o.forms[j].undo(m, nums); err != nil {
			return err
		}
	}
	return nil
}

// readTags reads the tags of all columns and lays out their numbers and texts.
func (o *opener) readTags() (nums, words int, err error) {
	o.tags = o.tags[:0]
	for i := range o.cols {
		c := &o.cols[i]
		at := len(o.tags)
		o.tags = slices.Grow(o.tags, c.slots)[:at+c.slots]
		tags := o.tags[at:]
		if err := getRuns(&o.m, tags, tagLimit, "tag"); err != nil {
			return 0, 0, err
		}
		c.nums.at, c.words.at, c.tag, c.mixed = nums, words, 0, false
		for _, t := range tags {
			r := reading{tag: t}
			if !r.formed() {
				return 0, 0, o.m.fail("tag %#02x", t)
			}
			switch r.kind() {
			case catalogue.Float:
				nums++
			case catalogue.Text:
				words++
			}
			c.mixed = c.mixed || t != tags[0]
		}
		c.nums.end, c.words.end = nums, words
		if c.tags = (cursor{at, at + c.slots}); !c.mixed {
			c.tag = tags[0]
			o.tags = o.tags[:at]
		}
	}
	return nums, words, nil
}

// rest reads the sizes of the raw parts; the remainder of the meta section are their bytes.
func (o *opener) rest() error {
	n := o.n - o.structured
	for i := range o.shapes {
		if o.shapes[i].kind == eventV1 {
			n += o.shapes[i].used
		}
	}
	o.sizes = fill(o.sizes, n)
	if err := getInts(&o.m, &o.r, o.sizes); err != nil {
		return err
	}
	left := int64(len(o.m.in))
	for _, size := range o.sizes {
		if size < 0 || size > left {
			return o.m.fail("raw size %d of %d", size, left)
		}
		left -= size
	}
	if left != 0 {
		return o.m.fail("%d bytes too many", left)
	}
	return nil
}

// build puts the records together.
func (o *opener) build() ([]buffer.Record, error) {
	recs := make([]buffer.Record, o.n)
	arena := make([]byte, 0, o.payload)
	raw, sizes, own := o.m.in, o.sizes, 0
	for i := range recs {
		rec := &recs[i]
		rec.Epoch, rec.Seq, rec.Class = o.texts[o.epochs[i]], uint64(o.seq[i]), buffer.Class(o.class[i])
		from, ts := len(arena), int64(0)
		var sh *openShape
		if id := o.ids[i]; id > 0 {
			sh = &o.shapes[id-1]
			c := &o.clocks[sh.clock]
			ts = o.times[c.at]
			c.at++
			if len(arena)+headLen+len(sh.head) > cap(arena) {
				return nil, o.m.fail("payloads are larger than %d bytes", o.payload)
			}
			arena = append(arena, sh.kind, o.clk[own])
			arena = binary.LittleEndian.AppendUint64(arena, uint64(ts))
			arena = binary.LittleEndian.AppendUint64(arena, uint64(ts-o.mono[own]))
			arena = append(arena, sh.head...)
			own++
		}
		if sh != nil && sh.kind == sampleV1 {
			var err error
			if arena, err = o.readings(arena, sh); err != nil {
				return nil, err
			}
		} else {
			size := int(sizes[0])
			if size > cap(arena)-len(arena) {
				return nil, o.m.fail("payloads are larger than %d bytes", o.payload)
			}
			arena = append(arena, raw[:size]...)
			raw, sizes = raw[size:], sizes[1:]
		}
		rec.From = ts + o.from[i]
		rec.To = rec.From + o.to[i]
		rec.Payload = arena[from:len(arena):len(arena)]
	}
	if len(arena) != o.payload {
		return nil, o.m.fail("payloads of %d bytes instead of %d", len(arena), o.payload)
	}
	return recs, nil
}

// readings appends the readings of the next sample of a shape. It never grows dst beyond its capacity.
func (o *opener) readings(dst []byte, sh *openShape) ([]byte, error) {
	for _, ci := range sh.cols {
		c := &o.cols[ci]
		tag := c.tag
		if c.mixed {
			tag = o.tags[c.tags.at]
			c.tags.at++
		}
		word := ""
		if tag&3 == byte(catalogue.Text) {
			word = o.texts[o.words[c.words.at]]
			c.words.at++
		}
		// A tag, a key and a number or the length of a text take at most 1+10 bytes and the name.
		if cap(dst)-len(dst) < 11+len(c.name)+len(word) && !o.tight(dst, c, tag, word) {
			return nil, o.m.fail("payloads are larger than %d bytes", o.payload)
		}
		dst = append(append(dst, tag), c.name...)
		switch catalogue.Type(tag & 3) {
		case catalogue.Float:
			b := uint64(o.nums[c.nums.at])
			c.nums.at++
			switch tag >> 4 {
			case formDecimal:
				m, e, ok := decimalOf(math.Float64frombits(b))
				if !ok {
					return nil, o.m.fail("number %v is not a decimal", math.Float64frombits(b))
				}
				dst = binary.AppendUvarint(dst, zigzag(m)*10+uint64(e))
			case formSingle:
				single := float32(math.Float64frombits(b))
				if math.Float64bits(float64(single)) != b {
					return nil, o.m.fail("number %v is not single", math.Float64frombits(b))
				}
				dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(single))
			default:
				dst = binary.LittleEndian.AppendUint64(dst, b)
			}
		case catalogue.Text:
			dst = appendText(dst, word)
		}
	}
	return dst, nil
}

// tight reports, near the end of the payloads, whether a reading really fits.
func (o *opener) tight(dst []byte, c *openColumn, tag byte, word string) bool {
	var room [11]byte
	size := 1 + len(c.name) + len(word)
	switch catalogue.Type(tag & 3) {
	case catalogue.Float:
		b := uint64(o.nums[c.nums.at])
		switch tag >> 4 {
		case formDecimal:
			m, e, _ := decimalOf(math.Float64frombits(b))
			size += len(binary.AppendUvarint(room[:0], zigzag(m)*10+uint64(e)))
		case formSingle:
			size += 4
		default:
			size += 8
		}
	case catalogue.Text:
		size += len(binary.AppendUvarint(room[:0], uint64(len(word))))
	}
	return size <= cap(dst)-len(dst)
}

// held estimates the size of the scratch memory in bytes.
func (o *opener) held() int {
	return 8*(cap(o.seq)*5+cap(o.times)+cap(o.nums)+cap(o.diffs)) + 4*(cap(o.epochs)*2+cap(o.words)) + cap(o.tags) +
		160*cap(o.cols) + 120*cap(o.shapes) + 24*cap(o.forms)
}
