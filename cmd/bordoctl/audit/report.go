package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bordo/cmd/terminal"
	"bordo/contract"
	"bordo/contract/consumer"
)

// Report is the verdict. Its JSON is what "bordoctl verify --json" prints: keys are added, never changed.
type Report struct {
	From     int64        `json:"from"` // ms UTC
	To       int64        `json:"to"`
	OK       bool         `json:"ok"`
	Messages int          `json:"messages"`
	Breaks   int          `json:"breaks"` // how often the connection was lost
	Nodes    []NodeReport `json:"nodes"`
	Faults   []Fault      `json:"faults"`
	Rest     int          `json:"rest,omitempty"` // faults beyond those
	Notes    []string     `json:"notes"`
}

// NodeReport is what was received from one node.
type NodeReport struct {
	Tenant   string         `json:"tenant"`
	Node     string         `json:"node"`
	State    contract.State `json:"state"`
	Messages int            `json:"messages"`
	Devices  int            `json:"devices"`
	Samples  int            `json:"samples"` // each once
	Late     int            `json:"late"`    // of them
	Events   int            `json:"events"`
	Resent   int            `json:"resent"` // records that came again with the same content
	Gaps     int            `json:"gaps"`   // reported gaps
	Free     int            `json:"free"`   // samples with a clock that is not set
	// without a status, missing records cannot be distinguished from ones held back
	Statuses int         `json:"statuses"`
	Open     uint64      `json:"open"` // numbers that are not here, of which nothing can be said yet
	Sent     *SkewReport `json:"sent"` // null: nothing came live
	TS       *SkewReport `json:"ts"`
}

// SkewReport is how far times of a node lie behind their arrival here: the transit time plus the difference of the
// clocks.
type SkewReport struct {
	Median int64 `json:"median"` // ms
	Max    int64 `json:"max"`    // ms; the one furthest from 0
	N      int   `json:"n"`
}

func (s *skew) report() *SkewReport {
	median, _, ok := s.window.Quantiles()
	if !ok {
		return nil
	}
	return &SkewReport{median.Milliseconds(), s.worst.Milliseconds(), s.n}
}

// verdict on a hole.
type verdict int

const (
	lost    verdict = iota // counted as delivered, not here, under no gap
	told                   // may be discarded, and would be reported within the hour
	coming                 // held back, as the node says
	pending                // undecided
)

// judge says what a hole means.
func (a *Audit) judge(h consumer.Hole, at time.Time) verdict {
	n := a.node(h.Tenant, h.Node)
	if !h.Due {
		for _, b := range n.backlog {
			if b.Ep == h.Ep && h.Range[0] >= b.First && h.Range[1] <= b.Last {
				return coming
			}
		}
		return pending
	}
	switch waited := at.Sub(h.Since); {
	case waited < grace:
		return pending
	case len(n.backlog) > 0 && waited < gapsTold:
		return told
	}
	return lost
}

