//go:build e2e

package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDialGivesUpOnASilentLink(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing depends on it
	conn, err := dial(t.Context(), &url.URL{Scheme: "mqtt", Host: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		for option, want := range map[int]int{unix.TCP_USER_TIMEOUT: 30_000, unix.TCP_KEEPIDLE: 30,
			unix.TCP_KEEPINTVL: 10, unix.TCP_KEEPCNT: 3} {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); err != nil || got != want {
				t.Errorf("option %d is %d (%v), want %d", option, got, err, want)
			}
		}
	}); err != nil {
		t.Error(err)
	}
}

func TestNotifyServiceManager(t *testing.T) {
	dir, err := os.MkdirTemp("", "bordo-notify-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	for _, name := range []string{filepath.Join(dir, "notify"), "@bordo-test-" + strconv.Itoa(os.Getpid())} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("NOTIFY_SOCKET", name)
		tell := notifier(quiet())
		for _, state := range []string{"READY=1", "STOPPING=1"} {
			tell(state)
			if err := l.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 64)
			n, err := l.Read(b)
			if err != nil || string(b[:n]) != state {
				t.Errorf("%s: got %q, %v", name, b[:n], err)
			}
		}
		l.Close()    //nolint:errcheck // the test is over
		tell("gone") // nobody listens: no harm
	}
}
