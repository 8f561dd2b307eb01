package uplink

import (
	"log/slog"
	"testing"
	"time"

	"bordo/agent/config"
	"bordo/agent/health"
	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// Samples larger than the limit travel one by one, and the smaller ones behind them share a message again.
func TestComposeLargeSamples(t *testing.T) {
	topics, err := contract.NewTopics("", "cremasco", "quintano")
	if err != nil {
		t.Fatal(err)
	}
	recs := texts(9, func(i int) string {
		if i < 3 || i == 6 {
			return string(make([]byte, 3000))
		}
		return "short"
	})
	for _, hist := range []bool{false, true} {
		c := composer{topics: topics, limit: 2000}
		out, broken, err := c.compose(recs, hist, 7)
		if err != nil || len(broken) > 0 {
			t.Fatal(broken, err)
		}
		var counts []int
		for _, m := range out {
			counts = append(counts, len(m.ids))
			if len(m.ids) > 1 && m.size() > c.limit {
				t.Errorf("a message of %d samples has %d bytes", len(m.ids), m.size())
			}
		}
		if len(counts) != 6 {
			t.Errorf("the messages hold %v samples", counts)
		}
	}
}

// oldRecords opens a store whose backlog holds the samples and one event of a device.
func oldRecords(t *testing.T, samples []buffer.Record) *buffer.Store {
	t.Helper()
	dir := t.TempDir()
	var store *buffer.Store
	for i := range 2 {
		s, err := buffer.Open(dir, buffer.Options{Codec: record.NewCodec()})
		if err != nil {
			t.Fatal(err)
		}
		if store = s; i == 1 {
			break
		}
		for _, r := range samples {
			if _, err := s.Append(buffer.Reading, 0, 0, r.Payload); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Append(buffer.Event, 0, 0,
			record.AppendEvent(nil, &record.Event{Dev: "inv-1", Type: "bordo.store.gap.v1", TS: 1,
				Data: []byte("{}")})); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// What is held back of one class does not stop the others, stays bounded, and comes back once a larger message may be tried.
func TestHeldBack(t *testing.T) {
	topics, err := contract.NewTopics("", "cremasco", "quintano")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f := New(Options{
		Topics: topics, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Conditions: health.New(time.Now, func(health.Change) {}),
		Store:      oldRecords(t, texts(20, func(int) string { return string(make([]byte, 3000)) })),
	})
	f.path = newPath(contract.MaxPayload, BrokerLimits{}, func(BrokerLimits) {}, now)
	f.path.size.Fail(2000, now)
	s := newSession(f, f.path, nil, nil, "s")
	s.acks = newPlatformAcks(config.AckBroker)
	m := s.takeBacklog()
	if len(m) != 1 || s.histClass != buffer.Event {
		t.Fatalf("%d messages of %s come first, want the event", len(m), s.histClass)
	}
	f.Store.Release(m[0].ids)

	s.held.count[buffer.Event] = heldMost
	s.hist = s.takeBacklog()
	if len(s.hist) != 20 || s.histClass != buffer.Reading {
		t.Fatalf("with as many events held back as may be, %d messages of %s come", len(s.hist), s.histClass)
	}
	if m := s.nextOld(now); m != nil || f.path.held != 20 || s.held.count[buffer.Reading] != 20 {
		t.Errorf("%v is next, %d messages and %d records are held back", m, f.path.held, s.held.count[buffer.Reading])
	}
	if s.letGo(now, false); s.held.count[buffer.Reading] != 20 {
		t.Error("what is held back comes back at once")
	}
	s.held.count[buffer.Reading] += heldMost
	if s.letGo(now.Add(time.Minute), false); f.path.held != 0 || s.held.count[buffer.Reading] != heldMost {
		t.Errorf("%d messages are held back when a larger one may be tried", f.path.held)
	}
	if m := s.takeBacklog(); m != nil {
		t.Errorf("%d messages come although each class holds back as many as may be", len(m))
	}
	s.held.count[buffer.Reading] = 0
	if m := s.takeBacklog(); len(m) != 20 {
		t.Errorf("%d messages came back, want 20", len(m))
	}
}
