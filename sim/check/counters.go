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

// place is where a record stands among those of its node: epochs begin with a counter, so that their order is that of time.
type place struct {
	ep  string
	seq uint64
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.ep, q.ep), cmp.Compare(p.seq, q.seq))
}

type counterKey struct{ node, dev, point string }

// counterReading is a published value of a counter. 0 is none: it is what is shown when nothing is known.
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
			p, ok := catalogue.PointOf(point)
			if x, number := v.(float64); ok && number && x > 0 && p.Kind == catalogue.Counter {
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

// span is what a counter was between, as far as its readings tell.
type span struct{ lo, hi float64 }

// believedKW is the power beyond which a node does not believe a counter's rise as long as nobody says what the plant can
// make: that of the package agent/energy, which counters_test.go holds it to.
const believedKW = 1100

// covered is how far from a moment a reading may be that covers it, ms: see the package agent/energy.
const covered = 60_000

// around gives the least and the highest value of a counter just before and just after a moment, in each pass of the clock
// that knows both sides: a clock that is put back lives through a moment twice, and what is told of it may be of either. Where
// a pass begins or ends at the moment, the other side is what the pass before or after it knows. Where the counter leapt just
// before the moment, there is a second span, from before the leap.
func (c *counters) around(k counterKey, at int64) (out []span) {
	list := c.read[k]
	for begin := 0; begin < len(list); {
		end := begin + 1
		for end < len(list) && list[end].ts >= list[end-1].ts-trim {
			end++
		}
		pass := list[begin:end]
		after := begin + sort.Search(len(pass), func(i int) bool { return pass[i].ts >= at })
		if (after > begin || pass[0].ts < at+covered) && (after < end || pass[len(pass)-1].ts > at-covered) && after > 0 && after < len(list) {
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

// stoodSince returns when the counter was first read with the value that it still had when it was last read before a moment;
// the moment itself when it moved.
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

// beforeLeap finds the reading that a counter goes on from at a moment although later ones were published before it: after a
// leap that no power explains, none of these is believed until the time since the leap explains it, and what the counter rose
// is spread over all of that time. ok is false when the last reading before the moment is believed. list is what was read
// before the moment.
func beforeLeap(list []counterReading, at int64) (believed counterReading, ok bool) {
	for i, r := range list[sort.Search(len(list), func(i int) bool { return list[i].ts > at-covered }):] {
		if ok = i > 0 && !inReach(believed, r); !ok {
			believed = r
		}
	}
	return believed, ok
}

// inReach tells whether the power that is believed explains what a counter rose from one reading to another.
func inReach(from, to counterReading) bool {
	const hour = 3_600_000 // ms
	return to.value-from.value <= believedKW*float64(to.ts-from.ts)/hour+counterSlack
}
