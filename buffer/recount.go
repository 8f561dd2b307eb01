package buffer

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// recount rebuilds segments, spans and lanes from the blocks that exist. A number that is neither present nor
// acknowledged is a lost block: it becomes a gap between its neighbours, limited by bounds. recount reads and checks
// every block, so it runs only after damage.
func (k *inventory) recount(e *engine, bounds []spanEntry) {
	k.counted = true
	for epoch := range k.spans {
		k.stale[epoch] = true
	}
	clear(k.spans)
	k.findSegments(e)
	for c := Event; int(c) < classes; c++ {
		k.recountLane(e, c, bounds)
	}
	for epoch := range k.spans {
		k.stale[epoch] = true
	}
}

// findSegments lists the segments that contain blocks, besides the known ones.
func (k *inventory) findSegments(e *engine) {
	for _, sh := range listShares(e) {
		g := groupOf(sh.class)
		i, ok := slices.BinarySearchFunc(k.segs[g], sh.seg, func(s *segment, no uint32) int {
			return cmp.Compare(s.no, no)
		})
		if !ok {
			k.segs[g] = slices.Insert(k.segs[g], i, &segment{no: sh.seg})
		}
	}
}

// place names one class in one segment.
type place struct {
	class Class
	seg   uint32
}

// listShares finds out which classes lie in which segments by jumping from one to the next.
func listShares(e *engine) (out []place) {
	for _, group := range []byte{keyBulk, keyLong} {
		for at := []byte{group}; at != nil; {
			k, err := e.seek(at, []byte{group})
			if err != nil || k == nil {
				break
			}
			c, seg, _, ok := parseBlockKey(k)
			if !ok {
				at = prefixEnd(k)
				continue
			}
			out = append(out, place{c, seg})
			at = prefixEnd(segPrefix(c, seg))
		}
	}
	slices.SortFunc(out, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.seg, b.seg), cmp.Compare(a.class, b.class))
	})
	return out
}

// prefixEnd returns the first key after everything that begins with prefix, nil when there is none.
func prefixEnd(prefix []byte) []byte {
	k := slices.Clone(prefix)
	for i := len(k) - 1; i >= 0; i-- {
		if k[i]++; k[i] != 0 {
			return k[:i+1]
		}
	}
	return nil
}

// laneCount is the progress of a recount through the blocks of one class.
type laneCount struct {
	*laneState
	class  Class
	bounds []spanEntry
	expect uint64  // next unacknowledged block number
	before *header // header of the last readable block
}

// recountLane recounts one class in the order of block numbers.
func (k *inventory) recountLane(e *engine, c Class, bounds []spanEntry) {
	l := &k.lanes[c]
	lc := &laneCount{laneState: l, class: c, bounds: bounds, expect: l.done.next(l.low)}
	list := k.segs[groupOf(c)]
	first := make([]uint64, len(list)) // lowest number in each segment, 0: none
	for i, seg := range list {
		seg.bytes[c] = 0
		if seg.dropped[c] {
			continue
		}
		err := e.scan(segPrefix(c, seg.no), func(key, v []byte) bool {
			_, _, no, ok := parseBlockKey(key)
			if !ok || no < l.low {
				return true
			}
			if first[i] == 0 {
				first[i] = no
			}
			seg.bytes[c] += uint64(len(v))
			if h := k.visit(lc, no, v); h != nil {
				k.count(e, *h)
			}
			return true
		})
		if err != nil {
			k.addDamage(err.Error()) // the blocks after it count as missing
		}
	}
	k.skipTo(lc, l.next, nil)
	begin := l.next
	for i := len(list) - 1; i >= 0; i-- {
		if first[i] != 0 {
			begin = first[i]
		} else if i < len(list)-1 {
			list[i].dropped[c] = true
		}
		list[i].first[c] = begin
	}
}

// visit processes block no. It returns the header if the block is readable and unacknowledged, otherwise nil.
func (k *inventory) visit(lc *laneCount, no uint64, v []byte) *header {
	if lc.done.has(no) {
		lc.next = max(lc.next, no+1)
		return nil
	}
	h, _, err := openBlock(v, lc.class, no)
	if err != nil {
		return nil // the number counts as missing
	}
	k.skipTo(lc, no, &h)
	lc.expect = lc.done.next(no + 1)
	lc.next = max(lc.next, no+1)
	lc.before = &h
	return &h
}

// skipTo treats every expected number before no as a lost block and adds the gaps.
func (k *inventory) skipTo(lc *laneCount, no uint64, next *header) {
	missing := false
	for ; lc.expect < no; lc.expect = lc.done.next(lc.expect) {
		missing = true
		lc.done = lc.done.add(lc.expect, lc.expect)
	}
	if missing {
		for _, g := range gapsBetween(lc.bounds, lc.class, lc.before, next) {
			k.gaps.add(g)
		}
	}
}

// count adds the unacknowledged records of an existing block to its epoch.
func (k *inventory) count(e *engine, h header) {
	s := k.spans[h.epoch]
	if s == nil {
		s = &spanEntry{epoch: h.epoch}
		k.spans[h.epoch] = s
	}
	n := uint64(h.n)
	if v, err := e.get(acksKey(h.class, h.no)); err == nil && v != nil {
		b := newBlock(h, 0)
		b.applyAcks(v)
		n = uint64(b.left)
	}
	if n > 0 {
		s.count(h.class, h.first, h.last, n)
	}
}

// gapsBetween returns gaps, one per epoch, for everything that blocks of class c between two others may have contained.
// A nil before means the first block, a nil next the end.
func gapsBetween(bounds []spanEntry, c Class, before, next *header) (out []Gap) {
	for _, e := range bounds {
		n := e.class[c]
		if n.n == 0 || before != nil && e.epoch < before.epoch || next != nil && e.epoch > next.epoch {
			continue
		}
		from, to := n.first, n.last
		if before != nil && e.epoch == before.epoch {
			from = max(from, before.last+1)
		}
		if next != nil && e.epoch == next.epoch {
			to = min(to, next.first-1)
		}
		if from <= to {
			out = append(out, Gap{Epoch: e.epoch, Class: c.public(), From: from, To: &to, Reason: Damaged})
		}
	}
	if len(out) > 0 {
		return out
	}
	// No epoch in between is known, so report the widest possible gap.
	g := Gap{Class: c.public(), Reason: Damaged}
	switch {
	case before != nil:
		g.Epoch, g.From = before.epoch, before.last+1
		if next != nil && next.epoch == before.epoch {
			to := max(next.first-1, g.From)
			g.To = &to
		}
	case next != nil:
		to := next.first - 1
		g.Epoch, g.To = next.epoch, &to
	}
	return []Gap{g}
}

// sortSpans lists spans, oldest epoch first.
func sortSpans(m map[string]spanEntry) []spanEntry {
	return slices.SortedFunc(maps.Values(m), func(a, b spanEntry) int { return strings.Compare(a.epoch, b.epoch) })
}
