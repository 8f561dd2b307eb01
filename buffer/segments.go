package buffer

import "sort"

// segments are the segments of one group, oldest first. Blocks are written to the last one. Its methods are called with
// Store.mu held.
type segments struct {
	list    []*segment
	dirty   map[uint32]bool // entries to be written
	deleted []uint32        // entries to be deleted
}

func (g *segments) last() *segment { return g.list[len(g.list)-1] }

// of returns the segment that contains block no of class c.
func (g *segments) of(c Class, no uint64) (*segment, bool) {
	i := sort.Search(len(g.list), func(i int) bool { return g.list[i].first[c] > no }) - 1
	if i < 0 || g.list[i].dropped[c] {
		return nil, false
	}
	return g.list[i], true
}

// end returns the number after the last block of class c in the i-th segment.
func (g *segments) end(i int, c Class, next uint64) uint64 {
	if i+1 < len(g.list) {
		return g.list[i+1].first[c]
	}
	return next
}

// bounds returns the number of the first block of class c in seg and the number after its last one.
func (g *segments) bounds(seg *segment, c Class, next uint64) (first, end uint64) {
	for i := range g.list {
		if g.list[i] == seg {
			return seg.first[c], g.end(i, c, next)
		}
	}
	return 0, 0
}

// size returns the number of bytes written into a segment.
func (g *segment) size() (n uint64) {
	for _, b := range g.bytes {
		n += b
	}
	return n
}

// segmentSize is the number of bytes after which a group begins a new segment.
func (o *Options) segmentSize(g group) uint64 {
	size, keep := o.MaxSize/32, o.History
	if g == long {
		size, keep = o.MaxSize/64, o.EnergyHistory
	}
	if keep > 0 {
		size = min(size, keep/4)
	}
	return uint64(min(max(size, 256<<10), 16<<20))
}

// roll begins a new segment of group g. The next transaction writes the segment entries, at the latest with the first
// block of the new segment. Called with mu held.
func (s *Store) roll(g group) {
	l := &s.groups[g]
	n := &segment{no: l.last().no + 1}
	for c := range classes {
		n.first[c] = s.lanes[c].next
	}
	l.dirty[l.last().no], l.dirty[n.no] = true, true
	l.list = append(l.list, n)
	s.waiting.add()
}

// settled reports whether every block of class c in the i-th segment of its group is acknowledged.
func (s *Store) settled(i int, c Class) bool {
	g, l := &s.groups[groupOf(c)], &s.lanes[c]
	from := max(g.list[i].first[c], l.low)
	return l.done.next(from) >= g.end(i, c, l.next) || from >= g.end(i, c, l.next)
}

// historyBytes returns how much acknowledged history of class c is on disk, in whole segments. Called with mu held.
func (s *Store) historyBytes(c Class) (n int64) {
	g := &s.groups[groupOf(c)]
	for i, seg := range g.list {
		if !seg.dropped[c] && s.settled(i, c) {
			n += int64(seg.bytes[c])
		}
	}
	return n
}
