//go:build e2e

package agent_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// lane is what arrived on one kind of topic.
type lane struct {
	messages, values int
	bytes            int // of the PUBLISH packets that carried them
	first, last      time.Time
}

// perValue is what a value took on the wire.
func (l lane) perValue() float64 { return float64(l.bytes) / float64(max(1, l.values)) }

func (l *lane) note(now time.Time, size int) {
	if l.messages == 0 {
		l.first = now
	}
	l.last = now
	l.messages++
	l.bytes += size
}

// benchSub is a subscriber to everything, with a session that outlives its connection. It only looks for identities: it
// must not be what limits.
type benchSub struct {
	mu      sync.Mutex
	lanes   map[string]*lane  // tele, hist, histz, event, and past: what is older than since
	since   time.Time         // so far back is the past
	seen    map[string][]bool // by epoch
	doubled int
	changed chan struct{}

	stop chan struct{}
	over chan struct{}
}

func newBenchSub(b *testing.B, addr string) *benchSub {
	b.Helper()
	s := &benchSub{seen: map[string][]bool{}, changed: make(chan struct{}, 1), stop: make(chan struct{}),
		over: make(chan struct{})}
	s.begin(time.Time{})
	ready := make(chan struct{})
	go s.stay(addr, ready)
	<-ready
	b.Cleanup(func() { close(s.stop); <-s.over })
	return s
}

// begin forgets the figures, not the identities. Events older than past count as backfill.
func (s *benchSub) begin(past time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes = map[string]*lane{"tele": {}, "hist": {}, "histz": {}, "event": {}, "past": {}}
	s.since = past
}

// stay connects whenever it is not connected.
func (s *benchSub) stay(addr string, ready chan<- struct{}) {
	defer close(s.over)
	for first := true; ; {
		lost := make(chan struct{})
		o := paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("centre").SetCleanSession(false).
			SetAutoReconnect(false).SetConnectTimeout(time.Second).
			SetConnectionLostHandler(func(paho.Client, error) { close(lost) }).
			SetDefaultPublishHandler(s.take)
		c := paho.NewClient(o)
		t := c.Connect()
		if t.Wait(); t.Error() == nil {
			if first {
				if t := c.Subscribe("bordo/#", 1, nil); t.Wait() && t.Error() == nil {
					close(ready)
					first = false
				}
			}
			select {
			case <-lost:
			case <-s.stop:
				c.Disconnect(100)
				return
			}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-s.stop:
			return
		}
	}
}

func (s *benchSub) take(_ paho.Client, m paho.Message) {
	now, topic, p := time.Now(), m.Topic(), m.Payload()
	kind := strings.Split(topic, "/")[4]
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[kind]
	if l == nil {
		return
	}
	l.note(now, publishSize(len(topic), len(p)))
	switch kind {
	case "event":
		id := between(p, `"id":"`)
		s.identity(id[:8], id[9:], m.Duplicate())
		at, err := time.Parse(time.RFC3339, between(p, `"time":"`))
		if err != nil {
			panic(err)
		}
		if at.Before(s.since) {
			s.lanes["past"].note(now, len(p))
		}
	case "histz":
		z, err := gzip.NewReader(bytes.NewReader(p))
		if err != nil {
			panic(err)
		}
		if p, err = io.ReadAll(z); err != nil {
			panic(err)
		}
		fallthrough
	case "hist":
		s.lanes["past"].note(now, len(p))
		fallthrough
	default:
		l.values += s.samples(p, m.Duplicate())
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// samples notes the identities of a batch and returns how many values it has.
func (s *benchSub) samples(p []byte, repeated bool) (values int) {
	ep, rest := between(p, `"ep":"`), p
	for {
		var digits []byte
		var more bool
		if _, rest, more = bytes.Cut(rest, []byte(`{"seq":`)); !more {
			return values
		}
		digits, rest, _ = bytes.Cut(rest, []byte(`,`))
		s.identity(ep, string(digits), repeated)
		values += benchPoints
	}
}

// identity notes a record. With DUP set it is the broker that repeats itself.
func (s *benchSub) identity(ep, number string, repeated bool) {
	seq, err := strconv.Atoi(number)
	if err != nil {
		panic(err)
	}
	known := s.seen[ep]
	for len(known) <= seq {
		known = append(known, false)
	}
	if known[seq] && !repeated {
		s.doubled++
	}
	known[seq] = true
	s.seen[ep] = known
}

// between is the text from after begin to the next quote.
func between(p []byte, begin string) string {
	_, rest, _ := bytes.Cut(p, []byte(begin))
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(text)
}

// publishSize is how long a PUBLISH of QoS 1 is.
func publishSize(topic, payload int) int {
	n := 2 + topic + 2 + payload
	head := 2
	for rest := n >> 7; rest > 0; rest >>= 7 {
		head++
	}
	return head + n
}

// lane gives the figures of a kind of topic so far.
func (s *benchSub) lane(kind string) lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.lanes[kind]
}

// arrived tells how many records of an epoch have come.
func (s *benchSub) arrived(ep string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ok := range s.seen[ep] {
		if ok {
			n++
		}
	}
	return n
}

// until waits for something to be so.
func (s *benchSub) until(b *testing.B, most time.Duration, what string, ok func() bool) {
	b.Helper()
	over := time.After(most)
	for !ok() {
		select {
		case <-s.changed:
		case <-over:
			b.Fatalf("not within %v: %s", most, what)
		}
	}
}
