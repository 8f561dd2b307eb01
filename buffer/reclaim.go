package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
)

// share is all blocks of one class in one segment: the unit in which space is reclaimed.
type share struct {
	class Class
	seg   *segment
}

// rollMin is the minimum size in bytes of a settled segment that is still being written before it is closed and
// dropped.
const rollMin = 256 << 10

// reclaim frees space: acknowledged records that are not kept, excess history, and the oldest records when the store is
// full. It also moves flushed tables to the bottom level before they become many.
func (s *Store) reclaim() error {
	s.mu.Lock()
	s.crowded = false
	s.mu.Unlock()
	for range 64 {
		more, err := s.reclaimStep()
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// reclaimStep does one of these steps and reports whether more may be necessary.
func (s *Store) reclaimStep() (more bool, err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	defer s.replaceFailed()
	if s.eng == nil {
		return false, s.noDisk()
	}
	s.mu.Lock()
	drop := s.finished()
	s.mu.Unlock()
	if len(drop) == 0 && s.isFull() {
		if gone, err := s.dropAside(); gone || err != nil {
			return true, err
		}
		if drop, err = s.evict(); err != nil {
			return false, err
		}
	}
	if len(drop) > 0 {
		return true, s.drop(drop)
	}
	if s.eng.level0() >= s.level0Max() {
		return false, s.rewrite()
	}
	return false, nil
}

// level0Max is the number of flushed tables that may wait before they are moved to the bottom level.
func (s *Store) level0Max() int { return int(min(max(s.opt.MaxSize>>25, 2), 8)) }

// slack is how far below MaxSize eviction begins: room for the tables about to be rewritten, a table at either end of
// the new ones, and Badger's log files.
func (s *Store) slack() int64 {
	return min(int64(s.level0Max()+1)*(5<<18)+2*tableSize+(5<<20), s.opt.MaxSize/2)
}

// isFull reports whether the files come close to MaxSize. It walks the directory only when the writes since could have
// filled it. Called with disk held.
func (s *Store) isFull() bool {
	s.mu.Lock()
	written := s.volume()
	s.mu.Unlock()
	if written < s.sizeAt {
		return false
	}
	left := s.opt.MaxSize - s.slack() - filesSize(s.dir)
	s.sizeAt = written + max(left/4, 64<<10)
	return left <= 0
}

// finished lists what is acknowledged and need not be kept. Called with disk and mu held.
func (s *Store) finished() (out []share) {
	for g := range groups {
		l := &s.groups[g]
		i := len(l.list) - 1
		if seg := l.list[i]; seg.size() >= rollMin && s.allFinished(g, i) {
			s.roll(g)
		}
	}
	for c := Event; int(c) < classes; c++ {
		l := &s.groups[groupOf(c)]
		kept := s.historyBytes(c)
		for i, seg := range l.list[:len(l.list)-1] {
			if seg.dropped[c] || !s.settled(i, c) {
				continue
			}
			if seg.bytes[c] == 0 {
				seg.dropped[c] = true
				l.dirty[seg.no] = true
				continue
			}
			if kept > s.keep(c) {
				kept -= int64(seg.bytes[c])
				out = append(out, share{c, seg})
			}
		}
	}
	return out
}

// allFinished reports whether a segment contains nothing unacknowledged and nothing to keep. Called with mu held.
func (s *Store) allFinished(g group, i int) bool {
	for c := Event; int(c) < classes; c++ {
		if groupOf(c) == g && s.groups[g].list[i].bytes[c] > 0 && (s.keep(c) > 0 || !s.settled(i, c)) {
			return false
		}
	}
	return true
}

// keep is the number of bytes of acknowledged records of class c to keep.
func (s *Store) keep(c Class) int64 {
	switch c {
	case Reading:
		return s.opt.History
	case Interval:
		return s.opt.EnergyHistory
	}
	return 0
}

// dropAside removes the oldest damaged files that were set aside: deliverable records have priority.
func (s *Store) dropAside() (bool, error) {
	list, err := asideDirs(s.dir)
	if err != nil || len(list) == 0 {
		return false, err
	}
	s.log.Warn("store is full, removing files that were set aside", "dir", list[0])
	if err := os.RemoveAll(list[0]); err != nil {
		return false, fmt.Errorf("make room: %w", err)
	}
	s.sizeAt = 0
	return true, nil
}

// evict chooses what to discard when the store is full, and reports its unacknowledged part. Called with disk held.
func (s *Store) evict() ([]share, error) {
	s.mu.Lock()
	list := s.victims()
	s.mu.Unlock()
	if len(list) > 0 {
		s.sizeAt = 0
	}
	for _, sh := range list {
		if err := s.evictShare(sh); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// victims chooses in this order: acknowledged readings, readings, intervals, cards, events, each oldest first. Because
// readings go oldest first, those already accounted in finished intervals go before the others. Called with disk and mu
// held.
func (s *Store) victims() []share {
	pick := func(settled bool, of ...Class) (out []share) {
		g := groupOf(of[0])
		for i, seg := range s.groups[g].list {
			for _, c := range of {
				if seg.bytes[c] > 0 && !seg.dropped[c] && (!settled || s.settled(i, c)) {
					out = append(out, share{c, seg})
				}
			}
			if len(out) == 0 {
				continue
			}
			if i == len(s.groups[g].list)-1 {
				s.roll(g)
			}
			return out
		}
		return nil
	}
	if v := pick(true, Reading); v != nil {
		return v
	}
	for _, of := range [][]Class{
		{Reading, privateReading}, {Interval, privateInterval}, {Card}, {Event, privateEvent},
	} {
		if v := pick(false, of...); v != nil {
			return v
		}
	}
	return nil
}

// drop discards shares. A transaction first records the removal, together with gaps for the unacknowledged records.
// Then the files are deleted. After a crash in between, the next opening sweeps the remaining files. Called with disk
// held.
func (s *Store) drop(list []share) error {
	s.mu.Lock()
	var prefixes [][]byte
	for _, sh := range list {
		prefixes = append(prefixes, segPrefix(sh.class, sh.seg.no))
		sh.seg.dropped[sh.class] = true
		s.groups[groupOf(sh.class)].dirty[sh.seg.no] = true
		s.skip(sh)
		s.waiting.add()
	}
	s.mu.Unlock()
	if _, err := s.flushHeld(nil); err != nil {
		return err
	}
	if err := s.dropAcks(); err != nil {
		return err
	}
	if err := s.rewrite(prefixes...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range groups {
		s.prune(g)
	}
	return nil
}

// skip removes a discarded share from memory and moves its class past it. Called with disk and mu held.
func (s *Store) skip(sh share) {
	l, g := &s.lanes[sh.class], &s.groups[groupOf(sh.class)]
	first, end := g.bounds(sh.seg, sh.class, l.next)
	if end > first {
		l.done = l.done.add(first, end-1)
		l.finished = l.finished.add(first, end-1)
	}
	for _, b := range slices.Clone(l.open) {
		if b.no >= first && b.no < end {
			b.left = 0 // a late acknowledgement then has no effect
			b.acked.fill()
			l.leave(b)
		}
	}
	l.acked = slices.DeleteFunc(l.acked, func(d ackedBlock) bool { return d.no >= first && d.no < end })
	low := l.next
	for _, seg := range g.list {
		if !seg.dropped[sh.class] {
			low = seg.first[sh.class]
			break
		}
	}
	l.low = max(l.low, low)
	l.done, l.finished = l.done.dropBelow(l.low), l.finished.dropBelow(l.low)
	l.cursor = max(l.cursor, l.low)
}

// prune forgets segments whose shares are all dropped. Called with disk and mu held.
func (s *Store) prune(g group) {
	l := &s.groups[g]
	for len(l.list) > 1 {
		seg := l.list[0]
		for c := Event; int(c) < classes; c++ {
			if groupOf(c) == g && !seg.dropped[c] {
				return
			}
		}
		l.deleted = append(l.deleted, seg.no)
		delete(l.dirty, seg.no)
		l.list = l.list[1:]
		s.waiting.add()
	}
}

// evictShare discards a share and reports its unacknowledged records as gaps. Called with disk held.
func (s *Store) evictShare(sh share) error {
	acked, err := s.ackedOf(sh)
	if err != nil {
		return fmt.Errorf("evict: %w", err)
	}
	var list []header
	err = s.eng.scan(segPrefix(sh.class, sh.seg.no), func(k, v []byte) bool {
		_, _, no, ok := parseBlockKey(k)
		if h, _, err := readHeader(v); ok && err == nil {
			h.no = no
			if n := len(list); n > 0 && list[n-1].epoch == h.epoch {
				h.epoch = list[n-1].epoch // reuse one string
			}
			list = append(list, h)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("evict: %w", err)
	}

	// Count and discard under one lock, so that an acknowledgement comes either before both or after both.
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.lanes[sh.class]
	for _, b := range l.open { // blocks in delivery: memory is newer than the disk
		acked[b.no] = b.n - b.left
	}
	lost := map[string]*spanCount{}
	for _, h := range list {
		if l.finished.has(h.no) || h.no < l.low {
			continue
		}
		n := lost[h.epoch]
		if n == nil {
			n = &spanCount{first: h.first}
			lost[h.epoch] = n
		}
		n.first, n.last, n.n = min(n.first, h.first), max(n.last, h.last), n.n+uint64(h.n-min(acked[h.no], h.n))
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
	}
	s.skip(sh)
	s.log.Warn("store is full, oldest records evicted",
		"class", sh.class.String(), "segment", sh.seg.no, "epochs", len(lost))
	return nil
}

// ackedOf reads how many records of each block of a share earlier transactions stored as acknowledged. Called with disk
// held.
func (s *Store) ackedOf(sh share) (map[uint64]int, error) {
	s.mu.Lock()
	first, end := s.groups[groupOf(sh.class)].bounds(sh.seg, sh.class, s.lanes[sh.class].next)
	s.mu.Unlock()
	acked := map[uint64]int{}
	err := s.scanAcks(sh.class, first, end, func(_ []byte, no uint64, v []byte) {
		body, err := openBytes(v)
		if err != nil {
			return // counts as unacknowledged
		}
		for _, g := range readRanges(&reader{b: body}) {
			acked[no] += int(g.hi-g.lo) + 1
		}
	})
	return acked, err
}

// scanAcks calls f with the stored acknowledgements of each block of class c, from number first up to but not including
// end.
func (s *Store) scanAcks(c Class, first, end uint64, f func(key []byte, no uint64, v []byte)) error {
	prefix := metaKey(metaAcks, byte(c))
	return s.eng.scanFrom(acksKey(c, first), prefix, func(k, v []byte) bool {
		no := uint64(math.MaxUint64)
		if len(k) == len(prefix)+8 {
			no = binary.BigEndian.Uint64(k[len(prefix):])
		}
		if no < end {
			f(k, no, v)
		}
		return no < end
	})
}

// dropAcks deletes the stored acknowledgements of blocks that were discarded before all their records were
// acknowledged. Called with disk held.
func (s *Store) dropAcks() error {
	var dead [][]byte
	for c := Event; int(c) < classes; c++ {
		s.mu.Lock()
		low := s.lanes[c].low
		s.mu.Unlock()
		err := s.scanAcks(c, 0, low, func(key []byte, _ uint64, _ []byte) { dead = append(dead, slices.Clone(key)) })
		if err != nil {
			return err
		}
	}
	return s.removeKeys(dead)
}

// sweep removes what an interrupted drop left behind. Called once after opening.
func (s *Store) sweep() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	defer s.replaceFailed()
	if s.eng == nil {
		return nil
	}
	var prefixes [][]byte
	for _, p := range listShares(s.eng) {
		s.mu.Lock()
		g := &s.groups[groupOf(p.class)]
		i := slices.IndexFunc(g.list, func(seg *segment) bool { return seg.no == p.seg })
		left := i < 0 || g.list[i].dropped[p.class]
		s.mu.Unlock()
		if left {
			prefixes = append(prefixes, segPrefix(p.class, p.seg))
		}
	}
	if len(prefixes) == 0 {
		return nil
	}
	s.log.Info("removed left-over segments", "n", len(prefixes))
	err := s.rewrite(prefixes...)
	if errors.Is(err, errFull) {
		return nil // the next opening tries again
	}
	return err
}
