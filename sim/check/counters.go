package check

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"

	"bordo/contract"
	"bordo/drivers"
)

// place is where a record stands among those of its node: epochs begin with a counter, so that their order is that of time.
type place struct {
	ep  string
	seq uint64
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.ep, q.ep), cmp.Compare(p.seq, q.seq))
}

type counterKey struct{ node, dev, point string }

// counterReading is a published value of a counter.
type counterReading struct {
	at    place
	ts    int64 // by the node's clock, corrected by what it told of it
	free  bool
	value float64
}

// counters keeps what was published of counters, in the order in which it was read.
type counters struct {
	read map[counterKey][]counterReading
	sets map[string][]clockSet // by node and epoch
}

// clockSet is a record that tells by how much the times before it were wrong.
type clockSet struct {
	seq    uint64
	offset int64
}

func newCounters() counters {
	return counters{read: map[counterKey][]counterReading{}, sets: map[string][]clockSet{}}
}

func (c *counters) see(m *Message) {
	if m.Event != nil && m.Event.Type == contract.ClockSet {
		var d struct {
			Offset int64 `json:"offset"`
		}
		if json.Unmarshal(m.Event.Data, &d) == nil {
			key := m.Node + " " + m.Event.Ep
			c.sets[key] = append(c.sets[key], clockSet{m.Event.Seq, d.Offset})
		}
	}
	if m.Batch == nil {
		return
	}
	for _, s := range m.Batch.Samples {
		for point, v := range s.V {
			p, ok := drivers.PointOf(point)
			if x, number := v.(float64); ok && number && p.Kind == drivers.Counter {
				k := counterKey{m.Node, m.Batch.Dev, point}
				c.read[k] = append(c.read[k], counterReading{place{m.Batch.Ep, s.Seq}, s.TS, m.Batch.Clk == contract.ClockFree, x})
			}
		}
	}
}

// order brings everything into the order of the records. A stamp of a clock that was not set is corrected as the contract
// says: by the first setting after it.
func (c *counters) order() {
	for _, sets := range c.sets {
		slices.SortFunc(sets, func(a, b clockSet) int { return cmp.Compare(a.seq, b.seq) })
	}
	for k, list := range c.read {
		slices.SortFunc(list, func(a, b counterReading) int { return a.at.compare(b.at) })
		list = slices.CompactFunc(list, func(a, b counterReading) bool { return a.at == b.at })
		for i := range list {
			sets := c.sets[k.node+" "+list[i].at.ep]
			if !list[i].free {
				continue
			}
			if n := slices.IndexFunc(sets, func(s clockSet) bool { return s.seq > list[i].at.seq }); n >= 0 {
				list[i].ts += sets[n].offset
			}
		}
		c.read[k] = list
	}
}

// beside is how many readings on each side of a moment are looked at.
const beside = 2

// trim is how far the clock may be put back without anybody telling, ms.
const trim = 2000

// around gives the least and the highest value of a counter just before and just after a moment, among the readings that
// belong to a record: those before and after it as far as the clock went on. ok is false when nothing is known of one side.
func (c *counters) around(k counterKey, at int64, told place) (lo, hi float64, ok bool) {
	list := c.read[k]
	n, _ := slices.BinarySearchFunc(list, told, func(r counterReading, p place) int { return r.at.compare(p) })
	first, last := n, n
	for first > 0 && (first == n || list[first-1].ts <= list[first].ts+trim) {
		first--
	}
	for last < len(list) && (last == first || list[last].ts >= list[last-1].ts-trim) {
		last++
	}
	list = slices.Clone(list[first:last])
	slices.SortStableFunc(list, func(a, b counterReading) int { return cmp.Compare(a.ts, b.ts) })
	after := 0
	for after < len(list) && list[after].ts < at {
		after++
	}
	if after == 0 || after == len(list) {
		return 0, 0, false
	}
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, r := range list[max(0, after-beside):min(len(list), after+beside)] {
		lo, hi = math.Min(lo, r.value), math.Max(hi, r.value)
	}
	return lo, hi, true
}
