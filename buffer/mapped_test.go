//go:build amd64 || arm64

// Errors of mapped files. On 32 bits a file can be longer than what its length is counted in, which is another error,
// and the emulator of arm gives zeros for a page that cannot be read.

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

// TestUnreadableBlock: a page of a table that the disk does not give costs neither the process nor the block, if it
// comes back in time. Else the block is told as lost, and those in other tables are delivered.
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
				pass(time.Minute) // both are of the history lane now
				path := only(t, dir, "*.sst")
				content, err := os.ReadFile(path)
				if err == nil {
					err = os.Truncate(path, 0) // who reads the mapped file now is sent the signal of a page that cannot be read
				}
				if err != nil {
					t.Fatal(err)
				}
				s.disk.Lock()
				err = s.markLost(Event, 0, nil, errMissing) // what lies behind that one nobody knows at present
				s.disk.Unlock()
				if !isReadError(err) {
					t.Errorf("a block that is missing: %v", err)
				}
				for ended := time.Now().Add(transientMax - time.Second); time.Now().Before(ended); time.Sleep(20 * time.Second) {
					if got, err := s.Backlog(Event, 10); len(got) > 0 || !isReadError(err) {
						t.Fatalf("the disk gives nothing, and Backlog %v, %v", got, err)
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
					t.Errorf("%v are there of %v", got, want)
				}
				gaps := s.Gaps()
				if told := len(gaps) == 1 && gaps[0].Reason == Damaged && gaps[0].From <= inTable.Seq && inTable.Seq <= *gaps[0].To; told != forGood {
					t.Errorf("gaps %+v", gaps)
				}
			})
		})
	}
}

// unmappable is a file that cannot be mapped, since it is longer than all memory that there could be.
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

// TestTableThatCannotBeMapped: where memory is used up a table is neither put aside nor rewritten, and the ladder is
// not climbed.
func TestTableThatCannotBeMapped(t *testing.T) {
	dir := t.TempDir()
	var id ID
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		id = mustAppend(t, s, Event, 1)
		if err := rewriteNow(s); err != nil {
			t.Fatal(err)
		}
		back := exchange(t, only(t, dir, "*.sst"), unmappable(t))
		if err := rewriteNow(s); !isExhausted(err) || !s.attached() {
			t.Errorf("rewritten: %v", err)
		}
		setAside(t, dir, 0)
		back()
		if err := rewriteNow(s); err != nil {
			t.Error(err)
		}
	})
	back := exchange(t, only(t, dir, "*.sst"), unmappable(t))
	e, found, err := openDatabase(dir, slog.New(slog.DiscardHandler), isExhausted)
	if e != nil || !isExhausted(err) || len(found.damage) > 0 || found.aside != "" {
		t.Errorf("opened: %+v, %v", found, err)
	}
	if _, err := os.Stat(filepath.Join(dir, openingName)); err == nil {
		t.Error("the next opening would give something up")
	}
	back()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		if got := allBacklog(t, s, Event); !slices.Equal(got, []ID{id}) || s.Opened().Damage != "" {
			t.Errorf("%v, %+v", got, s.Opened())
		}
	})
}
