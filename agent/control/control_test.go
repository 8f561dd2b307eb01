package control

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTakeDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := TakeDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = TakeDir(dir)
	if want := "another bordo runs with this configuration: it holds " + dir; !errors.Is(err, ErrTaken) ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the directory holds %v (%v)", entries, err)
	}
	if err := first.Release(); err != nil {
		t.Error(err)
	}
	again, err := TakeDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}

func TestTakeDirTellsWhyItCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := TakeDir(filepath.Join(file, "state")); err == nil || errors.Is(err, ErrTaken) {
		t.Errorf("got %v", err)
	}
}
