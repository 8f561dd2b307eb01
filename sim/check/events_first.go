// Events are never squeezed out by readings, and after an outage those that waited come before the readings that waited.

package check

import (
	"encoding/json"
	"time"

	"bordo/contract"
)

// EventsFirst claims that events have precedence over readings, in the store and on the way.
type EventsFirst struct {
	site  Site
	nodes map[string]*nodeSession
	found findings
}

// nodeSession is what happened since a node came online.
type nodeSession struct {
	sess    string
	since   time.Time // package time
	history bool      // a backfilled reading has been sent
}

// NewEventsFirst makes the checker.
func NewEventsFirst(site Site) *EventsFirst {
	return &EventsFirst{site: site, nodes: map[string]*nodeSession{}}
}

// Name implements Checker.
func (*EventsFirst) Name() string { return "events-before-readings" }

// settled is how long before the beginning of a session an event must have happened to count as one that waited.
const settled = time.Minute

// See implements Checker.
func (c *EventsFirst) See(m *Message) {
	n := c.nodes[m.Node]
	if n == nil {
		n = &nodeSession{}
		c.nodes[m.Node] = n
	}
	switch {
	case m.Status != nil && m.Status.State == contract.Online && m.Status.Sess != n.sess:
		n.sess, n.since, n.history = m.Status.Sess, m.At, false
	case m.Batch != nil && m.Batch.Hist:
		n.history = true
	case m.Event != nil && m.Kind == contract.KindEvent:
		c.event(m, n)
	}
}

func (c *EventsFirst) event(m *Message, n *nodeSession) {
	if m.Event.Type == contract.StoreGap {
		var d struct {
			Class string `json:"class"`
			Why   string `json:"why"`
		}
		if json.Unmarshal(m.Event.Data, &d) == nil && d.Class == "event" && d.Why == "evicted" {
			c.found.add("%s: events were evicted: %s", m.Node, m.Event.Data)
		}
	}
	if !n.history || m.Event.Type == contract.EnergyInterval {
		return // quarter hours are records of their own class, behind events
	}
	for _, at := range c.site.When(m.Event.Time, jumpSlack) {
		if at.After(n.since.Add(-settled)) {
			return // it may have happened in this session
		}
	}
	c.found.add("%s: %s of %s (%s) came after backfilled readings of the session of %s", m.Node, m.Event.Type,
		m.Event.Time.UTC(), m.Event.ID, n.since.UTC())
}

// Judge implements Checker.
func (c *EventsFirst) Judge() []string { return c.found.all() }
