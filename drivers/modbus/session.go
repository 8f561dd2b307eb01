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

// link is the devices of one line. It hands its bus out together with the port, so that whoever borrows the port between
// two polls keeps to the silences that the last exchange asks for, and leaves the line to the next poll as a poll would.
type link struct {
	drivers.Link
	bus *bus
}

// sharedPort is a port with the bus that the devices behind it share.
type sharedPort struct {
	drivers.Port
	bus *bus
}

// Run implements drivers.Link.
func (l *link) Run(ctx context.Context, port drivers.Port, in <-chan drivers.Request, out func(drivers.Report)) error {
	return l.Link.Run(ctx, &sharedPort{port, l.bus}, in, out)
}

// busOn is the bus of a port: that of the link which runs on it, or a new one.
func busOn(l drivers.Line, port drivers.Port) *bus {
	if x, ok := port.(*sharedPort); ok {
		return x.bus
	}
	b := newBus(l)
	b.attach(port)
	return b
}

// Session is the plain use of a line by whoever looks for devices or at registers: any unit, any register, and only reading.
// It is used by one goroutine. On a port that was borrowed from a line (drivers.Request) it is part of that line and keeps
// to its silences; on any other it must be the only one that uses the port.
type Session struct {
	// Trace sees every exchange, when it is not nil.
	Trace func(Exchange)
	// KeepTCP keeps a connection after a question that was not answered: answers are told apart by their transaction ids. It
	// is for units that nobody polls on this connection, because some devices answer with wrong ids.
	KeepTCP bool
	// Timing say how long answers are waited for. They may be changed between two questions.
	Timing Timing

	bus *bus
}

// NewSession begins a session on a port.
func NewSession(l drivers.Line, port drivers.Port, m Timing) *Session {
	return &Session{bus: busOn(l, port), Timing: m}
}

// Echo tells whether the line gave back what was sent on it, so far.
func (s *Session) Echo() bool { return s.bus.echoes }

// Late returns the units that answered after their time since it was last called. Only a session that keeps its connection
// hears them.
func (s *Session) Late() []byte {
	late := s.bus.lateUnits
	s.bus.lateUnits = nil
	return late
}

// errWrites is why a session does not ask.
var errWrites = errors.New("only functions 1 to 4, 17 and 43 are asked: they read")

// Read asks a unit for a span. The errors are those of a poll.
func (s *Session) Read(ctx context.Context, unit int, span Span) (Answer, error) {
	var a Answer
	err := s.withClient(ctx, unit, func(c client) (err error) {
		a, err = c.read(span)
		a.Data = slices.Clone(a.Data)
		return err
	})
	return a, err
}

// Ask sends a function that reads (1 to 4, 17 or 43), and returns the data of its answer.
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

// withClient lends the line to one exchange.
func (s *Session) withClient(ctx context.Context, unit int, f func(client) error) error {
	t := s.bus.newTransaction(ctx, &s.Timing)
	defer t.end()
	t.keepOnTimeout = s.KeepTCP
	s.bus.trace = s.Trace
	defer func() { s.bus.trace = nil }()
	return f(newClient(newPackager(s.bus.line, unit), t))
}

// maxHeard bounds what Listen returns.
const maxHeard = 4096

// Listen returns what is said on a serial line within d while nothing is asked, at most 4096 bytes.
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

// Capture polls a device once, from the beginning, and returns its report with every exchange that this took, in order. The
// port may be one that was borrowed from the device's line.
func (d *Driver) Capture(ctx context.Context, l drivers.Line, port drivers.Port, dev drivers.Device) (drivers.Report, []Exchange, error) {
	p, ok := d.Profile(dev.Model)
	if !ok {
		return drivers.Report{}, nil, fmt.Errorf("capture %s: modbus has no model %q", dev.ID, dev.Model)
	}
	b := busOn(l, port)
	dev.DriverState = nil // what it refuses belongs to the picture
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
