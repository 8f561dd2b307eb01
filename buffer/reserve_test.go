package buffer

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestFullDisk: when the file system has little space left, readings stay in memory while events are still sealed.
// Delivered records still free their space, and the fault clears when there is space again.
func TestFullDisk(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 30)
		s := open(t, dir, Options{DiskFree: func(string) (uint64, error) { return free.Load(), nil }})
		rnd := rand.NewChaCha8([32]byte{3})
		for range 200 {
			payload := make([]byte, 40_000)
			rnd.Read(payload)
			if _, err := s.Append(Reading, 1, 2, payload); err != nil {
				t.Fatal(err)
			}
		}
		pass(6 * time.Second)
		stored := func() int64 { return s.Stats().DiskBytes - ballastMax }
		before := stored()

		free.Store(DefaultReserve * 3 / 4)
		first := mustAppend(t, s, Reading, 0)
		pass(6 * time.Second)
		event := mustAppend(t, s, Event, 1) // fails unless the event is sealed
		if full, err := s.Fault(); !full || err == nil {
			t.Fatalf("fault %v, full %v", err, full)
		}
		for n := 0; n < 200; {
			recs, err := s.Backlog(Reading, 20)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Settle(idsOf(recs)); err != nil {
				t.Fatal(err)
			}
			n += len(recs)
			mustAppend(t, s, Reading, n) // keeps one reading waiting that cannot be sealed
			pass(2 * time.Second)
		}
		pass(3 * time.Minute)
		if size := stored(); size > before/2 {
			t.Errorf("files take %d of %d bytes after everything was delivered", size, before)
		}
		if full, _ := s.Fault(); !full || s.Stats().Fresh < 10 {
			t.Errorf("fault cleared (%v) without more space; %d records in memory", !full, s.Stats().Fresh)
		}

		free.Store(1 << 30)
		pass(2 * retryMax)
		if _, err := s.Fault(); err != nil {
			t.Errorf("with space again: %v", err)
		}
		if got := allBacklog(t, s, Reading); len(got) < 10 || got[0] != first {
			t.Errorf("readings %v, want from %s on", got, first)
		}
		if got := allBacklog(t, s, Event); !slices.Equal(got, []ID{event}) {
			t.Errorf("events %v", got)
		}
		if len(s.Gaps()) > 0 {
			t.Errorf("gaps %+v", s.Gaps())
		}
	})
}

// TestFullDiskEnds: the fault clears when there is space again, even if nothing remains to be written.
func TestFullDiskEnds(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 30)
		s := open(t, dir, Options{DiskFree: func(string) (uint64, error) { return free.Load(), nil }})
		pass(time.Minute)
		free.Store(0)
		id := mustAppend(t, s, Reading, 0)
		pass(6 * time.Second)
		if full, _ := s.Fault(); !full {
			t.Fatal("no fault")
		}
		if err := s.Settle([]ID{id}); err != nil {
			t.Fatal(err)
		}
		pass(2 * retryMax)
		if full, _ := s.Fault(); !full {
			t.Error("fault cleared although there is no space")
		}
		free.Store(1 << 30)
		pass(2 * retryMax)
		if _, err := s.Fault(); err != nil {
			t.Errorf("with space again: %v", err)
		}
	})
}

// TestGapsFirst: the first possible transaction writes the gaps of the records lost meanwhile.
func TestGapsFirst(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 30)
		s := open(t, dir, Options{Memory: 1 << 20, DiskFree: func(string) (uint64, error) { return free.Load(), nil }})
		pass(time.Minute)
		free.Store(0)
		if _, err := s.Append(Event, 0, 0, []byte("event")); err == nil {
			t.Fatal("sealed on a full disk")
		}
		for range 60 {
			if _, err := s.Append(Reading, 0, 0, make([]byte, 50_000)); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Minute)
		commits := s.Stats().Commits
		free.Store(DefaultReserve / 3) // enough for gaps only
		pass(2 * retryMax)
		if st := s.Stats(); st.Commits != commits+1 || st.Fresh < 20 {
			t.Fatalf("%d transactions, %d records in memory", st.Commits-commits, st.Fresh)
		}
		var reported []Gap
		for _, g := range open(t, crashOf(t, s), Options{}).Gaps() {
			if g.Reason == DiskFull {
				reported = append(reported, g)
			}
		}
		if len(reported) != 1 || reported[0].Class != Reading || reported[0].Count == 0 {
			t.Errorf("gaps on disk: %+v", reported)
		}
	})
}
