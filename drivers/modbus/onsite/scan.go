package onsite

import (
	"context"
	"sync"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/scan"
)

// wire is a line that devices are looked for on. Use lets f ask, and may wait for its turn before; f is done when it returns.
type wire interface {
	Use(ctx context.Context, f func(context.Context, *modbus.Session) error) error
}

// search looks for devices of some profiles.
type search struct {
	scan.Search
	profiles []*modbus.Profile

	mu    sync.Mutex
	done  int // guarded by mu, as all below
	total int
	found int

	serial []scan.Found // on the serial port, with all settings
}

// emit hands an event out.
func (s *search) emit(e scan.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emitLocked(e)
}

// emitLocked is tell for who holds mu.
func (s *search) emitLocked(e scan.Event) {
	if e.Found != nil {
		s.found++
	}
	if s.Say != nil {
		s.Say(e)
	}
}

// addSteps adds steps to what is still to be done; n may be negative.
func (s *search) addSteps(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += n
}

// nextStep tells what is asked now.
func (s *search) nextStep(at string, unit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emitLocked(scan.Event{Progress: &scan.Progress{Done: s.done, Total: max(s.total, s.done+1), At: at, Unit: unit}})
	s.done++
}

func (s *search) anyFound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found > 0
}

// ownPort is a port of our own as a wire. It is opened when it is needed, and again after it was lost.
type ownPort struct {
	open     scan.Open
	endpoint line.Endpoint
	port     drivers.Port
	session  *modbus.Session
}

// newOwnPort makes a wire of an endpoint. Close must be called.
func newOwnPort(open scan.Open, e line.Endpoint) *ownPort { return &ownPort{open: open, endpoint: e} }

// Use implements wire. Its error is the port's when that cannot be opened.
func (d *ownPort) Use(ctx context.Context, f func(context.Context, *modbus.Session) error) error {
	if d.port == nil {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		port, err := d.open(ctx, d.endpoint)
		if err != nil {
			return err
		}
		d.port, d.session = port, modbus.NewSession(d.endpoint.Line("scan"), port, modbus.Timing{})
	}
	err := f(ctx, d.session)
	if drivers.PortLost(err) {
		d.Close()
	}
	return err
}

// openTimeout is how long a connection may take: a device on the same network accepts within milliseconds.
const openTimeout = 2 * time.Second

// Close gives the port up.
func (d *ownPort) Close() {
	if d.port != nil {
		d.port.Close() //nolint:errcheck // nothing was written
		d.port, d.session = nil, nil
	}
}
