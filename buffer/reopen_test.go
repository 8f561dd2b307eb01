package buffer

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fill appends readings and seals them until that fails. It returns the ids of all accepted readings.
func fill(t *testing.T, s *Store, payload func() []byte) (ids []ID, err error) {
	t.Helper()
	for range 200 {
		id, err := s.Append(Reading, 1, 2, payload())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		if err := s.flushAll(); err != nil {
			return ids, err
		}
	}
	return ids, nil
}

// noisePayloads returns incompressible payloads.
func noisePayloads() func() []byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	return func() []byte {
		p := make([]byte, 30_000)
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		return p
	}
}

// moveAway moves the database of the store in dir away, so that no file can be created in it by name, until back is
// called.
func moveAway(t *testing.T, dir string) (back func()) {
	t.Helper()
	db := filepath.Join(dir, dbName)
	if err := os.Rename(db, db+"-away"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Rename(db+"-away", db) }) //nolint:errcheck // otherwise a failed test would hang
	return func() {
		t.Helper()
		if err := os.Rename(db+"-away", db); err != nil {
			t.Fatal(err)
		}
	}
}

// countMissing settles the whole backlog and returns how many of ids were not in it.
func countMissing(t *testing.T, s *Store, ids []ID) int {
	t.Helper()
	left := map[ID]bool{}
	for _, id := range ids {
		left[id] = true
	}
	for _, c := range []Class{Event, Reading} {
		for recs := range leaseAll(t, s, c, 100) {
			ids := idsOf(recs)
			for _, id := range ids {
				delete(left, id)
			}
			if err := s.Settle(ids); err != nil {
				t.Fatal(err)
			}
		}
	}
	return len(left)
}

// rewriteNow compacts level 0, as the run loop does.
func rewriteNow(s *Store) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	defer s.replaceFailed()
	return s.rewrite()
}

// TestFailedDB: a database that cannot create its next file neither ends the process nor loses a record. The store uses
// it again once that works.
func TestFailedDB(t *testing.T) {
	for name, before := range map[string]func(*Store) error{
		"write":   func(*Store) error { return nil },
		"rewrite": rewriteNow,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				payload := noisePayloads()
				s := open(t, dir, Options{Memory: 8 << 20})
				sealed, err := s.Append(Event, 1, 2, payload())
				if err != nil {
					t.Fatal(err)
				}
				back := moveAway(t, dir)
				s.disk.Lock()
				eng := s.eng
				s.disk.Unlock()
				if err := before(s); (err != nil) != (name == "rewrite") {
					t.Fatalf("before: %v", err)
				}
				ids, err := fill(t, s, payload)
				if err == nil {
					t.Fatal("the log did not need a second file")
				}
				if err := eng.commit(nil, nil); !errors.Is(err, errFailedDB) {
					t.Errorf("failed database accepts writes: %v", err)
				}
				for range 10 {
					if err := s.flushAll(); err == nil {
						t.Fatal("wrote to a missing directory")
					}
					time.Sleep(10 * time.Second)
				}
				if s.Stats().Fault == "" {
					t.Error("no fault is reported")
				}
				//nolint:errcheck // it may fail, but must not return more than was appended
				if got, _ := s.Backlog(Reading, 1000); len(got) > len(ids) {
					t.Errorf("%d records of %d", len(got), len(ids))
				}
				back()
				time.Sleep(5 * time.Minute)
				if st := s.Stats(); st.Fault != "" || st.Lost != 0 || st.Gaps != 0 {
					t.Fatalf("with the directory again: %+v", st)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}

				s = open(t, dir, Options{})
				if o := s.Opened(); !o.Clean || o.Damage != "" || len(s.Gaps()) != 0 {
					t.Errorf("opened: %+v, gaps %v", o, s.Gaps())
				}
				if n := countMissing(t, s, append(ids, sealed)); n > 0 {
					t.Errorf("%d of %d records are missing", n, len(ids)+1)
				}
			})
		})
	}
}

// TestFailedDBIdle: a store that fails while nothing waits to be written clears the fault as soon as writing works
// again.
func TestFailedDBIdle(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		id := mustAppend(t, s, Event, 1)
		pass(time.Minute)
		back := moveAway(t, dir)
		if err := rewriteNow(s); err == nil {
			t.Fatal("rewrote tables in a missing directory")
		}
		if s.attached() {
			t.Error("the database is still used after a failed drop")
		}
		pass(time.Minute)
		if s.Stats().Fault == "" {
			t.Error("no fault is reported")
		}
		back()
		pass(time.Minute)
		if fault := s.Stats().Fault; fault != "" {
			t.Error(fault)
		}
		if err := rewriteNow(s); err != nil {
			t.Error(err)
		}
		if got := allBacklog(t, s, Event); !slices.Equal(got, []ID{id}) {
			t.Errorf("backlog %v", got)
		}
	})
}

