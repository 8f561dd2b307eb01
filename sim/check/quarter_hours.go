// Quarter hours add up: each is what the counter moved between its edges, never negative and never more than the plant can
// make, one goes on where the one before ended, and a better one is never replaced by a worse one.

package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"bordo/contract"
)

// quarter is the length of an interval.
const quarter = 15 * time.Minute

// QuarterHours claims that the intervals of a counter are correct, including those repeated after the clock was put
// back.
type QuarterHours struct {
	most  map[string]float64 // kW that a device can pass on, by id
	told  map[intervalKey][]energyInterval
	seen  counters
	found findings
}

type intervalKey struct {
	node, dev, point string
	start            int64
}

func (k intervalKey) String() string {
	return fmt.Sprintf("%s %s of %s", k.dev, k.point, time.UnixMilli(k.start).UTC().Format("Jan 2 15:04"))
}

// energyInterval is the data of the event, with the record that it came in.
type energyInterval struct {
	Start    int64          `json:"start"`
	Point    string         `json:"point"`
	KWh      *float64       `json:"kwh"`
	From     *float64       `json:"from"`
	To       *float64       `json:"to"`
	Segment  int64          `json:"segment"`
	Coverage float64        `json:"coverage"`
	Method   string         `json:"method"`
	Clk      contract.Clock `json:"clk"`
	Rev      int            `json:"rev"`

	at place
}

// NewQuarterHours makes the checker. most is the highest power of each device in kW.
func NewQuarterHours(most map[string]float64) *QuarterHours {
	return &QuarterHours{most: most, told: map[intervalKey][]energyInterval{}, seen: newCounters()}
}

// Name implements Checker.
func (*QuarterHours) Name() string { return "quarter-hours-add-up" }

// See implements Checker.
func (c *QuarterHours) See(m *Message) {
	c.seen.see(m)
	if m.Event == nil || m.Event.Type != contract.EnergyInterval {
		return
	}
	e := energyInterval{at: place{m.Event.Ep, m.Event.Seq}}
	if err := json.Unmarshal(m.Event.Data, &e); err != nil {
		c.found.add("%s: %v", m.Event.ID, err)
		return
	}
	key := intervalKey{m.Node, m.Event.Dev, e.Point, e.Start}
	if !slices.ContainsFunc(c.told[key], func(o energyInterval) bool { return o.at == e.at }) {
		c.told[key] = append(c.told[key], e)
	}
}

// Judge implements Checker.
func (c *QuarterHours) Judge() []string {
	c.seen.order()
	keys := slices.SortedFunc(maps.Keys(c.told), func(a, b intervalKey) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.dev, b.dev), cmp.Compare(a.point, b.point),
			cmp.Compare(a.start, b.start))
	})
	for i, k := range keys {
		for _, e := range c.told[k] {
			c.one(k, e)
		}
		best := c.best(k)
		c.truest(k, best)
		if i == 0 {
			continue
		}
		if before := keys[i-1]; before.node == k.node && before.dev == k.dev && before.point == k.point {
			c.joined(k, c.best(before), best)
		}
	}
	return c.found.all()
}

// best is the interval that counts.
func (c *QuarterHours) best(k intervalKey) energyInterval {
	return slices.MaxFunc(c.told[k], func(a, b energyInterval) int { return cmp.Compare(a.Rev, b.Rev) })
}

// truest claims that no published version of a quarter is replaced by a worse one: a quarter wholly covered by a
// counter, under a set clock, is not replaced by one that is not.
func (c *QuarterHours) truest(k intervalKey, best energyInterval) {
	for _, e := range c.told[k] {
		switch {
		case e.at != best.at && e.Rev == best.Rev && !e.same(best):
			c.found.add("%s: told twice with rev %d, as %v kWh and as %v kWh", k, e.Rev, *e.KWh, *best.KWh)
		case e.whole() && !best.whole():
			c.found.add("%s: whole as rev %d (%v kWh), and replaced by rev %d with coverage %v, clk %s", k, e.Rev,
				*e.KWh, best.Rev, best.Coverage, best.Clk)
		}
	}
}

