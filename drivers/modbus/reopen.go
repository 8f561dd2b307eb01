package modbus

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"bordo/drivers"
)

// reopenPauses are the waits before each attempt to reopen a connection. Firmware that serves one client
// refuses a new connection until it has finished with the previous one.
var reopenPauses = [...]time.Duration{0, 200 * time.Millisecond, 800 * time.Millisecond}

// absence is the longest time without a reply for which a connection reopened in place still counts as the
// same opening of the line: replacing a device takes longer.
const absence = time.Minute

// maxUnasked is how many unsolicited bytes a device may send before its connection is closed.
const maxUnasked = 16 << 10

// reopener returns the port if it can be reopened, otherwise nil.
func (b *bus) reopener() drivers.Reopener {
	port := b.port
	if l, ok := port.(*sharedPort); ok {
		port = l.Port
	}
	r, _ := port.(drivers.Reopener)
	return r
}

// mayReopen reports whether the connection can be reopened within this transaction.
func (t *transaction) mayReopen() bool { return t.bus.reopener() != nil }

// keepPort clears Lost in an error if the next request can reopen the connection, so that the line keeps the
// port.
func (t *transaction) keepPort(err error) error {
	var e *drivers.Error
	if err == nil || !t.mayReopen() || !errors.As(err, &e) || !e.Lost {
		return err
	}
	if t.bus.broken == nil {
		t.bus.broken = err
	}
	return &drivers.Error{Op: e.Op, Kind: e.Kind, Cause: e.Cause, Err: e.Err}
}

// ensureConnected prepares the connection for a request. It discards unsolicited bytes, because they cannot
// belong to a future request. If the connection was closed by either side, it is reopened if the port
// supports that.
func (t *transaction) ensureConnected() error {
	b := t.bus
	if b.broken == nil && b.line.Stream {
		if limit := t.timing.IdleClose; limit > 0 && time.Since(b.lastUsed) >= limit-idleMargin {
			idle := fmt.Errorf("the device closes connections that are idle for %v", limit)
			b.broken = &drivers.Error{Kind: drivers.Closed, Lost: true, Err: idle}
		} else if err := t.drain(); err != nil {
			return err
		}
	}
	if b.broken == nil {
		return nil
	}
	if !t.mayReopen() {
		return &drivers.Error{Kind: drivers.Closed, Lost: true, Err: b.broken}
	}
	return t.reopen()
}

// drain discards unread bytes and detects that the device has closed the connection. It returns only ctx's
// error.
func (t *transaction) drain() error {
	b := t.bus
	b.filled, b.consumed = 0, 0
	for total := 0; ; {
		if err := t.setDeadline(time.Unix(1, 0)); err != nil {
			return err
		}
		n, err := b.port.Read(b.buf[:])
		switch total += n; {
		case t.ctx.Err() != nil:
			return t.ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			b.broken = err
			return nil
		case total > maxUnasked:
			unasked := fmt.Errorf("received more than %d unsolicited bytes", maxUnasked)
			b.broken = &drivers.Error{Kind: drivers.Protocol, Lost: true, Err: unasked}
			return nil
		}
	}
}

// reopen reopens the connection. If that fails, the error is Lost and the port's owner keeps trying.
func (t *transaction) reopen() error {
	b := t.bus
	used := b.lastUsed
	var err error
	for _, wait := range reopenPauses {
		if err := t.pause(time.Now().Add(wait)); err != nil {
			return err
		}
		if err = b.reopener().Reopen(t.ctx); !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	switch {
	case t.ctx.Err() != nil:
		b.broken = errors.Join(errors.New("the connection was not opened again"), t.ctx.Err())
		return t.ctx.Err()
	case err != nil:
		b.broken = err
		return &drivers.Error{Kind: drivers.Closed, Lost: true, Err: err}
	}
	b.resetConnection()
	if time.Since(used) > absence {
		b.opening++
	}
	return nil
}

// hangUp closes a broken connection so that a device that serves one client is free for the next request.
func (t *transaction) hangUp() {
	if t.bus.broken != nil && t.mayReopen() {
		_ = t.bus.port.Close() // it is reopened before its next use
	}
}

// isReadOnly reports whether a function changes nothing in a device, so that it may be repeated.
func isReadOnly(function byte) bool { return slices.Contains([]byte{1, 2, 3, 4, 17, 43}, function) }
