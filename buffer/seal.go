package buffer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// plan is the content of one transaction: the blocks and all other waiting changes.
type plan struct {
	blocks   []*planned
	state    state
	spans    map[string]spanEntry
	sets     []pair
	dels     [][]byte
	dead     [classes]int // number of entries of lane.acked that it writes
	acks     []*block
	gaps     []uint64
	reported int
	segs     [groups][]uint32
	drops    [groups]int
	waits    waiting
	more     bool // more wanted entries remain
	// submitted means that the database was asked to write the plan. Even if it failed, part of it may be on disk.
	submitted bool
}

// planned is one block of a plan.
type planned struct {
	header
	entries []*entry
	kept    []Record // instead of entries: acknowledged history
	size    int
}

// perTxn bounds the partial acknowledgements and gaps of one transaction.
const perTxn = 64

// sealEntry seals e together with all other waiting events and cards, so concurrent callers share one transaction. The
// error wraps ErrNotSealed.
func (s *Store) sealEntry(e *entry) error {
	for {
		more, err := s.flush(func(x *entry) bool { return x.rec.Class.atOnce() })
		s.mu.Lock()
		sealed := e.blk != nil || e.gone
		s.mu.Unlock()
		if sealed {
			return nil
		}
		if err != nil {
			return fmt.Errorf("append %s: %w: %w", e.rec.Class, ErrNotSealed, err)
		}
		if !more {
			return fmt.Errorf("append %s: %w", e.rec.Class, ErrNotSealed)
		}
	}
}

// flush writes one transaction: as many of the entries accepted by want as fit, and all other waiting changes. If want
// is nil it writes no blocks. more reports whether accepted entries remain.
func (s *Store) flush(want func(*entry) bool) (more bool, err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.flushHeld(want)
}

// flushHeld is flush for callers that hold disk.
func (s *Store) flushHeld(want func(*entry) bool) (more bool, err error) {
	if s.eng == nil {
		return false, s.noDisk()
	}
	s.mu.Lock()
	p := s.plan(want)
	s.mu.Unlock()
	if p == nil {
		return false, nil
	}
	need := s.needs(p)
	if err = s.roomFor(need); err == nil {
		err = s.encode(p)
	}
	if err == nil {
		p.submitted = true
		err = s.eng.commit(p.sets, p.dels)
	}
	defer s.replaceFailed() // runs after mu is released
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.undo(p)
		s.failed(err)
		return false, err
	}
	s.apply(p)
	if need >= s.opt.Reserve || !errors.Is(s.fault, errFull) {
		s.recovered() // if it used the reserve, others may still fail
	}
	if at := s.history.due(); want != nil && !at.IsZero() && !time.Now().Before(at) {
		return true, nil
	}
	return p.more, nil
}

// plan builds the next transaction, nil when there is nothing to write. Called with mu held.
func (s *Store) plan(want func(*entry) bool) *plan {
	p := &plan{waits: s.waiting}
	if want != nil {
		s.choose(p, want)
	}
	if len(p.blocks) == 0 && want != nil {
		if c, recs := s.history.take(time.Now()); recs != nil {
			p.blocks = []*planned{{header: header{class: c, flags: flagKept}, kept: recs}}
		}
	}
	if len(p.blocks) == 0 && s.waiting.n == 0 {
		return nil
	}
	s.waiting = waiting{}
	for g := range groups {
		if l := &s.groups[g]; l.last().size() >= s.opt.segmentSize(g) {
			s.roll(g)
		}
	}
	sealing := map[*entry]bool{}
	for _, b := range p.blocks {
		for _, e := range b.entries {
			sealing[e] = true
		}
	}
	p.state = state{
		txn: s.txn + 1, epoch: s.epoch,
		known: s.fresh.known(s.epoch, s.next, sealing), lastSealed: s.lastSeq,
	}
	for c := range s.lanes {
		s.planLane(p, Class(c))
	}
	for _, b := range p.blocks {
		l := &p.state.lanes[b.class]
		b.no = l.next
		l.next++
		if b.kept != nil {
			l.done = l.done.add(b.no, b.no)
			continue
		}
		if b.epoch == s.epoch {
			p.state.lastSealed = max(p.state.lastSealed, b.last)
		}
	}
	p.state.age, p.state.wall = s.storeAge.now(s.opt.Trusted)
	for _, b := range p.blocks {
		if b.class == Card {
			b.flags, b.age = b.flags|flagAged, p.state.age
		}
	}
	s.planGaps(p)
	s.planSpans(p)
	for g := range groups {
		l := &s.groups[g]
		p.state.segs[g] = l.last().no
		p.segs[g] = slices.Sorted(maps.Keys(l.dirty))
		clear(l.dirty)
		p.drops[g] = len(l.deleted)
		for _, no := range l.deleted {
			p.dels = append(p.dels, segmentKey(g, no))
		}
		for _, seg := range l.list {
			if slices.Contains(p.segs[g], seg.no) {
				p.sets = append(p.sets, pair{segmentKey(g, seg.no), seg.encode()})
			}
		}
	}
	return p
}

