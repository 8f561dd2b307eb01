// Every record that a node was given arrives at least once, or lies under a gap that the node has told.

package check

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"bordo/contract"
)

// AtLeastOnce claims that every record arrives or is covered by a gap. It derives the expected records from the node's
// own status, from the highest number that arrived, and from the harness (Given).
type AtLeastOnce struct {
	epochs map[string]*epochSeen // by node and epoch
	found  findings
}

// epochSeen is what arrived of an epoch.
type epochSeen struct {
	seen map[uint64]bool
	last uint64 // that must arrive or be under a gap
	kept uint64 // up to this one, no death may cost any
	gaps []gap
}

// gap is a span of records that the node gave up.
type gap struct {
	from, to uint64
	class    string
	why      string
}

// NewAtLeastOnce makes the checker.
func NewAtLeastOnce() *AtLeastOnce { return &AtLeastOnce{epochs: map[string]*epochSeen{}} }

// Name implements Checker.
func (*AtLeastOnce) Name() string { return "at-least-once-or-gap" }

func (c *AtLeastOnce) epoch(node, ep string) *epochSeen {
	key := node + " " + ep
	if c.epochs[key] == nil {
		c.epochs[key] = &epochSeen{seen: map[uint64]bool{}}
	}
	return c.epochs[key]
}

// Given declares that a node has assigned all numbers up to last in an epoch: a harness knows this from a store when it
// kills the node.
func (c *AtLeastOnce) Given(node, ep string, last uint64) {
	e := c.epoch(node, ep)
	e.last = max(e.last, last)
}

// Kept declares that all numbers up to last were assigned so long before the node died that they were on disk: a gap
// because of the death does not cover them.
func (c *AtLeastOnce) Kept(node, ep string, last uint64) {
	e := c.epoch(node, ep)
	e.kept = max(e.kept, last)
}

// See implements Checker.
func (c *AtLeastOnce) See(m *Message) {
	m.each(func(i id, _ []byte) {
		e := c.epoch(i.node, i.ep)
		e.seen[i.seq] = true
		e.last = max(e.last, i.seq)
	})
	switch {
	case m.Status != nil && m.Status.Ep != "" && m.Status.Next > 0:
		c.Given(m.Node, m.Status.Ep, m.Status.Next-1)
	case m.Event != nil && m.Event.Type == contract.StoreGap:
		c.gap(m)
	case m.Event != nil && m.Event.Type == contract.StoreOpened:
		var d struct {
			PrevEp         string `json:"prev_ep"`
			PrevLastSealed uint64 `json:"prev_last_sealed"`
		}
		if err := json.Unmarshal(m.Event.Data, &d); err != nil {
			c.found.add("%s: %v", contract.StoreOpened, err)
		} else if d.PrevEp != "" {
			c.Given(m.Node, d.PrevEp, d.PrevLastSealed)
		}
	}
}

func (c *AtLeastOnce) gap(m *Message) {
	ep, g, err := readGap(m)
	if err != nil {
		c.found.add("%s: %v", contract.StoreGap, err)
		return
	}
	e := c.epoch(m.Node, ep)
	e.gaps = append(e.gaps, g)
}

// readGap decodes the gap of a StoreGap event and returns it with its epoch. A gap without an end reaches MaxSeq.
func readGap(m *Message) (ep string, g gap, err error) {
	var d struct {
		Ep    string  `json:"ep"`
		Class string  `json:"class"`
		Why   string  `json:"why"`
		From  uint64  `json:"from"`
		To    *uint64 `json:"to"`
	}
	if err := json.Unmarshal(m.Event.Data, &d); err != nil {
		return "", gap{}, err
	}
	g = gap{from: d.From, to: contract.MaxSeq, class: d.Class, why: d.Why}
	if d.To != nil {
		g.to = *d.To
	}
	return d.Ep, g, nil
}

// Judge implements Checker.
func (c *AtLeastOnce) Judge() []string {
	for _, key := range slices.Sorted(maps.Keys(c.epochs)) {
		e := c.epochs[key]
		missing, first, last := 0, uint64(0), uint64(0)
		for seq := uint64(1); seq <= e.last; seq++ {
			if e.seen[seq] || e.covered(seq) {
				continue
			}
			if missing == 0 {
				first = seq
			}
			missing, last = missing+1, seq
		}
		if missing > 0 {
			c.found.add("%s: %d of %d records neither arrived nor are under a gap, from %d to %d; gaps %s", key,
				missing, e.last, first, last, e.told())
		}
	}
	return c.found.all()
}

func (e *epochSeen) covered(seq uint64) bool {
	return slices.ContainsFunc(e.gaps, func(g gap) bool {
		return g.from <= seq && seq <= g.to && (seq > e.kept || g.why != "unclean")
	})
}

// told formats the gaps for a person.
func (e *epochSeen) told() string { return fmt.Sprintf("%+v", e.gaps) }