func (e *energyInterval) whole() bool {
	return e.Coverage == 1 && e.Method == "counter" && e.Clk != contract.ClockFree
}

// same reports whether two records have the same content: after a power cut a quarter may be published once more.
func (e *energyInterval) same(o energyInterval) bool {
	equal := func(a, b *float64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
	return equal(e.KWh, o.KWh) && equal(e.From, o.From) && equal(e.To, o.To) && e.Segment == o.Segment
}

// one holds an interval against itself and against the readings of its counter.
func (c *QuarterHours) one(k intervalKey, e energyInterval) {
	switch {
	case k.start%quarter.Milliseconds() != 0:
		c.found.add("%s: does not begin at a quarter", k)
	case e.Coverage < 0 || e.Coverage > 1:
		c.found.add("%s: coverage %v", k, e.Coverage)
	case e.KWh == nil:
		return
	case *e.KWh < 0:
		c.found.add("%s: %v kWh is negative", k, *e.KWh)
	case c.most[k.dev] > 0 && e.Clk != contract.ClockFree &&
		*e.KWh > (1.1*c.most[k.dev]*quarter.Hours()+0.2)*c.caughtUp(k):
		c.found.add("%s: %v kWh is more than %v kW can make", k, *e.KWh, c.most[k.dev])
	case e.From != nil && e.To != nil && e.Method == "counter" && math.Abs(*e.To-*e.From-*e.KWh) > 1e-3:
		c.found.add("%s: %v kWh, but the counter went from %v to %v", k, *e.KWh, *e.From, *e.To)
	}
	if e.Clk == contract.ClockFree || e.Coverage < 1 {
		return // where it lies is not vouched for, or its edges are an estimate
	}
	c.edge("beginning", k, k.start, e.From)
	c.edge("end", k, k.start+quarter.Milliseconds(), e.To)
}

// stoodMost is the maximum number of quarters for which a counter may have stood still before one in which it catches
// up.
const stoodMost = 8

// caughtUp is the number of quarters whose energy one may contain: its own, and those before it through whose end the
// counter stood still, because a device showed the same value for a while and then all at once what it had counted.
// Energy not counted at the end of the previous quarter counts as well.
func (c *QuarterHours) caughtUp(k intervalKey) float64 {
	quarters := 1
	for quarters <= stoodMost {
		spans := c.seen.around(counterKey{k.node, k.dev, k.point}, k.start-int64(quarters-1)*quarter.Milliseconds())
		if !slices.ContainsFunc(spans, func(s span) bool { return s.lo == s.hi }) {
			break
		}
		quarters++
	}
	// and then nothing was read until it had caught up
	stood := k.start - c.seen.stoodSince(counterKey{k.node, k.dev, k.point}, k.start)
	return max(float64(quarters), min(1+float64(stood)/float64(quarter.Milliseconds()), stoodMost))
}

// edge compares the counter at an edge with the readings published just before and just after it. Whatever the device
// did in between, its counter was between them, or, while readings after a jump are not believed, between the one
// before the jump and them.
func (c *QuarterHours) edge(which string, k intervalKey, at int64, value *float64) {
	if value == nil {
		return
	}
	spans := c.seen.around(counterKey{k.node, k.dev, k.point}, at)
	if len(spans) > 0 && !slices.ContainsFunc(spans,
		func(s span) bool { return *value >= s.lo-counterSlack && *value <= s.hi+counterSlack }) {
		c.found.add("%s, %s: the counter is said to be %v, the readings around it are %v", k, which, *value, spans)
	}
}

// counterSlack is a register's rounding, kWh.
const counterSlack = 0.01

// joined holds two intervals of which nothing lies between against each other: no energy is lost or counted twice.
func (c *QuarterHours) joined(k intervalKey, a, b energyInterval) {
	if a.Segment == b.Segment && a.To != nil && b.From != nil && math.Abs(*a.To-*b.From) > 1e-3 {
		c.found.add("%s begins at %v, and the one before in its segment, of %s, ended at %v", k, *b.From,
			time.UnixMilli(a.Start).UTC().Format("Jan 2 15:04"), *a.To)
	}
}
