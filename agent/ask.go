package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"bordo/agent/config"
	"bordo/drivers"
)

// ErrLineDown is matched by the errors of Read and Borrow when the line's port is not open. Other programs may not use
// the port meanwhile: the agent opens it again as soon as possible.
var ErrLineDown = errors.New("the line is not open")

// ErrUnknownName is matched by the errors of Read and Borrow when the configuration has no such device or line.
var ErrUnknownName = errors.New("not in the configuration that the agent runs with")

// Limits of requests to a running line.
const (
	// until the line serves the request: at most one poll of each device, and an opening of the port
	turnMax   = 20 * time.Second
	borrowMax = 30 * time.Second // for which a line is lent: its polls wait so long
	readTries = 3                // tries of a poll that got nothing because the port was lost
)

// Read polls a device now and returns its report, which is stored and sent like any other. It waits for its turn on the
// line and may be called from any goroutine.
func (a *Agent) Read(ctx context.Context, device string) (drivers.Report, error) {
	r, err := a.read(ctx, drivers.Request{Device: device})
	if err != nil {
		return r, fmt.Errorf("read %s: %w", device, err)
	}
	return r, nil
}

// read has a line poll a device as the request says.
func (a *Agent) read(ctx context.Context, q drivers.Request) (drivers.Report, error) {
	device := q.Device
	l := a.owner(ownerOf(device))
	if l == nil {
		return drivers.Report{}, ErrUnknownName
	}
	ctx, cancel := context.WithTimeout(ctx, turnMax+borrowMax)
	defer cancel()
	for try := 1; ; try++ {
		answers := make(chan drivers.Report, 1)
		q.Answer = func(x drivers.Answer) {
			if x.Report != nil {
				answers <- *x.Report
			}
			close(answers)
		}
		if err := a.ask(ctx, l, q); err != nil {
			return drivers.Report{}, err
		}
		select {
		case r, ok := <-answers:
			switch {
			case !ok:
				return r, errors.New("its line is stopping")
			case drivers.KindOf(r.Err) == drivers.Closed && len(r.Readings) == 0 && try < readTries:
				continue // such as a connection that the device had closed while it was idle: it is opened again
			}
			return r, nil
		case <-ctx.Done():
			return drivers.Report{}, fmt.Errorf("its line does not get around to it: %w", ctx.Err())
		}
	}
}

// Borrow lends the port of a line to f between two polls, for at most 30 s. f must keep to the rules of
// drivers.Request. Borrow returns f's error when f has ended, or an error when f can no longer begin.
func (a *Agent) Borrow(ctx context.Context, line string, f func(context.Context, drivers.Port) error) error {
	l := a.owner(func(l config.Line) bool { return l.ID == line })
	if l == nil {
		return fmt.Errorf("borrow line %s: %w", line, ErrUnknownName)
	}
	const waiting, running, left = 0, 1, 2
	var state atomic.Int32
	answers := make(chan error, 1)
	err := a.ask(ctx, l, drivers.Request{
		Answer: func(x drivers.Answer) { answers <- x.Err },
		Borrow: func(own context.Context, port drivers.Port) error {
			if !state.CompareAndSwap(waiting, running) {
				return nil
			}
			own, cancel := context.WithTimeout(own, borrowMax)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			return f(own, port)
		},
	})
	if err != nil {
		return fmt.Errorf("borrow line %s: %w", line, err)
	}
	turn := time.NewTimer(turnMax)
	defer turn.Stop()
	var late error
	select {
	case err := <-answers:
		return err
	case <-ctx.Done():
		late = ctx.Err()
	case <-turn.C:
		late = fmt.Errorf("no turn within %v", turnMax)
	}
	if state.CompareAndSwap(waiting, left) {
		return fmt.Errorf("borrow line %s: %w", line, late)
	}
	return <-answers
}

// ownerOf matches the line of a device.
func ownerOf(device string) func(config.Line) bool {
	return func(l config.Line) bool {
		return slices.ContainsFunc(l.Devices, func(d config.Device) bool { return d.ID == device })
	}
}

func (a *Agent) owner(is func(config.Line) bool) *lineRunner {
	for _, l := range a.lines {
		if is(l.cfg) {
			return l
		}
	}
	return nil
}

// ask hands a request to a line that is open.
func (a *Agent) ask(ctx context.Context, l *lineRunner, r drivers.Request) error {
	if open, err := a.devices.isOpen(l.cfg.ID); !open {
		return fmt.Errorf("%w: %w", ErrLineDown, err)
	}
	select {
	case l.in <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	default:
		return fmt.Errorf("%d others wait for the line", maxRequests)
	}
}

// isOpen reports whether a line's port is open, and why not.
func (b *deviceTable) isOpen(line string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		if l.cfg.ID == line {
			return l.open, l.err
		}
	}
	return false, ErrUnknownName
}
