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

// lower is the connection below TLS. It counts what is written, and lets a write take as long as it makes progress: only the
// time without a byte is limited by the deadline, so that a slow link is not taken for a dead one.
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

// left returns how many of the bytes written have reached the other end's system, as far as the operating system says; where
// it does not, all of them.
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

// inbound follows the packets of what is read, without keeping any of it.
type inbound struct {
	kind   byte // of the packet under way
	state  int  // 0: its first byte comes next, 1: its length, 2: its body
	length int
	shift  int
}

// look takes what was read and calls came for each packet that is complete.
func (i *inbound) look(b []byte, came func(kind byte)) {
	for len(b) > 0 {
		switch i.state {
		case 0:
			i.kind, i.state, i.length, i.shift = b[0]>>4, 1, 0, 0
			b = b[1:]
		case 1:
			i.length |= int(b[0]&0x7f) << i.shift
			i.shift += 7
			if b[0]&0x80 == 0 || i.shift > 21 {
				i.state = 2
			}
			b = b[1:]
		default:
			n := min(i.length, len(b))
			i.length -= n
			b = b[n:]
		}
		if i.state == 2 && i.length == 0 {
			i.state = 0
			came(i.kind)
		}
	}
}
