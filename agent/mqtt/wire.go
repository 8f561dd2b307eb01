package mqtt

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lower is the connection below TLS. It counts written bytes, and lets a write take as long as it makes progress. The
// deadline limits only the time without a byte, so that a slow link is not taken for a dead one.
type lower struct {
	net.Conn
	sent  func(int) // may be nil
	bytes atomic.Int64
}

// Write implements net.Conn.
func (l *lower) Write(p []byte) (int, error) {
	total := 0
	for {
		n, err := l.Conn.Write(p[total:])
		total += n
		l.bytes.Add(int64(n))
		if l.sent != nil {
			l.sent(n)
		}
		if err == nil || n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return total, err
		}
		if err := l.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return total, err
		}
	}
}

// left returns how many of the written bytes have reached the other end's system, as far as the operating system knows;
// otherwise all of them.
func (l *lower) left() int64 { return l.bytes.Load() - int64(unsent(l.Conn)) }

// unsent returns how many bytes the operating system holds that the other end's system has not acknowledged.
func unsent(c net.Conn) (n int) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	if raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) }) != nil || err != nil {
		return 0
	}
	return n
}
