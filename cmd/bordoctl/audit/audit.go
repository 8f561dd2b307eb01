// Package audit checks messages of nodes against the contract: whether everything that was counted as delivered has
// arrived, once and with one content, in the right shape, with the right flags, and with a plausible clock.
//
// It may begin in the middle of a stream: earlier messages are not expected. It opens no connection. Its verdict is
// about what arrived through one subscription, so a broker that drops messages of a slow subscriber looks like a node
// that did not send them.
package audit

import (
	"fmt"
	"time"

	"bordo/cmd/bordoctl/roster"
	"bordo/contract"
	"bordo/contract/consumer"
	"bordo/contract/schema"
)

// Message is one message of the subscription.
type Message struct {
	consumer.Message
	QoS byte
}

// Options of an Audit; the zero value works.
type Options struct {
	Root    string        // empty: contract.DefaultRoot
	MaxSkew time.Duration // maximum deviation of a clock; 0: 10 s
}

// Times of an audit.
const (
	grace    = 30 * time.Second // how long a record may be in transit that a node counts as delivered
	gapsTold = 70 * time.Minute // a node that holds records back reports within an hour what it had to discard
)

// printsMost is how many records of a node are remembered to be compared with repeated ones.
const printsMost = 8192

// Audit is not safe for use by several goroutines.
type Audit struct {
	o        Options
	schemas  schema.Set
	consumer *consumer.Consumer
	nodes    map[string]*node // by tenant/node
	faults   faults
	topic    string // of the message that is being dealt with
	retained bool
	began    time.Time // with the first message
	asked    bool      // the retained messages were requested again
	breaks   int       // how often messages may have been missed
	messages int
	unknown  int // messages on unknown topics
	notes    []string
}

// node is what is known of a node.
type node struct {
	tenant, name string

	state    contract.State
	backlog  []contract.Backlog // as reported last
	kept     bool               // its status came again when it was asked for
	alive    bool               // something came that was not retained
	messages int
	samples  int
	late     int // of them
	events   int
	again    int
	gaps     int
	free     int // samples with a clock that is not set
	statuses int // that were not retained
	sent, ts skew
	devices  map[string]*device
}

// device is what is known of a device.
type device struct {
	samples int
	kept    bool // its meta came again when it was asked for
}

// skew is how far a clock is behind ours, including the transit time.
type skew struct {
	window roster.Window
	n      int
	worst  time.Duration // the one furthest from 0
}

func (s *skew) add(d time.Duration) {
	s.window.Add(d)
	if s.n++; d.Abs() > s.worst.Abs() {
		s.worst = d
	}
}

// New makes an audit.
func New(o Options) (*Audit, error) {
	if o.MaxSkew <= 0 {
		o.MaxSkew = 10 * time.Second
	}
	s, err := schema.Load()
	if err != nil {
		return nil, err
	}
	a := &Audit{o: o, schemas: s, nodes: map[string]*node{}}
	a.consumer, err = consumer.New(consumer.Options{
		Root: o.Root, Deliver: a.record, Again: a.again, Status: a.status, Defect: a.defect, MaxPrints: printsMost,
	})
	return a, err
}

// Interrupted says that messages may have been missed.
func (a *Audit) Interrupted() {
	a.breaks++
	a.consumer.Interrupted()
}

// Asked declares that all retained messages were requested again: retained messages from now on are what the broker
// keeps.
func (a *Audit) Asked() { a.asked = true }

// Take looks at a message that arrived at the given time.
func (a *Audit) Take(m Message, at time.Time) {
	if a.began.IsZero() {
		a.began = at
	}
	a.messages++
	a.topic, a.retained = m.Topic, m.Retained
	address, err := contract.ParseTopic(a.o.Root, m.Topic)
	if err != nil {
		a.unknown++
		a.faults.add(Fault{Check: CheckTopic, Topic: m.Topic, Detail: "no topic of the contract"})
		return
	}
	n := a.node(address.Tenant, address.Node)
	n.messages++
	a.keep(n, address, m)
	if m.Retained && a.asked {
		return // it was looked at when it came first
	}
	n.alive = n.alive || !m.Retained && fromNode(address.Kind)
	a.flags(address, m)
	violation := a.schemas.Violation(address.Kind, m.Payload)
	if violation != "" {
		a.fault(address, Fault{Check: CheckSchema, Topic: m.Topic, Detail: violation})
	}
	if err := a.consumer.Handle(m.Message, at); err != nil && violation == "" {
		a.fault(address, Fault{Check: CheckContent, Topic: m.Topic, Detail: err.Error()})
	}
	if address.Kind == contract.KindStatus && !m.Retained {
		a.statusClock(n, m.Payload, at)
	}
}

// fromNode reports whether messages of a kind come from the node.
func fromNode(kind string) bool {
	switch kind {
	case contract.KindCmd, contract.KindAck, contract.KindAccess:
		return false
	}
	return true
}

