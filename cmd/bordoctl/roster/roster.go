// Package roster is what is known of nodes and devices from their messages alone: which exist, how fresh their samples
// are, what is wrong with them, what is missing. It receives messages and the time, and reports each change. It opens
// no connection and prints nothing.
package roster

import (
	"cmp"
	"slices"
	"time"

	"bordo/contract"
	"bordo/contract/consumer"
)

// Silent is the state of a node that is online by its last word and has said nothing for longer than it ever should.
const Silent contract.State = "silent"

// silentAfter is twice the interval of a node's status.
const silentAfter = 20 * time.Minute

// missingAfter is how long records that a node counts as delivered may be in transit before they are shown as missing.
const missingAfter = 30 * time.Second

// Node is what is known of one node.
type Node struct {
	Tenant, Name string

	State     contract.State // empty: no status has come
	Since     time.Time      // when that began
	AtLeast   bool           // Since is only the earliest that is known: the status was there before us
	Status    contract.Status
	StatusAt  time.Time // when the last status other than a will arrived, or was written if it was retained; zero: none
	Heard     time.Time // when the last message of any kind came
	Last      time.Time // when the last live sample came
	Lag       Window    // of live samples
	Rate      Meter     // of samples, live and late
	Clk       contract.Clock
	HistAt    time.Time // when the last late sample came
	HistFrom  time.Time // when it was taken
	Gaps      int       // number of reported gaps
	Conflicts int
	Missing   uint64 // numbers that should be here
	Devices   map[string]*Device
}

// Device is what is known of one device.
type Device struct {
	Name string
	Meta *contract.Meta // nil: not described, or removed
	Last time.Time      // when the last live sample came
	Lag  Window
	Rate Meter
	V    map[string]any // of the last live sample
	Q    map[string]contract.Quality
	Late int // samples
}

// Roster knows the nodes. It is not safe for use by several goroutines.
type Roster struct {
	consumer *consumer.Consumer
	nodes    map[string]*Node // by tenant/node
	changes  []Change
	now      time.Time // of the message that is being dealt with
	retained bool
}

// New makes an empty roster for topics below a root; empty: contract.DefaultRoot.
func New(root string) (*Roster, error) {
	r := &Roster{nodes: map[string]*Node{}}
	c, err := consumer.New(consumer.Options{
		Root: root, Deliver: r.record, Status: r.status, Meta: r.meta, Defect: r.defect, MaxPrints: 256,
	})
	if err != nil {
		return nil, err
	}
	r.consumer = c
	return r, nil
}

// Take learns from a message and returns what has changed by it.
func (r *Roster) Take(m consumer.Message, at time.Time) []Change {
	r.now, r.retained, r.changes = at, m.Retained, nil
	if err := r.consumer.Handle(m, at); err != nil {
		r.changes = append(r.changes, Change{At: at.UnixMilli(), What: WhatError, Topic: m.Topic, Detail: err.Error()})
	}
	return r.changes
}

// Interrupted says that messages may have been missed.
func (r *Roster) Interrupted() { r.consumer.Interrupted() }

// Tick reports what has changed by the passage of time: nodes that fell silent, records that are now missing. Call it
// about every second.
func (r *Roster) Tick(at time.Time) []Change {
	r.now, r.changes = at, nil
	r.consumer.Check(at)
	missing := map[string]uint64{}
	for _, h := range r.consumer.Holes(at) {
		if h.Due && at.Sub(h.Since) >= missingAfter {
			missing[h.Tenant+"/"+h.Node] += h.Range[1] - h.Range[0] + 1
		}
	}
	for key, n := range r.nodes {
		state := n.State
		if (state == contract.Online || state == Silent) && !n.Heard.IsZero() {
			state = contract.Online
			if at.Sub(n.Heard) > silentAfter {
				state = Silent
			}
		}
		if state != n.State || missing[key] != n.Missing {
			if state != n.State {
				n.State, n.Since, n.AtLeast = state, at, false
			}
			n.Missing = missing[key]
			r.tellNode(n)
		}
	}
	slices.SortFunc(r.changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant),
			cmp.Compare(a.Node, b.Node))
	})
	return r.changes
}

// Nodes returns all nodes by tenant and name. They must not be changed.
func (r *Roster) Nodes() []*Node {
	out := make([]*Node, 0, len(r.nodes))
	for _, n := range r.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *Node) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant),
			cmp.Compare(a.Name, b.Name))
	})
	return out
}

