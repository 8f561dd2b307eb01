// A published value was true of that device at that time.

package check

import (
	"math"
	"time"

	"bordo/contract"
	"bordo/drivers"
)

// NothingInvented claims that every published value stood in the device's registers when its sample was taken.
type NothingInvented struct {
	site  Site
	span  time.Duration
	found findings
	n     int
}

// jumpSlack is how long a reading may wait before its wall-clock time is fixed: a jump of the clock in between shifts it.
const jumpSlack = time.Minute

// NewNothingInvented makes the checker. span is how long before the time of a sample its values may have been read: a poll
// takes several requests.
func NewNothingInvented(site Site, span time.Duration) *NothingInvented {
	return &NothingInvented{site: site, span: span}
}

// Name implements Checker.
func (*NothingInvented) Name() string { return "nothing-invented" }

// Values tells how many values were held against the truth.
func (c *NothingInvented) Values() int { return c.n }

// See implements Checker.
func (c *NothingInvented) See(m *Message) {
	if m.Batch == nil {
		return
	}
	for _, s := range m.Batch.Samples {
		for point, value := range s.V {
			if s.Q[point] == contract.QualityStale {
				continue // it says itself that it is old
			}
			c.n++
			c.hold(m.Batch.Dev, point, s, value)
		}
	}
}

func (c *NothingInvented) hold(dev, point string, s contract.Sample, value any) {
	known := false
	var last []drivers.Value
	for _, at := range c.site.When(time.UnixMilli(s.TS), jumpSlack) {
		// The stamp has whole milliseconds.
		held, ok := c.site.Truth(dev, point, at.Add(-c.span), at.Add(time.Millisecond))
		known = known || ok
		for _, h := range held {
			if same(h, value) {
				return
			}
		}
		last = held
	}
	if !known {
		c.found.add("%s %s = %v at %s: the site knows of no such value", dev, point, value, time.UnixMilli(s.TS).UTC())
		return
	}
	c.found.add("%s %s = %v at %s: the registers held %v", dev, point, value, time.UnixMilli(s.TS).UTC(), last)
}

// same compares a published value with what a register held. Scaling may round the last bits of a number.
func same(held drivers.Value, value any) bool {
	switch v := value.(type) {
	case float64:
		return held.Type() == drivers.Float && math.Abs(held.Float()-v) <= 1e-9*math.Max(1, math.Abs(v))
	case bool:
		return held.Type() == drivers.Bool && held.Bool() == v
	case string:
		return held.Type() == drivers.Text && held.Text() == v
	}
	return false
}

// Judge implements Checker.
func (c *NothingInvented) Judge() []string {
	if c.n == 0 {
		c.found.add("not a single value was published")
	}
	return c.found.all()
}
