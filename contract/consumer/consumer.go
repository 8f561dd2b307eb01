// Package consumer is the receiving end of the contract for a central system in Go. It passes every record of every
// node to one callback exactly once, reports records that are missing although a node counts them as delivered, and
// knows which nodes exist.
//
// It opens no connection: the program passes it each message of its MQTT subscription, and acknowledges the message to
// the broker when Handle has returned nil. Exactly once holds as long as the state lives. A program that restarts saves
// State in the same transaction as its data and passes it to New. Options bounds the memory: what has to be forgotten
// is reported.
package consumer

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"bordo/contract"
)

// Message is one message of the subscription.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // it was there before the subscription
}

// Record is what Deliver is given: a sample or an event.
type Record struct {
	contract.Address // Kind is hist for what must not move live views
	Ep               string
	Seq              uint64
	Clk              contract.Clock
	At               time.Time        // when it arrived, as passed to Handle
	Sent             int64            // of a sample: ms UTC when its message was sent, by the node's clock
	Sample           *contract.Sample // on tele and hist
	Event            *contract.Event  // on event and res
}

// DefectKind names a defect.
type DefectKind string

// The kinds of defect.
const (
	Missing  DefectKind = "missing"  // the node counts the range as delivered, and it is not here and under no gap
	Conflict DefectKind = "conflict" // one identity with two contents: two boxes under one name
	// for lack of memory the range counts as delivered from now on, or its epoch is unknown again
	Forgotten DefectKind = "forgotten"
)

// Defect is something that a person should know.
type Defect struct {
	Tenant, Node, Ep string
	Kind             DefectKind
	Range            Range
}

// Options of a Consumer. Deliver is required; the zero value of the rest works.
type Options struct {
	Root string // empty: contract.DefaultRoot

	// Deliver is given each record once. When it returns an error the record does not count as delivered and the error
	// comes out of Handle: leave the message unacknowledged, and what of it was delivered is not delivered again.
	// It is called with the Consumer locked and must not call back.
	Deliver func(Record) error
	// Again is given each record that had been delivered before and came once more: harmless, unless Defect is given a
	// Conflict beside it.
	Again func(Record)
	// Status is given each status that is to be obeyed.
	Status func(tenant string, s contract.Status)
	// Meta is given each description of a device, nil when the device was removed.
	Meta func(a contract.Address, m *contract.Meta)
	// Defect is given each defect once.
	Defect func(Defect)

	// Grace is how long a range may be missing before it is a defect; 0: 70 minutes, because a node that is connected tells
	// what it had to give up at the latest after an hour.
	Grace     time.Duration
	MaxNodes  int // 0: 10 000; a message of one more is an error
	MaxEpochs int // of a node; 0: 64; the oldest is forgotten
	MaxRanges int // of an epoch; 0: 1024; the oldest hole is forgotten
	MaxPrints int // of a node; 0: 64; that many of its last records are compared with what comes again; 16 bytes each

	State []NodeState // what State returned in the life before
}

// suspectsMax bounds the ranges of an epoch that are watched at one time.
const suspectsMax = 64

// Consumer is safe for use by several goroutines; messages of one node must come in the order of the broker.
type Consumer struct {
	opt  Options
	seed maphash.Seed

	mu    sync.Mutex
	nodes map[string]*node // by tenant/node
}

