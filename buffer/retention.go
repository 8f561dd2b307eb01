package buffer

import "time"

// cardAge is the maximum age of personal data, acknowledged or not.
const cardAge = 168 * time.Hour

// ageClock counts the age of the store: running time by the monotonic clock, plus switched-off time as far as a trusted
// clock before and after shows it. Every transaction stores it. Jumps of the wall clock change it only between two
// openings, and never backwards.
type ageClock struct {
	base  uint64    // age at begin, in seconds
	begin time.Time // monotonic
	wall  uint64    // trusted time at base, until the switched-off time has been added to base; 0: nothing to add
}

// now returns the age in seconds, and the trusted time in seconds since 1970, 0 when there is none.
func (a *ageClock) now(trusted func() (time.Time, bool)) (age, wall uint64) {
	run := uint64(time.Since(a.begin) / time.Second)
	t, ok := trusted()
	if !ok || t.Unix() <= 0 {
		return a.base + run, 0
	}
	wall = uint64(t.Unix())
	if a.wall > 0 {
		if opened := wall - min(run, wall); opened > a.wall {
			a.base += opened - a.wall
		}
		a.wall = 0
	}
	return a.base + run, wall
}

// hourDue reports whether an hour has passed since hour ran.
func (s *Store) hourDue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.hourly) {
		return false
	}
	s.hourly = now.Add(time.Hour)
	return true
}

// runHourly expires personal data, removes acknowledged personal records from the files, and maintains the ballast. The
// next transaction writes its decisions.
func (s *Store) runHourly() {
	s.ballast()
	s.disk.Lock()
	s.expireStored()
	s.mu.Lock()
	s.expireFresh()
	for g := range groups {
		if s.erasable(g) {
			s.roll(g) // reclaim drops closed segments only
		}
	}
	s.mu.Unlock()
	s.disk.Unlock()
}

// erasable reports whether the current segment of g contains personal data, all of it acknowledged. Called with mu
// held.
func (s *Store) erasable(g group) bool {
	seg, some := s.groups[g].last(), false
	for c := Event; int(c) < classes; c++ {
		if groupOf(c) != g || !c.erased() || seg.bytes[c] == 0 {
			continue
		}
		if l := &s.lanes[c]; l.finished.next(max(seg.first[c], l.low)) < l.next {
			return false
		}
		some = true
	}
	return some
}

// expireFresh discards personal data that has been in memory for a week because nothing could be written. Called with
// mu held.
func (s *Store) expireFresh() {
	s.fresh.each(func(e *entry) bool {
		if e.rec.Class == Card && e.blk == nil && time.Since(e.born) >= cardAge {
			s.fresh.remove(e)
			s.counts.lost++
			s.gaps.extend(Card, e.rec.ID, e.rec.Seq, 1, Retention)
			s.addWaiting()
		}
		return true
	})
}

// expireStored discards blocks of personal data that are too old. Called with disk held, without mu.
func (s *Store) expireStored() {
	for {
		s.mu.Lock()
		l := &s.lanes[Card]
		no := l.finished.next(l.low)
		done := no >= l.next || s.eng == nil
		age, _ := s.storeAge.now(s.opt.Trusted)
		s.mu.Unlock()
		if done {
			return
		}
		h, _, err := s.readBlock(Card, no)
		if err != nil {
			s.markLost(Card, no, nil, err)
			continue
		}
		if age < h.age+uint64(cardAge/time.Second) {
			return // blocks are sorted by age
		}
		s.mu.Lock()
		b, _ := l.find(no)
		if b == nil {
			b = newBlock(h, 0)
			b.left -= s.ackedOnDisk(h)
			l.enter(b)
		}
		s.giveUp(b, Retention)
		s.mu.Unlock()
	}
}
