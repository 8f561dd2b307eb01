package consumer

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRanges: the set of intervals is the set, and its holes are what it lacks.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ranges
		model := map[uint64]bool{}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			from := rapid.Uint64Range(1, 60).Draw(t, "from")
			to := from + rapid.Uint64Range(0, 5).Draw(t, "length")
			r = r.add(from, to)
			for s := from; s <= to; s++ {
				model[s] = true
			}
			for i := range r {
				if r[i][0] > r[i][1] || i > 0 && r[i][0] <= r[i-1][1]+1 {
					t.Fatalf("%v is not in order", r)
				}
			}
		}
		top := uint64(0)
		for s := uint64(1); s < 80; s++ {
			if r.has(s) != model[s] {
				t.Fatalf("%v has %d: %v", r, s, r.has(s))
			}
			if model[s] {
				top = s
			}
		}
		if r.top() != top {
			t.Fatalf("top of %v is %d, want %d", r, r.top(), top)
		}
		from, to := rapid.Uint64Range(1, 70).Draw(t, "from"), rapid.Uint64Range(0, 80).Draw(t, "to")
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		holes := r.holes(from, to, limit)
		if len(holes) > limit {
			t.Fatalf("%d holes, limit %d", len(holes), limit)
		}
		upTo := to
		if len(holes) == limit {
			upTo = holes.top()
		}
		for s := from; s <= upTo; s++ {
			if holes.has(s) == model[s] {
				t.Fatalf("holes of %v in %d..%d are %v", r, from, to, holes)
			}
		}
		for _, h := range holes {
			if h[0] < from || h[1] > to {
				t.Fatalf("hole %v outside %d..%d", h, from, to)
			}
		}
	})
}

// TestRangesAtTheEnd: the largest numbers do not wrap around.
func TestRangesAtTheEnd(t *testing.T) {
	const end = ^uint64(0)
	r := ranges{}.add(5, end)
	if !r.has(end) || r.has(4) || len(r.holes(1, end, 9)) != 1 {
		t.Errorf("%v, holes %v", r, r.holes(1, end, 9))
	}
	if r = r.add(1, 4); len(r) != 1 || r[0] != (Range{1, end}) {
		t.Errorf("%v", r)
	}
}
