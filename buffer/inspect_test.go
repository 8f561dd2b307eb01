package buffer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// snapshotFiles returns a snapshot of every file below dir.
func snapshotFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		out[p] = fmt.Sprint(fi.Mode(), fi.ModTime().UnixNano())
		if !d.IsDir() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			out[p] += fmt.Sprintf(" %d %x", len(b), sha256.Sum256(b))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// crashed returns the directory of a store that was interrupted under load: with tables, a log, and unacknowledged
// records.
func crashed(t *testing.T) (dir string, events []ID) {
	t.Helper()
	live := t.TempDir()
	s := open(t, live, Options{Sync: time.Millisecond})
	for i := range 40 {
		mustAppend(t, s, Reading, i)
		events = append(events, mustAppend(t, s, Event, i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, live, Options{Sync: time.Millisecond})
	for i := range 40 {
		events = append(events, mustAppend(t, s, Event, i))
	}
	s.disk.Lock()
	err := s.writeCheckpoint(false)
	s.disk.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "s")
	copyDir(t, live, dir)
	return dir, events
}

// inspect opens a store with Inspect and closes it when the test ends.
func inspect(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Inspect(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // a second Close has no effect
	return s
}

// TestInspectTouchesNothing: inspecting the store of a stopped or crashed agent changes no file. An agent can start
// meanwhile, and neither disturbs the other.
func TestInspectTouchesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir, events := crashed(t)
	before := snapshotFiles(t, dir)
	s := inspect(t, dir)
	second := inspect(t, dir) // two inspections may run at once
	read := func(s *Store) (got []ID) {
		for r, err := range s.Records(Query{Classes: []Class{Event}}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.ID)
		}
		return got
	}
	if got := read(s); !slices.Equal(got, events) {
		t.Errorf("%d events instead of %d", len(got), len(events))
	}
	if r, err := s.Verify(); err != nil || len(r.Faults) != 0 || r.Records != len(events)+40 {
		t.Errorf("verified %+v, %v", r, err)
	}
	if list, err := s.List(); err != nil || len(list) < 2 || list[0].Epochs[0].Epoch != events[0].Epoch {
		t.Errorf("list %+v, %v", list, err)
	}
	if _, err := s.Append(Event, 0, 0, []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if after := snapshotFiles(t, dir); !maps.Equal(before, after) {
		t.Errorf("inspection changed the store\nbefore %v\nafter  %v", before, after)
	}

	a := open(t, dir, Options{}) // the agent starts during the inspection
	for i := range 10 {
		mustAppend(t, a, Event, i)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(s); !slices.Equal(got, events) {
		t.Errorf("after the agent was started: %d events instead of %d", len(got), len(events))
	}
	if r, err := s.Verify(); err != nil || len(r.Faults) != 0 {
		t.Errorf("after the agent was started: %+v, %v", r, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestInspectReportsDamage: Inspect names files that cannot be opened, and Verify reports transactions that were cut
// off without an error.
func TestInspectReportsDamage(t *testing.T) {
	dir, events := crashed(t)
	logs, err := filepath.Glob(filepath.Join(dir, dbName, "*.mem"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no log: %v", err)
	}
	b, err := os.ReadFile(logs[len(logs)-1])
	if err != nil {
		t.Fatal(err)
	}
	at := len(strings.TrimRight(string(b), "\x00")) / 2
	damageFile(t, logs[len(logs)-1], "flip", at)
	s := inspect(t, dir)
	r, err := s.Verify()
	if err != nil || len(r.Faults) != 1 || r.Records >= len(events)+40 ||
		!strings.Contains(r.Faults[0], "the database ends at transaction ") {
		t.Errorf("truncated log: %+v, %v", r, err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, dbName, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no table: %v", err)
	}
	if err := os.Truncate(tables[0], 30); err != nil {
		t.Fatal(err)
	}
	before := snapshotFiles(t, dir)
	_, err = Inspect(dir, Options{})
	name := strings.TrimLeft(strings.TrimSuffix(filepath.Base(tables[0]), ".sst"), "0")
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "table "+name+": ") {
		t.Errorf("truncated table: %v", err)
	}
	if after := snapshotFiles(t, dir); !maps.Equal(before, after) {
		t.Error("inspection changed the damaged store")
	}
}

// TestPrivate: records of a device marked personal are delivered but never exported. They are erased from the files
// within an hour of their acknowledgement; unacknowledged ones stay.
func TestPrivate(t *testing.T) {
	for _, c := range []Class{Event, Interval, Reading} {
		t.Run(c.String(), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{Sync: time.Millisecond, History: 1 << 20, EnergyHistory: 1 << 20})
			var ids []ID
			for i := range 3 {
				id, err := s.AppendPrivate(c, 1000, 1000, fmt.Appendf(nil, "SECRET %d of one household", i))
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
			other := mustAppend(t, s, c, 9)
			if err := s.Close(); err != nil { // seals all records
				t.Fatal(err)
			}
			s = open(t, dir, Options{Sync: time.Millisecond, History: 1 << 20, EnergyHistory: 1 << 20})
			read := func() (got []ID) {
				for r, err := range s.Records(Query{}) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, r.ID)
				}
				return got
			}
			if got := read(); !slices.Equal(got, []ID{other}) {
				t.Errorf("exported: %v", got)
			}
			private := func() (n int) {
				list, err := s.List()
				if err != nil {
					t.Fatal(err)
				}
				for _, sh := range list {
					if sh.Private {
						n += sh.Records
					}
				}
				return n
			}
			got := allBacklog(t, s, c)
			if len(got) != 4 || private() != 3 {
				t.Fatalf("backlog %v, %d private records on disk", got, private())
			}
			for i, id := range ids {
				if err := s.Settle([]ID{id}); err != nil {
					t.Fatal(err)
				}
				s.runHourly()
				if err := s.writeDue(true); err != nil {
					t.Fatal(err)
				}
				if want := 3; i < 2 && private() != want {
					t.Errorf("after %d acknowledgements %d are on disk", i+1, private())
				}
			}
			if n := private(); n != 0 {
				t.Errorf("%d private records are left on disk", n)
			}
			if got := read(); !slices.Equal(got, []ID{other}) {
				t.Errorf("exported at the end: %v", got)
			}
		})
	}
}
