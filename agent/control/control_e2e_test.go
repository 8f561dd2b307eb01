//go:build e2e

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// socketIn names a socket in a directory whose path is short enough for one.
func socketIn(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bordo-control-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a temporary directory
	return filepath.Join(dir, "run", "b.sock")
}

// serve answers at path until the test or stop ends it.
func serve(t *testing.T, path string, status func() any) (stop func()) {
	t.Helper()
	return serveAll(t, path, Answers{Status: status})
}

func serveAll(t *testing.T, path string, answers Answers) (stop func()) {
	t.Helper()
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := Serve(ctx, l, answers, quiet()); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); serving.Wait() }
	t.Cleanup(stop)
	return stop
}

func TestStatus(t *testing.T) {
	path := socketIn(t)
	n := 0
	stop := serve(t, path, func() any { n++; return map[string]int{"n": n} })
	for i := range 2 {
		got, err := Status(t.Context(), path)
		if want := fmt.Sprintf("{\"n\":%d}\n", i+1); err != nil || string(got) != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v", info, err)
	}
	stop()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	_, err = Status(t.Context(), path)
	if want := "the agent does not run: nobody answers at " + path; !errors.Is(err, ErrNotRunning) ||
		err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestStatusThatDoesNotMarshal(t *testing.T) {
	path := socketIn(t)
	serve(t, path, func() any { return func() {} })
	if _, err := Status(t.Context(), path); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("got %v", err)
	}
}

func TestSocketOfADeadProcessIsReplaced(t *testing.T) {
	path := socketIn(t)
	if err := os.Mkdir(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close() //nolint:errcheck // the socket stays, as after kill -9
	if _, err := Status(t.Context(), path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
	serve(t, path, func() any { return 1 })
	if got, err := Status(t.Context(), path); err != nil || string(got) != "1\n" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	path := socketIn(t)
	serve(t, path, func() any { return "first" })
	_, err := Listen(t.Context(), path)
	want := "another bordo runs with this configuration: it answers at " + path
	if !errors.Is(err, ErrTaken) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got, err := Status(t.Context(), path); err != nil || string(got) != "\"first\"\n" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestOtherFileIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
		t.Errorf("got %q, %v", got, err)
	}
}

// More questions than connections at once are answered one after the other.
func TestManyAskAtOnce(t *testing.T) {
	path := socketIn(t)
	serve(t, path, func() any { return 1 })
	var asking sync.WaitGroup
	for range 4 * maxConns {
		asking.Go(func() {
			if _, err := Status(t.Context(), path); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
}
