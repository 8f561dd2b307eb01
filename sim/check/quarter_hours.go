// Quarter hours add up: each is what the counter moved between its edges, never negative and never more than the plant can
// make, and their sum is what the counter really moved.

package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"time"

	"bordo/contract"
	"bordo/drivers"
)

// quarter is the length of an interval.
const quarter = 15 * time.Minute

// QuarterHours claims that the intervals of a counter are right.
type QuarterHours struct {
	site  Site
	most  map[string]float64 // kW that a device can pass on, by id
	best  map[intervalKey]energyInterval
	seen  map[readingKey][]counterReading
	found findings
}

type readingKey struct{ node, dev, point string }

// counterReading is a published value of a counter, by the node's own clock: quarters follow the same one.
type counterReading struct {
	ts    int64
	value float64
}

type intervalKey struct {
	node, dev, point string
	start            int64
}

// energyInterval is the data of the event.
type energyInterval struct {
	Start    int64    `json:"start"`
	Point    string   `json:"point"`
	KWh      *float64 `json:"kwh"`
	From     *float64 `json:"from"`
	To       *float64 `json:"to"`
	Segment  int      `json:"segment"`
	Coverage float64  `json:"coverage"`
	Method   string   `json:"method"`
	Rev      int      `json:"rev"`
}

// NewQuarterHours makes the checker. most is the highest power of each device in kW.
func NewQuarterHours(site Site, most map[string]float64) *QuarterHours {
	return &QuarterHours{site: site, most: most, best: map[intervalKey]energyInterval{}, seen: map[readingKey][]counterReading{}}
}

// Name implements Checker.
func (*QuarterHours) Name() string { return "quarter-hours-add-up" }

// See implements Checker.
func (c *QuarterHours) See(m *Message) {
	c.read(m)
	if m.Event == nil || m.Event.Type != contract.EnergyInterval {
		return
	}
	var e energyInterval
	if err := json.Unmarshal(m.Event.Data, &e); err != nil {
		c.found.add("%s: %v", m.Event.ID, err)
		return
	}
	key := intervalKey{m.Node, m.Event.Dev, e.Point, e.Start}
	if old, ok := c.best[key]; !ok || e.Rev > old.Rev {
		c.best[key] = e
	}
}

// read keeps the counters among the values of a message.
func (c *QuarterHours) read(m *Message) {
	if m.Batch == nil {
		return
	}
	for _, s := range m.Batch.Samples {
		for point, v := range s.V {
			p, ok := drivers.PointOf(point)
			if x, number := v.(float64); ok && number && p.Kind == drivers.Counter {
				k := readingKey{m.Node, m.Batch.Dev, point}
				c.seen[k] = append(c.seen[k], counterReading{s.TS, x})
			}
		}
	}
}

// Judge implements Checker.
func (c *QuarterHours) Judge() []string {
	for _, list := range c.seen {
		slices.SortFunc(list, func(a, b counterReading) int { return cmp.Compare(a.ts, b.ts) })
	}
	keys := slices.SortedFunc(maps.Keys(c.best), func(a, b intervalKey) int {
		if a.node+a.dev+a.point != b.node+b.dev+b.point {
			if a.node+a.dev+a.point < b.node+b.dev+b.point {
				return -1
			}
			return 1
		}
		return int(a.start - b.start)
	})
	for i, k := range keys {
		e := c.best[k]
		c.one(k, e)
		if i > 0 {
			if before := keys[i-1]; before.node == k.node && before.dev == k.dev && before.point == k.point {
				c.joined(k, c.best[before], e)
			}
		}
	}
	return c.found.all()
}

// one holds an interval against itself and against the readings of its counter.
func (c *QuarterHours) one(k intervalKey, e energyInterval) {
	where := fmt.Sprintf("%s %s of %s", k.dev, k.point, time.UnixMilli(k.start).UTC().Format("Jan 2 15:04"))
	switch {
	case k.start%quarter.Milliseconds() != 0:
		c.found.add("%s: does not begin at a quarter", where)
	case e.Coverage < 0 || e.Coverage > 1:
		c.found.add("%s: coverage %v", where, e.Coverage)
	case e.KWh == nil:
		return
	case *e.KWh < 0:
		c.found.add("%s: %v kWh is negative", where, *e.KWh)
	case c.most[k.dev] > 0 && *e.KWh > 1.1*c.most[k.dev]*quarter.Hours()+0.2:
		c.found.add("%s: %v kWh is more than %v kW can make", where, *e.KWh, c.most[k.dev])
	case e.From != nil && e.To != nil && e.Method == "counter" && math.Abs(*e.To-*e.From-*e.KWh) > 1e-3:
		c.found.add("%s: %v kWh, but the counter went from %v to %v", where, *e.KWh, *e.From, *e.To)
	}
	c.edge(where+", beginning", k, k.start, e.From)
	c.edge(where+", end", k, k.start+quarter.Milliseconds(), e.To)
}

// edge holds the counter at an edge against the readings that were published just before and just after it: whatever the
// device did in between, its counter was between them.
func (c *QuarterHours) edge(where string, k intervalKey, at int64, value *float64) {
	if value == nil || c.twice(at) {
		return
	}
	list := c.seen[readingKey{k.node, k.dev, k.point}]
	after := sort.Search(len(list), func(i int) bool { return list[i].ts >= at })
	if after == 0 || after == len(list) {
		return // nothing is known of one side
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, r := range list[max(0, after-beside):min(len(list), after+beside)] {
		lo, hi = math.Min(lo, r.value), math.Max(hi, r.value)
	}
	if *value < lo-counterSlack || *value > hi+counterSlack {
		c.found.add("%s: the counter is said to be %v, the readings around it are %v to %v", where, *value, lo, hi)
	}
}

// twice tells whether the node's clock jumped so near to a moment that its readings do not stand in their order: such a
// quarter is lived through twice, or in part, and nobody knows what its counter was.
func (c *QuarterHours) twice(at int64) bool {
	for _, near := range []time.Duration{-2 * quarter, -quarter, 0, quarter, 2 * quarter} {
		if len(c.site.When(time.UnixMilli(at).Add(near), 0)) != 1 {
			return true
		}
	}
	return false
}

const (
	beside       = 2    // readings on each side of an edge
	counterSlack = 0.01 // kWh: a register's rounding
)

// joined holds two neighbours against each other: no energy is lost or counted twice between them.
func (c *QuarterHours) joined(k intervalKey, a, b energyInterval) {
	if c.twice(a.Start) || c.twice(b.Start) {
		return
	}
	if b.Start-a.Start == quarter.Milliseconds() && a.Segment == b.Segment && a.To != nil && b.From != nil &&
		math.Abs(*a.To-*b.From) > 1e-3 {
		c.found.add("%s %s: a quarter ends at %v and the next begins at %v (%s)", k.dev, k.point, *a.To, *b.From,
			time.UnixMilli(k.start).UTC().Format("Jan 2 15:04"))
	}
}
