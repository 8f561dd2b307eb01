// Package driverstest is what tests of drivers share: a simulated wire, and the suite that every driver runs.
//
// It touches no hardware and no network, and everything in it runs inside testing/synctest.
package driverstest

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"bordo/drivers"
)

// wireBuffer is how many bytes one direction of a wire holds before Write blocks, like the buffer of a UART or socket.
const wireBuffer = 4096

// ErrHungUp is the cause of a Lost error on a wire whose other end was closed.
var ErrHungUp = errors.New("the other end hung up")

// End is one end of a Wire.
type End struct {
	in, out *pipe
	mu      sync.Mutex
	due     time.Time     // guarded by mu: the deadline
	moved   chan struct{} // guarded by mu: closed when the deadline changes
}

var _ drivers.Port = (*End)(nil)

// Wire returns the two ends of a buffered line in both directions. char is the time of one character: 0 for a wire
// without a speed, 11 bits at 9600 baud for a serial line. Write returns as soon as the bytes are buffered, and they
// arrive one after the other at the other end, late replies included. A net.Pipe could not do that. Deadlines follow
// package time. Read with a passed deadline still returns available bytes. Closing one end makes the other's Read fail
// with a Lost error that wraps ErrHungUp, once it has read the bytes in transit.
//
// An End may be used by one reader and one writer concurrently.
func Wire(char time.Duration) (here, there *End) {
	a, b := newPipe(char), newPipe(char)
	return newEnd(a, b), newEnd(b, a)
}

func newEnd(in, out *pipe) *End { return &End{in: in, out: out, moved: make(chan struct{})} }

// Read implements drivers.Port.
func (e *End) Read(b []byte) (int, error) {
	for {
		n, wait, changed, err := e.in.take(b)
		if err != nil {
			return 0, lost("read", err)
		}
		if n > 0 || len(b) == 0 {
			return n, nil
		}
		if err := e.await(changed, wait); err != nil {
			return 0, err
		}
	}
}

// Write implements drivers.Port.
func (e *End) Write(b []byte) (int, error) {
	sent := 0
	for {
		n, changed, err := e.out.put(b[sent:])
		sent += n
		if err != nil {
			return sent, lost("write", err)
		}
		if sent == len(b) {
			return sent, nil
		}
		if err := e.await(changed, -1); err != nil {
			return sent, err
		}
	}
}

// SetDeadline implements drivers.Port.
func (e *End) SetDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due = t
	close(e.moved)
	e.moved = make(chan struct{})
	return nil
}

// Close implements drivers.Port.
func (e *End) Close() error {
	e.in.stop(os.ErrClosed, true)
	e.out.stop(ErrHungUp, false)
	return nil
}

// await waits until something changed, the next byte arrives (wait >= 0) or the deadline passes.
func (e *End) await(changed <-chan struct{}, wait time.Duration) error {
	e.mu.Lock()
	due, moved := e.due, e.moved
	e.mu.Unlock()
	if !due.IsZero() {
		left := time.Until(due)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	if wait < 0 {
		select {
		case <-changed:
		case <-moved:
		}
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-changed:
	case <-moved:
	case <-timer.C:
	}
	return nil
}

func lost(op string, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return err
	}
	return &drivers.Error{Op: op, Kind: drivers.Closed, Lost: true, Err: err}
}

// pipe is one direction of a wire.
type pipe struct {
	char time.Duration

	mu      sync.Mutex
	buf     []byte        // guarded by mu, as all below
	first   time.Time     // when buf[0] arrives
	last    time.Time     // when the last byte of buf arrives
	err     error         // why no more bytes arrive
	changed chan struct{} // closed at each change
}

func newPipe(char time.Duration) *pipe { return &pipe{char: char, changed: make(chan struct{})} }

func (p *pipe) signal() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// put appends what fits, and returns what to wait for if that was not all.
func (p *pipe) put(b []byte) (int, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, nil, p.err
	}
	n := min(len(b), wireBuffer-len(p.buf))
	if n == 0 {
		return 0, p.changed, nil
	}
	now := time.Now()
	if len(p.buf) == 0 {
		start := now
		if p.last.After(now) {
			start = p.last
		}
		p.first, p.last = start.Add(p.char), start
	}
	p.buf = append(p.buf, b[:n]...)
	p.last = p.last.Add(time.Duration(n) * p.char)
	p.signal()
	return n, p.changed, nil
}

// take returns the bytes that have arrived. If there are none, wait is the time until the next one, -1 if none is in
// transit.
func (p *pipe) take(b []byte) (n int, wait time.Duration, changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.buf) == 0 || p.err == os.ErrClosed {
		return 0, -1, p.changed, p.err
	}
	if wait := time.Until(p.first); wait > 0 {
		return 0, wait, p.changed, nil
	}
	n = len(p.buf)
	if p.char > 0 {
		n = min(n, 1+int(time.Since(p.first)/p.char))
	}
	n = copy(b, p.buf[:n])
	p.buf = append(p.buf[:0], p.buf[n:]...)
	p.first = p.first.Add(time.Duration(n) * p.char)
	p.signal()
	return n, 0, p.changed, nil
}

// stop ends the direction: for its own reader immediately, for a reader at the far end after the bytes in transit.
func (p *pipe) stop(err error, now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || now {
		p.err = err
	}
	p.signal()
}
