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

// TestBadSector: the errors that the kernel returns for unreadable sectors of a block device are recognised. An
// unreadable table neither ends the process nor is set aside immediately. When it is set aside later, only that table
// is lost.
func TestBadSector(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	payload := noisePayloads()
	if _, err := s.Append(Event, 1, 2, payload()); err != nil {
		t.Fatal(err)
	}
	if err := rewriteNow(s); err != nil {
		t.Fatal(err)
	}
	inLog := mustAppend(t, s, Event, 2)
	dir = crashOf(t, s)

	path := onlyFile(t, dir, "*.sst")
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
		t.Errorf("unreadable table: %v", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	if e, found, err := openDatabase(dir, quiet, isReadError); e != nil || !isReadError(err) || found.aside != "" {
		t.Errorf("opened immediately: %+v, %v", found, err)
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
		t.Errorf("block of %s: %d bytes, %v", inLog, len(v), err)
	}
	if err := e.close(); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(found.aside); err != nil || len(list) != 1 || list[0].Name() != filepath.Base(path) {
		t.Errorf("set aside: %v, %v", list, err)
	}
}

// cutDevice makes every sector of a disk unreadable from the position of these bytes on, until mend is called.
func cutDevice(t *testing.T, d loopdisk.Disk, from []byte) (mend func()) {
	t.Helper()
	image := loopdisk.Command(t, "losetup", "--noheadings", "--output", "BACK-FILE", d.Device)
	all, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(all, from)
	if at < 0 {
		t.Fatal("the device does not contain these bytes")
	}
	if err := os.Truncate(image, int64(at)); err != nil {
		t.Fatal(err)
	}
	mend = func() {
		f, err := os.OpenFile(image, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // the write reports errors
		if _, err := f.WriteAt(all[at:], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(mend) // runs before the device is unmounted
	return mend
}