// choose assigns entries to blocks, one per class and epoch, until the transaction is full. Called with mu held.
func (s *Store) choose(p *plan, want func(*entry) bool) {
	type kind struct {
		lane  Class
		epoch string
	}
	blocks, size, n := map[kind]*planned{}, 0, 0
	s.fresh.each(func(e *entry) bool {
		if e.blk != nil || !want(e) {
			return true
		}
		cost := e.rec.cost()
		if n > 0 && size+cost > blockPayload || n >= blockRecords {
			p.more = true
			return false
		}
		size += cost
		n++
		k := kind{e.lane, e.rec.Epoch}
		b := blocks[k]
		if b == nil {
			b = &planned{header: header{class: e.lane, epoch: e.rec.Epoch}}
			blocks[k] = b
			p.blocks = append(p.blocks, b)
		}
		e.sealing = true
		b.entries = append(b.entries, e)
		b.last = e.rec.Seq
		return true
	})
}

// planLane copies the position of a class and adds the blocks that were fully acknowledged since. Called with mu held.
func (s *Store) planLane(p *plan, c Class) {
	l := &s.lanes[c]
	st := l.laneState
	st.done = slices.Clone(st.done)
	slices.SortFunc(l.acked, func(a, b ackedBlock) int { return cmp.Compare(a.no, b.no) })
	for _, d := range l.acked {
		if len(st.done) >= perTxn && !st.done.touches(d.no) {
			break // too scattered: the rest waits until the records between are acknowledged
		}
		st.done = st.done.add(d.no, d.no)
		if d.saved {
			p.dels = append(p.dels, acksKey(c, d.no))
		}
		p.dead[c]++
	}
	st.bytes = s.groups[groupOf(c)].last().bytes[c]
	p.state.lanes[c] = st
	for _, b := range l.open {
		if b.dirty && len(p.acks) < perTxn {
			b.dirty, b.saved = false, true
			p.acks = append(p.acks, b)
			p.sets = append(p.sets, pair{acksKey(c, b.no), appendAcks(b)})
		}
	}
}

// planGaps adds changed and reported gaps to the plan. Called with mu held.
func (s *Store) planGaps(p *plan) {
	g := &s.gaps
	for _, gap := range g.list {
		if g.dirty[gap.Key] && len(p.gaps) < perTxn {
			p.gaps = append(p.gaps, gap.Key)
			p.sets = append(p.sets, pair{gapKey(gap.Key), sealBytes(appendGap(nil, gap))})
			delete(g.dirty, gap.Key)
		}
	}
	p.reported = len(g.reported)
	for _, key := range g.reported {
		p.dels = append(p.dels, gapKey(key))
	}
	p.state.nextGap = g.next
}

// planSpans adds the epochs whose count of unacknowledged records changes. Called with mu held.
func (s *Store) planSpans(p *plan) {
	p.spans = map[string]spanEntry{}
	for epoch := range s.touched {
		if e := s.spans[epoch]; e != nil {
			p.spans[epoch] = *e
		} else {
			p.spans[epoch] = spanEntry{epoch: epoch}
		}
	}
	clear(s.touched)
	for _, b := range p.blocks {
		if b.kept != nil {
			continue
		}
		e, ok := p.spans[b.epoch]
		if !ok {
			e = spanEntry{epoch: b.epoch}
			if o := s.spans[b.epoch]; o != nil {
				e = *o
			}
		}
		e.count(b.class, b.entries[0].rec.Seq, b.last, uint64(len(b.entries)))
		p.spans[b.epoch] = e
	}
	for epoch, e := range p.spans {
		if e.empty() {
			p.dels = append(p.dels, spanKey(epoch))
		} else {
			p.sets = append(p.sets, pair{spanKey(epoch), sealBytes(e.append(nil))})
		}
	}
}

// count adds n records between first and last.
func (e *spanEntry) count(c Class, first, last, n uint64) {
	k := &e.class[c]
	if k.n == 0 {
		k.first = first
	}
	k.first = min(k.first, first)
	k.last = max(k.last, last)
	k.n += n
}

// encode encodes the blocks and the state of a plan. Called with disk held, without mu.
func (s *Store) encode(p *plan) error {
	for _, b := range p.blocks {
		recs := b.kept
		for _, e := range b.entries {
			recs = append(recs, e.rec)
		}
		h := headerOf(recs)
		h.no, h.class, h.flags, h.age = b.no, b.class, b.flags, b.age
		body, codec, err := s.sealBody(recs)
		if err != nil {
			return fmt.Errorf("seal %d records of class %s: %w", len(recs), b.class, err)
		}
		h.codec = codec
		v := appendBlock(nil, h, body)
		b.header, b.size = h, len(v)
		p.state.lanes[b.class].bytes += uint64(len(v))
		p.sets = append(p.sets, pair{blockKey(b.class, p.state.segs[groupOf(b.class)], b.no), v})
	}
	p.sets = append(p.sets, pair{metaKey(metaState), p.state.encode()})
	return nil
}