// Undecided returns the nodes with missing records of which it is not yet known whether that is a fault, although their
// next status would show it: listening for eleven more minutes brings one.
func (a *Audit) Undecided(at time.Time) []string {
	var out []string
	for _, h := range a.consumer.Holes(at) {
		if key := h.Tenant + "/" + h.Node; a.judge(h, at) == pending &&
			a.node(h.Tenant, h.Node).state == contract.Online && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// Report judges what was received until now. kept means that the retained messages were requested a second time, and
// arrived. overflow means that messages came faster than they were processed.
func (a *Audit) Report(at time.Time, kept, overflow bool) Report {
	r := Report{From: at.UnixMilli(), To: at.UnixMilli(), Messages: a.messages, Breaks: a.breaks,
		Notes: slices.Clone(a.notes)}
	if !a.began.IsZero() {
		r.From = a.began.UnixMilli()
	}
	found := faults{list: slices.Clone(a.faults.list), rest: a.faults.rest}
	note := func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	if a.messages == a.unknown {
		found.add(Fault{Check: CheckHeard, Detail: "no message of any node came"})
	}
	if overflow {
		found.add(Fault{Check: CheckHeard,
			Detail: "messages came faster than they could be looked at, and the broker may have dropped some: listen to less, with --tenant or --node"})
	}
	if a.breaks > 0 {
		note("the connection was lost %d times; what was published meanwhile was not heard and is not missed", a.breaks)
	}
	open := a.holes(at, &found, note)
	a.clocks(&found, note)
	if kept {
		a.retention(&found, note)
	}
	for _, n := range a.sorted() {
		r.Nodes = append(r.Nodes, NodeReport{n.tenant, n.name, n.state, n.messages, len(n.devices), n.samples, n.late,
			n.events, n.again, n.gaps, n.free,
			n.statuses, open[n], n.sent.report(), n.ts.report()})
		if n.free > 0 {
			note("%s/%s: %d samples with a clock that is not set (free)", n.tenant, n.name, n.free)
		}
	}
	r.Faults, r.Rest = found.sorted(), found.rest
	r.OK = len(r.Faults) == 0
	return r
}

func (a *Audit) sorted() []*node {
	out := make([]*node, 0, len(a.nodes))
	for _, n := range a.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(x, y *node) int { return strings.Compare(x.tenant+"/"+x.name, y.tenant+"/"+y.name) })
	return out
}

// holes records what is missing, and returns how many records are missing, by node.
func (a *Audit) holes(at time.Time, found *faults, note func(string, ...any)) map[*node]uint64 {
	open, givenUp := map[*node]uint64{}, map[*node]uint64{}
	for _, h := range a.consumer.Holes(at) {
		n, count := a.node(h.Tenant, h.Node), h.Range[1]-h.Range[0]+1
		switch a.judge(h, at) {
		case lost:
			found.add(Fault{Check: CheckMissing, Tenant: h.Tenant, Node: h.Node, Ep: h.Ep,
				Ranges: []consumer.Range{h.Range},
				Detail: "is counted as delivered, is not here, and is under no gap"})
		case told:
			givenUp[n] += count
		default:
			open[n] += count
		}
	}
	for _, n := range a.sorted() {
		if k := givenUp[n]; k > 0 {
			note("%s/%s: %d numbers are not here; the node still holds records back, and would tell within an hour what it had to give up", n.tenant, n.name, k)
		}
		if k := open[n]; k > 0 && n.statuses == 0 {
			note("%s/%s: %d numbers are not here, and no status came that tells whether they are held back: listen longer, a node tells it every 10 minutes", n.tenant, n.name, k)
		}
	}
	return open
}

// measured is how many times a clock must have been seen before it is judged.
const measured = 3

// clocks books clocks that are off. Where all are off alike, it may be ours.
func (a *Audit) clocks(found *faults, note func(string, ...any)) {
	off, judged := 0, 0
	for _, n := range a.sorted() {
		sent, ts := n.sent.report(), n.ts.report()
		limit := a.o.MaxSkew.Milliseconds()
		if sent != nil && sent.N >= measured {
			judged++
		}
		switch {
		case sent != nil && sent.N >= measured && (sent.Median > limit || sent.Median < -limit):
			off++
			found.add(Fault{Check: CheckClock, Tenant: n.tenant, Node: n.name,
				Detail: fmt.Sprintf("the clock is %s by the time of its messages, and is said to be set",
					offText(sent.Median))})
		case ts != nil && ts.N >= measured && (ts.Median > limit || ts.Median < -limit):
			found.add(Fault{Check: CheckClock, Tenant: n.tenant, Node: n.name,
				Detail: fmt.Sprintf("live samples are %s, although their messages are sent in time",
					offText(ts.Median))})
		}
	}
	if off >= measured && off*2 > judged {
		note("most clocks are off: it may be the clock of this machine that is wrong")
	}
}

// offText describes how far behind or ahead a time is.
func offText(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d < 0 {
		return terminal.Span(-d) + " ahead"
	}
	return terminal.Span(d) + " behind"
}

// retention books what the broker should keep and does not.
func (a *Audit) retention(found *faults, note func(string, ...any)) {
	anybody := slices.ContainsFunc(a.sorted(), func(n *node) bool { return n.kept })
	for _, n := range a.sorted() {
		if n.alive && !n.kept {
			if !anybody {
				note("the broker gave no retained status at all: some brokers (RabbitMQ) keep none for wildcards")
				anybody = true
			}
			found.add(Fault{Check: CheckRetained, Tenant: n.tenant, Node: n.name,
				Detail: "its status is not kept by the broker: it must be published retained"})
		}
		for name, d := range n.devices {
			if d.samples > 0 && !d.kept {
				found.add(Fault{Check: CheckRetained, Tenant: n.tenant, Node: n.name, Dev: name,
					Detail: "sends samples, and no description (meta) is kept by the broker"})
			}
		}
	}
}