// List returns the devices of a node by name.
func (n *Node) List() []*Device {
	out := make([]*Device, 0, len(n.Devices))
	for _, d := range n.Devices {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *Device) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Backlog returns the number of records that the node held back in its last report.
func (n *Node) Backlog() (records uint64) {
	for _, b := range n.Status.Backlog {
		records += b.N
	}
	return records
}

func (r *Roster) node(tenant, name string) *Node {
	key := tenant + "/" + name
	n := r.nodes[key]
	if n == nil {
		n = &Node{Tenant: tenant, Name: name, Devices: map[string]*Device{}, Rate: Meter{from: r.now}}
		r.nodes[key] = n
	}
	if !r.retained {
		n.Heard = r.now
	}
	return n
}

func (r *Roster) device(n *Node, name string) *Device {
	d := n.Devices[name]
	if d == nil {
		d = &Device{Name: name, Rate: Meter{from: r.now}}
		n.Devices[name] = d
	}
	return d
}

// record is given each record once.
func (r *Roster) record(x consumer.Record) error {
	n := r.node(x.Tenant, x.Node)
	if x.Event != nil {
		r.event(n, *x.Event)
		return nil
	}
	d := r.device(n, x.Dev)
	n.Rate.Add(x.At)
	d.Rate.Add(x.At)
	taken := time.UnixMilli(x.Sample.TS)
	if x.Kind == contract.KindHist {
		n.HistAt, n.HistFrom = x.At, taken
		d.Late++
		return nil
	}
	n.Last, d.Last = x.At, x.At
	n.Lag.Add(x.At.Sub(taken))
	d.Lag.Add(x.At.Sub(taken))
	d.V, d.Q = x.Sample.V, x.Sample.Q
	if x.Clk != n.Clk {
		n.Clk = x.Clk
		if !n.StatusAt.IsZero() {
			r.tellNode(n)
		}
	}
	return nil
}

func (r *Roster) event(n *Node, e contract.Event) {
	if e.Type != contract.StoreGap {
		return
	}
	g, err := contract.DecodeGap(e.Data)
	if err != nil {
		return // the consumer says so
	}
	n.Gaps++
	r.changes = append(r.changes, Change{At: r.now.UnixMilli(), What: WhatGap, Tenant: n.Tenant, Node: n.Name,
		Gap: &GapChange{Ep: g.Ep, From: g.From, To: g.To, N: g.N, Class: g.Class, Why: g.Why}})
}

// status is given each status that is to be obeyed.
func (r *Roster) status(tenant string, s contract.Status) {
	n := r.node(tenant, s.Node)
	state, session, health := n.State, n.Status.Sess, n.Status.Health
	before := n.summary(r.now)
	if s.State == contract.Lost {
		n.Status.State, n.Status.Sess = s.State, s.Sess
	} else {
		n.Status, n.Clk, n.StatusAt = s, s.Clk, r.now
		if r.retained {
			n.StatusAt = time.UnixMilli(s.TS)
		}
	}
	n.State = s.State
	if n.State != state && (state != Silent || s.State != contract.Online || session != s.Sess) || session != s.Sess {
		n.Since, n.AtLeast = r.now, r.retained
		if r.retained && s.TS > 0 {
			n.Since = time.UnixMilli(s.TS)
		}
	}
	if now := n.summary(r.now); before.differs(now) || n.State != state || session != s.Sess {
		r.tellNode(n)
	}
	if s.State != contract.Lost {
		r.tellHealth(n, health, s.Health)
	}
}

// tellHealth reports which conditions have begun and which have ended.
func (r *Roster) tellHealth(n *Node, before, now []contract.Health) {
	same := func(a contract.Health) func(contract.Health) bool {
		return func(b contract.Health) bool { return a.Code == b.Code && a.Dev == b.Dev }
	}
	tell := func(h contract.Health, state string) {
		r.changes = append(r.changes, Change{At: r.now.UnixMilli(), What: WhatCondition, Tenant: n.Tenant, Node: n.Name,
			Dev:   h.Dev,
			State: state, Detail: h.Detail,
			Condition: &ConditionChange{Code: h.Code, Severity: h.Severity, Since: h.Since, Text: h.Text}})
	}
	for _, h := range before {
		if !slices.ContainsFunc(now, same(h)) {
			tell(h, "cleared")
		}
	}
	for _, h := range now {
		if !slices.ContainsFunc(before, same(h)) {
			tell(h, "raised")
		}
	}
}

// meta is given each description; nil when the device was removed.
func (r *Roster) meta(a contract.Address, m *contract.Meta) {
	n := r.node(a.Tenant, a.Node)
	c := Change{At: r.now.UnixMilli(), What: WhatDevice, Tenant: a.Tenant, Node: a.Node, Dev: a.Dev}
	if m == nil {
		if n.Devices[a.Dev] == nil {
			return
		}
		delete(n.Devices, a.Dev)
		c.State = "removed"
		r.changes = append(r.changes, c)
		return
	}
	d := r.device(n, a.Dev)
	if d.Meta != nil && d.Meta.Rev == m.Rev && d.Meta.Firmware == m.Firmware && d.Meta.Serial == m.Serial {
		d.Meta = m
		return
	}
	d.Meta = m
	c.State = "described"
	c.Device = &DeviceChange{Name: m.Name, Maker: m.Maker, Model: m.Model, Profile: m.Profile, Serial: m.Serial,
		Firmware: m.Firmware,
		Every:    m.Every, Points: len(m.Points)}
	r.changes = append(r.changes, c)
}

func (r *Roster) defect(d consumer.Defect) {
	n := r.node(d.Tenant, d.Node)
	if d.Kind == consumer.Conflict {
		n.Conflicts++
	}
	r.changes = append(r.changes, Change{At: r.now.UnixMilli(), What: WhatDefect, Tenant: d.Tenant, Node: d.Node,
		Defect: &DefectChange{Kind: d.Kind, Ep: d.Ep, From: d.Range[0], To: d.Range[1]}})
}

func (r *Roster) tellNode(n *Node) {
	s := n.summary(r.now)
	r.changes = append(r.changes, Change{At: r.now.UnixMilli(), What: WhatNode, Tenant: n.Tenant, Node: n.Name,
		State: string(n.State), Summary: &s})
}
