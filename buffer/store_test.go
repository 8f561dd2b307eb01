package buffer

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// open opens a store and closes it when the test ends.
func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	// A failed test would otherwise leave goroutines in the bubble. A second Close has no effect.
	t.Cleanup(func() { s.Close() })
	return s
}

func TestLiveLane(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		if !s.Opened().Clean || s.Opened().PrevEpoch != "" {
			t.Fatalf("opened: %+v", s.Opened())
		}
		var ids []ID
		for i := range 10 {
			id, err := s.Append(Reading, 1000, 1000, fmt.Appendf(nil, "reading %d", i))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		ev, err := s.Append(Event, 0, 0, []byte("event"))
		if err != nil {
			t.Fatal(err)
		}
		got := s.Fresh(100)
		if len(got) != 11 || got[0].ID != ev || got[1].ID != ids[0] {
			t.Fatalf("fresh: %v", got)
		}
		if more := s.Fresh(100); more != nil {
			t.Fatalf("leased twice: %v", more)
		}
		if b, err := s.Backlog(Event, 10); err != nil || len(b) != 0 {
			t.Fatalf("on both lanes: %v %v", b, err)
		}
		if err := s.Settle(append(ids[:5:5], ev)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second) // sealed, still leased
		synctest.Wait()
		if b, err := s.Backlog(Reading, 10); err != nil || len(b) != 0 {
			t.Fatalf("leased and on the history lane: %v %v", b, err)
		}
		s.Release(ids[5:])
		synctest.Wait()
		b, err := s.Backlog(Reading, 10)
		if err != nil || len(b) != 5 || b[0].ID != ids[5] || !bytes.Equal(b[4].Payload, []byte("reading 9")) {
			t.Fatalf("backlog: %v %v", b, err)
		}
		if err := s.Settle(ids[5:7]); err != nil {
			t.Fatal(err)
		}
		sum := s.Summary()
		if len(sum) != 1 || sum[0].N != 3 || sum[0].First > ids[7].Seq || sum[0].Last != ids[9].Seq {
			t.Fatalf("summary: %+v", sum)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		s = open(t, dir, Options{})
		o := s.Opened()
		if !o.Clean || o.PrevEpoch != ids[0].Epoch || o.Epoch == o.PrevEpoch || len(s.Gaps()) != 0 {
			t.Fatalf("reopened: %+v gaps %+v", o, s.Gaps())
		}
		b, err = s.Backlog(Reading, 10)
		if err != nil || len(b) != 3 || b[0].ID != ids[7] {
			t.Fatalf("backlog after reopening: %v %v", b, err)
		}
		if b, err := s.Backlog(Event, 10); err != nil || len(b) != 0 {
			t.Fatalf("acknowledged event was delivered again: %v %v", b, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
