//go:build e2e

package sim

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bordo/drivers/line"
)

func TestTerminalCarriesEveryByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rs485")
	term, err := openTerminal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close() //nolint:errcheck // tested below
	client, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // nothing to save

	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, way := range []struct {
		name     string
		from, to *os.File
	}{{"to the device", client, term.File}, {"to the client", term.File, client}} {
		if _, err := way.from.Write(all); err != nil {
			t.Fatalf("%s: %v", way.name, err)
		}
		got := make([]byte, len(all))
		if _, err := io.ReadFull(way.to, got); err != nil || string(got) != string(all) {
			t.Errorf("%s: %v, % x", way.name, err, got)
		}
	}
	if e, err := line.Parse("serial://" + path); err != nil || !e.Simulated() {
		t.Errorf("%s is not taken for a simulated port (%v)", path, err)
	}
}

func TestTerminalDeadlineAndHangUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rs485")
	term, err := openTerminal(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := term.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := term.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want a deadline", err)
	}
	if err := term.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := term.Read(make([]byte, 1)); done <- err }()
	client, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // nothing to save
	if err := term.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("read under way when the terminal was closed: %v", err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("client after the hang-up: %d bytes, %v", n, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link is left: %v", err)
	}

	again, err := openTerminal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close() //nolint:errcheck // tested above
	if target, err := os.Readlink(path); err != nil || !strings.HasPrefix(target, "/dev/pts/") {
		t.Errorf("the link leads to %s (%v)", target, err)
	}
}
