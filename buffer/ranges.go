package buffer

import (
	"encoding/binary"
	"slices"
)

// span64 is the closed range lo..hi.
type span64 struct{ lo, hi uint64 }

// ranges is a set of numbers as ascending ranges that neither overlap nor touch.
type ranges []span64

// find returns the index of the first range whose upper end is at least n.
func (r ranges) find(n uint64) int {
	i, _ := slices.BinarySearchFunc(r, n, func(s span64, n uint64) int {
		if s.hi < n {
			return -1
		}
		return 1
	})
	return i
}

func (r ranges) has(n uint64) bool {
	i := r.find(n)
	return i < len(r) && r[i].lo <= n
}

// covers reports whether all of lo..hi is in the set.
func (r ranges) covers(lo, hi uint64) bool {
	i := r.find(lo)
	return i < len(r) && r[i].lo <= lo && hi <= r[i].hi
}

// next returns the smallest number >= n that is not in the set.
func (r ranges) next(n uint64) uint64 {
	if i := r.find(n); i < len(r) && r[i].lo <= n {
		return r[i].hi + 1
	}
	return n
}

// add puts lo..hi into the set and returns it.
func (r ranges) add(lo, hi uint64) ranges {
	i := r.find(lo)
	if lo > 0 && i > 0 && r[i-1].hi == lo-1 {
		i--
	}
	j := i
	for j < len(r) && r[j].lo <= hi+1 {
		lo, hi = min(lo, r[j].lo), max(hi, r[j].hi)
		j++
	}
	return slices.Replace(r, i, j, span64{lo, hi})
}

// touches reports whether n is in the set or beside one of its ranges, so that adding it makes no new range.
func (r ranges) touches(n uint64) bool {
	return r.has(n) || r.has(n+1) || n > 0 && r.has(n-1)
}

// dropBelow removes all numbers below n.
func (r ranges) dropBelow(n uint64) ranges {
	i := r.find(n)
	r = slices.Delete(r, 0, i)
	if len(r) > 0 && r[0].lo < n {
		r[0].lo = n
	}
	return r
}

func (r ranges) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r)))
	at := uint64(0)
	for _, s := range r {
		b = binary.AppendUvarint(b, s.lo-at)
		b = binary.AppendUvarint(b, s.hi-s.lo)
		at = s.hi
	}
	return b
}

func readRanges(r *reader) ranges {
	var out ranges
	at := uint64(0)
	for n := r.count(); n > 0 && r.err == nil; n-- {
		lo := at + r.uvarint()
		hi := lo + r.uvarint()
		if lo < at || hi < lo {
			r.fail()
			return nil
		}
		out = append(out, span64{lo, hi})
		at = hi
	}
	return out
}
