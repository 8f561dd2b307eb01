package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/sim"
)

// Every type of event, one about cards among them, is stored in its class while the broker is away, outlives a restart, and
// is delivered once from the backlog on the topic of its type.
func TestEveryTypeOfEventIsDelivered(t *testing.T) {
	types := []string{"bordo.card.presented.v1"}
	for _, e := range contract.EventTypes() {
		if e.Type != contract.DeviceReplaced { // no driver's: accounting tells it
			types = append(types, e.Type)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		topics := map[string][]string{} // by type, of the events that the driver reported
		n.broker.Watch(func(p sim.Publication) {
			if e, err := contract.DecodeEvent(p.Payload); err == nil &&
				strings.Contains(string(e.Data), `"walk":true`) {
				topics[e.Type] = append(topics[e.Type], p.Topic)
			}
		})
		n.start()
		time.Sleep(5 * time.Second)
		gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
		var events []drivers.Event
		for _, typ := range types {
			events = append(events, drivers.Event{Type: typ, Data: map[string]any{"walk": true}})
		}
		n.faults.mu.Lock()
		n.faults.events["dev-1"] = events
		n.faults.mu.Unlock()
		time.Sleep(time.Minute)
		n.stop()
		stored := n.unacknowledged(t)
		want := map[buffer.Class]int{}
		for _, typ := range types {
			switch contract.RouteOf(typ).Class {
			case contract.ClassCard:
				want[buffer.Card]++
			case contract.ClassInterval:
				want[buffer.Interval]++
			}
		}
		if stored[buffer.Card] != want[buffer.Card] || stored[buffer.Interval] < want[buffer.Interval] ||
			stored[buffer.Event] < len(types)-2 {
			t.Errorf("stored %v, want at least %v", stored, want)
		}

		n.broker.Clear(gone)
		n.start()
		time.Sleep(time.Minute)
		n.stop()
		for _, typ := range types {
			kind := contract.RouteOf(typ).Kind
			if got := topics[typ]; len(got) != 1 || !strings.HasPrefix(got[0], "bordo/v1/cremasco/quintano/"+kind) {
				t.Errorf("%s came on %q, want once on %s", typ, got, kind)
			}
		}
		if left := n.unacknowledged(t); left[buffer.Card] != 0 || left[buffer.Event] != 0 ||
			left[buffer.Interval] != 0 {
			t.Errorf("not acknowledged: %v", left)
		}
	})
}

// unacknowledged counts what is on the disk and was not delivered, by class, while no agent runs.
func (n *node) unacknowledged(t *testing.T) map[buffer.Class]int {
	t.Helper()
	s, err := buffer.Open(n.cfg.Buffer.Dir, buffer.Options{Codec: record.NewCodec()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // nothing was written
	out := map[buffer.Class]int{}
	for c := buffer.Event; c <= buffer.Card; c++ {
		for {
			recs, err := s.Backlog(c, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if len(recs) == 0 {
				break
			}
			out[c] += len(recs)
		}
	}
	return out
}
