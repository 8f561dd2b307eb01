package consumer

import "slices"

// Range is a closed interval of sequence numbers.
type Range [2]uint64

// ranges is a set of sequence numbers as rising intervals that neither overlap nor touch.
type ranges []Range

// find returns the place of the first interval that ends at or after seq.
func (r ranges) find(seq uint64) int {
	i, _ := slices.BinarySearchFunc(r, seq, func(x Range, s uint64) int {
		if x[1] < s {
			return -1
		}
		return 1
	})
	return i
}

func (r ranges) has(seq uint64) bool {
	i := r.find(seq)
	return i < len(r) && r[i][0] <= seq
}

// add includes from..to.
func (r ranges) add(from, to uint64) ranges {
	if from > to {
		return r
	}
	i := r.find(from)
	if i > 0 && r[i-1][1]+1 == from {
		i--
	}
	j := i
	for j < len(r) && (r[j][0] <= to || r[j][0] == to+1) {
		from, to = min(from, r[j][0]), max(to, r[j][1])
		j++
	}
	return slices.Replace(r, i, j, Range{from, to})
}

// holes returns what of from..to is missing, at most limit intervals.
func (r ranges) holes(from, to uint64, limit int) (out ranges) {
	for i := r.find(from); from <= to && len(out) < limit; i++ {
		if i == len(r) || r[i][0] > to {
			return append(out, Range{from, to})
		}
		if r[i][0] > from {
			out = append(out, Range{from, r[i][0] - 1})
		}
		if r[i][1] >= to {
			break
		}
		from = r[i][1] + 1
	}
	return out
}

// top is the largest member, 0 of an empty set.
func (r ranges) top() uint64 {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1][1]
}
