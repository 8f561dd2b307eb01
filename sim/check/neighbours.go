// A device that nothing happens to is reported at its pace, whatever happens to others.

package check

import (
	"maps"
	"slices"
	"time"
)

// Neighbours claims that devices to which nothing happens keep their pace.
type Neighbours struct {
	site   Site
	every  map[string]time.Duration // of the devices that are well
	down   []interval               // while the box was dead
	times  map[string][]time.Time   // of samples, package time
	begin  time.Time
	finish time.Time
}

type interval struct{ from, to time.Time }

// The pace that a healthy device must keep.
const (
	keptShare = 0.95            // of its polls
	longHole  = 3               // times its pace, and not longer
	holeSlack = 2 * time.Second // for starting and for a cycle that is under way
)

// NewNeighbours makes the checker for the devices that are well, with their paces, from a moment on.
func NewNeighbours(site Site, begin time.Time, every map[string]time.Duration) *Neighbours {
	return &Neighbours{site: site, begin: begin, every: every, times: map[string][]time.Time{}}
}

// Name implements Checker.
func (*Neighbours) Name() string { return "neighbours-unharmed" }

// Down tells that the box was dead from one moment to another: nothing was polled, or what was polled may be lost.
func (c *Neighbours) Down(from, to time.Time) { c.down = append(c.down, interval{from, to}) }

// Until tells up to when samples are to be expected.
func (c *Neighbours) Until(end time.Time) { c.finish = end }

// See implements Checker.
func (c *Neighbours) See(m *Message) {
	if m.Batch == nil || c.every[m.Batch.Dev] == 0 {
		return
	}
	for _, s := range m.Batch.Samples {
		c.times[m.Batch.Dev] = append(c.times[m.Batch.Dev], c.site.When(time.UnixMilli(s.TS), 0)...)
	}
}

// Judge implements Checker.
func (c *Neighbours) Judge() []string {
	var found findings
	for _, dev := range slices.Sorted(maps.Keys(c.every)) {
		every := c.every[dev]
		list := append([]time.Time{c.begin}, c.times[dev]...)
		slices.SortFunc(list, time.Time.Compare)
		list = append(slices.CompactFunc(list, time.Time.Equal), c.finish)
		up, holes := c.finish.Sub(c.begin), 0
		for _, d := range c.down {
			up -= d.to.Sub(d.from)
		}
		for i := 1; i < len(list); i++ {
			hole := c.awake(list[i-1], list[i])
			if hole > longHole*every+holeSlack {
				if holes++; holes <= 3 {
					found.add("%s, polled each %s, has a hole of %s before %s", dev, every, hole, list[i].UTC().Format(time.TimeOnly))
				}
			}
		}
		expected := float64(up) / float64(every)
		if kept := float64(len(list) - 2); kept < keptShare*expected-2 {
			found.add("%s kept %.0f of about %.0f polls", dev, kept, expected)
		}
	}
	return found.all()
}

// awake is how much of a span the box was alive.
func (c *Neighbours) awake(from, to time.Time) time.Duration {
	span := to.Sub(from)
	for _, d := range c.down {
		a, b := from, to
		if d.from.After(a) {
			a = d.from
		}
		if d.to.Before(b) {
			b = d.to
		}
		if b.After(a) {
			span -= b.Sub(a)
		}
	}
	return span
}
