package buffer

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// crashOf copies the files of a store as kill -9 would leave them and returns the directory of the copy.
func crashOf(t *testing.T, s *Store) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "crash")
	s.disk.Lock()
	copyDir(t, s.dir, to)
	s.disk.Unlock()
	return to
}

// mustAppend appends a record whose payload contains n.
func mustAppend(t *testing.T, s *Store, c Class, n int) ID {
	t.Helper()
	id, err := s.Append(c, 1000, 2000, fmt.Appendf(nil, "%s %d", c, n))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// leaseAll leases all records of a class, at most limit at a time.
func leaseAll(t *testing.T, s *Store, c Class, limit int) iter.Seq[[]Record] {
	t.Helper()
	return func(yield func([]Record) bool) {
		t.Helper()
		for {
			recs, err := s.Backlog(c, limit)
			if err != nil {
				t.Fatal(err)
			}
			if len(recs) == 0 || !yield(recs) {
				return
			}
		}
	}
}

// idsOf returns the identities of records.
func idsOf(recs []Record) (ids []ID) {
	for _, r := range recs {
		ids = append(ids, r.ID)
	}
	return ids
}

// allBacklog leases all records of a class and returns their identities.
func allBacklog(t *testing.T, s *Store, c Class) (ids []ID) {
	t.Helper()
	for recs := range leaseAll(t, s, c, 1000) {
		ids = append(ids, idsOf(recs)...)
	}
	return ids
}

func TestUncleanStop(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		var old []ID
		for i := range 5 {
			old = append(old, mustAppend(t, s, Reading, i))
		}
		time.Sleep(6 * time.Second) // sealed
		synctest.Wait()
		lost := mustAppend(t, s, Reading, 6)
		event := mustAppend(t, s, Event, 7)
		crashed := crashOf(t, s)

		s2 := open(t, crashed, Options{})
		o := s2.Opened()
		if o.Clean || o.PrevEpoch != lost.Epoch || o.PrevLastSealed != event.Seq || o.Damage != "" {
			t.Fatalf("opened %+v", o)
		}
		gaps := s2.Gaps()
		if len(gaps) != 1 || gaps[0].Epoch != lost.Epoch || gaps[0].From != lost.Seq || gaps[0].To != nil ||
			gaps[0].Reason != Unclean || gaps[0].Class != Any {
			t.Fatalf("gaps %+v, want one from %s on", gaps, lost)
		}
		if got := allBacklog(t, s2, Reading); !slices.Equal(got, old) {
			t.Fatalf("readings %v, want %v", got, old)
		}
		if got := allBacklog(t, s2, Event); !slices.Equal(got, []ID{event}) {
			t.Fatalf("events %v, want %v", got, event)
		}
		// The gap stays until it is reported, even over a clean restart.
		if err := s2.Close(); err != nil {
			t.Fatal(err)
		}
		s3 := open(t, crashed, Options{})
		if g := s3.Gaps(); len(g) != 1 || !s3.Opened().Clean {
			t.Fatalf("gaps %+v after %+v", g, s3.Opened())
		}
		mustAppend(t, s3, Event, 8)
		if err := s3.GapReported(s3.Gaps()[0]); err != nil {
			t.Fatal(err)
		}
		if err := s3.Close(); err != nil {
			t.Fatal(err)
		}
		if g := open(t, crashed, Options{}).Gaps(); len(g) != 0 {
			t.Fatalf("reported gap came back: %+v", g)
		}
	})
}

// TestEpochs: no epoch is reused, even when files that count the openings are lost.
func TestEpochs(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]bool{}
	spoilt := []string{"", counterName, "mark-a", "mark-b", counterName, dbName}
	last := ""
	for i, name := range spoilt {
		if name != "" {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir, Options{Rand: newSeeded(7)}) // the same "random" half each time
		ep := s.Opened().Epoch
		if seen[ep] || !isEpoch(ep) || ep <= last {
			t.Fatalf("opening %d without %q: epoch %q after %q", i, name, ep, last)
		}
		seen[ep], last = true, ep
		mustAppend(t, s, Event, i)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second opening: %v", err)
	}
	if _, err := Inspect(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("inspection: %v", err)
	}
}

