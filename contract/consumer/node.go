package consumer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bordo/contract"
)

// anchorAfter is how long live samples of a node must have been received until the highest number so far becomes a
// point from which everything must arrive. Live messages arrive in order, except for the few that a node composes
// together.
const anchorAfter = 30 * time.Second

// node is what is known of one node.
type node struct {
	tenant, name string

	placed  bool   // a status has defined from where on everything must arrive
	current string // the epoch of the last status
	sess    string // of the last status that was obeyed
	blind   string // an unnamed epoch before this one was lost
	forgot  string // the newest epoch that was forgotten
	epochs  map[string]*epoch
	prints  []fingerprint

	anchored string    // the epoch whose live samples are heard since the connection began; empty: none yet
	heard    time.Time // since when
	anchor   uint64    // of that epoch, everything after it must arrive; 0: unknown
}

type fingerprint struct{ id, sum uint64 }

// epoch is what is known of one epoch of a node.
type epoch struct {
	seen     ranges
	gaps     ranges
	base     uint64 // the first seq that must arrive; 0: not known
	due      uint64 // the last one that the node counts as delivered
	last     uint64 // the last one that is known to exist
	away     bool   // of another store than the present one: a box that was replaced, or its card
	suspects []suspect
}

// suspect is a range that is missing since some time.
type suspect struct {
	Range
	since time.Time
	told  bool
}

func (c *Consumer) newNode(tenant, name string) *node {
	return &node{tenant: tenant, name: name, epochs: map[string]*epoch{}, prints: make([]fingerprint, c.opt.MaxPrints)}
}

// hear sets an anchor in the stream of live samples of a node whose status has not arrived yet. A node publishes its
// status only every ten minutes, and what is missed until then would never be noticed.
func (n *node) hear(ep string, at time.Time) {
	switch {
	case n.placed || n.anchor != 0 || ep < n.anchored:
	case n.anchored != ep:
		n.anchored, n.heard = ep, at
	case at.Sub(n.heard) >= anchorAfter:
		n.anchor = n.epochs[ep].seen.top()
	}
}

// epoch finds an epoch or begins it; a node that has too many loses its oldest.
func (c *Consumer) epoch(n *node, name string) *epoch {
	if e := n.epochs[name]; e != nil {
		return e
	}
	e := &epoch{}
	if n.placed && name > n.forgot && name > n.current { // begun while we listened
		e.base = 1
	}
	n.epochs[name] = e
	for len(n.epochs) > c.opt.MaxEpochs {
		oldest := ""
		for k := range n.epochs {
			if k != name && k != n.current && (oldest == "" || k < oldest) { // an epoch begins with the opening counter
				oldest = k
			}
		}
		if oldest == "" {
			break
		}
		c.tell(n, oldest, Forgotten, Range{1, max(1, n.epochs[oldest].seen.top())})
		delete(n.epochs, oldest)
		n.forgot = max(n.forgot, oldest)
	}
	return e
}

// gap notes what a node says will not arrive.
func (c *Consumer) gap(n *node, e contract.Event) error {
	g, err := contract.DecodeGap(e.Data)
	if err != nil {
		return err
	}
	if g.Ep == "" {
		n.blind = max(n.blind, e.Ep)
		return nil
	}
	to := uint64(contract.MaxSeq)
	if g.To != nil {
		to = min(to, *g.To)
	}
	ep := c.epoch(n, g.Ep)
	ep.gaps = c.bounded(n, g.Ep, ep.gaps.add(g.From, to))
	return nil
}

// opened records how far the previous epoch went. An epoch newer than the last status begins with it, because all of
// its records may be missing. For an older, unheard epoch, everything was delivered before this consumer listened.
func (c *Consumer) opened(n *node, e contract.Event) error {
	var o struct {
		PrevEp   string `json:"prev_ep"`
		PrevLast uint64 `json:"prev_last_sealed"`
	}
	if err := json.Unmarshal(e.Data, &o); err != nil {
		return fmt.Errorf("decode opening: %w", err)
	}
	// a store without a previous epoch: what other stores hold back is not its own
	if o.PrevEp == "" && e.Ep == n.current {
		for name, other := range n.epochs {
			other.away = other.away || name != e.Ep
		}
	}
	prev := n.epochs[o.PrevEp]
	if prev == nil && n.placed && o.PrevEp > n.current {
		if err := contract.CheckEpoch(o.PrevEp); err != nil {
			return fmt.Errorf("decode opening: %w", err)
		}
		prev = c.epoch(n, o.PrevEp)
	}
	if prev != nil {
		prev.last = max(prev.last, min(o.PrevLast, contract.MaxSeq))
	}
	return nil
}

// status applies a status or ignores it: what an earlier session left behind says nothing about the present one. A
// status that the broker retained is its last word, whatever came before.
func (c *Consumer) status(a contract.Address, m Message, at time.Time) error {
	s, err := contract.DecodeStatus(m.Payload)
	if err != nil {
		return err
	}
	if s.Node != a.Node {
		return fmt.Errorf("payload is of %s", s.Node)
	}
	n, err := c.node(a)
	if err != nil {
		return err
	}
	if s.State != contract.Online && !m.Retained && n.sess != "" && s.Sess != n.sess {
		return nil
	}
	n.sess = s.Sess
	if s.State != contract.Lost {
		if err := c.place(n, s, m.Retained); err != nil {
			return err
		}
		c.judge(n, at)
	}
	if c.opt.Status != nil {
		c.opt.Status(a.Tenant, s)
	}
	return nil
}

