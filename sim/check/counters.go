package check

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"sort"

	"bordo/contract"
	"bordo/drivers/catalogue"
)

// place is the position of a record among those of its node: epochs begin with a counter, so that their order is that
// of time.
type place struct {
	ep  string
	seq uint64
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.ep, q.ep), cmp.Compare(p.seq, q.seq))
}

type counterKey struct{ node, dev, point string }

// counterReading is a published value of a counter. 0 is ignored: devices show it when the value is unknown.
type counterReading struct {
	at    place
	ts    int64 // by the node's clock, with the reported corrections applied
	free  bool
	value float64
}

// counters keeps the published counter values, in the order of reading.
type counters struct {
	read map[counterKey][]counterReading
	sets map[string][]clockSet // by node and epoch
}

// clockSet is a record that states by how much earlier times were wrong.
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
			p, ok := catalogue.PointOf(point)
			if x, number := v.(float64); ok && number && x > 0 && p.Kind == catalogue.Counter {
				k := counterKey{m.Node, m.Batch.Dev, point}
				c.read[k] = append(c.read[k],
					counterReading{place{m.Batch.Ep, s.Seq}, s.TS, m.Batch.Clk == contract.ClockFree, x})
			}
		}
	}
}

// order sorts everything by record. A stamp of an unset clock is corrected as the contract says: by the first setting
// after it.
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

// beside is the number of readings examined on each side of a moment.
const beside = 2

// trim is how far the clock may be put back without a report, ms.
const trim = 2000

// span is the range of a counter, as far as its readings show.
type span struct{ lo, hi float64 }

// believedKW is the power beyond which a node does not believe a counter's rise when the plant's rating is unknown:
// that of the package agent/energy, to which counters_test.go compares it.
const believedKW = 1100

// covered is the maximum distance of a reading that covers a moment, ms: see the package agent/energy.
const covered = 60_000

// around returns the lowest and highest value of a counter just before and just after a moment, for each pass of the
// clock with readings on both sides: a clock that is put back passes a moment twice, and a published value may belong
// to either. Where a pass begins or ends at the moment, the neighbouring pass supplies the other side. Where the
// counter jumped just before the moment, there is a second span, from before the jump.
func (c *counters) around(k counterKey, at int64) (out []span) {
	list := c.read[k]
	for begin := 0; begin < len(list); {
		end := begin + 1
		for end < len(list) && list[end].ts >= list[end-1].ts-trim {
			end++
		}
		pass := list[begin:end]
		after := begin + sort.Search(len(pass), func(i int) bool { return pass[i].ts >= at })
		if (after > begin || pass[0].ts < at+covered) && (after < end || pass[len(pass)-1].ts > at-covered) &&
			after > 0 && after < len(list) {
			s := span{math.Inf(1), math.Inf(-1)}
			for _, r := range list[max(0, after-beside):min(len(list), after+beside)] {
				s.lo, s.hi = math.Min(s.lo, r.value), math.Max(s.hi, r.value)
			}
			out = append(out, s)
			if r, ok := beforeLeap(list[begin:after], at); ok {
				out = append(out, span{r.value, s.hi})
			}
		}
		begin = end
	}
	return out
}

// stoodSince returns when the counter was first read with the value that it still had at its last reading before a
// moment; the moment itself if it moved.
func (c *counters) stoodSince(k counterKey, at int64) int64 {
	since := at
	var last *counterReading
	for i := range c.read[k] {
		r := &c.read[k][i]
		if r.ts >= at {
			continue
		}
		if last == nil || r.value != last.value {
			since = r.ts
		}
		last = r
	}
	if last == nil || since == last.ts {
		return at
	}
	return since
}

// beforeLeap finds the reading from which a counter continues at a moment although later ones were published before it.
// After a jump that no power explains, no reading is believed until the time since the jump explains it, and the rise
// is spread over all of that time. ok is false when the last reading before the moment is believed. list contains the
// readings before the moment.
func beforeLeap(list []counterReading, at int64) (believed counterReading, ok bool) {
	for i, r := range list[sort.Search(len(list), func(i int) bool { return list[i].ts > at-covered }):] {
		if ok = i > 0 && !inReach(believed, r); !ok {
			believed = r
		}
	}
	return believed, ok
}

// inReach reports whether the believed power explains the rise of a counter between two readings.
func inReach(from, to counterReading) bool {
	const hour = 3_600_000 // ms
	return to.value-from.value <= believedKW*float64(to.ts-from.ts)/hour+counterSlack
}
