package buffer

import (
	"bytes"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

// restampAll moves every record that Restamp offers by an hour and returns their ids.
func restampAll(s *Store) (ids []ID) {
	n := s.Restamp(func(r Record) (Record, bool) {
		ids = append(ids, r.ID)
		r.From, r.To = r.From+3_600_000, r.To+3_600_000
		r.Payload = append(bytes.Clone(r.Payload), " corrected"...)
		return r, true
	})
	if n != len(ids) {
		panic("wrong count from Restamp")
	}
	return ids
}

// TestRestamp: only records that nothing outside the store has seen are corrected. They are delivered with the
// correction, live and from the disk.
func TestRestamp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		sealed := mustAppend(t, s, Reading, 0)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		event := mustAppend(t, s, Event, 1) // sealed at once
		leased, released := mustAppend(t, s, Reading, 2), mustAppend(t, s, Reading, 3)
		settled := mustAppend(t, s, Reading, 4)
		if got := s.Fresh(10); len(got) != 4 || got[0].ID != event {
			t.Fatalf("live lane: %v", got)
		}
		s.Release([]ID{released})
		if err := s.Settle([]ID{event, settled}); err != nil {
			t.Fatal(err)
		}
		looked := mustAppend(t, s, Interval, 5)
		for r, err := range s.Records(Query{Classes: []Class{Interval}}) {
			if r.ID != looked || err != nil {
				t.Fatalf("records: %v %v", r, err)
			}
		}
		fresh := []ID{mustAppend(t, s, Interval, 6), mustAppend(t, s, Reading, 7)}
		before := s.Stats().FreshBytes
		if got := restampAll(s); !slices.Equal(got, fresh) {
			t.Fatalf("restamped %v, want %v; sealed %v, leased %v", got, fresh, sealed, leased)
		}
		if grown := s.Stats().FreshBytes - before; grown != 2*int64(len(" corrected")) {
			t.Errorf("memory grew by %d", grown)
		}
		if got := restampAll(s); !slices.Equal(got, fresh) {
			t.Fatalf("twice: %v, want %v", got, fresh)
		}
		if got := s.Fresh(10); len(got) != 4 || got[3].ID != fresh[1] ||
			got[3].From != 7_201_000 || got[3].To != 7_202_000 ||
			string(got[3].Payload) != "reading 7 corrected corrected" {
			t.Fatalf("live lane: %+v", got)
		}
		if got := restampAll(s); got != nil {
			t.Fatalf("restamped after delivery: %v", got)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		crashed := crashOf(t, s)
		s = open(t, crashed, Options{})
		recs, err := s.Backlog(Interval, 10)
		if err != nil || len(recs) != 2 || string(recs[0].Payload) != "interval 5" || recs[1].From != 7_201_000 ||
			string(recs[1].Payload) != "interval 6 corrected corrected" {
			t.Fatalf("from the disk: %+v %v", recs, err)
		}
	})
}

// TestRestampDiskFull: records that were not written for lack of space may still be corrected. Records of a failed
// transaction may not, because they can be on disk nevertheless.
func TestRestampDiskFull(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 30)
		s := open(t, dir, Options{DiskFree: func(string) (uint64, error) { return free.Load(), nil }})
		free.Store(0)
		event, err := s.Append(Event, 1, 2, []byte("event"))
		if !errors.Is(err, ErrNotSealed) {
			t.Fatal(err)
		}
		if got := restampAll(s); !slices.Equal(got, []ID{event}) {
			t.Fatalf("restamped %v", got)
		}
		free.Store(1 << 30)
		refuseTransactions(t, s)
		second, err := s.Append(Event, 1, 2, []byte("event"))
		if !errors.Is(err, ErrNotSealed) {
			t.Fatal(err)
		}
		if got := restampAll(s); got != nil {
			t.Fatalf("restamped %v of %v, which were part of a transaction", got, []ID{event, second})
		}
	})
}

// refuseTransactions reopens the database of s read-only, so that every transaction fails.
func refuseTransactions(t *testing.T, s *Store) {
	t.Helper()
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.eng.db.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.eng.db, err = badger.Open(badgerOptions(s.eng.dir, s.log).WithReadOnly(true)); err != nil {
		t.Fatal(err)
	}
}

// planSealing appends a record and plans its transaction without committing it. It returns with s.disk locked, as
// during a flush.
func planSealing(t *testing.T, s *Store, c Class) (ID, *plan) {
	t.Helper()
	synctest.Wait() // lets the writes of the opening finish
	id := mustAppend(t, s, c, 1)
	synctest.Wait()
	s.disk.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return id, s.plan(func(*entry) bool { return true })
}

// TestRestampWhileSealing: a record in the running transaction is not corrected.
func TestRestampWhileSealing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		id, p := planSealing(t, s, Reading)
		defer s.disk.Unlock()
		if got := restampAll(s); got != nil {
			t.Fatalf("restamped %v", got)
		}
		s.mu.Lock()
		s.undo(p)
		s.mu.Unlock()
		if got := restampAll(s); !slices.Equal(got, []ID{id}) {
			t.Fatalf("restamped %v after the transaction was undone", got)
		}
	})
}

// TestSettleWhileSealing: a record acknowledged while its transaction runs enters the history exactly once: in its
// block, or through the history queue if the transaction fails.
func TestSettleWhileSealing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{EnergyHistory: 1 << 20})
		id, p := planSealing(t, s, Interval)
		defer s.disk.Unlock()
		if err := s.Settle([]ID{id}); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.history.queue[Interval].recs); n != 0 {
			t.Errorf("%d records queued for the history besides the block", n)
		}
		s.undo(p)
		if n := len(s.history.queue[Interval].recs); n != 1 {
			t.Errorf("%d records queued for the history after the transaction failed", n)
		}
	})
}

// TestRestampRefuses: Restamp panics on a payload that cannot be stored.
func TestRestampRefuses(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		synctest.Wait()
		mustAppend(t, s, Reading, 1)
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
			mustAppend(t, s, Reading, 2) // the store keeps working
		}()
		s.Restamp(func(r Record) (Record, bool) {
			r.Payload = nil
			return r, true
		})
	})
}
