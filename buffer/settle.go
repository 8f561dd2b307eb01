package buffer

import (
	"fmt"
	"slices"
	"strings"
)

// Settle forgets acknowledged records. Order does not matter, and unknown or already settled identities are ignored.
// The next transaction removes what was sealed: until then, a crash makes it deliverable once more.
//
// A record on disk that is not leased is looked up there. An error means that the disk cannot be read and that those
// records stay deliverable.
func (s *Store) Settle(ids []ID) error {
	others := map[string]ranges{}
	s.mu.Lock()
	for _, id := range ids {
		if e := s.fresh.find(id); e != nil {
			s.settleFresh(e)
		} else if l, ok := s.leases[id]; ok {
			s.settleLease(id, l)
		} else if s.pending(id.Epoch, id.Seq, id.Seq) {
			others[id.Epoch] = others[id.Epoch].add(id.Seq, id.Seq)
		}
	}
	s.settleDone()
	s.mu.Unlock()
	for epoch, set := range others {
		if err := s.settleStored(epoch, set); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
	}
	return nil
}

// Safe reports whether a power cut cannot lose any of these records: each is on disk, acknowledged, or reported as
// lost. Identities that the store does not hold in memory count as safe.
func (s *Store) Safe(ids []ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(ids, func(id ID) bool {
		e := s.fresh.find(id)
		return e != nil && e.blk == nil && !e.gone
	})
}

// SettleRange settles all records of an epoch from first to last, leased or not, for a platform that acknowledges
// ranges.
func (s *Store) SettleRange(epoch string, first, last uint64) error {
	if first > last {
		return nil
	}
	s.mu.Lock()
	if epoch == s.fresh.epoch || epoch == s.fresh.former {
		s.fresh.each(func(e *entry) bool {
			if e.rec.Epoch == epoch && e.rec.Seq >= first && e.rec.Seq <= last {
				s.settleFresh(e)
			}
			return true
		})
	}
	for id, l := range s.leases {
		if id.Epoch == epoch && id.Seq >= first && id.Seq <= last {
			s.settleLease(id, l)
		}
	}
	pending := s.pending(epoch, first, last)
	s.settleDone()
	s.mu.Unlock()
	if !pending {
		return nil
	}
	if err := s.settleStored(epoch, ranges{{first, last}}); err != nil {
		return fmt.Errorf("settle %s %d to %d: %w", epoch, first, last, err)
	}
	return nil
}

// settleDone completes a settlement and wakes the run loop if much waits to be written. Called with mu held.
func (s *Store) settleDone() {
	s.fresh.compact()
	if s.waiting.n >= waitingMax || s.history.full() {
		signal(s.kick)
	}
	signal(s.wake)
}

// settleLease acknowledges a leased record. Called with mu held.
func (s *Store) settleLease(id ID, l lease) {
	delete(s.leases, id)
	l.blk.busy.clear(l.idx)
	s.ack(l.blk, l.idx)
}

// pending reports whether sealed records between first and last may be unacknowledged. Called with mu held.
func (s *Store) pending(epoch string, first, last uint64) bool {
	e := s.spans[epoch]
	if e == nil || s.memory != nil && epoch != s.memory.epoch { // records on an unusable disk cannot be settled
		return false
	}
	t := e.total()
	return t.N > 0 && t.First <= last && first <= t.Last
}

// settleFresh removes an acknowledged entry from the live lane. Called with mu held.
func (s *Store) settleFresh(e *entry) {
	s.fresh.remove(e)
	if e.blk == nil {
		s.counts.settled++
		if !e.sealing { // otherwise its block moves it into the history
			s.queueHistory(e)
		}
		return
	}
	e.blk.busy.clear(e.idx)
	s.ack(e.blk, e.idx)
}

// queueHistory queues an acknowledged, unsealed entry for the history. Called with mu held.
func (s *Store) queueHistory(e *entry) {
	if s.keep(e.lane) > 0 && s.history.add(e.lane, e.rec) {
		signal(s.kick)
	}
}

// ack marks one record of a block as acknowledged. Called with mu held.
func (s *Store) ack(b *block, idx int) {
	if b.acked.has(idx) {
		return
	}
	b.acked.set(idx)
	b.left--
	b.dirty = true
	s.counts.settled++
	s.uncount(b.epoch, b.class, 1)
	s.addWaiting()
	if b.left == 0 {
		s.finish(b)
	}
}

// finish closes a fully acknowledged block. Called with mu held.
func (s *Store) finish(b *block) {
	l := &s.lanes[b.class]
	l.markAcked(b)
	e := s.spans[b.epoch]
	if e != nil && l.done.next(l.low) == b.no && e.class[b.class].first <= b.last {
		// No older record of this class is unacknowledged, so the span begins after this block.
		e.class[b.class].first = b.last + 1
	}
}

// uncount subtracts n from the unacknowledged records of an epoch. Called with mu held.
func (s *Store) uncount(epoch string, c Class, n uint64) {
	e := s.spans[epoch]
	if e == nil {
		return
	}
	e.class[c].n -= min(n, e.class[c].n)
	s.touched[epoch] = true
}

// Release makes leased, unacknowledged records deliverable again. Fresh records that are sealed and older than Sync
// move to the history lane.
func (s *Store) Release(ids []ID) {
	s.mu.Lock()
	for _, id := range ids {
		if e := s.fresh.find(id); e != nil {
			if e.leased {
				e.leased = false
				s.fresh.leased--
			}
		} else if l, ok := s.leases[id]; ok {
			delete(s.leases, id)
			l.blk.busy.clear(l.idx)
		}
	}
	s.mu.Unlock()
	signal(s.kick)
	signal(s.wake)
}

// appendAcks encodes which records of b are acknowledged.
func appendAcks(b *block) []byte {
	var set ranges
	for i := range b.n {
		if b.acked.has(i) {
			set = set.add(uint64(i), uint64(i))
		}
	}
	return sealBytes(set.append(nil))
}

// summary counts unacknowledged records on disk and in memory, oldest epoch first. Called with mu held.
func (s *Store) summary() []Span {
	list := s.spanList()
	out := make([]Span, 0, len(list)+2)
	for i := range list {
		if t := list[i].total(); t.N > 0 {
			out = append(out, t)
		}
	}
	mem := map[string]Span{}
	s.fresh.each(func(e *entry) bool {
		if e.blk != nil {
			return true
		}
		m := mem[e.rec.Epoch]
		if m.N == 0 || e.rec.Seq < m.First {
			m.First = e.rec.Seq
		}
		m.Epoch, m.Last, m.N = e.rec.Epoch, max(m.Last, e.rec.Seq), m.N+1
		mem[e.rec.Epoch] = m
		return true
	})
	for i, o := range out {
		if m := mem[o.Epoch]; m.N > 0 {
			out[i] = Span{o.Epoch, min(o.First, m.First), max(o.Last, m.Last), o.N + m.N}
			delete(mem, o.Epoch)
		}
	}
	for _, m := range mem {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Span) int { return strings.Compare(a.Epoch, b.Epoch) })
	return out
}

// spanKey returns the key under which the unacknowledged records of an epoch are counted.
func spanKey(epoch string) []byte { return metaKey(metaSpan, []byte(epoch)...) }