// place learns from a status what must have arrived by now. The first non-retained status defines from where on
// everything must arrive: what a retained one counts as delivered may have been published before anything listened.
func (c *Consumer) place(n *node, s contract.Status, retained bool) error {
	if s.Ep == "" || s.Next == 0 {
		return errors.New("status without epoch")
	}
	first := map[string]uint64{s.Ep: s.Next}
	for _, b := range s.Backlog {
		if err := contract.CheckEpoch(b.Ep); err != nil || b.First == 0 || b.Last < b.First {
			return fmt.Errorf("backlog %+v is not one", b)
		}
		first[b.Ep] = b.First
	}
	former := n.current
	n.current = s.Ep
	if !n.placed && retained {
		return nil
	}
	names := make([]string, 0, len(first))
	for name := range first {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	var strange []string
	for _, name := range names {
		if n.epochs[name] == nil {
			strange = append(strange, name)
		}
		e := c.epoch(n, name)
		e.away = false
		e.due = max(e.due, first[name]-1)
	}
	if n.placed {
		n.welcome(s, strange, former)
	} else {
		n.begin(s)
	}
	for _, b := range s.Backlog {
		if e := n.epochs[b.Ep]; e != nil {
			e.last = max(e.last, b.Last)
		}
	}
	if e := n.epochs[s.Ep]; e != nil {
		e.last = max(e.last, s.Next-1)
	}
	for name, e := range n.epochs {
		if _, held := first[name]; !held && !e.away && name < s.Ep { // a newer one than the status knows has only begun
			e.due = max(e.due, e.last, e.seen.top())
		}
	}
	return nil
}

// begin defines from where on everything must arrive: what is new since the status, or since the anchor, and what the
// node still holds back, if that is a range without holes. For a backlog with holes, it is unknown what was delivered
// before.
func (n *node) begin(s contract.Status) {
	n.placed = true
	from := map[string]uint64{s.Ep: s.Next}
	for _, b := range s.Backlog {
		if b.Ep != s.Ep {
			from[b.Ep] = contract.MaxSeq + 1 // the rest of it was delivered before
		}
	}
	if n.anchor != 0 {
		if at, told := from[n.anchored]; !told || n.anchor < at {
			from[n.anchored] = n.anchor + 1
		}
	}
	for name, at := range from {
		if e := n.epochs[name]; e != nil {
			e.base = at
		}
	}
	for _, b := range s.Backlog {
		if e := n.epochs[b.Ep]; e != nil {
			e.expect(b)
		}
	}
}

// expect wants a backlog without holes, which lies before all that must arrive.
func (e *epoch) expect(b contract.Backlog) {
	if b.N == b.Last-b.First+1 && b.First < e.base {
		e.gaps = e.gaps.add(b.Last+1, e.base-1)
		e.base = b.First
	}
}

// welcome defines, for epochs that a status names for the first time, from where on their records must arrive. Those
// newer than the previous status began while this consumer listened. An older one was on a flash medium that was
// elsewhere, and was received by others.
func (n *node) welcome(s contract.Status, strange []string, former string) {
	for _, name := range strange {
		e := n.epochs[name]
		switch {
		case e == nil || name <= n.forgot:
		case name > former || name == s.Ep:
			e.base = 1
		default:
			for _, b := range s.Backlog {
				if b.Ep == name {
					e.base = contract.MaxSeq + 1
					e.expect(b)
				}
			}
		}
	}
}

// judge compares what must have arrived with what has.
func (c *Consumer) judge(n *node, at time.Time) {
	if !n.placed {
		return
	}
	names := make([]string, 0, len(n.epochs))
	for name := range n.epochs {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	for _, name := range names {
		e := n.epochs[name]
		if e.base == 0 || name < n.blind {
			continue
		}
		e.suspects = watch(e.suspects, e.missing(), at)
		for i := range e.suspects {
			if s := &e.suspects[i]; !s.told && at.Sub(s.since) >= c.opt.Grace {
				s.told = true
				c.tell(n, name, Missing, s.Range)
			}
		}
	}
}

// missing returns what is due and neither received nor in a gap, oldest first, at most suspectsMax ranges.
func (e *epoch) missing() ranges { return e.between(e.base, e.due) }

// between is what of from..to is neither here nor under a gap, oldest first, at most suspectsMax ranges.
func (e *epoch) between(from, to uint64) (out ranges) {
	for from <= to && len(out) < suspectsMax {
		holes := e.seen.holes(from, to, suspectsMax)
		for _, h := range holes {
			out = append(out, e.gaps.holes(h[0], h[1], suspectsMax)...)
			from = h[1] + 1
		}
		if len(holes) < suspectsMax {
			break
		}
	}
	return out[:min(len(out), suspectsMax)]
}

// watch carries over since when each missing part has been missing.
func watch(old []suspect, missing ranges, at time.Time) (out []suspect) {
	var known ranges
	for _, s := range old {
		known = known.add(s.Range[0], s.Range[1])
	}
	for _, m := range missing {
		for _, s := range old {
			if from, to := max(m[0], s.Range[0]), min(m[1], s.Range[1]); from <= to {
				out = append(out, suspect{Range{from, to}, s.since, s.told})
			}
		}
		for _, fresh := range known.holes(m[0], m[1], suspectsMax) {
			out = append(out, suspect{Range: fresh, since: at})
		}
	}
	return out
}
