package buffer

import (
	"slices"
	"time"
)

// entry is a record in memory, in the live lane. It leaves the lane when it is acknowledged. It moves to the history
// lane once it is sealed, not leased and older than Sync.
type entry struct {
	rec     Record
	lane    Class // class under which it is sealed
	born    time.Time
	leased  bool
	seen    bool   // delivered once, or given to a transaction: its payload is final
	sealing bool   // part of the running transaction
	gone    bool   // acknowledged, or moved to the history lane
	blk     *block // block on disk that contains it, nil while unsealed
	idx     int    // index within blk
}

// fresh holds the entries of this epoch and of the run from memory that preceded it. Its methods are called with
// Store.mu held.
type fresh struct {
	epoch    string
	bySeq    map[uint64]*entry // of epoch
	former   string            // the epoch of the run from memory, "" when there was none
	formerBy map[uint64]*entry // of former
	urgent   []*entry          // events and cards, Seq ascending, including entries that are gone
	normal   []*entry
	n        int // entries that are not gone
	leased   int
	bytes    int64 // payload bytes of entries that are not gone
	unsealed int64 // payload bytes of unsealed entries
}

// begin starts a new epoch. The entries of the one before stay as former.
func (f *fresh) begin(epoch string) {
	f.former, f.formerBy = f.epoch, f.bySeq
	f.epoch, f.bySeq = epoch, map[uint64]*entry{}
}

// find returns the entry with an identity, nil when it is not in memory.
func (f *fresh) find(id ID) *entry {
	switch id.Epoch {
	case f.epoch:
		return f.bySeq[id.Seq]
	case f.former:
		return f.formerBy[id.Seq]
	}
	return nil
}

// hasUnsealed reports whether any unsealed record of an epoch is in memory.
func (f *fresh) hasUnsealed(epoch string) bool {
	found := false
	f.each(func(e *entry) bool {
		found = found || e.blk == nil && e.rec.Epoch == epoch
		return !found
	})
	return found
}

// add stores an entry and reports whether it is the first one waiting to be sealed. Sealed, unacknowledged entries may
// already be there.
func (f *fresh) add(e *entry) bool {
	f.bySeq[e.rec.Seq] = e
	if e.rec.Class.atOnce() {
		f.urgent = append(f.urgent, e)
	} else {
		f.normal = append(f.normal, e)
	}
	f.n++
	f.bytes += int64(len(e.rec.Payload))
	first := f.unsealed == 0
	f.unsealed += int64(len(e.rec.Payload))
	return first
}

// remove marks an entry as gone from the live lane.
func (f *fresh) remove(e *entry) {
	if e.gone {
		return
	}
	e.gone = true
	if e.rec.Epoch == f.epoch {
		delete(f.bySeq, e.rec.Seq)
	} else {
		delete(f.formerBy, e.rec.Seq)
	}
	f.n--
	if e.leased {
		f.leased--
	}
	size := int64(len(e.rec.Payload))
	f.bytes -= size
	if e.blk == nil {
		f.unsealed -= size
	}
}

// compact removes gone entries from the queues once they are the majority. It must not be called from within each.
func (f *fresh) compact() {
	if len(f.urgent)+len(f.normal) < 2*f.n+64 {
		return
	}
	f.urgent, f.normal = alive(f.urgent), alive(f.normal)
}

// alive returns the entries of q that are not gone, in a slice of about their number.
func alive(q []*entry) []*entry {
	q = slices.DeleteFunc(q, func(e *entry) bool { return e.gone })
	if cap(q) > 64 && len(q) < cap(q)/4 {
		q = slices.Clip(slices.Clone(q))
	}
	return q
}

// each calls do for every entry that is not gone, events and cards first, until do returns false.
func (f *fresh) each(do func(*entry) bool) {
	for _, q := range [][]*entry{f.urgent, f.normal} {
		for _, e := range q {
			if !e.gone && !do(e) {
				return
			}
		}
	}
}

// known returns the lowest sequence of an epoch that is neither sealed nor acknowledged, or next when there is none.
func (f *fresh) known(epoch string, next uint64, sealing map[*entry]bool) uint64 {
	f.each(func(e *entry) bool {
		if e.blk == nil && e.rec.Epoch == epoch && !sealing[e] {
			next = min(next, e.rec.Seq)
		}
		return true
	})
	return next
}

// unsealedOf returns the number of unsealed records of a class.
func (f *fresh) unsealedOf(c Class) (n uint64) {
	f.each(func(e *entry) bool {
		if e.blk == nil && e.lane == c {
			n++
		}
		return true
	})
	return n
}

// Fresh leases up to limit records of the live lane, events and cards first, then by sequence. No other call returns
// them until they are settled or released.
func (s *Store) Fresh(limit int) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Record
	s.fresh.each(func(e *entry) bool {
		if len(out) >= limit {
			return false
		}
		if !e.leased {
			e.leased, e.seen = true, true
			s.fresh.leased++
			out = append(out, e.rec)
		}
		return true
	})
	return out
}

// moveAged moves entries that are sealed, not leased and older than Sync to the history lane. It returns when the next
// entry is due. Called with mu held.
func (s *Store) moveAged(now time.Time) (next time.Time) {
	moved := false
	s.fresh.each(func(e *entry) bool {
		due := e.born.Add(s.opt.Sync)
		switch {
		case e.blk == nil || e.leased:
		case now.Before(due) && s.fresh.bytes <= s.opt.Memory:
			if next.IsZero() || due.Before(next) {
				next = due
			}
		default:
			s.toHistory(e)
			moved = true
		}
		return true
	})
	s.fresh.compact()
	if moved {
		signal(s.wake)
	}
	return next
}

// toHistory moves a sealed entry from the live lane to the history lane. Called with mu held.
func (s *Store) toHistory(e *entry) {
	s.fresh.remove(e)
	e.blk.busy.clear(e.idx)
	s.lanes[e.lane].forget(e.blk)
}

// makeRoom discards the oldest unsealed, unleased records when nothing can be written, until memory holds at most 7/4
// of Options.Memory: readings first, then intervals, then events. Each becomes part of a gap. Called with mu held.
func (s *Store) makeRoom() {
	for _, want := range []Class{Reading, Interval, Event} {
		s.fresh.each(func(e *entry) bool {
			if s.fresh.bytes <= s.opt.Memory*7/4 {
				return false
			}
			if e.blk == nil && !e.leased && e.rec.Class == want {
				s.fresh.remove(e)
				s.counts.lost++
				s.gaps.extend(e.rec.Class, e.rec.ID, e.rec.ID.Seq, 1, DiskFull)
				s.waiting.add()
			}
			return true
		})
	}
	s.fresh.compact()
}
