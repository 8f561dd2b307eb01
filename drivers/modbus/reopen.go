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

// reopenPauses are the waits before each attempt to open a connection again. Firmware that serves one client refuses
// the next connection until it has finished with the last.
var reopenPauses = [...]time.Duration{0, 200 * time.Millisecond, 800 * time.Millisecond}

// absence is how long a connection may have been silent and still count as the same opening of the line after it was
// opened again in place: a device is not exchanged faster.
const absence = time.Minute

// maxUnasked bounds what a device may send without being asked before its connection is given up.
const maxUnasked = 16 << 10

// reopener is the port as one that can be opened again, nil when it cannot.
func (b *bus) reopener() drivers.Reopener {
	port := b.port
	if l, ok := port.(*sharedPort); ok {
		port = l.Port
	}
	r, _ := port.(drivers.Reopener)
	return r
}

// mayReopen tells whether the connection can be opened again within this turn.
func (t *transaction) mayReopen() bool { return t.bus.reopener() != nil }

// keepPort takes "lost" off an error when the next request can open the connection again: the line goes on with the same
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

// ensureConnected makes sure that a request can be sent. It drops what lies on a connection unasked: that belongs to no
// request to come. A connection that was given up, or that the device closed meanwhile, is opened again where the port
// can do that.
func (t *transaction) ensureConnected() error {
	b := t.bus
	if b.broken == nil && b.line.Stream {
		if limit := t.timing.IdleClose; limit > 0 && time.Since(b.lastUsed) >= limit-idleMargin {
			idle := fmt.Errorf("the device closes a connection that was idle for %v", limit)
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

// drain takes what lies on the connection and notes when the device closed it. The error is that of ctx.
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
			unasked := fmt.Errorf("more than %d bytes came unasked", maxUnasked)
			b.broken = &drivers.Error{Kind: drivers.Protocol, Lost: true, Err: unasked}
			return nil
		}
	}
}

// reopen opens the connection again. The error of a port that does not open is Lost: its owner tries on.
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

// hangUp closes a connection that was given up, so that a device which serves one client is free for the next request.
func (t *transaction) hangUp() {
	if t.bus.broken != nil && t.mayReopen() {
		_ = t.bus.port.Close() // it is opened again before it is used
	}
}

// isReadOnly tells whether a function changes nothing in a device, so that it may be asked twice.
func isReadOnly(function byte) bool { return slices.Contains([]byte{1, 2, 3, 4, 17, 43}, function) }