// TestOpeningDies: after an opening that ended the process, the next one climbs a step of the repair ladder, and every
// step opens the store.
func TestOpeningDies(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	id := mustAppend(t, s, Event, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for step := stepPlain; step < steps; step++ {
		copied := filepath.Join(t.TempDir(), "s")
		copyDir(t, dir, copied)
		if err := os.WriteFile(filepath.Join(copied, openingName), fmt.Appendf(nil, "%d\n", step), 0o640); err != nil {
			t.Fatal(err)
		}
		s := open(t, copied, Options{})
		got := allBacklog(t, s, Event)
		if step < stepLogs && !slices.Equal(got, []ID{id}) {
			t.Errorf("event is lost after step %d: %v", step, got)
		}
		if step >= stepLogs && (len(got) != 0 || len(s.Gaps()) == 0 || s.Opened().SetAside == "") {
			t.Errorf("after step %d: %v, gaps %v, %+v", step, got, s.Gaps(), s.Opened())
		}
		if _, err := os.Stat(filepath.Join(copied, openingName)); !os.IsNotExist(err) {
			t.Errorf("marker was not removed: %v", err)
		}
	}
}

// TestAsideBounded: at most two directories with damaged files are kept.
func TestAsideBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(dir, openingName), []byte("4\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{})
		mustAppend(t, s, Event, i)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	list, err := asideDirs(dir)
	if err != nil || len(list) != asideDirsMax || filepath.Base(list[1]) != asidePrefix+"000004" {
		t.Fatalf("aside: %v %v", list, err)
	}
}

// TestNoDisk: a store that cannot write works from memory, reports the fault, and recovers by itself.
func TestNoDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		o := Options{DiskFree: func(string) (uint64, error) { return free.Load(), nil }}
		s := open(t, dir, o)
		if full, err := s.Fault(); !full || err == nil || s.Stats().Fault != err.Error() {
			t.Fatalf("disk is full, but the fault is %t, %v, %q", full, err, s.Stats().Fault)
		}
		reading := mustAppend(t, s, Reading, 1)
		event, err := s.Append(Event, 0, 0, []byte("event"))
		if !errors.Is(err, ErrNotSealed) || event.Seq != 2 {
			t.Fatalf("event: %v %v", event, err)
		}
		if got := s.Fresh(10); len(got) != 2 {
			t.Fatalf("live lane: %v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		free.Store(1 << 30)
		time.Sleep(2 * retryMax)
		synctest.Wait()
		if st := s.Stats(); st.Fault != "" || st.Commits == 0 {
			t.Fatalf("did not recover: %+v", st)
		}
		s.Release([]ID{reading, event})
		synctest.Wait()
		if got := allBacklog(t, s, Reading); !slices.Equal(got, []ID{reading}) {
			t.Fatalf("readings %v", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// The counter file named the epoch that had no disk, and its gap is reported now.
		if g := open(t, dir, Options{}).Gaps(); len(g) != 0 {
			t.Fatalf("gaps after a clean stop: %+v", g)
		}
	})
}

// TestNoDiskCrash: an epoch that never reached the database is covered by a gap.
func TestNoDiskCrash(t *testing.T) {
	dir := t.TempDir()
	full := Options{DiskFree: func(string) (uint64, error) { return 0, nil }}
	var lost []ID
	for i := range 3 {
		s := open(t, dir, full)
		lost = append(lost, mustAppend(t, s, Reading, i))
		if err := s.Close(); err == nil {
			t.Fatal("closed without an error although nothing could be written")
		}
	}
	gaps := open(t, dir, Options{}).Gaps()
	for _, id := range lost {
		covers := func(g Gap) bool { return g.Epoch == id.Epoch && g.From <= id.Seq && g.To == nil }
		if !slices.ContainsFunc(gaps, covers) {
			t.Errorf("%s is not covered by %+v", id, gaps)
		}
	}
}

// TestMemoryBound: when the disk and memory are full, the oldest readings are discarded and covered by a gap.
func TestMemoryBound(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 30)
		s := open(t, dir, Options{Memory: 1 << 20, DiskFree: func(string) (uint64, error) { return free.Load(), nil }})
		free.Store(0)
		event, err := s.Append(Event, 0, 0, []byte("event"))
		if !errors.Is(err, ErrNotSealed) {
			t.Fatalf("event: %v", err)
		}
		var ids []ID
		for range 400 {
			id, err := s.Append(Reading, 0, 0, make([]byte, 10_000))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		st := s.Stats()
		if st.FreshBytes > 2<<20 || st.Lost == 0 {
			t.Fatalf("memory: %+v", st)
		}
		free.Store(1 << 30)
		time.Sleep(2 * retryMax)
		synctest.Wait()
		got := append(allBacklog(t, s, Event), allBacklog(t, s, Reading)...)
		if got[0] != event {
			t.Fatalf("first is %v, want %v", got[0], event)
		}
		gaps := s.Gaps()
		if len(gaps) != 1 || gaps[0].Reason != DiskFull || gaps[0].Count != st.Lost {
			t.Fatalf("gaps %+v, lost %d", gaps, st.Lost)
		}
		for _, id := range ids {
			in := id.Seq >= gaps[0].From && id.Seq <= *gaps[0].To
			if in == slices.Contains(got, id) {
				t.Fatalf("%s: covered by the gap: %v", id, in)
			}
		}
	})
}

// TestCloseOnFullDisk: closing Badger on a full disk would end the process. Close leaves the database as after a crash
// instead, and no sealed record is lost.
func TestCloseOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	var free atomic.Uint64
	free.Store(1 << 30)
	o := Options{DiskFree: func(string) (uint64, error) { return free.Load(), nil }}
	s := open(t, dir, o)
	id := mustAppend(t, s, Event, 1)
	free.Store(0)
	if err := s.Close(); !errors.Is(err, errFull) {
		t.Fatalf("close: %v", err)
	}
	free.Store(1 << 30)
	s = open(t, dir, o)
	if got := allBacklog(t, s, Event); !slices.Equal(got, []ID{id}) || s.Opened().Damage != "" {
		t.Fatalf("events %v, %+v", got, s.Opened())
	}
}