// sealBody packs records with Options.Codec. Records that the codec refuses are stored plain, because a payload unknown
// to the codec must not block the store.
func (s *Store) sealBody(recs []Record) (body []byte, codec byte, err error) {
	if s.opt.Codec != nil {
		if body, err = s.opt.Codec.Seal(recs); err == nil && len(body) > bodyMax {
			err = fmt.Errorf("%d bytes exceed the limit", len(body))
		}
		if err == nil {
			return body, codecGiven, nil
		}
		s.log.Warn("codec refused records, storing them plain", "class", recs[0].Class, "seq", recs[0].Seq, "err", err)
	}
	body, err = s.plain.Seal(recs)
	return body, codecPlain, err
}

// apply updates memory after a plan was committed. Called with mu held.
func (s *Store) apply(p *plan) {
	s.txn = p.state.txn
	s.lastSeq = p.state.lastSealed
	s.counts.commits++
	for c := range s.lanes {
		l := &s.lanes[c]
		low := l.low
		l.laneState = p.state.lanes[c]
		l.low = max(l.low, low)
		l.acked = slices.Delete(l.acked, 0, p.dead[c])
		s.groups[groupOf(Class(c))].last().bytes[c] = l.bytes
	}
	for _, b := range p.blocks {
		s.applyBlock(b)
	}
	s.gaps.reported = slices.Delete(s.gaps.reported, 0, p.reported)
	for g := range groups {
		s.groups[g].deleted = slices.Delete(s.groups[g].deleted, 0, p.drops[g])
	}
	for epoch, e := range s.spans {
		if e.empty() && epoch != s.epoch {
			delete(s.spans, epoch)
		}
	}
	s.checkpoints.due = true
	if s.volume() >= s.sizeAt {
		s.crowded = true
		signal(s.kick)
	}
}

// volume estimates the bytes written since Open. Called with mu held.
func (s *Store) volume() int64 { return int64(s.counts.written + s.counts.commits<<12) }

// applyBlock links entries to the block on disk that now contains them. Called with mu held.
func (s *Store) applyBlock(p *planned) {
	l := &s.lanes[p.class]
	s.counts.written += uint64(p.size)
	if p.kept != nil {
		l.finished = l.finished.add(p.no, p.no)
		s.history.done(p.class, p.kept)
		return
	}
	b := newBlock(p.header, p.size)
	b.loaded = true
	l.enter(b)
	e := s.spans[b.epoch]
	if e == nil {
		e = &spanEntry{epoch: b.epoch}
		s.spans[b.epoch] = e
	}
	e.count(b.class, b.first, b.last, uint64(b.n))
	for i, x := range p.entries {
		x.blk, x.idx, x.sealing = b, i, false
		if x.gone { // acknowledged while the transaction ran
			b.acked.set(i)
			b.left--
			b.dirty = true
			s.uncount(b.epoch, b.class, 1)
			s.waiting.add()
			continue
		}
		b.busy.set(i)
		s.fresh.unsealed -= int64(len(x.rec.Payload))
	}
	if b.left == 0 {
		s.finish(b)
	}
}

// undo returns the changes of a failed plan to the waiting ones. Called with mu held.
func (s *Store) undo(p *plan) {
	for _, b := range p.blocks {
		if b.kept != nil {
			s.history.putBack(b.class)
		}
		for _, e := range b.entries {
			e.sealing, e.seen = false, e.seen || p.submitted
			if e.gone { // acknowledged while the transaction ran
				s.queueHistory(e)
			}
		}
	}
	for _, b := range p.acks {
		b.dirty = b.left > 0
	}
	for _, k := range p.gaps {
		s.gaps.dirty[k] = true
	}
	for epoch := range p.spans {
		s.touched[epoch] = true
	}
	for g := range groups {
		for _, no := range p.segs[g] {
			s.groups[g].dirty[no] = true
		}
	}
	s.waiting.n += p.waits.n
	if !p.waits.since.IsZero() {
		s.waiting.since = p.waits.since
	} else if s.waiting.n > 0 && s.waiting.since.IsZero() {
		s.waiting.since = time.Now()
	}
}

// spanList copies the counts of unacknowledged records, oldest epoch first. Called with mu held.
func (s *Store) spanList() []spanEntry {
	out := make([]spanEntry, 0, len(s.spans))
	for _, e := range s.spans {
		if !e.empty() {
			out = append(out, *e)
		}
	}
	slices.SortFunc(out, func(a, b spanEntry) int { return strings.Compare(a.epoch, b.epoch) })
	return out
}

// failed records why nothing can be written, and logs the change. Called with mu held.
func (s *Store) failed(err error) {
	if s.fault == nil || s.fault.Error() != err.Error() && !errors.Is(err, errFull) {
		s.log.Error("store cannot write; records stay in memory", "err", err, "fresh", s.fresh.n)
	}
	s.fault = err
}

// recovered clears the write fault, and logs the change. Called with mu held.
func (s *Store) recovered() {
	if s.fault != nil {
		s.log.Info("store can write again", "fresh", s.fresh.n)
	}
	s.fault = nil
}

// noDisk returns the error of a store without a usable database.
func (s *Store) noDisk() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return s.fault
	}
	return ErrClosed
}