// New makes a consumer.
func New(opt Options) (*Consumer, error) {
	if opt.Deliver == nil {
		return nil, errors.New("make consumer: no Deliver")
	}
	for _, d := range []struct {
		v   *int
		def int
	}{{&opt.MaxNodes, 10000}, {&opt.MaxEpochs, 64}, {&opt.MaxRanges, 1024}, {&opt.MaxPrints, 64}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if opt.Grace <= 0 {
		opt.Grace = 70 * time.Minute
	}
	if opt.Defect == nil {
		opt.Defect = func(Defect) {}
	}
	if opt.Again == nil {
		opt.Again = func(Record) {}
	}
	c := &Consumer{opt: opt, seed: maphash.MakeSeed(), nodes: map[string]*node{}}
	for _, s := range opt.State {
		n, err := c.restore(s)
		if err != nil {
			return nil, fmt.Errorf("make consumer: %w", err)
		}
		c.nodes[s.Tenant+"/"+s.Node] = n
	}
	c.opt.State = nil
	return c, nil
}

// Handle processes one message that arrived at the given time. An error means that the message was not processed: it
// was not understood, or Deliver failed. Topics that are not meant for a consumer are ignored.
func (c *Consumer) Handle(m Message, at time.Time) error {
	a, err := contract.ParseTopic(c.opt.Root, m.Topic)
	if err != nil {
		return fmt.Errorf("handle message: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch a.Kind {
	case contract.KindTele, contract.KindHist, contract.KindHistz:
		err = c.samples(a, m, at)
	case contract.KindEvent, contract.KindRes:
		err = c.event(a, m.Payload, at)
	case contract.KindStatus:
		err = c.status(a, m, at)
	case contract.KindMeta:
		err = c.meta(a, m.Payload)
	}
	if err != nil {
		return fmt.Errorf("handle message on %s: %w", m.Topic, err)
	}
	return nil
}

// Check looks whether anything has been missing for too long. Call it now and then, for example every minute.
func (c *Consumer) Check(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range c.sorted() {
		c.judge(c.nodes[key], at)
	}
}

func (c *Consumer) sorted() []string {
	keys := make([]string, 0, len(c.nodes))
	for k := range c.nodes {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}

func (c *Consumer) node(a contract.Address) (*node, error) {
	key := a.Tenant + "/" + a.Node
	n := c.nodes[key]
	if n == nil {
		if len(c.nodes) >= c.opt.MaxNodes {
			return nil, fmt.Errorf("node %s is one more than %d", key, c.opt.MaxNodes)
		}
		n = c.newNode(a.Tenant, a.Node)
		c.nodes[key] = n
	}
	return n, nil
}

func (c *Consumer) samples(a contract.Address, m Message, at time.Time) error {
	payload, live := m.Payload, a.Kind == contract.KindTele && !m.Retained
	if a.Kind == contract.KindHistz {
		a.Kind = contract.KindHist
		var err error
		if payload, err = contract.UnpackBatch(payload); err != nil {
			return err
		}
	}
	b, err := contract.DecodeBatch(payload)
	if err != nil {
		return err
	}
	if b.Node != a.Node || b.Dev != a.Dev {
		return fmt.Errorf("payload is of %s/%s", b.Node, b.Dev)
	}
	n, err := c.node(a)
	if err != nil {
		return err
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		r := Record{Address: a, Ep: b.Ep, Seq: s.Seq, Clk: b.Clk, At: at, Sent: b.Sent, Sample: s}
		if err := c.once(n, r, s.Raw); err != nil {
			return err
		}
	}
	if live {
		n.hear(b.Ep, at)
	}
	return nil
}

func (c *Consumer) event(a contract.Address, payload []byte, at time.Time) error {
	e, err := contract.DecodeEvent(payload)
	if err != nil {
		return err
	}
	if e.Tenant != a.Tenant || e.Node != a.Node || a.Kind == contract.KindEvent && e.Dev != a.Dev {
		return fmt.Errorf("payload is of %s", e.Source)
	}
	a.Dev = e.Dev
	n, err := c.node(a)
	if err != nil {
		return err
	}
	if err := c.once(n, Record{Address: a, Ep: e.Ep, Seq: e.Seq, Clk: e.Clk, At: at, Event: &e}, payload); err != nil {
		return err
	}
	switch e.Type {
	case contract.StoreGap:
		return c.gap(n, e)
	case contract.StoreOpened:
		return c.opened(n, e)
	}
	return nil
}

// once delivers a record that was not delivered yet.
func (c *Consumer) once(n *node, r Record, content []byte) error {
	ep := c.epoch(n, r.Ep)
	print := &n.prints[r.Seq%uint64(len(n.prints))]
	id := maphash.String(c.seed, r.Ep) ^ r.Seq*0x9e3779b97f4a7c15
	// final together with the record
	sum := maphash.Bytes(c.seed, content) ^ maphash.String(c.seed, r.Dev+" "+string(r.Clk))
	if ep.seen.has(r.Seq) {
		if print.id == id && print.sum != sum {
			c.tell(n, r.Ep, Conflict, Range{r.Seq, r.Seq})
		}
		c.opt.Again(r)
		return nil
	}
	if err := c.opt.Deliver(r); err != nil {
		return fmt.Errorf("deliver %s-%d: %w", r.Ep, r.Seq, err)
	}
	*print = fingerprint{id, sum}
	ep.seen = c.bounded(n, r.Ep, ep.seen.add(r.Seq, r.Seq))
	return nil
}

// bounded closes the oldest hole of a set that has become too long.
func (c *Consumer) bounded(n *node, ep string, r ranges) ranges {
	for len(r) > c.opt.MaxRanges {
		hole := Range{r[0][1] + 1, r[1][0] - 1}
		r = r.add(hole[0], hole[1])
		c.tell(n, ep, Forgotten, hole)
	}
	return r
}

func (c *Consumer) tell(n *node, ep string, kind DefectKind, r Range) {
	c.opt.Defect(Defect{n.tenant, n.name, ep, kind, r})
}

func (c *Consumer) meta(a contract.Address, payload []byte) error {
	if len(payload) == 0 {
		if c.opt.Meta != nil {
			c.opt.Meta(a, nil)
		}
		return nil
	}
	m, err := contract.DecodeMeta(payload)
	if err != nil {
		return err
	}
	if m.Node != a.Node || m.Dev != a.Dev {
		return fmt.Errorf("payload is of %s/%s", m.Node, m.Dev)
	}
	if c.opt.Meta != nil {
		c.opt.Meta(a, &m)
	}
	return nil
}
