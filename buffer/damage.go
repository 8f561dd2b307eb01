package buffer

import (
	"fmt"
	"slices"
)

// markLost records that block no of class c can no longer be read, as a gap. The gap is exact when the block's header
// is known. Otherwise every unreadable block up to the next good one is lost at once, as a gap between its neighbours.
// Called with disk held, without mu. It fails, and discards nothing, when the disk refuses to read what this needs.
func (s *Store) markLost(c Class, no uint64, b *block, why error) error {
	s.log.Error("block of the store is lost", "class", c.String(), "block", no, "err", why)
	if b != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.giveUp(b, Damaged)
		return nil
	}
	s.eng.refused = nil
	next := s.nextGood(c, no)
	if err := s.eng.refused; err != nil && s.isTransient(err) {
		return err
	}
	if s.markRunLost(c, no, next) {
		s.recountSpans(c)
	}
	return nil
}

// markRunLost discards every block from no up to next, the first good one, and reports whether it discarded any.
// Called with disk held, without mu.
func (s *Store) markRunLost(c Class, no uint64, next *header) (lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.lanes[c]
	end := l.next
	if next != nil {
		end = next.no
	}
	for at := l.finished.next(max(no, l.low)); at < end; at = l.finished.next(at + 1) {
		if open, _ := l.find(at); open == nil { // blocks still in memory are not lost
			l.addAcked(ackedBlock{no: at})
			lost = true
		}
	}
	l.cursor = max(l.cursor, end)
	if !lost {
		return false
	}
	for _, g := range gapsBetween(s.spanList(), c, l.before, next) {
		s.gaps.add(g)
	}
	s.counts.lost++
	s.addWaiting()
	return true
}

// recountSpans counts the unacknowledged records of class c again, because the content of lost blocks is unknown. It
// reads the header of every block. Called with disk held, without mu.
func (s *Store) recountSpans(c Class) {
	s.mu.Lock()
	l := &s.lanes[c]
	over := slices.Clone(l.finished)
	open := map[uint64]bool{} // counted at the end, because acknowledgements continue meanwhile
	for _, b := range l.open {
		open[b.no] = true
	}
	segs := s.liveSegments(c)
	s.mu.Unlock()

	counts := map[string]*spanEntry{}
	count := func(epoch string, first, last uint64, n int) {
		if n == 0 {
			return
		}
		if counts[epoch] == nil {
			counts[epoch] = &spanEntry{epoch: epoch}
		}
		counts[epoch].count(c, first, last, uint64(n))
	}
	for _, seg := range segs {
		err := s.eng.scan(segPrefix(c, seg), func(k, v []byte) bool {
			_, _, no, ok := parseBlockKey(k)
			if !ok || open[no] || over.has(no) {
				return true
			}
			if h, _, err := openBlock(v, c, no); err == nil {
				count(h.epoch, h.first, h.last, h.n-s.ackedOnDisk(h))
			}
			return true
		})
		if err != nil {
			s.log.Warn("segment cannot be read completely", "class", c.String(), "segment", seg, "err", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range l.open {
		count(b.epoch, b.first, b.last, b.left)
	}
	for epoch, e := range counts {
		if s.spans[epoch] == nil {
			s.spans[epoch] = &spanEntry{epoch: epoch}
		}
		s.spans[epoch].class[c] = e.class[c]
	}
	for epoch, e := range s.spans {
		if counts[epoch] == nil {
			e.class[c] = spanCount{}
		}
		s.touched[epoch] = true
	}
}

// ackedOnDisk returns how many records of a block earlier transactions stored as acknowledged. Called with disk held.
func (s *Store) ackedOnDisk(h header) int {
	v, err := s.eng.get(acksKey(h.class, h.no))
	if err != nil || v == nil {
		return 0
	}
	b := newBlock(h, 0)
	b.applyAcks(v)
	return b.n - b.left
}

// liveSegments lists the segments that hold blocks of class c, oldest first. Called with mu held.
func (s *Store) liveSegments(c Class) (out []uint32) {
	for _, seg := range s.groups[groupOf(c)].list {
		if !seg.dropped[c] {
			out = append(out, seg.no)
		}
	}
	return out
}

// giveUp reports the unacknowledged records of a block as a gap and forgets the block. Called with mu held.
func (s *Store) giveUp(b *block, why Reason) {
	l := &s.lanes[b.class]
	if open, _ := l.find(b.no); open != b || b.left == 0 {
		return // settled or evicted meanwhile
	}
	s.gaps.add(Gap{
		Epoch: b.epoch, Class: b.class.public(), From: b.first, To: &b.last, Reason: why, Count: uint64(b.left),
	})
	s.counts.lost += uint64(b.left)
	s.uncount(b.epoch, b.class, uint64(b.left))
	b.left = 0
	l.markAcked(b)
	s.addWaiting()
}

// nextGood returns the header of the first readable block after no, nil when there is none. Called with disk held,
// without mu.
func (s *Store) nextGood(c Class, no uint64) (good *header) {
	s.mu.Lock()
	segs := s.liveSegments(c)
	s.mu.Unlock()
	for _, seg := range segs {
		err := s.eng.scanFrom(blockKey(c, seg, no+1), segPrefix(c, seg), func(k, v []byte) bool {
			if _, _, at, ok := parseBlockKey(k); ok {
				if h, _, err := openBlock(v, c, at); err == nil && h.flags&flagKept == 0 {
					good = &h
				}
			}
			return good == nil
		})
		if err != nil {
			s.log.Warn("segment cannot be read completely", "class", c.String(), "segment", seg, "err", fmt.Sprint(err))
		}
		if good != nil {
			return good
		}
	}
	return nil
}
