package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeRoom is how many bytes one direction of a pipe holds before a writer must wait, approximately the buffers of a
// socket.
const pipeRoom = 64 << 10

// pipe returns a connection in memory that behaves like a socket: buffered, so that written bytes stay readable after
// the writer went on (a synchronous pipe hides late replies), and with deadlines on package time, so that it works
// inside testing/synctest.
func pipe(name string) (here, there *pipeEnd) {
	a, b := newFlow(), newFlow()
	return newPipeEnd(name, a, b), newPipeEnd(name, b, a)
}

// pipeEnd is one end of a pipe.
type pipeEnd struct {
	name             string
	in, out          *flow
	reading, writing *deadline
	closed           sync.Once
}

var _ net.Conn = (*pipeEnd)(nil)

func newPipeEnd(name string, in, out *flow) *pipeEnd {
	return &pipeEnd{name: name, in: in, out: out, reading: newDeadline(), writing: newDeadline()}
}

// Read implements net.Conn.
func (p *pipeEnd) Read(b []byte) (int, error) { return p.in.read(b, p.reading.passed) }

// Write implements net.Conn.
func (p *pipeEnd) Write(b []byte) (int, error) { return p.out.write(b, p.writing.passed) }

// Close ends both directions. What the other end has not read yet stays readable to it.
func (p *pipeEnd) Close() error {
	p.closed.Do(func() {
		p.in.end(net.ErrClosed, syscall.EPIPE)
		p.out.end(io.EOF, net.ErrClosed)
		p.reading.set(time.Time{})
		p.writing.set(time.Time{})
	})
	return nil
}

// abandoned reports whether the other end was closed.
func (p *pipeEnd) abandoned() bool {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return p.in.readErr != nil
}

// SetDeadline implements net.Conn.
func (p *pipeEnd) SetDeadline(t time.Time) error {
	p.reading.set(t)
	p.writing.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (p *pipeEnd) SetReadDeadline(t time.Time) error { p.reading.set(t); return nil }

// SetWriteDeadline implements net.Conn.
func (p *pipeEnd) SetWriteDeadline(t time.Time) error { p.writing.set(t); return nil }

// LocalAddr implements net.Conn.
func (p *pipeEnd) LocalAddr() net.Addr { return pipeAddr(p.name) }

// RemoteAddr implements net.Conn.
func (p *pipeEnd) RemoteAddr() net.Addr { return pipeAddr(p.name) }

// pipeAddr names a pipe where an address is asked for.
type pipeAddr string

// Network implements net.Addr.
func (pipeAddr) Network() string { return "sim" }

// String implements net.Addr.
func (a pipeAddr) String() string { return string(a) }

// flow is one direction of a pipe.
type flow struct {
	mu       sync.Mutex
	data     []byte
	readErr  error // what a reader gets once data is empty
	writeErr error
	changed  chan struct{} // closed, and renewed, at every change
}

func newFlow() *flow { return &flow{changed: make(chan struct{})} }

func (f *flow) read(b []byte, passed func() <-chan struct{}) (int, error) {
	for {
		select {
		case <-passed():
			return 0, os.ErrDeadlineExceeded // even if there is something to read, as with sockets
		default:
		}
		f.mu.Lock()
		if f.readErr != nil && f.readErr != io.EOF { //nolint:errorlint // our own value: this end was closed
			f.mu.Unlock()
			return 0, f.readErr
		}
		if len(f.data) > 0 || len(b) == 0 {
			n := copy(b, f.data)
			f.data = append(f.data[:0], f.data[n:]...)
			f.change()
			f.mu.Unlock()
			return n, nil
		}
		err, changed := f.readErr, f.changed
		f.mu.Unlock()
		if err != nil {
			return 0, err
		}
		select {
		case <-passed():
			return 0, os.ErrDeadlineExceeded
		case <-changed:
		}
	}
}

func (f *flow) write(b []byte, passed func() <-chan struct{}) (int, error) {
	n := 0
	for {
		f.mu.Lock()
		if f.writeErr != nil {
			f.mu.Unlock()
			return n, f.writeErr
		}
		k := min(len(b)-n, pipeRoom-len(f.data))
		f.data = append(f.data, b[n:n+k]...)
		n += k
		f.change()
		changed := f.changed
		f.mu.Unlock()
		if n == len(b) {
			return n, nil
		}
		select {
		case <-passed():
			return n, os.ErrDeadlineExceeded
		case <-changed:
		}
	}
}

// end lets readers and writers fail from now on; data that is there is still read before EOF.
func (f *flow) end(readErr, writeErr error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readErr == nil || f.readErr == io.EOF { //nolint:errorlint // our own value
		f.readErr = readErr
	}
	if f.writeErr == nil {
		f.writeErr = writeErr
	}
	f.change()
}

// change wakes everybody who waits. The caller holds the lock.
func (f *flow) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// deadline is a moment that can be moved while others wait for it.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	ch    chan struct{} // closed when the moment has passed
	over  bool
	turn  int // counts the calls of set: a timer of an earlier one does nothing
}

func newDeadline() *deadline { return &deadline{ch: make(chan struct{})} }

func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ch
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.over {
		d.ch, d.over = make(chan struct{}), false
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.pass()
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.turn == turn {
			d.pass()
		}
	})
}

// pass is called with the lock held.
func (d *deadline) pass() {
	if !d.over {
		close(d.ch)
		d.over = true
	}
}
