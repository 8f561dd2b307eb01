package consumer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bordo/contract"
)

// NodeState is what has to live on when the program restarts, one for each node, for JSON.
type NodeState struct {
	Tenant  string       `json:"tenant"`
	Node    string       `json:"node"`
	Placed  bool         `json:"placed"`
	Current string       `json:"current,omitempty"`
	Sess    string       `json:"sess,omitempty"`
	Blind   string       `json:"blind,omitempty"`
	Forgot  string       `json:"forgot,omitempty"`
	Epochs  []EpochState `json:"epochs"`
}

// EpochState is the part of one epoch.
type EpochState struct {
	Ep   string  `json:"ep"`
	Seen []Range `json:"seen"`
	Gaps []Range `json:"gaps,omitempty"`
	Base uint64  `json:"base,omitempty"`
	Due  uint64  `json:"due,omitempty"`
	Last uint64  `json:"last,omitempty"`
	Away bool    `json:"away,omitempty"`
}

// State returns the state of all nodes, in order. Save it together with what was delivered.
func (c *Consumer) State() []NodeState {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]NodeState, 0, len(c.nodes))
	for _, key := range c.sorted() {
		n := c.nodes[key]
		s := NodeState{Tenant: n.tenant, Node: n.name, Placed: n.placed, Current: n.current, Sess: n.sess,
			Blind: n.blind, Forgot: n.forgot}
		for name, e := range n.epochs {
			s.Epochs = append(s.Epochs, EpochState{name, slices.Clone(e.seen), slices.Clone(e.gaps), e.base, e.due,
				e.last, e.away})
		}
		slices.SortFunc(s.Epochs, func(a, b EpochState) int { return strings.Compare(a.Ep, b.Ep) })
		out = append(out, s)
	}
	return out
}

func (c *Consumer) restore(s NodeState) (*node, error) {
	if err := errors.Join(contract.CheckID(s.Tenant), contract.CheckID(s.Node)); err != nil {
		return nil, fmt.Errorf("restore state: %w", err)
	}
	n := c.newNode(s.Tenant, s.Node)
	n.placed, n.current, n.sess, n.blind, n.forgot = s.Placed, s.Current, s.Sess, s.Blind, s.Forgot
	for _, x := range s.Epochs {
		if err := contract.CheckEpoch(x.Ep); err != nil {
			return nil, fmt.Errorf("restore state of %s/%s: %w", s.Tenant, s.Node, err)
		}
		e := &epoch{base: x.Base, due: x.Due, last: x.Last, away: x.Away}
		for _, set := range []struct {
			to   *ranges
			from []Range
		}{{&e.seen, x.Seen}, {&e.gaps, x.Gaps}} {
			for _, r := range set.from {
				if r[0] > r[1] || r[1] > contract.MaxSeq {
					return nil, fmt.Errorf("restore state of %s/%s: range %v", s.Tenant, s.Node, r)
				}
				*set.to = set.to.add(r[0], r[1])
			}
		}
		n.epochs[x.Ep] = e
	}
	return n, nil
}
