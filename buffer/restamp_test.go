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

// restampAll moves every record that may be moved by an hour, and says which.
func restampAll(s *Store) (ids []ID) {
	n := s.Restamp(func(r Record) (Record, bool) {
		ids = append(ids, r.ID)
		r.From, r.To = r.From+3_600_000, r.To+3_600_000
		r.Payload = append(bytes.Clone(r.Payload), " corrected"...)
		return r, true
	})
	if n != len(ids) {
		panic("Restamp counts wrong")
	}
	return ids
}

// TestRestamp: only what nobody knows is corrected, and it is delivered corrected, live and from the disk.
func TestRestamp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		sealed := mustAppend(t, s, Reading, 0)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		event := mustAppend(t, s, Event, 1) // sealed at once
		leased, released, settled := mustAppend(t, s, Reading, 2), mustAppend(t, s, Reading, 3), mustAppend(t, s, Reading, 4)
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
		if got := s.Fresh(10); len(got) != 4 || got[3].ID != fresh[1] || got[3].From != 7_201_000 || got[3].To != 7_202_000 ||
			string(got[3].Payload) != "reading 7 corrected corrected" {
			t.Fatalf("live lane: %+v", got)
		}
		if got := restampAll(s); got != nil {
			t.Fatalf("restamped after it was handed out: %v", got)
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

// TestRestampDiskFull: what could not be written for want of space may be corrected; what a failed transaction carried
// may not, since it can be on disk all the same.
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
			t.Fatalf("restamped %v of %v, which a transaction carried", got, []ID{event, second})
		}
	})
}

// refuseTransactions opens the database of s for reading only.
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

// underway gives a record whose transaction is planned and not committed yet; it returns with s.disk locked, as the
// sealer works.
func underway(t *testing.T, s *Store, c Class) (ID, *plan) {
	t.Helper()
	synctest.Wait() // what belongs to the opening is written
	id := mustAppend(t, s, c, 1)
	synctest.Wait()
	s.disk.Lock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return id, s.plan(func(*entry) bool { return true })
}

// TestRestampWhileSealing: a record that is in the transaction of this moment is not corrected behind its back.
func TestRestampWhileSealing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		id, p := underway(t, s, Reading)
		defer s.disk.Unlock()
		if got := restampAll(s); got != nil {
			t.Fatalf("restamped %v", got)
		}
		s.mu.Lock()
		s.undo(p)
		s.mu.Unlock()
		if got := restampAll(s); !slices.Equal(got, []ID{id}) {
			t.Fatalf("restamped %v after the transaction was given up", got)
		}
	})
}

// TestSettleWhileSealing: what is acknowledged while its transaction runs gets into the history once, by its block, or,
// when the transaction fails, by itself.
func TestSettleWhileSealing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{EnergyHistory: 1 << 20})
		id, p := underway(t, s, Interval)
		defer s.disk.Unlock()
		if err := s.Settle([]ID{id}); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.history.queue[Interval].recs); n != 0 {
			t.Errorf("%d records on their way into the history besides the block", n)
		}
		s.undo(p)
		if n := len(s.history.queue[Interval].recs); n != 1 {
			t.Errorf("%d records on their way into the history after the transaction failed", n)
		}
	})
}

// TestRestampRefuses a payload that cannot be stored.
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
			mustAppend(t, s, Reading, 2) // the store goes on
		}()
		s.Restamp(func(r Record) (Record, bool) {
			r.Payload = nil
			return r, true
		})
	})
}
