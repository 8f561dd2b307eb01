package buffer

import (
	"slices"
	"time"
)

// entry is a record in memory, in the live lane. It leaves when it is acknowledged, or when it is sealed, not leased
// and older than Sync: the history lane then has it.
type entry struct {
	rec     Record
	lane    Class // where it is sealed
	born    time.Time
	leased  bool
	seen    bool   // delivered once, or offered to the disk: its payload is final
	sealing bool   // in the transaction that is running
	gone    bool   // acknowledged, or moved to the history lane
	blk     *block // where it is sealed, nil while it is not
	idx     int    // its place in blk
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
	unsealed int64 // the part of it that is not sealed
}

// begin makes epoch the one whose records are added from now on.
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

// holds reports whether records of an epoch are in memory that are not sealed.
func (f *fresh) holds(epoch string) bool {
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

// remove takes an entry out of the live lane.
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

// each calls do for every entry not gone, events first, until it returns false.
func (f *fresh) each(do func(*entry) bool) {
	for _, q := range [][]*entry{f.urgent, f.normal} {
		for _, e := range q {
			if !e.gone && !do(e) {
				return
			}
		}
	}
}

// known is the lowest sequence of an epoch that is neither sealed nor acknowledged, next when there is none.
func (f *fresh) known(epoch string, next uint64, sealing map[*entry]bool) uint64 {
	f.each(func(e *entry) bool {
		if e.blk == nil && e.rec.Epoch == epoch && !sealing[e] {
			next = min(next, e.rec.Seq)
		}
		return true
	})
	return next
}

func (f *fresh) unsealedOf(c Class) (n uint64) {
	f.each(func(e *entry) bool {
		if e.blk == nil && e.lane == c {
			n++
		}
		return true
	})
	return n
}

// Fresh hands out up to limit records of the live lane, events first, then by sequence. They are leased: nobody else gets
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

// age hands what is sealed, not leased and older than Sync over to the history lane, and returns when the next entry is
// due. Called with mu held.
func (s *Store) age(now time.Time) (next time.Time) {
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

// toHistory takes a sealed entry off the live lane. Called with mu held.
func (s *Store) toHistory(e *entry) {
	s.fresh.remove(e)
	e.blk.busy.clear(e.idx)
	s.lanes[e.lane].forget(e.blk)
}

// makeRoom gives up the oldest unsealed readings when memory is full and nothing can be written. Called with mu held.
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
