package buffer

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

// unreadableFile is a file that can be opened but fails with EIO when it is read.
const unreadableFile = "/proc/self/mem"

// replaceWithLink replaces a file by a link to another one. back undoes this.
func replaceWithLink(t *testing.T, path, other string) (back func()) {
	t.Helper()
	kept := filepath.Join(t.TempDir(), "kept")
	for _, err := range []error{os.Rename(path, kept), os.Symlink(other, path)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		for _, err := range []error{os.Remove(path), os.Rename(kept, path)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// onlyFile returns the single database file in dir that matches the pattern.
func onlyFile(t *testing.T, dir, pattern string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, dbName, pattern))
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %v, %v", pattern, list, err)
	}
	return list[0]
}

// setAside fails the test unless exactly want directories with damaged files exist beside the database.
func setAside(t *testing.T, dir string, want int) {
	t.Helper()
	if list, err := asideDirs(dir); err != nil || len(list) != want {
		t.Errorf("set aside: %v, %v", list, err)
	}
}

// TestUnreadable: while a database file is unreadable the store works from memory and discards nothing. It uses the
// database again once the file is readable. A file that stays unreadable for longer than transientMax counts as
// damaged, and only its content is lost.
func TestUnreadable(t *testing.T) {
	for _, c := range []struct {
		name, file string
		lost       bool // the content of the file may be missing
	}{
		{"log", "*.mem", true},
		{"manifest", badger.ManifestFilename, false},
		{"registry", badger.KeyRegistryFileName, false},
	} {
		for _, forGood := range []bool{false, true} {
			t.Run(c.name+map[bool]string{false: " for a while", true: " for good"}[forGood], func(t *testing.T) {
				work := t.TempDir()
				synctest.Test(t, func(t *testing.T) {
					s := open(t, filepath.Join(work, "before"), Options{})
					table := mustAppend(t, s, Event, 1)
					if err := rewriteNow(s); err != nil {
						t.Fatal(err)
					}
					log := mustAppend(t, s, Event, 2)
					dir := crashOf(t, s)
					back := replaceWithLink(t, onlyFile(t, dir, c.file), unreadableFile)

					s = open(t, dir, Options{})
					if fault := s.Stats().Fault; !strings.Contains(fault, "input/output error") {
						t.Errorf("fault is %q", fault)
					}
					pass(transientMax - time.Minute)
					if s.attached() {
						t.Fatal("opened without the unreadable file")
					}
					setAside(t, dir, 0)
					if forGood {
						pass(2 * time.Minute)
					} else {
						back()
						pass(time.Minute)
					}
					if fault := s.Stats().Fault; fault != "" {
						t.Fatalf("afterwards: %s", fault)
					}
					want := []ID{table, log}
					if c.lost && forGood {
						want = want[:1]
						setAside(t, dir, 1)
						r := Record{ID: log, Class: Event}
						if !slices.ContainsFunc(s.Gaps(), func(g Gap) bool { return g.covers(r) }) {
							t.Errorf("gaps %+v", s.Gaps())
						}
					} else {
						setAside(t, dir, 0)
						if slices.ContainsFunc(s.Gaps(), func(g Gap) bool { return g.Reason == Damaged }) {
							t.Errorf("gaps %+v", s.Gaps())
						}
					}
					if got := allBacklog(t, s, Event); !slices.Equal(got, want) {
						t.Errorf("delivered %v, want %v", got, want)
					}
				})
			})
		}
	}
}

// TestTransientAgainAfterPause: a read error long ago does not shorten the time for which a new one counts as
// transient.
func TestTransientAgainAfterPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{log: slog.New(slog.DiscardHandler)}
		for _, wait := range []time.Duration{
			0, transientMax / 2, transientMax - transientMax/2 - 1, transientMax + 1, transientMax - 1,
		} {
			if time.Sleep(wait); !s.isTransient(syscall.EIO) {
				t.Errorf("not transient %v later", wait)
			}
		}
		if time.Sleep(time.Nanosecond); s.isTransient(syscall.EIO) {
			t.Error("transient for ever")
		}
		if !s.isTransient(syscall.EMFILE) || s.isTransient(os.ErrNotExist) || s.isTransient(nil) {
			t.Error("exhausted resources must always count as transient, damage and no error never")
		}
	})
}
