//go:build e2e

package line_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bordo/drivers"
	"bordo/drivers/line"
)

// dialed opens a port to a listener of ours and returns both sides.
func dialed(t *testing.T, scheme string) (drivers.Port, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e, err := line.Parse(scheme + "://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p, err := line.Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); c.Close() })
	return p, c.(*net.TCPConn)
}

func TestSocketDeadline(t *testing.T) {
	p, c := dialed(t, "tcp")
	timed(t, "a read", 20*time.Millisecond, func() {
		p.SetDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || drivers.PortLost(err) {
			t.Errorf("read: %v", err)
		}
	})
	if _, err := c.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, err := arrived(p, b); string(b[:n]) != "late" || err != nil {
		t.Errorf("with a deadline that passed: %q, %v", b[:n], err)
	}
	if n, err := p.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("then %q, %v", b[:n], err)
	}
	c.Close()
	if _, err := arrived(p, b); !drivers.PortLost(err) {
		t.Errorf("with a deadline that passed and the peer gone: %v", err)
	}
}

func TestSocketIsCancelledByTheDeadline(t *testing.T) {
	p, _ := dialed(t, "rtu+tcp")
	timed(t, "a cancelled read", 45*time.Millisecond, func() {
		later(t, func() { p.SetDeadline(time.Unix(1, 0)) })
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestSocketTellsWhenThePeerIsGone(t *testing.T) {
	p, c := dialed(t, "tcp")
	c.Close()
	_, err := p.Read(make([]byte, 1))
	if !drivers.PortLost(err) || !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("read: %v", err)
	}
	p, c = dialed(t, "tcp")
	c.SetLinger(0)
	c.Close() // breaks the connection off
	_, err = p.Read(make([]byte, 1))
	if !drivers.PortLost(err) || !strings.Contains(err.Error(), "broke the connection off") {
		t.Errorf("read: %v", err)
	}
	p, _ = dialed(t, "tcp")
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if _, err := p.Write([]byte{1}); !drivers.PortLost(err) {
		t.Errorf("write after Close: %v", err)
	}
}

// silentPort is an address where nothing listens, until the test ends: nobody else is given it.
func silentPort(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
}

func TestOpenExplains(t *testing.T) {
	free := silentPort(t)
	e, err := line.Parse("tcp://" + free)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := line.Open(t.Context(), e); !drivers.PortLost(err) ||
		!strings.Contains(err.Error(), "nothing listens") || !strings.Contains(err.Error(), free) {
		t.Errorf("open: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, url := range []string{"tcp://" + free, "serial:///dev/null"} {
		e, err := line.Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := line.Open(ctx, e); !errors.Is(err, context.Canceled) {
			t.Errorf("open %s with a context that is over: %v", url, err)
		}
	}
}
