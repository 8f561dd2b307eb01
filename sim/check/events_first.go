// Events are never squeezed out by readings, and after an outage those that waited come before the readings that waited.

package check

import (
	"encoding/json"

	"bordo/contract"
)

// EventsFirst claims that events have precedence over readings, in the store and on the way.
type EventsFirst struct {
	nodes map[string]*nodeSession
	found findings
}

// nodeSession is what happened since a node came online.
type nodeSession struct {
	sess    string
	ep      string // from the status at its beginning: the epoch, and the next number in it
	next    uint64
	history bool // a backfilled reading has been sent
}

// NewEventsFirst makes the checker.
func NewEventsFirst() *EventsFirst { return &EventsFirst{nodes: map[string]*nodeSession{}} }

// Name implements Checker.
func (*EventsFirst) Name() string { return "events-before-readings" }

// See implements Checker.
func (c *EventsFirst) See(m *Message) {
	n := c.nodes[m.Node]
	if n == nil {
		n = &nodeSession{}
		c.nodes[m.Node] = n
	}
	switch {
	case m.Status != nil && m.Status.State == contract.Online && m.Status.Sess != n.sess:
		n.sess, n.ep, n.next, n.history = m.Status.Sess, m.Status.Ep, m.Status.Next, false
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
	if m.Event.Ep > n.ep || m.Event.Ep == n.ep && m.Event.Seq >= n.next {
		// it happened in this session, or in the following run: what begins an epoch in memory precedes its status
		return
	}
	c.found.add("%s: %s %s came after backfilled readings, and it was there when the session began with next %s-%d",
		m.Node,
		m.Event.Type, m.Event.ID, n.ep, n.next)
}

// Judge implements Checker.
func (c *EventsFirst) Judge() []string { return c.found.all() }
