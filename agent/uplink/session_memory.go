package uplink

import "bordo/contract"

// freshAhead is how many records go before the first status of a run from memory: its opening, its gaps.
const freshAhead = 8

// warnOfMemory puts the first records of a run from memory ahead of the status: whoever knows of the epoch, which the status
// names, has to know of its gap.
func (s *session) warnOfMemory() {
	if !s.f.Store.Opened().Memory {
		return
	}
	s.statusDue = false
	s.live = s.compose(s.f.Store.Fresh(freshAhead), false)
	if m := s.statusMessage(contract.Online); m != nil {
		s.live = append(append(s.live, m), s.f.Retained.since(s.seen)...)
	}
}
