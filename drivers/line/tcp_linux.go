package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bordo/drivers"
)

const (
	// dialTimeout bounds the opening of a connection. A device on the same network answers in milliseconds, one behind
	// a mobile link in a second or two.
	dialTimeout = 5 * time.Second
	// unackedTimeout is how long sent bytes may stay unacknowledged before the kernel drops the connection. Without it,
	// a peer that lost its power is noticed only after a quarter of an hour.
	unackedTimeout = 10 * time.Second
)

// keepalive detects within half a minute that an idle peer is lost.
var keepalive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// socket is a TCP connection as a Port.
type socket struct {
	*net.TCPConn
	raw  syscall.RawConn
	name string
}

var _ drivers.Port = (*socket)(nil)

func openSocket(ctx context.Context, e Endpoint) (drivers.Port, error) {
	op := "open " + e.String()
	d := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepalive, ControlContext: setUnackedTimeout}
	c, err := d.DialContext(ctx, "tcp", e.Host)
	if err != nil {
		return nil, gone(op, explainDial(e.Host, err))
	}
	conn := c.(*net.TCPConn) // DialContext("tcp") gives nothing else
	if err := conn.SetNoDelay(true); err != nil {
		return nil, gone(op, errors.Join(err, conn.Close()))
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, gone(op, errors.Join(err, conn.Close()))
	}
	return &socket{TCPConn: conn, raw: raw, name: e.Host}, nil
}

func setUnackedTimeout(_ context.Context, _, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTimeout.Milliseconds()))
	}); e != nil {
		return e
	}
	return err
}

// Read implements drivers.Port. When the deadline has passed it still gives the bytes that are already there.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.TCPConn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) && n == 0 && len(b) > 0 {
		n, err = s.there(b)
	}
	return n, s.told("read", err)
}

// there reads without waiting. The runtime does not read at all once a deadline has passed.
func (s *socket) there(b []byte) (int, error) {
	n, err := 0, error(nil)
	if e := s.raw.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
	}); e != nil {
		return 0, e
	}
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, os.ErrDeadlineExceeded
	case err == nil && n == 0:
		return 0, io.EOF
	case err != nil:
		return 0, err
	}
	return n, nil
}

// Write implements drivers.Port.
func (s *socket) Write(b []byte) (int, error) {
	n, err := s.TCPConn.Write(b)
	return n, s.told("write", err)
}

// SetDeadline implements drivers.Port.
func (s *socket) SetDeadline(t time.Time) error {
	return s.told("set deadline", s.TCPConn.SetDeadline(t))
}

// Close implements drivers.Port.
func (s *socket) Close() error {
	if err := s.TCPConn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return gone("close "+s.name, err)
	}
	return nil
}

// told converts an error of the connection into one that its owner understands.
func (s *socket) told(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF):
		return gone(op+" "+s.name, fmt.Errorf("the other side closed the connection: %w", err))
	case errors.Is(err, unix.ECONNRESET):
		return gone(op+" "+s.name, fmt.Errorf("the other side broke the connection off: %w", err))
	case errors.Is(err, unix.ETIMEDOUT):
		return gone(op+" "+s.name, fmt.Errorf("the other side does not acknowledge any more: %w", err))
	}
	return gone(op+" "+s.name, err)
}

// explainDial says why a connection could not be opened.
func explainDial(host string, err error) error {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%s is there but nothing listens on that port (is Modbus TCP switched on?): %w", host, err)
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return fmt.Errorf("no way to %s from this network: %w", host, err)
	case errors.As(err, &dns):
		return fmt.Errorf("the name of %s cannot be resolved: %w", host, err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s did not answer within %v: %w", host, dialTimeout, err)
	}
	return err
}
