//go:build amd64 || arm64

// These tests provoke errors of mapped files. On 32 bits a file can be longer than an int, which is a different error,
// and the arm emulator returns zeros for an unreadable page.

package buffer

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestUnreadableBlock: an unreadable page of a table does not end the process, and its block is delivered if the page
// becomes readable in time. Otherwise the block is reported as lost, and blocks in other tables are still delivered.
func TestUnreadableBlock(t *testing.T) {
	for name, forGood := range map[string]bool{"for a while": false, "for good": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := open(t, dir, Options{})
				inTable := mustAppend(t, s, Event, 1)
				if err := rewriteNow(s); err != nil {
					t.Fatal(err)
				}
				inLog := mustAppend(t, s, Event, 2)
				pass(time.Minute) // both are on the history lane now
				path := onlyFile(t, dir, "*.sst")
				content, err := os.ReadFile(path)
				if err == nil {
					err = os.Truncate(path, 0) // reading the mapped file now raises the signal for an unreadable page
				}
				if err != nil {
					t.Fatal(err)
				}
				s.disk.Lock()
				err = s.markLost(Event, 0, nil, errMissing) // the next block cannot be read at present
				s.disk.Unlock()
				if !isReadError(err) {
					t.Errorf("missing block: %v", err)
				}
				ended := time.Now().Add(transientMax - time.Second)
				for ; time.Now().Before(ended); time.Sleep(20 * time.Second) {
					if got, err := s.Backlog(Event, 10); len(got) > 0 || !isReadError(err) {
						t.Fatalf("disk is unreadable, but Backlog returned %v, %v", got, err)
					}
				}
				if st := s.Stats(); st.Lost != 0 || st.Gaps != 0 {
					t.Fatalf("%d lost, %d gaps", st.Lost, st.Gaps)
				}
				want := []ID{inLog}
				if !forGood {
					want = []ID{inTable, inLog}
					f, err := os.OpenFile(path, os.O_WRONLY, 0)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := f.WriteAt(content, 0); err != nil {
						t.Fatal(err)
					}
					if err := f.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if got := allBacklog(t, s, Event); !slices.Equal(got, want) {
					t.Errorf("delivered %v, want %v", got, want)
				}
				gaps := s.Gaps()
				reported := len(gaps) == 1 && gaps[0].Reason == Damaged &&
					gaps[0].From <= inTable.Seq && inTable.Seq <= *gaps[0].To
				if reported != forGood {
					t.Errorf("gaps %+v", gaps)
				}
			})
		})
	}
}

// unmappable creates a file that cannot be mapped, because it is larger than any address space.
func unmappable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(memDir(t), "long")
	for _, err := range []error{os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<62)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestTableThatCannotBeMapped: when memory is exhausted, a table is neither set aside nor rewritten, and the next
// opening does not sacrifice more.
func TestTableThatCannotBeMapped(t *testing.T) {
	dir := t.TempDir()
	var id ID
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		id = mustAppend(t, s, Event, 1)
		if err := rewriteNow(s); err != nil {
			t.Fatal(err)
		}
		back := replaceWithLink(t, onlyFile(t, dir, "*.sst"), unmappable(t))
		if err := rewriteNow(s); !isExhausted(err) || !s.attached() {
			t.Errorf("rewritten: %v", err)
		}
		setAside(t, dir, 0)
		back()
		if err := rewriteNow(s); err != nil {
			t.Error(err)
		}
	})
	back := replaceWithLink(t, onlyFile(t, dir, "*.sst"), unmappable(t))
	e, found, err := openDatabase(dir, slog.New(slog.DiscardHandler), isExhausted)
	if e != nil || !isExhausted(err) || len(found.damage) > 0 || found.aside != "" {
		t.Errorf("opened: %+v, %v", found, err)
	}
	if _, err := os.Stat(filepath.Join(dir, openingName)); err == nil {
		t.Error("the next opening would sacrifice files")
	}
	back()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		if got := allBacklog(t, s, Event); !slices.Equal(got, []ID{id}) || s.Opened().Damage != "" {
			t.Errorf("%v, %+v", got, s.Opened())
		}
	})
}
