//go:build amd64 || arm64

// On 32 bits a file can be longer than what its length is counted in, which is another error.

package buffer

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
)

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

// TestTableThatCannotBeMapped: where memory is used up a table is neither put aside nor rewritten, and the ladder is not
// climbed.
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
		if err := rewriteNow(s); !usedUp(err) || !s.attached() {
			t.Errorf("rewritten: %v", err)
		}
		setAside(t, dir, 0)
		back()
		if err := rewriteNow(s); err != nil {
			t.Error(err)
		}
	})
	back := exchange(t, only(t, dir, "*.sst"), unmappable(t))
	e, found, err := openDatabase(dir, slog.New(slog.DiscardHandler), usedUp)
	if e != nil || !usedUp(err) || len(found.damage) > 0 || found.aside != "" {
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
