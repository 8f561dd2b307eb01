package buffer

import (
	"fmt"
	"slices"
)

// share is all blocks of one class in one segment: the unit in which space is given back.
type share struct {
	class Class
	index int // of the segment in its group
}

// rollMin is how many bytes a settled segment that is still being written must hold before it is closed and dropped.
const rollMin = 256 << 10

// tidy gives space back: what is acknowledged and not to be kept, what history outgrew, and the oldest of what there is
// when the store is full. It also brings flushed tables to the bottom before there are many.
func (s *Store) tidy() error {
	for range 64 {
		s.mu.Lock()
		drop := s.finished()
		evict := false
		s.mu.Unlock()
		if len(drop) == 0 {
			if size := filesSize(s.dir); size > s.opt.MaxSize-s.slack() {
				s.mu.Lock()
				drop = s.victim()
				evict = true
				s.mu.Unlock()
			}
		}
		if len(drop) == 0 {
			break
		}
		if err := s.drop(drop, evict); err != nil {
			return err
		}
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng != nil && s.eng.level0() >= s.level0Max() {
		return s.eng.drop()
	}
	return nil
}

// level0Max is how many flushed tables may wait before they are brought to the bottom.
func (s *Store) level0Max() int { return int(min(max(s.opt.MaxSize>>25, 2), 8)) }

// slack is how far below MaxSize eviction begins: the tables that are about to be rewritten, a table at either end of
// the new ones, and Badger's log files.
func (s *Store) slack() int64 {
	return min(int64(s.level0Max()+1)*(5<<18)+2*tableSize+(5<<20), s.opt.MaxSize/2)
}

// finished lists what is acknowledged and not to be kept. Called with mu held.
func (s *Store) finished() (out []share) {
	for g := range groups {
		l := &s.groups[g]
		i := len(l.list) - 1
		if seg := l.list[i]; seg.size() >= rollMin && s.allFinished(g, i) {
			s.roll(g)
			s.waiting.add()
		}
	}
	for c := Event; int(c) < classes; c++ {
		l := &s.groups[groupOf(c)]
		kept := s.keptBytes(c)
		for i := range len(l.list) - 1 {
			seg := l.list[i]
			if seg.gone[c] || !s.settled(i, c) {
				continue
			}
			if seg.bytes[c] == 0 {
				seg.gone[c] = true
				l.dirty[seg.no] = true
				continue
			}
			if kept > s.keep(c) {
				kept -= int64(seg.bytes[c])
				out = append(out, share{c, i})
			}
		}
	}
	return out
}

// allFinished reports whether nothing in a segment is unacknowledged or to be kept. Called with mu held.
func (s *Store) allFinished(g group, i int) bool {
	for c := Event; int(c) < classes; c++ {
		if groupOf(c) == g && s.groups[g].list[i].bytes[c] > 0 && (s.keep(c) > 0 || !s.settled(i, c)) {
			return false
		}
	}
	return true
}

// keep is how many bytes of acknowledged records of class c stay.
func (s *Store) keep(c Class) int64 {
	switch c {
	case Reading:
		return s.opt.History
	case Interval:
		return s.opt.EnergyHistory
	}
	return 0
}

// victim chooses what is given up when the store is full: acknowledged readings, readings, intervals, events, each
// oldest first. Called with mu held.
func (s *Store) victim() []share {
	pick := func(c Class, settled bool) []share {
		l := &s.groups[groupOf(c)]
		for i, seg := range l.list {
			if seg.bytes[c] == 0 || seg.gone[c] || settled && !s.settled(i, c) {
				continue
			}
			if i == len(l.list)-1 {
				s.roll(groupOf(c))
				s.waiting.add()
			}
			return []share{{c, i}}
		}
		return nil
	}
	if v := pick(Reading, true); v != nil {
		return v
	}
	for _, c := range []Class{privateReading, Reading, privateInterval, Interval, Card, Event} {
		if v := pick(c, false); v != nil {
			return v
		}
	}
	return nil
}

// drop gives up shares: first a transaction that says so, with the gaps of what was not acknowledged, then the files.
// A crash in between leaves files that the next opening removes.
func (s *Store) drop(list []share, evict bool) error {
	if evict {
		for _, sh := range list {
			if err := s.evict(sh); err != nil {
				return err
			}
		}
	}
	s.mu.Lock()
	var prefixes [][]byte
	for _, sh := range list {
		l := &s.groups[groupOf(sh.class)]
		seg := l.list[sh.index]
		prefixes = append(prefixes, segPrefix(sh.class, seg.no))
		seg.gone[sh.class] = true
		l.dirty[seg.no] = true
		s.skip(sh)
		s.waiting.add()
	}
	s.mu.Unlock()
	if _, err := s.flush(func(*entry) bool { return false }); err != nil {
		return err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng == nil {
		return s.noDisk()
	}
	if err := s.eng.drop(prefixes...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range groups {
		s.prune(g)
	}
	return nil
}

// skip moves a class past a share that is given up. Called with mu held.
func (s *Store) skip(sh share) {
	l, g := &s.lanes[sh.class], &s.groups[groupOf(sh.class)]
	first, end := g.list[sh.index].first[sh.class], g.end(sh.index, sh.class, s.lanes[sh.class].next)
	if end > first {
		l.done = l.done.add(first, end-1)
	}
	for _, b := range slices.Clone(l.open) {
		if b.no >= first && b.no < end {
			b.left = 0 // a late acknowledgement finds nothing to do
			l.leave(b)
		}
	}
	l.dead = slices.DeleteFunc(l.dead, func(no uint64) bool { return no >= first && no < end })
	for i, seg := range g.list {
		if !seg.gone[sh.class] {
			l.low = max(l.low, seg.first[sh.class])
			break
		}
		if i == len(g.list)-1 {
			l.low = l.next
		}
	}
	l.done = l.done.dropBelow(l.low)
	l.cursor = max(l.cursor, l.low)
}

// prune forgets segments of which nothing is left. Called with mu held.
func (s *Store) prune(g group) {
	l := &s.groups[g]
	for len(l.list) > 1 {
		seg := l.list[0]
		for c := Event; int(c) < classes; c++ {
			if groupOf(c) == g && !seg.gone[c] {
				return
			}
		}
		l.gone = append(l.gone, seg.no)
		delete(l.dirty, seg.no)
		l.list = l.list[1:]
		s.waiting.add()
	}
}

// evict counts what of a share was not acknowledged and reports it as gaps.
func (s *Store) evict(sh share) error {
	s.mu.Lock()
	l, g := &s.lanes[sh.class], &s.groups[groupOf(sh.class)]
	done := slices.Clone(l.done)
	for _, no := range l.dead {
		done = done.add(no, no)
	}
	seg := g.list[sh.index]
	s.mu.Unlock()

	lost := map[string]*spanCount{}
	s.disk.Lock()
	var err error
	if s.eng != nil {
		err = s.eng.scan(segPrefix(sh.class, seg.no), func(k, v []byte) bool {
			if _, _, no, ok := parseBlockKey(k); !ok || done.has(no) {
				return true
			}
			if h, _, err := readHeader(v); err == nil {
				n := lost[h.epoch]
				if n == nil {
					n = &spanCount{first: h.first}
					lost[h.epoch] = n
				}
				n.first, n.last, n.n = min(n.first, h.first), max(n.last, h.last), n.n+uint64(h.n)
			}
			return true
		})
	}
	s.disk.Unlock()
	if err != nil {
		return fmt.Errorf("evict: %w", err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range l.open { // what is acknowledged of blocks in delivery is not lost
		if n := lost[b.epoch]; n != nil {
			if in, ok := g.of(sh.class, b.no); ok && in == seg && b.left > 0 {
				n.n -= min(n.n, uint64(b.n-b.left))
			}
		}
	}
	for epoch, n := range lost {
		if n.n == 0 {
			continue
		}
		s.gaps.extend(sh.class.public(), ID{epoch, n.first}, n.last, n.n, Evicted)
		s.uncount(epoch, sh.class, n.n)
		if e := s.spans[epoch]; e != nil && e.class[sh.class].n > 0 {
			e.class[sh.class].first = max(e.class[sh.class].first, n.last+1)
		}
		s.counts.evicted += n.n
		s.waiting.add()
	}
	s.log.Warn("store is full, oldest records given up", "class", sh.class.String(), "segment", seg.no, "epochs", len(lost))
	return nil
}

// lose notes that block no of class c cannot be read any more: a gap between its neighbours, as far as they are known.
// Called with disk held, without mu.
func (s *Store) lose(c Class, no uint64, b *block, why string) {
	bounds := s.neighbours(c, no)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.lanes[c]
	if no < l.low || l.done.has(no) {
		return
	}
	if b != nil { // its header was known
		bounds = []Gap{{Epoch: b.epoch, Class: c.public(), From: b.first, To: &b.last, Why: Damaged, Count: uint64(b.left)}}
		s.uncount(b.epoch, c, uint64(b.left))
		b.left = 0
		l.leave(b)
	}
	for _, g := range bounds {
		s.gaps.add(g)
		s.counts.lost += g.Count
	}
	if no >= l.cursor {
		l.cursor = no + 1
	}
	l.dead = append(l.dead, no)
	s.waiting.add()
	signal(s.kick)
	s.log.Error("block of the store is lost", "class", c.String(), "block", no, "err", why)
}

// neighbours describes what block no may have held: everything of its class between the block before and the one after,
// epoch by epoch. Called with disk held, without mu.
func (s *Store) neighbours(c Class, no uint64) []Gap {
	s.mu.Lock()
	spans := s.spanList()
	s.mu.Unlock()
	before, after := s.neighbour(c, no, -1), s.neighbour(c, no, +1)
	var out []Gap
	for _, e := range spans {
		k := e.class[c]
		if k.n == 0 || before != nil && e.epoch < before.epoch || after != nil && e.epoch > after.epoch {
			continue
		}
		from, to := k.first, k.last
		if before != nil && e.epoch == before.epoch {
			from = max(from, before.last+1)
		}
		if after != nil && e.epoch == after.epoch {
			to = min(to, after.first-1)
		}
		if from <= to {
			out = append(out, Gap{Epoch: e.epoch, Class: c.public(), From: from, To: &to, Why: Damaged})
		}
	}
	return out
}

// neighbour looks for a readable block before or behind no, within the same and the adjoining segments.
func (s *Store) neighbour(c Class, no uint64, step int64) *header {
	const far = 4096
	for i := int64(1); i <= far; i++ {
		at := uint64(int64(no) + i*step)
		s.mu.Lock()
		l := &s.lanes[c]
		inside := at >= l.low && at < l.next
		seg, ok := s.groups[groupOf(c)].of(c, at)
		s.mu.Unlock()
		if !inside {
			return nil
		}
		if !ok {
			continue
		}
		if v, err := s.eng.get(blockKey(c, seg.no, at)); err == nil && v != nil {
			if h, _, err := openBlock(v, c, at); err == nil {
				return &h
			}
		}
	}
	return nil
}