// mayRetain reports whether the broker may retain messages of a kind.
func mayRetain(kind string) bool {
	switch kind {
	case contract.KindStatus, contract.KindMeta, contract.KindAck, contract.KindAccess:
		return true
	}
	return false
}

// keep notes what the broker keeps.
func (a *Audit) keep(n *node, address contract.Address, m Message) {
	if !m.Retained || !a.asked {
		return
	}
	switch address.Kind {
	case contract.KindStatus:
		n.kept = true
	case contract.KindMeta:
		n.device(address.Dev).kept = true
	}
}

// flags checks the flags of a message.
func (a *Audit) flags(address contract.Address, m Message) {
	if m.Retained && !mayRetain(address.Kind) {
		a.fault(address, Fault{Check: CheckRetained, Topic: m.Topic,
			Detail: "is retained, and must not be: everybody who comes later takes it for new"})
	}
	if m.QoS == 0 && fromNode(address.Kind) {
		a.fault(address, Fault{Check: CheckQoS, Topic: m.Topic,
			Detail: "was published with QoS 0: the broker does not acknowledge it, and it may be lost"})
	}
	if len(m.Payload) > contract.MaxPayload {
		a.fault(address, Fault{Check: CheckSize, Topic: m.Topic,
			Detail: fmt.Sprintf("has more than %d bytes", contract.MaxPayload)})
	}
}

func (a *Audit) fault(address contract.Address, f Fault) {
	f.Tenant, f.Node, f.Dev = address.Tenant, address.Node, address.Dev
	a.faults.add(f)
}

func (a *Audit) node(tenant, name string) *node {
	key := tenant + "/" + name
	n := a.nodes[key]
	if n == nil {
		n = &node{tenant: tenant, name: name, devices: map[string]*device{}}
		a.nodes[key] = n
	}
	return n
}

func (n *node) device(name string) *device {
	d := n.devices[name]
	if d == nil {
		d = &device{}
		n.devices[name] = d
	}
	return d
}

// record is given each record once.
func (a *Audit) record(r consumer.Record) error {
	n := a.node(r.Tenant, r.Node)
	if r.Event != nil {
		n.events++
		if r.Event.Type == contract.StoreGap {
			n.gaps++
		}
		return nil
	}
	n.samples++
	n.device(r.Dev).samples++
	if r.Kind == contract.KindHist {
		n.late++
	}
	if r.Clk == contract.ClockFree {
		n.free++
		return nil
	}
	if a.retained {
		return nil
	}
	taken := r.At.Sub(time.UnixMilli(r.Sample.TS))
	if taken < -a.o.MaxSkew {
		a.fault(r.Address, Fault{Check: CheckClock, Topic: a.topic,
			Detail: "samples come from the future, and their clock is said to be set"})
	}
	if r.Kind == contract.KindTele {
		n.ts.add(taken)
		n.sent.add(r.At.Sub(time.UnixMilli(r.Sent)))
	}
	return nil
}

// again is given each record that came before.
func (a *Audit) again(r consumer.Record) { a.node(r.Tenant, r.Node).again++ }

// status is given each status that is to be obeyed.
func (a *Audit) status(tenant string, s contract.Status) {
	n := a.node(tenant, s.Node)
	n.state = s.State
	if s.State != contract.Lost {
		n.backlog = s.Backlog
	}
	if !a.retained {
		n.statuses++
	}
}

// statusClock measures the clock of a node by its status: one without devices says nothing else.
func (a *Audit) statusClock(n *node, payload []byte, at time.Time) {
	if s, err := contract.DecodeStatus(payload); err == nil && s.State != contract.Lost && s.TS != 0 && s.Clk.Valid() &&
		s.Clk != contract.ClockFree {
		n.sent.add(at.Sub(time.UnixMilli(s.TS)))
	}
}

// defect receives what the consumer finds by itself. The report judges missing records, when more is known.
func (a *Audit) defect(d consumer.Defect) {
	switch d.Kind {
	case consumer.Conflict:
		a.faults.add(Fault{Check: CheckConflict, Tenant: d.Tenant, Node: d.Node, Topic: a.topic, Ep: d.Ep,
			Ranges: []consumer.Range{d.Range},
			Detail: "came again with another content: two boxes under one name, most likely from a copied card"})
	case consumer.Forgotten:
		a.note(fmt.Sprintf("%s/%s: too much is open in epoch %s: numbers %d to %d are not looked at", d.Tenant, d.Node,
			d.Ep, d.Range[0], d.Range[1]))
	}
}

// notesMost bounds the notes.
const notesMost = 100

func (a *Audit) note(text string) {
	if len(a.notes) < notesMost {
		a.notes = append(a.notes, text)
	}
}
