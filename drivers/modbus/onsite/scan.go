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

// wire gives access to a line for scanning. Use runs f with a session and may wait until the line is free. f
// has returned when Use returns.
type wire interface {
	Use(ctx context.Context, f func(context.Context, *modbus.Session) error) error
}

// search is one scan for devices with the given profiles.
type search struct {
	scan.Search
	profiles []*modbus.Profile

	mu    sync.Mutex
	done  int // guarded by mu, like all fields below
	total int
	found int

	serial []scan.Found // devices on the serial port, with all settings
}

// emit sends an event to the caller of the scan.
func (s *search) emit(e scan.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emitLocked(e)
}

// emitLocked is emit with mu held.
func (s *search) emitLocked(e scan.Event) {
	if e.Found != nil {
		s.found++
	}
	if s.Say != nil {
		s.Say(e)
	}
}

// addSteps changes the expected number of steps by n, which may be negative.
func (s *search) addSteps(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += n
}

// nextStep reports progress: what is probed now.
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

// ownPort is a port opened by the scan. It is opened when needed, and again after it was lost.
type ownPort struct {
	open     scan.Open
	endpoint line.Endpoint
	port     drivers.Port
	session  *modbus.Session
}

// newOwnPort returns a wire for an endpoint. Close must be called.
func newOwnPort(open scan.Open, e line.Endpoint) *ownPort { return &ownPort{open: open, endpoint: e} }

// Use implements wire. It returns the error of opening the port if that fails.
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

// openTimeout limits the time for connecting: a device on the same network accepts within milliseconds.
const openTimeout = 2 * time.Second

// Close closes the port.
func (d *ownPort) Close() {
	if d.port != nil {
		d.port.Close() //nolint:errcheck // nothing was written
		d.port, d.session = nil, nil
	}
}
