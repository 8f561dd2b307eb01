package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"bordo/drivers"
)

// link is the Link of one line. It passes its bus along with the port: a tool that borrows the port between two
// polls then keeps the silence that the last exchange requires, and so does the next poll afterwards.
type link struct {
	drivers.Link
	bus *bus
}

// sharedPort is a port with the bus that the devices of its line share.
type sharedPort struct {
	drivers.Port
	bus *bus
}

// Run implements drivers.Link.
func (l *link) Run(ctx context.Context, port drivers.Port, in <-chan drivers.Request, out func(drivers.Report)) error {
	return l.Link.Run(ctx, &sharedPort{port, l.bus}, in, out)
}

// busOn returns the bus of a port: that of the link running on it, or a new one.
func busOn(l drivers.Line, port drivers.Port) *bus {
	if x, ok := port.(*sharedPort); ok {
		return x.bus
	}
	b := newBus(l)
	b.attach(port)
	return b
}

// Session gives tools direct read access to a line: any unit, any register, no writes. One goroutine may use
// it. On a port borrowed from a line (drivers.Request) it shares the line's bus and keeps its silences; any
// other port it must own exclusively.
type Session struct {
	// Trace, if not nil, is called with every exchange.
	Trace func(Exchange)
	// KeepTCP keeps the connection after a timeout; late replies are recognised by their transaction ids. Use
	// it only for units that are not polled on this connection, because some devices reply with wrong ids.
	KeepTCP bool
	// Timing sets the timeouts and pauses. It may be changed between two requests.
	Timing Timing

	bus *bus
}

// NewSession begins a session on a port.
func NewSession(l drivers.Line, port drivers.Port, m Timing) *Session {
	return &Session{bus: busOn(l, port), Timing: m}
}

// Echo reports whether the line has echoed a request so far.
func (s *Session) Echo() bool { return s.bus.echoes }

// Late returns, once, the units that replied after their timeout since the previous call. Only a session with
// KeepTCP detects them.
func (s *Session) Late() []byte {
	late := s.bus.lateUnits
	s.bus.lateUnits = nil
	return late
}

// errWrites is the error for a function that is not read-only.
var errWrites = errors.New("only functions 1 to 4, 17 and 43 are allowed, because they only read")

// Read reads a span from a unit. Its errors are those of a poll.
func (s *Session) Read(ctx context.Context, unit int, span Span) (Answer, error) {
	var a Answer
	err := s.withClient(ctx, unit, func(c client) (err error) {
		a, err = c.read(span)
		a.Data = slices.Clone(a.Data)
		return err
	})
	return a, err
}

// Ask sends a read-only function (1 to 4, 17 or 43) and returns the data of the reply.
func (s *Session) Ask(ctx context.Context, unit int, function byte, data []byte) ([]byte, error) {
	op := fmt.Sprintf("ask function %d", function)
	if !isReadOnly(function) {
		return nil, &drivers.Error{Op: op, Kind: drivers.Protocol, Err: errWrites}
	}
	var answer []byte
	err := s.withClient(ctx, unit, func(c client) error {
		data, err := c.ask(function, data)
		if err != nil {
			return c.fail(op, c.txn.bus.line.Stream && !s.KeepTCP, err)
		}
		answer = slices.Clone(data)
		return nil
	})
	return answer, err
}

// withClient runs f with a client for one unit in a transaction of its own.
func (s *Session) withClient(ctx context.Context, unit int, f func(client) error) error {
	t := s.bus.newTransaction(ctx, &s.Timing)
	defer t.end()
	t.keepOnTimeout = s.KeepTCP
	s.bus.trace = s.Trace
	defer func() { s.bus.trace = nil }()
	return f(newClient(newPackager(s.bus.line, unit), t))
}

// maxHeard limits the bytes that Listen returns.
const maxHeard = 4096

// Listen returns the bytes received on a serial line within d while nothing is sent, at most 4096.
func (s *Session) Listen(ctx context.Context, d time.Duration) ([]byte, error) {
	t := s.bus.newTransaction(ctx, &s.Timing)
	defer t.end()
	end := time.Now().Add(d)
	heard := make([]byte, 0, 256)
	for len(heard) < maxHeard {
		if err := t.setDeadline(end); err != nil {
			return heard, err
		}
		n, err := s.bus.port.Read(s.bus.buf[:])
		heard = append(heard, s.bus.buf[:n]...)
		if n > 0 {
			s.bus.quietUntil = later(s.bus.quietUntil, time.Now().Add(s.bus.silence))
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return heard, ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return heard, nil
		default:
			return heard, t.portError(err)
		}
	}
	return heard[:maxHeard], nil
}

// Capture polls a device once, without saved state, and returns the report with all exchanges in order. The
// port may be one borrowed from the device's line.
func (d *Driver) Capture(ctx context.Context, l drivers.Line, port drivers.Port, dev drivers.Device) (drivers.Report,
	[]Exchange, error) {
	p, ok := d.Profile(dev.Model)
	if !ok {
		return drivers.Report{}, nil, fmt.Errorf("capture %s: modbus has no model %q", dev.ID, dev.Model)
	}
	b := busOn(l, port)
	dev.DriverState = nil // record refused registers too
	fresh, err := newDevice(p, dev, b)
	if err != nil {
		return drivers.Report{}, nil, fmt.Errorf("capture %s: %w", dev.ID, err)
	}
	var all []Exchange
	b.trace = func(x Exchange) { all = append(all, x) }
	defer func() { b.trace = nil }()
	rep := fresh.Poll(ctx, port)
	rep.Device = dev.ID
	return rep, all, nil
}
