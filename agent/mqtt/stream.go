package mqtt

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A write per publication costs a system call each and wakes the broker each time, which then answers one by one.
// Publications that follow each other immediately are therefore written together.
const (
	gatherTime = 3 * time.Millisecond // that a publication waits for others
	gatherSize = 16 << 10             // waiting bytes; anything larger is not copied
)

// farewellTime is how long Close waits for the broker to close after a DISCONNECT. A broker that still sends something
// to a closed connection, an acknowledgement for instance, takes that for a loss and publishes the will over the
// offline status. With TCP the last bytes sent may not even reach it.
const farewellTime = 200 * time.Millisecond

// stream is the connection as paho uses it: one Write for each packet, and many small Reads.
//
// A publication waits for others that were passed to paho with it and have not arrived here, for at most gatherTime, or
// until gatherSize bytes wait. While the stream is corked, it waits for the announced ones. Any other packet (CONNECT,
// SUBSCRIBE, PUBACK, PINGREQ, DISCONNECT) is written immediately, after what waits, so the order of packets is kept. A
// Write of a publication that returned nil therefore only means that it is on its way, as with a socket. A write that
// fails or takes longer than writeTimeout closes the connection; its error is returned by the pending Read and by every
// later Write. Close drops what waits: to have it sent, send a DISCONNECT first. Close then waits for the broker to
// close, for at most farewellTime.
//
// Reads are buffered and checked: the header of a packet that is too large, or that no client may receive, ends the
// connection with a PacketError before paho sees it.
type stream struct {
	net.Conn
	in    *bufio.Reader
	check inbound

	handed atomic.Int64 // publications on their way to Write, or past it
	came   atomic.Int64 // publications that have passed this point
	corked atomic.Bool  // more publications are about to follow
	before int64        // handed when it was corked; of who corks

	busy    chan struct{} // full during a write: another writer waits for at most writeTimeout
	waiting []byte        // of who writes, as is timer
	timer   *time.Timer   // writes what waits; running while something does
	parted  atomic.Bool   // a DISCONNECT was written
	broken  atomic.Pointer[error]

	low   *lower       // below TLS; nil in tests
	heard atomic.Int64 // when something came last, nanoseconds since begun
	begun time.Time
	pings pings

	hungUp atomic.Bool // the other end ended the connection

	ended chan struct{} // closed when a Read has failed
	end   sync.Once
}

func newStream(conn net.Conn) *stream {
	s := &stream{Conn: conn, busy: make(chan struct{}, 1), waiting: make([]byte, 0, gatherSize),
		ended: make(chan struct{}), begun: time.Now()}
	s.in = bufio.NewReaderSize(below{s}, 4096)
	s.check.pong = s.pings.answered
	s.timer = time.AfterFunc(time.Hour, s.overdue)
	s.timer.Stop()
	return s
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	ok, bad := s.check.check(p[:n])
	if bad == nil {
		return n, err
	}
	if bad.TooLarge {
		body := p[min(ok+1, n):n] // after the last byte of the header
		if rest, err := s.in.Peek(min(s.in.Buffered(), maxTopic)); err == nil {
			body = append(bytes.Clone(body), rest...)
		}
		bad.Topic = topicOf(body)
	}
	s.breakOff(bad)
	return 0, bad
}

// maxTopic bounds how much of a refused message is examined; a stream buffers more.
const maxTopic = 1 << 10

// breakOff ends the connection because of an error.
func (s *stream) breakOff(err error) {
	s.broken.CompareAndSwap(nil, &err)
	s.Conn.Close() //nolint:errcheck // the error that led here is the one that tells
}

// below is the reading side of the connection below.
type below struct{ s *stream }

func (b below) Read(p []byte) (int, error) {
	n, err := b.s.Conn.Read(p)
	if n > 0 {
		b.s.heard.Store(int64(time.Since(b.s.begun)))
	}
	if err == nil {
		return n, nil
	}
	var slow net.Error
	if !errors.Is(err, net.ErrClosed) && !(errors.As(err, &slow) && slow.Timeout()) {
		b.s.hungUp.Store(true)
	}
	b.s.end.Do(func() { close(b.s.ended) })
	if b.s.err() != nil {
		err = b.s.err() // paho takes the error of a connection that was closed here for its own doing, and says nothing
	}
	return n, err
}

// Close implements net.Conn.
func (s *stream) Close() error {
	if s.parted.Load() && s.err() == nil {
		late := time.NewTimer(farewellTime)
		defer late.Stop()
		select {
		case <-s.ended:
		case <-late.C:
		}
	}
	return s.Conn.Close()
}

// Write implements net.Conn for one whole packet.
func (s *stream) Write(packet []byte) (int, error) {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	urgent := packet[0]>>4 != packets.Publish || s.last()
	if packet[0]>>4 == packets.Pingreq {
		s.pings.add(nil)
	}
	if len(s.waiting)+len(packet) > gatherSize {
		s.flush()
	}
	if len(packet) > gatherSize {
		s.send(packet)
	} else {
		if len(s.waiting) == 0 && !urgent {
			s.timer.Reset(gatherTime)
		}
		if s.waiting = append(s.waiting, packet...); urgent {
			s.flush()
		}
	}
	if err := s.err(); err != nil {
		return 0, err
	}
	if packet[0]>>4 == packets.Disconnect {
		s.parted.Store(true)
	}
	return len(packet), nil
}

// last records the arrival of a publication and reports whether it is the last for now.
func (s *stream) last() bool {
	came := s.came.Add(1)
	return !s.corked.Load() && came == s.handed.Load()
}

// cork announces publications, uncork that they were passed on. Neither blocks. Called by one goroutine.
func (s *stream) cork() {
	s.before = s.handed.Load()
	s.corked.Store(true)
}

func (s *stream) uncork() {
	s.corked.Store(false)
	if n := s.handed.Load(); n != s.before && n == s.came.Load() {
		s.timer.Reset(0) // the last came while the stream was corked. Writing may block, so the timer does it
	}
}

// overdue is called by the timer.
func (s *stream) overdue() {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	s.flush()
}

// flush writes what waits. Called by who writes.
func (s *stream) flush() {
	s.timer.Stop()
	if len(s.waiting) > 0 {
		s.send(s.waiting)
		s.waiting = s.waiting[:0]
	}
}

// send writes to the connection below, unless it is broken. Called by who writes.
func (s *stream) send(p []byte) {
	if s.err() != nil {
		return
	}
	err := s.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = s.Conn.Write(p)
	}
	if err != nil {
		s.breakOff(err)
	}
}

// err is why the connection was broken off.
func (s *stream) err() error {
	if p := s.broken.Load(); p != nil {
		return *p
	}
	return nil
}

// SetWriteDeadline implements net.Conn. Each write sets its own deadline: that of paho would pass before the packet is
// written.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
