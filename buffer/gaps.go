package buffer

import (
	"slices"
)

// gapsMax bounds the number of separate gaps. Beyond it, a new gap widens an older one of the same epoch, class and
// reason, or of any class.
const gapsMax = 128

// gapLedger holds the unreported gaps. Its methods are called with Store.mu held.
type gapLedger struct {
	list     []Gap // by Key
	next     uint64
	dirty    map[uint64]bool // to be written
	reported []uint64        // to be deleted
}

func (g *gapLedger) open() int { return len(g.list) }

// add records a gap. A gap of the same epoch, class and reason that it touches is widened instead. Once the list is
// full, any gap of the same epoch is widened.
func (g *gapLedger) add(n Gap) {
	for i := range g.list {
		if o := &g.list[i]; o.Epoch == n.Epoch && o.Class == n.Class && o.Reason == n.Reason &&
			(touch(*o, n) || len(g.list) >= gapsMax) {
			widen(o, n)
			g.dirty[o.Key] = true
			return
		}
	}
	if len(g.list) >= gapsMax {
		for i := range g.list {
			if o := &g.list[i]; o.Epoch == n.Epoch && o.To != nil {
				widen(o, n)
				o.Class = Any
				g.dirty[o.Key] = true
				return
			}
		}
	}
	n.Key = g.next
	g.next++
	g.list = append(g.list, n)
	g.dirty[n.Key] = true
}

// touch reports whether two gaps of one epoch overlap or are adjacent. Records are evicted and discarded oldest first,
// so everything between two such ranges is lost or delivered, and they form one gap.
func touch(a, b Gap) bool {
	if a.Reason == Evicted || a.Reason == DiskFull || a.Reason == Retention {
		return a.To != nil && b.To != nil
	}
	after := func(x, y Gap) bool { return x.To != nil && *x.To+1 < y.From }
	return !after(a, b) && !after(b, a)
}

// widen extends gap o so that it covers n too, and adds the counts. If either end or count is unknown, the result is
// unknown.
func widen(o *Gap, n Gap) {
	o.From = min(o.From, n.From)
	switch {
	case o.To == nil || n.To == nil:
		o.To = nil
	default:
		to := max(*o.To, *n.To)
		o.To = &to
	}
	if o.Count > 0 && n.Count > 0 {
		o.Count += n.Count
	} else {
		o.Count = 0
	}
}

// extend records the loss of n records of class c from first to last.
func (g *gapLedger) extend(c Class, first ID, last, n uint64, why Reason) {
	g.add(Gap{Epoch: first.Epoch, Class: c, From: first.Seq, To: &last, Reason: why, Count: n})
}

// Gaps returns the unreported gaps, oldest first. They survive restarts until GapReported.
func (s *Store) Gaps() []Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.gaps.list)
}

// GapReported removes a gap from the list, after a record that reports it was appended. If the gap has grown since Gaps
// returned it, the remainder stays.
func (s *Store) GapReported(g Gap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.gaps
	// When a database opens late its gaps keep their keys, and gaps that arose in memory get new ones.
	i := slices.IndexFunc(b.list, func(o Gap) bool {
		return o.Key == g.Key && o.Epoch == g.Epoch && o.Reason == g.Reason
	})
	if i < 0 {
		return nil
	}
	o := &b.list[i]
	if g.To != nil && (o.To == nil || *o.To > *g.To) {
		o.From = *g.To + 1
		o.Count -= min(g.Count, o.Count)
		b.dirty[o.Key] = true
	} else {
		delete(b.dirty, o.Key)
		b.reported = append(b.reported, o.Key)
		b.list = slices.Delete(b.list, i, i+1)
	}
	s.addWaiting()
	return nil
}
