package check

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"time"
)

// evictions are the readings of an epoch that its store evicted, with the stamps of the records around them, which show
// when an evicted span begins and ends.
type evictions struct {
	gaps   []gap
	stamps map[uint64]int64 // ms, of every record that arrived
	seqs   []uint64         // of stamps, sorted; made when it is first needed
}

// add takes a gap; all but evicted readings are ignored.
func (e *evictions) add(g gap) {
	if g.why == "evicted" && g.class == "reading" {
		e.gaps = append(e.gaps, g)
	}
}

// stamp notes when a record was made.
func (e *evictions) stamp(seq uint64, ms int64) {
	if e.stamps == nil {
		e.stamps = map[uint64]int64{}
	}
	e.stamps[seq] = ms
	e.seqs = nil
}

// between lists the gaps between two records, in order.
func (e *evictions) between(from, to uint64) (out []gap) {
	for _, g := range e.gaps {
		if g.from > from && g.to < to {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b gap) int { return cmp.Compare(a.from, b.from) })
	return out
}

// lasted returns the total time that the gaps cover.
func (e *evictions) lasted() (sum time.Duration) {
	for _, g := range e.gaps {
		sum += time.Duration(e.at(g.to)-e.at(g.from)) * time.Millisecond
	}
	return sum
}

// at returns when a record was made, in ms. For one that did not arrive it is interpolated from its neighbours, or is
// the stamp of the first or last record.
func (e *evictions) at(seq uint64) int64 {
	if e.seqs == nil {
		e.seqs = slices.Sorted(maps.Keys(e.stamps))
	}
	i := sort.Search(len(e.seqs), func(i int) bool { return e.seqs[i] >= seq })
	switch {
	case len(e.seqs) == 0:
		return 0
	case i == len(e.seqs):
		return e.stamps[e.seqs[i-1]]
	case i == 0 || e.seqs[i] == seq:
		return e.stamps[e.seqs[i]]
	}
	before, after := e.seqs[i-1], e.seqs[i]
	share := float64(seq-before) / float64(after-before)
	return e.stamps[before] + int64(share*float64(e.stamps[after]-e.stamps[before]))
}
