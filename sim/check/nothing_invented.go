// A published value was true of that device at that time.

package check

import (
	"fmt"
	"math"
	"slices"
	"time"

	"bordo/contract"
	"bordo/drivers/catalogue"
)

// NothingInvented claims that every published value stood in the device's registers when its sample was taken.
type NothingInvented struct {
	site  Site
	span  time.Duration
	found findings
	n     int
}

// everSince is the maximum age of a sample whose time the node itself does not vouch for.
const everSince = 14 * 24 * time.Hour

// NewNothingInvented returns the checker. span is how long before the time of a sample its values may have been read: a
// poll takes several requests.
func NewNothingInvented(site Site, span time.Duration) *NothingInvented {
	return &NothingInvented{site: site, span: span}
}

// Name implements Checker.
func (*NothingInvented) Name() string { return "nothing-invented" }

// Values returns the number of values compared with the truth.
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
			c.hold(m, point, s, value)
		}
	}
}

func (c *NothingInvented) hold(m *Message, point string, s contract.Sample, value any) {
	known := false
	var last []catalogue.Value
	heldBetween := func(from, to time.Time) bool {
		held, ok := c.site.Truth(m.Batch.Dev, point, from, to)
		known, last = known || ok, held
		return slices.ContainsFunc(held, func(h catalogue.Value) bool { return same(h, value) })
	}
	for _, at := range c.site.moments(s.TS, m.At) {
		if heldBetween(at.Add(-c.span), at.Add(time.Millisecond)) { // the stamp has whole milliseconds
			return
		}
	}
	if m.Batch.Clk == contract.ClockFree && heldBetween(m.At.Add(-everSince), m.At) {
		return // its proper time is reported later, or never
	}
	where := fmt.Sprintf("%s %s = %v at %s, of %s", m.Batch.Dev, point, value, time.UnixMilli(s.TS).UTC(),
		m.At.UTC().Format(time.TimeOnly))
	if !known {
		c.found.add("%s: the site knows of no such value", where)
		return
	}
	c.found.add("%s: the registers held %v", where, last[:min(len(last), 3)])
}

// same compares a published value with what a register held. Scaling may round the last bits of a number.
func same(held catalogue.Value, value any) bool {
	switch v := value.(type) {
	case float64:
		return held.Type() == catalogue.Float && math.Abs(held.Float()-v) <= 1e-9*math.Max(1, math.Abs(v))
	case bool:
		return held.Type() == catalogue.Bool && held.Bool() == v
	case string:
		return held.Type() == catalogue.Text && held.Text() == v
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
