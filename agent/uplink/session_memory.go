package uplink

import "bordo/contract"

// freshAhead is the number of records that precede the first status of a run from memory: its opening and its gaps.
const freshAhead = 8

// warnOfMemory sends the first records of a run from memory before the status. The status names the epoch, and a
// consumer that knows the epoch must also know its gap.
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