// TestFailedDBWithoutItsLog: when the log of a failed database is lost as well, the gaps in memory are written again,
// and each record is delivered or covered by a gap.
func TestFailedDBWithoutItsLog(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{Memory: 8 << 20})
		s.mu.Lock()
		s.gaps.extend(Card, ID{s.epoch, 1000}, 1007, 8, Retention)
		s.waiting.add()
		s.mu.Unlock()
		if _, err := s.flush(nil); err != nil {
			t.Fatal(err)
		}
		back := moveAway(t, dir)
		ids, err := fill(t, s, noisePayloads())
		if err == nil {
			t.Fatal("the log did not need a second file")
		}
		logs, err := filepath.Glob(filepath.Join(dir, dbName+"-away", "*.mem"))
		if err != nil || len(logs) == 0 {
			t.Fatalf("logs %v, %v", logs, err)
		}
		for _, log := range logs {
			if err := os.Remove(log); err != nil {
				t.Fatal(err)
			}
		}
		back()
		pass(5 * time.Minute)
		if fault := s.Stats().Fault; fault != "" {
			t.Fatal(fault)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		there := allBacklog(t, s, Reading)
		gaps := s.Gaps()
		if !slices.ContainsFunc(gaps, func(g Gap) bool { return g.Reason == Retention && g.Count == 8 }) {
			t.Errorf("gap is lost: %+v", gaps)
		}
		for _, id := range ids {
			r := Record{ID: id, Class: Reading}
			if !slices.Contains(there, id) && !slices.ContainsFunc(gaps, func(g Gap) bool { return g.covers(r) }) {
				t.Errorf("%s is neither delivered nor covered by a gap: %+v", id, gaps)
			}
		}
	})
}

// TestFailedDBClose: Close is clean when the database can be reopened. Otherwise Close still returns, no other store
// can use the directory before Badger has released it, and all sealed records are there afterwards.
func TestFailedDBClose(t *testing.T) {
	for name, c := range map[string]struct {
		inTime bool
		before time.Duration // time between the return of the directory and Close
	}{
		"in time":                {inTime: true},
		"when Badger has let go": {inTime: true, before: 2 * time.Second}, // but before the next attempt to open it
		"late":                   {},
	} {
		t.Run(name, func(t *testing.T) {
			dir, inTime := t.TempDir(), c.inTime
			synctest.Test(t, func(t *testing.T) {
				s := open(t, dir, Options{Memory: 8 << 20})
				back := moveAway(t, dir)
				ids, err := fill(t, s, noisePayloads())
				if err == nil {
					t.Fatal("the log did not need a second file")
				}
				if inTime {
					back()
					time.Sleep(c.before)
				}
				began := time.Now()
				if err := s.Close(); (err == nil) != inTime {
					t.Fatalf("close: %v", err)
				}
				if took := time.Since(began); took > 3*closeWait {
					t.Errorf("close took %v", took)
				}
				if !inTime {
					if other, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
						t.Fatalf("opened while the failed database is being closed: %v %v", other, err)
					}
					back()
					time.Sleep(time.Minute)
					synctest.Wait()
					ids = ids[:len(ids)-1] // the record that could not be sealed
				}
				s = open(t, dir, Options{})
				if o := s.Opened(); o.Clean != inTime || o.Damage != "" {
					t.Errorf("opened: %+v", o)
				}
				if n := countMissing(t, s, ids); n > 0 {
					t.Errorf("%d of %d records are missing", n, len(ids))
				}
			})
		})
	}
}

// TestDescriptorsExhausted: without file descriptors nothing can be read, but no table may be set aside because of
// that.
func TestDescriptorsExhausted(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		mustAppend(t, s, Event, 1)
		if err := rewriteNow(s); err != nil {
			t.Fatal(err)
		}
	})
	db := filepath.Join(dir, dbName)
	listed, _, err := readManifest(db)
	if err != nil || len(listed) == 0 {
		t.Fatalf("tables %v: %v", listed, err)
	}
	ids := slices.Collect(maps.Keys(listed))

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	f := repairReport{isTransient: isExhausted}
	bad := examine(db, ids, listed, true)
	err = repairTables(dir, db, ids, true, &f)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !isExhausted(err) || len(f.damage) > 0 || f.aside != "" {
		t.Errorf("repaired %+v: %v", f, err)
	}
	for _, id := range ids {
		if !isExhausted(bad[id]) {
			t.Errorf("table %d: %v", id, bad[id])
		}
		if _, err := probe(db, id, true); err != nil {
			t.Errorf("table %d afterwards: %v", id, err)
		}
	}
}
