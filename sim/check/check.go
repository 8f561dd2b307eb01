// Package check checks a node against the promises of the project, by comparing what a broker accepted from it with
// what really happened. Each checker is one small file with one claim in its first line.
//
// A checker states a property and never compares traces, so that it holds for every seed. It sees only publications,
// and what the simulated site, the simulated box and the harness of a test report; it does not know the agent. A Suite
// passes each publication to all checkers and gathers their verdicts.
package check

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"bordo/contract"
	"bordo/drivers/catalogue"
	"bordo/sim"
)

// Message is a publication with its meaning: at most one of the pointers is set.
type Message struct {
	sim.Publication
	contract.Address
	Batch  *contract.Batch  // tele, hist
	Event  *contract.Event  // event, res
	Status *contract.Status // status
}

// Checker watches over one claim.
type Checker interface {
	// Name is the claim's name, as in the report.
	Name() string
	// See receives every message in the order in which the broker accepted them. An unreadable publication goes only to
	// Unreadable.
	See(m *Message)
	// Judge returns the violations, each in a sentence, when everything is over. It is called once.
	Judge() []string
}

// Site is what the checkers ask of the world. A *sim.Site and its box give it; see World.
type Site struct {
	// Truth lists what a point held between two moments of package time.
	Truth func(device, point string, from, to time.Time) ([]catalogue.Value, bool)
	// Offsets lists by how much the node's wall clock was ahead of package time at any moment up to a time, each value
	// once.
	Offsets func(until time.Time) []time.Duration
}

// World makes a Site of a simulated one.
func World(s *sim.Site) Site { return Site{Truth: s.Truth, Offsets: s.Host().Offsets} }

// moments returns the moments of package time that a stamp can represent whose record arrived at a time. A node may
// continue in the time from before a jump, and nothing arrives before it was stamped.
func (s Site) moments(ts int64, arrived time.Time) []time.Time {
	var out []time.Time
	for _, offset := range s.Offsets(arrived) {
		if at := time.UnixMilli(ts).Add(-offset); !at.After(arrived) {
			out = append(out, at)
		}
	}
	return out
}

// Suite gives messages to checkers. Its methods may be called from several goroutines; See has the form of a watcher of
// sim.Broker.
type Suite struct {
	mu       sync.Mutex
	root     string
	checkers []Checker
	judged   bool
}

// NewSuite makes a suite for topics below a root ("" for the usual one).
func NewSuite(root string, checkers ...Checker) *Suite {
	return &Suite{root: root, checkers: append([]Checker{&unreadable{}}, checkers...)}
}

// See takes a publication.
func (s *Suite) See(p sim.Publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := Read(s.root, p)
	if err != nil {
		s.checkers[0].(*unreadable).add(p, err)
		return
	}
	for _, c := range s.checkers {
		c.See(m)
	}
}

// Read finds the meaning of a publication.
func Read(root string, p sim.Publication) (*Message, error) {
	a, err := contract.ParseTopic(root, p.Topic)
	if err != nil {
		return nil, err
	}
	m := &Message{Publication: p, Address: a}
	switch a.Kind {
	case contract.KindTele, contract.KindHist:
		b, err := contract.DecodeBatch(p.Payload)
		if err != nil {
			return nil, err
		}
		if b.Node != a.Node || b.Dev != a.Dev || b.Hist != (a.Kind == contract.KindHist) {
			return nil, fmt.Errorf("batch of %s/%s (hist %v) on %s", b.Node, b.Dev, b.Hist, p.Topic)
		}
		m.Batch = &b
	case contract.KindEvent, contract.KindRes:
		e, err := contract.DecodeEvent(p.Payload)
		if err != nil {
			return nil, err
		}
		m.Event = &e
	case contract.KindStatus:
		st, err := contract.DecodeStatus(p.Payload)
		if err != nil {
			return nil, err
		}
		m.Status = &st
	}
	return m, nil
}

// Verdict is what a checker found.
type Verdict struct {
	Checker    string
	Violations []string
}

// Judge ends the suite and gives the verdicts of those who found something, in the suite's order.
func (s *Suite) Judge() []Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.judged {
		panic("check: a suite is judged once")
	}
	s.judged = true
	var out []Verdict
	for _, c := range s.checkers {
		if v := c.Judge(); len(v) > 0 {
			out = append(out, Verdict{c.Name(), v})
		}
	}
	return out
}

// String formats a verdict in a few lines.
func (v Verdict) String() string {
	const most = 5
	shown := v.Violations[:min(most, len(v.Violations))]
	text := v.Checker + ":\n  " + strings.Join(shown, "\n  ")
	if n := len(v.Violations) - len(shown); n > 0 {
		text += fmt.Sprintf("\n  and %d more", n)
	}
	return text
}

// findings keeps violations, not more than anybody reads.
type findings struct {
	list []string
	more int
}

// maxFindings bounds what one checker keeps.
const maxFindings = 100

func (f *findings) add(format string, args ...any) {
	if len(f.list) == maxFindings {
		f.more++
		return
	}
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *findings) all() []string {
	if f.more > 0 {
		return append(f.list, fmt.Sprintf("and %d more that were not kept", f.more))
	}
	return f.list
}

// id names a record.
type id struct {
	node, ep string
	seq      uint64
}

func (i id) String() string { return fmt.Sprintf("%s %s-%d", i.node, i.ep, i.seq) }

// each calls f for every record that a message carries.
func (m *Message) each(f func(i id, payload []byte)) {
	switch {
	case m.Batch != nil:
		for _, s := range m.Batch.Samples {
			f(id{m.Node, m.Batch.Ep, s.Seq}, s.Raw)
		}
	case m.Event != nil:
		f(id{m.Node, m.Event.Ep, m.Event.Seq}, m.Payload)
	}
}
