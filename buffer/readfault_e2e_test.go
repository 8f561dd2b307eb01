//go:build e2e

package buffer

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/table"

	"bordo/buffer/loopdisk"
)

// TestBadSector: what the kernel says of a block device that cannot be read is understood. A table on it is neither the
// end of the process nor put aside at once; when it is, that is all that it costs.
func TestBadSector(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	payload := noise()
	if _, err := s.Append(Event, 1, 2, payload()); err != nil {
		t.Fatal(err)
	}
	if err := rewriteNow(s); err != nil {
		t.Fatal(err)
	}
	inLog := mustAppend(t, s, Event, 2)
	dir = crashOf(t, s)

	path := only(t, dir, "*.sst")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	disk := loopdisk.New(t, 16<<20)
	moved := filepath.Join(disk.Dir, filepath.Base(path))
	for _, err := range []error{os.WriteFile(moved, content, 0o600), os.Remove(path), os.Symlink(moved, path)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	disk.Forget(t)
	mend := cutDevice(t, disk, content[:4096])

	db := filepath.Join(dir, dbName)
	id, _ := table.ParseFileID(filepath.Base(path))
	if _, err := probe(db, id, true); !isReadError(err) {
		t.Errorf("a table that cannot be read: %v", err)
	}
	if e, found, err := openDatabase(dir, slog.New(slog.DiscardHandler), isReadError); e != nil || !isReadError(err) || found.aside != "" {
		t.Errorf("opened at once: %+v, %v", found, err)
	}
	mend()
	if _, err := probe(db, id, true); err != nil {
		t.Errorf("readable again: %v", err)
	}
	disk.Forget(t)
	cutDevice(t, disk, content[:4096])
	e, found, err := openDatabase(dir, slog.New(slog.DiscardHandler), func(error) bool { return false })
	if err != nil || !strings.Contains(found.String(), "input/output error") {
		t.Fatalf("opened in the end: %+v, %v", found, err)
	}
	if v, err := e.get(blockKey(Event, 0, 2)); err != nil || v == nil {
		t.Errorf("the block of %s: %d bytes, %v", inLog, len(v), err)
	}
	if err := e.close(); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(found.aside); err != nil || len(list) != 1 || list[0].Name() != filepath.Base(path) {
		t.Errorf("set aside: %v, %v", list, err)
	}
}

// cutDevice makes everything on a disk unreadable from the place on where these bytes lie, until mend is called.
func cutDevice(t *testing.T, d loopdisk.Disk, from []byte) (mend func()) {
	t.Helper()
	image := loopdisk.Command(t, "losetup", "--noheadings", "--output", "BACK-FILE", d.Device)
	all, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(all, from)
	if at < 0 {
		t.Fatal("the device does not have these bytes")
	}
	if err := os.Truncate(image, int64(at)); err != nil {
		t.Fatal(err)
	}
	mend = func() {
		f, err := os.OpenFile(image, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // the write tells
		if _, err := f.WriteAt(all[at:], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(mend) // the device is unmounted after that
	return mend
}
