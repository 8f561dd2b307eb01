package buffer

import (
	"errors"
	"fmt"
)

// Bounds of the history lane in memory.
const (
	// openMax bounds how many blocks of a class may await settlement. Beyond it, Backlog returns nothing more.
	openMax = 4096
	// loadMax is the number of blocks that one call of Backlog reads.
	loadMax = 4
)

// Backlog returns up to limit records of class c that are sealed, unacknowledged and no longer fresh, oldest first. It
// leases them: no other call returns them until they are settled or released. One call reads only a few blocks, so
// fewer records than limit, even none, does not mean that the backlog is empty: Wake is signalled again after Settle
// and Release.
//
// An unreadable block becomes a gap, and Backlog continues behind it. An error means that the disk cannot be read at
// present. Read errors that last longer than transientMax count as damage.
func (s *Store) Backlog(c Class, limit int) ([]Record, error) {
	if !c.known() {
		return nil, fmt.Errorf("read backlog: %s: %w", c, ErrPayload)
	}
	out, err := s.backlog(c, nil, limit)
	if err == nil && len(out) < limit && c.private() != c {
		out, err = s.backlog(c.private(), out, limit)
	}
	return out, err
}

// backlog is Backlog for one lane, adding to out.
func (s *Store) backlog(c Class, out []Record, limit int) ([]Record, error) {
	for range loadMax {
		s.mu.Lock()
		var need *block
		var no uint64
		var more bool
		out, need, no, more = s.lease(c, out, limit)
		s.mu.Unlock()
		if !more {
			break
		}
		if err := s.load(c, need, no); err != nil {
			return out, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out, _, _, _ = s.lease(c, out, limit)
	return out, nil
}

// lease leases records that are in memory. When these are not enough, it names the block to read next: an open block
// whose records were dropped, or the block at the cursor. Called with mu held.
func (s *Store) lease(c Class, out []Record, limit int) (_ []Record, need *block, no uint64, more bool) {
	l := &s.lanes[c]
	for _, b := range l.open {
		if len(out) >= limit {
			return out, nil, 0, false
		}
		if b.no >= l.cursor {
			break
		}
		if b.acked.count()+b.busy.count() == b.n {
			continue
		}
		if b.recs == nil {
			return out, b, b.no, true
		}
		out = s.leaseBlock(b, out, limit)
	}
	l.cursor = l.finished.next(max(l.cursor, l.low))
	if len(out) >= limit || l.cursor >= l.next || len(l.open) >= openMax {
		return out, nil, 0, false
	}
	b, _ := l.find(l.cursor)
	return out, b, l.cursor, true
}

// leaseBlock leases the remaining records of one block in memory.
func (s *Store) leaseBlock(b *block, out []Record, limit int) []Record {
	for i := range b.recs {
		if len(out) >= limit {
			return out
		}
		if b.acked.has(i) || b.busy.has(i) {
			continue
		}
		b.busy.set(i)
		s.leases[b.recs[i].ID] = lease{b, i}
		out = append(out, b.recs[i])
	}
	b.recs = nil // all are leased; read the block again if some are released
	return out
}

// load reads block no of class c into memory. Missing or damaged records become a gap.
func (s *Store) load(c Class, b *block, no uint64) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng == nil {
		return fmt.Errorf("read backlog: %w", s.noDisk())
	}
	h, size, recs, err := s.read(c, no)
	if err != nil {
		if !s.isTransient(err) {
			err = s.markLost(c, no, b, err)
		}
		if err != nil {
			return fmt.Errorf("read backlog: %w", err)
		}
		return nil
	}
	acks, err := s.eng.get(acksKey(c, no))
	if err != nil {
		acks = nil // at worst, these records are delivered twice
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded(c, h, size, recs, acks)
	return nil
}

// errMissing means that a block that should exist is missing.
var errMissing = errors.New("block is missing")

// read reads, checks and decodes one block. Called with disk held, without mu.
func (s *Store) read(c Class, no uint64) (header, int, []Record, error) {
	h, body, err := s.readBlock(c, no)
	if err != nil {
		return header{}, 0, nil, err
	}
	recs, err := s.decode(h, body)
	return h, len(body), recs, err
}

// readBlock reads one block and checks it. Called with disk held, without mu.
func (s *Store) readBlock(c Class, no uint64) (header, []byte, error) {
	s.mu.Lock()
	seg, ok := s.groups[groupOf(c)].of(c, no)
	s.mu.Unlock()
	if !ok {
		return header{}, nil, errMissing
	}
	v, err := s.eng.get(blockKey(c, seg.no, no))
	if err != nil {
		return header{}, nil, err
	}
	if v == nil {
		return header{}, nil, errMissing
	}
	return openBlock(v, c, no)
}

// loaded adds a block that was read to the open ones. Called with mu held.
func (s *Store) loaded(c Class, h header, size int, recs []Record, acks []byte) {
	l := &s.lanes[c]
	if h.no < l.low || l.finished.has(h.no) {
		return // settled or evicted meanwhile
	}
	b, _ := l.find(h.no)
	if b == nil {
		b = newBlock(h, size)
		l.enter(b)
	}
	b.recs = recs
	if !b.loaded {
		b.loaded, b.saved = true, acks != nil
		b.applyAcks(acks)
	}
	if h.no >= l.cursor {
		l.cursor = h.no + 1
		l.before = &b.header
	}
	if b.left == 0 {
		s.finish(b)
	}
}

// applyAcks marks the records of b that an earlier transaction stored as acknowledged. It ignores damaged data.
func (b *block) applyAcks(v []byte) {
	body, err := openBytes(v)
	if err != nil {
		return
	}
	r := &reader{b: body}
	set := readRanges(r)
	if r.err != nil {
		return
	}
	for _, g := range set {
		for i := g.lo; i <= g.hi && i < uint64(b.n); i++ {
			if !b.acked.has(int(i)) {
				b.acked.set(int(i))
				b.left--
			}
		}
	}
}
