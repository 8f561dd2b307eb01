package buffer

import (
	"fmt"
	"iter"
	"slices"
)

// Query selects the records that Records yields. The zero value selects all.
type Query struct {
	Classes []Class // empty: events, intervals and readings. A Card is never yielded
	// From and To select records whose time span overlaps them, in milliseconds; 0 leaves that end open. Records
	// without a time span are yielded only when both are 0.
	From, To int64
	// Epoch, First and Last select identities: empty means all epochs, Last 0 no upper end.
	Epoch       string
	First, Last uint64
}

// wants reports whether a record, or a block with these ranges, can match the query.
func (q *Query) wants(epoch string, first, last uint64, from, to int64) bool {
	if q.Epoch != "" && epoch != q.Epoch || last < q.First || q.Last != 0 && first > q.Last {
		return false
	}
	if q.From == 0 && q.To == 0 {
		return true
	}
	return to != 0 && to >= q.From && (q.To == 0 || from <= q.To)
}

// Records yields every stored record that matches the query, acknowledged or not. It goes class by class in the order
// of sealing, and yields what is still in memory last. It leases nothing, holds one block at a time, and may be
// abandoned at any moment. Records appended during the iteration may be missing. An unreadable block is yielded as an
// error, and the iteration continues with the next one.
//
// Records of devices marked personal are never yielded: they leave the store only by being forwarded.
func (s *Store) Records(q Query) iter.Seq2[Record, error] {
	list := q.Classes
	if len(list) == 0 {
		list = []Class{Event, Interval, Reading}
	}
	return func(yield func(Record, error) bool) {
		for _, c := range list {
			if c == Card || !c.known() {
				continue
			}
			if !s.storedRecords(c, &q, yield) {
				return
			}
		}
	}
}

// storedRecords yields the records of one class and reports whether to continue.
func (s *Store) storedRecords(c Class, q *Query, yield func(Record, error) bool) bool {
	for no := uint64(0); ; no++ {
		recs, at, end, err := s.recordsFrom(c, no, q)
		if err != nil && !yield(Record{}, err) {
			return false
		}
		for _, r := range recs {
			if q.wants(r.Epoch, r.Seq, r.Seq, r.From, max(r.From, r.To)) && !yield(r, nil) {
				return false
			}
		}
		if end {
			return true
		}
		no = at
	}
}

// recordsFrom reads the first block at or after no that matches the query and returns its number. At the end of the
// disk it returns the records in memory.
func (s *Store) recordsFrom(c Class, no uint64, q *Query) (recs []Record, at uint64, end bool, err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	segs := s.liveSegments(c)
	s.mu.Unlock()
	if s.eng == nil {
		segs = nil
	}
	for _, seg := range segs {
		var found []byte
		err := s.eng.scanFrom(blockKey(c, seg, no), segPrefix(c, seg), func(k, v []byte) bool {
			_, _, n, ok := parseBlockKey(k)
			if h, _, err := readHeader(v); !ok || err == nil && !q.wants(h.epoch, h.first, h.last, h.from, h.to) {
				return true
			}
			at, found = n, slices.Clone(v)
			return false
		})
		if err != nil {
			return nil, at, true, fmt.Errorf("read records: %w", err)
		}
		if found == nil {
			continue
		}
		h, body, err := openBlock(found, c, at)
		if err == nil {
			recs, err = s.decode(h, body)
		}
		if err != nil {
			return nil, at, false, fmt.Errorf("read %s block %d: %w", c, at, err)
		}
		return recs, at, false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	recs = slices.Clone(s.history.queue[c].recs)
	s.fresh.each(func(e *entry) bool {
		if r := &e.rec; e.lane == c && e.blk == nil && q.wants(r.Epoch, r.Seq, r.Seq, r.From, max(r.From, r.To)) {
			e.seen = true
			recs = append(recs, *r)
		}
		return true
	})
	return recs, at, true, nil
}

// Share is all blocks of one class in one segment, the unit in which space is reclaimed.
type Share struct {
	Class    Class
	Private  bool // of devices marked personal
	Segment  uint32
	Blocks   int
	Done     int // fully acknowledged blocks
	Records  int
	Bytes    int64
	From, To int64 // milliseconds, 0 unknown
	First    ID
	Last     ID
	Damaged  int // blocks that cannot be read
	Epochs   []Span
}

// List describes what is on disk, one entry per share. It reads every block header.
func (s *Store) List() ([]Share, error) {
	var out []Share
	for c := Event; int(c) < classes; c++ {
		s.mu.Lock()
		segs := s.liveSegments(c)
		s.mu.Unlock()
		for _, seg := range segs {
			sh, err := s.listShare(c, seg)
			if err != nil {
				return out, fmt.Errorf("list: %w", err)
			}
			if sh.Blocks > 0 {
				out = append(out, sh)
			}
		}
	}
	return out, nil
}

// count adds n records of an epoch to the last span, or begins a new one.
func (sh *Share) count(epoch string, first, last, n uint64) {
	if i := len(sh.Epochs) - 1; i >= 0 && sh.Epochs[i].Epoch == epoch {
		e := &sh.Epochs[i]
		e.First, e.Last, e.N = min(e.First, first), max(e.Last, last), e.N+n
		return
	}
	sh.Epochs = append(sh.Epochs, Span{Epoch: epoch, First: first, Last: last, N: n})
}

// listShare describes one class in one segment. Called without locks.
func (s *Store) listShare(c Class, seg uint32) (Share, error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	sh := Share{Class: c.public(), Private: c != c.public(), Segment: seg}
	if s.eng == nil {
		return sh, s.noDisk()
	}
	s.mu.Lock()
	over := slices.Clone(s.lanes[c].finished)
	low := s.lanes[c].low
	s.mu.Unlock()
	err := s.eng.scan(segPrefix(c, seg), func(k, v []byte) bool {
		_, _, no, ok := parseBlockKey(k)
		if !ok || no < low {
			return true
		}
		sh.Blocks++
		sh.Bytes += int64(len(v))
		if over.has(no) {
			sh.Done++
		}
		h, _, err := openBlock(v, c, no)
		if err != nil {
			sh.Damaged++
			return true
		}
		if sh.Records == 0 {
			sh.First = ID{h.epoch, h.first}
		}
		sh.Last = ID{h.epoch, h.last}
		sh.Records += h.n
		sh.count(h.epoch, h.first, h.last, uint64(h.n))
		if h.from != 0 && (sh.From == 0 || h.from < sh.From) {
			sh.From = h.from
		}
		sh.To = max(sh.To, h.to)
		return true
	})
	return sh, err
}
