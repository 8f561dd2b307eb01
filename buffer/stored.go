package buffer

// settleStored acknowledges unleased records of an epoch that are on disk. It begins with the oldest block and stops
// after the last one that can contain any of them.
func (s *Store) settleStored(epoch string, set ranges) error {
	first, last := set[0].lo, set[len(set)-1].hi
	for c := Event; int(c) < classes; c++ {
		s.mu.Lock()
		e := s.spans[epoch]
		found := e != nil && e.class[c].n > 0 && e.class[c].first <= last && first <= e.class[c].last
		no := s.lanes[c].low
		s.mu.Unlock()
		for more := found; more; no++ {
			var err error
			if no, more, err = s.settleBlock(c, no, epoch, set); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleBlock examines the first unfinished block at or after no. It returns the block's number and whether a later one
// can contain records of the set.
func (s *Store) settleBlock(c Class, no uint64, epoch string, set ranges) (uint64, bool, error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng == nil {
		return no, false, s.noDisk()
	}
	s.mu.Lock()
	l := &s.lanes[c]
	no = l.finished.next(max(no, l.low))
	end := no >= l.next
	s.mu.Unlock()
	if end {
		return no, false, nil
	}
	h, body, err := s.readBlock(c, no)
	if err != nil {
		return no, true, nil // Backlog will reach it and report it
	}
	if h.epoch > epoch || h.epoch == epoch && h.first > set[len(set)-1].hi {
		return no, false, nil
	}
	if h.epoch != epoch || h.last < set[0].lo {
		return no, true, nil
	}
	whole := set.covers(h.first, h.last)
	var recs []Record
	if !whole {
		if recs, err = s.decode(h, body); err != nil {
			return no, true, nil
		}
	}
	acks, err := s.eng.get(acksKey(c, no))
	if err != nil {
		acks = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.finished.has(no) {
		return no, true, nil
	}
	b, _ := l.find(no)
	if b == nil {
		b = newBlock(h, len(body))
		l.enter(b)
	}
	if !b.loaded {
		b.loaded, b.saved = true, acks != nil
		b.applyAcks(acks)
	}
	for i := range b.n {
		if whole || set.has(recs[i].Seq) {
			s.ack(b, i)
		}
	}
	l.forget(b)
	return no, true, nil
}
