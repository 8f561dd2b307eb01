package consumer

import (
	"slices"
	"strings"
	"time"
)

// Hole is a range of numbers that are not here and under no gap.
type Hole struct {
	Tenant, Node, Ep string
	Range            Range

	// Due means that the node counts the range as delivered, and Since is when that was first seen. Otherwise later
	// records have arrived, and only the next status can show whether the node still holds it.
	Due   bool
	Since time.Time
}

// Holes returns the missing records at the given time, in order; per epoch at most 64 ranges that are due and 64 that
// are not. It does not cover what was published before the Consumer could receive it: see Interrupted.
func (c *Consumer) Holes(at time.Time) []Hole {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Hole
	for _, key := range c.sorted() {
		n := c.nodes[key]
		c.judge(n, at)
		names := make([]string, 0, len(n.epochs))
		for name := range n.epochs {
			names = append(names, name)
		}
		slices.SortFunc(names, strings.Compare)
		for _, name := range names {
			e, from := n.epochs[name], n.beginning(name)
			if from == 0 {
				continue
			}
			for _, s := range e.suspects {
				out = append(out, Hole{n.tenant, n.name, name, s.Range, true, s.since})
			}
			for _, r := range e.between(max(from, e.due+1), e.seen.top()) {
				out = append(out, Hole{Tenant: n.tenant, Node: n.name, Ep: name, Range: r})
			}
		}
	}
	return out
}

// beginning is the first number of an epoch that must arrive; 0: not known.
func (n *node) beginning(name string) uint64 {
	e := n.epochs[name]
	switch {
	case name < n.blind:
		return 0
	case n.placed:
		return e.base
	case name == n.anchored && n.anchor != 0:
		return n.anchor + 1
	}
	return 0
}

// Interrupted declares that messages may have been missed because the program was away without a persistent session.
// What was published meanwhile is no longer expected. Each node's next status defines anew from where on everything
// must arrive.
func (c *Consumer) Interrupted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		n.placed, n.anchored, n.anchor = false, "", 0
		for _, e := range n.epochs {
			e.base, e.due, e.suspects = 0, 0, nil
		}
	}
}
