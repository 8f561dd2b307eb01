// Package sim is a site without hardware: inverters, meters and barriers with physical behaviour, on lines that fail as
// real ones do, and an MQTT broker. One scenario serves three uses: tests of the agent (or of any program that speaks
// Modbus) inside testing/synctest, a live site on loopback ports and pseudo terminals, and worlds that try to break
// things.
//
// It promises that everything is drawn from a seed, that the past content of its registers can be queried (so that a
// checker can prove that nothing was invented), and that nothing is left running: every goroutine ends with Run,
// Serve's context or Close. It listens only on loopback addresses, and does not know the agent.
package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/line"
	"bordo/sim/plant"
)

// Options are the settings of a site. The zero value works.
type Options struct {
	Seed   uint64
	Speed  float64 // speed of everything physical, at most 3600; 0 means 1
	Logger *slog.Logger

	truthMost int      // number of remembered changes of a point; 0 means maxTruth
	families  []family // protocols besides Modbus
}

// Site is a simulated site. Its methods may be called from any goroutine.
type Site struct {
	scenario *Scenario
	seed     uint64
	log      *slog.Logger
	start    time.Time

	truthMost int      // changes of a point that are remembered
	families  []family // protocols besides Modbus

	mu     sync.Mutex // guards nature and the images of all devices
	nature *physics

	devices map[string]device // none is added after New
	buses   []*bus            // in the order of the scenario
	byPort  map[string]*bus   // by line.Endpoint.Key

	host *Host
	open connections
	wake chan struct{} // signalled when faults change
}

// New makes a site of a scenario. Nothing runs yet: devices live when they are asked, and Run carries out what a time
// table wants.
func New(s *Scenario, o Options) (*Site, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("make site: %w", err)
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if !between(o.Speed, 0, fastest) {
		return nil, fmt.Errorf("make site: speed must be more than 0 and at most %d (got %v)", fastest, o.Speed)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	site := &Site{scenario: s, seed: o.Seed, log: o.Logger, start: time.Now(), truthMost: cmp.Or(o.truthMost, maxTruth),
		families: o.families,
		devices:  map[string]device{}, byPort: map[string]*bus{}, wake: make(chan struct{}, 1)}
	site.open.list = map[io.Closer]*bus{}
	site.host = newHost(o.Seed, site.start, s.Host.Faults)
	var err error
	if site.nature, err = newPhysics(s, o.Seed, site.start, o.Speed); err != nil {
		return nil, fmt.Errorf("make site: %w", err)
	}
	var wrong []error
	for _, l := range s.Lines {
		if err := site.addLine(l); err != nil {
			wrong = append(wrong, fmt.Errorf("make site: line %s: %w", l.ID, err))
		}
	}
	if len(wrong) == 0 {
		wrong = site.checkFaults()
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	site.nature.settle()
	return site, nil
}

// checkFaults says which faults of the scenario would do nothing, each with its place.
func (s *Site) checkFaults() (wrong []error) {
	for i, b := range s.buses {
		for j, f := range s.scenario.Lines[i].Faults {
			if err := s.checkFault(b, f); err != nil {
				wrong = append(wrong, fmt.Errorf("make site: lines[%d].faults[%d]: %w", i, j, err))
			}
		}
	}
	for i, f := range s.scenario.Mains.Faults {
		if err := s.checkMains(f); err != nil {
			wrong = append(wrong, fmt.Errorf("make site: mains.faults[%d]: %w", i, err))
		}
	}
	return wrong
}

func (s *Site) addLine(l Line) error {
	e, err := endpointOf(l.Port)
	if err != nil {
		return err
	}
	b := &bus{id: l.ID, endpoint: e, faults: newFaults(s.seed, "line "+l.ID, s.start, l.Faults),
		dice: plant.NewDice(s.seed, "bus "+l.ID)}
	b.faults.change = func() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	if b.protocol, err = s.newProtocol(b, l.Devices); err != nil {
		return err
	}
	for _, d := range b.protocol.devices() {
		s.devices[d.about().spec.ID] = d
	}
	s.buses = append(s.buses, b)
	s.byPort[e.Key()] = b
	return nil
}

// OpenPort opens a line in memory. It has the signature of the agent's System.OpenPort. A serial line can be open only
// once at a time, like a real one.
func (s *Site) OpenPort(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	refuse := func(err error) error {
		return &drivers.Error{Op: "open " + e.String(), Kind: drivers.Closed, Lost: true, Err: err}
	}
	b, ok := s.byPort[e.Key()]
	if !ok {
		return nil, refuse(syscall.ENOENT)
	}
	if b.isGone(time.Now()) {
		return nil, refuse(syscall.ENODEV)
	}
	here, there := driverstest.Wire(charTime(e))
	if err := s.attach(b, there, 0, func() bool { return sameSettings(b.endpoint, e) }); err != nil {
		return nil, refuse(err)
	}
	return here, nil
}

// sameSettings reports whether the two ends of a serial line understand each other. A receiver checks only the first
// stop bit, so their number does not matter. TCP has no settings.
func sameSettings(a, b line.Endpoint) bool {
	return a.Scheme != line.Serial || a.Baud == b.Baud && a.Parity == b.Parity && a.Bits == b.Bits
}

// Dial connects in memory to a line of the scenario behind TCP, for programs with their own Modbus client and a
// configurable dialer. address is host:port as in the scenario's port URL; network is ignored.
func (s *Site) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	refuse := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: pipeAddr(address), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, ok := s.byPort[line.Endpoint{Scheme: line.TCP, Host: address}.Key()]
	if !ok || b.isGone(time.Now()) {
		return nil, refuse(syscall.ECONNREFUSED)
	}
	here, there := pipe(address)
	if err := s.attach(b, there, charTime(b.endpoint), nil); err != nil {
		return nil, refuse(err)
	}
	return here, nil
}

// charTime returns the time of a character on a line; 0 where the medium has no speed.
func charTime(e line.Endpoint) time.Duration {
	if e.Scheme == line.TCP || e.Baud == 0 {
		return 0
	}
	l := e.Line("")
	return time.Duration(l.CharLen) * time.Second / time.Duration(l.Baud)
}

// connection is the devices' side of an open line.
type connection interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// session is a connection and the loop that serves it. Closing it ends both.
type session struct {
	connection
	end context.CancelFunc
}

// Close implements io.Closer.
func (s *session) Close() error {
	s.end()
	return s.connection.Close()
}

// attach lets the devices of a bus answer on a connection until it ends. char is the time of a character where the
// connection does not take that time itself. understood reports whether the master uses the settings of the line; nil:
// always.
func (s *Site) attach(b *bus, c connection, char time.Duration, understood func() bool) error {
	ctx, cancel := context.WithCancel(context.Background())
	open := &session{connection: c, end: cancel}
	if err := s.open.add(open, b); err != nil {
		cancel()
		return err
	}
	w := newWire(c, b, char)
	w.understood = understood
	w.others = s.open.count(b) - 1
	go func() {
		defer s.open.remove(open)
		err := b.protocol.serve(ctx, w)
		open.Close() //nolint:errcheck // nothing to save
		w.close()
		if err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Debug("connection ended", "line", b.id, "err", err)
		}
	}()
	return nil
}

// Run executes the time tables of the faults of lines and box until ctx ends. It then closes all connections and waits
// until everything of the site has ended. It returns nil.
func (s *Site) Run(ctx context.Context) error {
	defer s.open.finish()
	var box sync.WaitGroup
	box.Go(func() { s.host.run(ctx) })
	defer box.Wait()
	gone := make(map[*bus]bool, len(s.buses))
	for {
		now := time.Now()
		var next time.Time
		for _, b := range s.buses {
			if on := b.isGone(now); on != gone[b] {
				gone[b] = on
				s.turn(b, on)
			}
			if t := b.faults.next(now); !t.IsZero() && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(max(0, next.Sub(now)))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer:
		}
	}
}

// turn pulls a line's cable, or puts it back.
func (s *Site) turn(b *bus, gone bool) {
	s.log.Info("line", "line", b.id, "gone", gone)
	if gone {
		s.open.hangUp(b)
	}
	if b.onGone != nil {
		b.onGone(gone)
	}
}

// Truth lists every value that a point of a device had between two times, both included, as its registers held them:
// what an agent may have read. ok is false when the site does not know the point.
func (s *Site) Truth(device, point string, from, to time.Time) (values []catalogue.Value, ok bool) {
	d := s.devices[device]
	if d == nil {
		return nil, false
	}
	return d.about().truth.held(point, from, to)
}

// MoveSun lets the sun's clock jump: a night can be had at any time.
func (s *Site) MoveSun(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nature.advance(time.Now())
	s.nature.sunStart = s.nature.sunStart.Add(by)
}

// JumpClock advances everything physical at once, by at most 31 days: counters count, batteries empty, the sun moves, a
// barrier that closes by itself has closed. The time tables of faults and the clock of the box do not move: a program
// that reads the site finds it as after an absence.
func (s *Site) JumpClock(by time.Duration) error {
	if by <= 0 || by > maxLeap {
		return fmt.Errorf("jump the clock: must be more than 0 and at most %s (got %s)", maxLeap, by)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nature.leap(time.Now(), by)
	return nil
}

// Points lists the points of the site's devices by device id, except for replayed ones.
func (s *Site) Points() map[string][]string {
	out := make(map[string][]string, len(s.devices))
	for id, d := range s.devices {
		if !d.about().recorded {
			out[id] = d.points()
		}
	}
	return out
}

// faultsOf gives what can go wrong at a place: a line's id, "mains" or "box".
func (s *Site) faultsOf(place string) (*faults, error) {
	switch place {
	case "mains":
		return s.nature.mains, nil
	case "box":
		return s.host.faults, nil
	}
	for _, b := range s.buses {
		if b.id == place {
			return b.faults, nil
		}
	}
	return nil, fmt.Errorf("no place %q: must be %s", place, oneOf(append(s.lineNames(), "mains", "box")))
}

// lineNames lists the ids of the lines.
func (s *Site) lineNames() (ids []string) {
	for _, b := range s.buses {
		ids = append(ids, b.id)
	}
	return ids
}

// Raise lets something go wrong from now on at a place (a line's id, "mains" or "box") and returns the number by which
// Clear ends it.
func (s *Site) Raise(place string, f Fault) (int, error) {
	fs, err := s.faultsOf(place)
	if err == nil {
		err = s.possible(place, f)
	}
	if err != nil {
		return 0, fmt.Errorf("raise: %w", err)
	}
	return fs.raise(f, time.Now()), nil
}

// possible says why a fault cannot happen at a place, or would do nothing there.
func (s *Site) possible(place string, f Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch place {
	case "mains":
		return s.checkMains(f)
	case "box":
		return f.check(place)
	}
	for _, b := range s.buses {
		if b.id == place {
			return s.checkFault(b, f)
		}
	}
	return nil
}

// Clear ends a fault of a place: the one with a number, or all with 0. It returns their count.
func (s *Site) Clear(place string, id int) (int, error) {
	fs, err := s.faultsOf(place)
	if err != nil {
		return 0, fmt.Errorf("clear: %w", err)
	}
	return fs.clear(id), nil
}

// Host is the computer of the site.
func (s *Site) Host() *Host { return s.host }

// Heal ends every fault of the site.
func (s *Site) Heal() {
	s.host.Clear(0)
	s.nature.mains.clear(0)
	for _, b := range s.buses {
		b.faults.clear(0)
	}
}

// maxConnections bounds the open connections of a site.
const maxConnections = 256

// connections tracks what is open.
type connections struct {
	mu     sync.Mutex
	list   map[io.Closer]*bus
	closed bool
	wg     sync.WaitGroup
}

func (c *connections) add(x io.Closer, b *bus) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case len(c.list) == maxConnections:
		return syscall.EMFILE
	}
	if b.endpoint.Scheme == line.Serial {
		for _, other := range c.list {
			if other == b {
				return syscall.EBUSY
			}
		}
	}
	c.list[x] = b
	c.wg.Add(1)
	return nil
}

// count returns the number of open connections of a bus.
func (c *connections) count(b *bus) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, on := range c.list {
		if on == b {
			n++
		}
	}
	return n
}

func (c *connections) remove(x io.Closer) {
	c.mu.Lock()
	delete(c.list, x)
	c.mu.Unlock()
	c.wg.Done()
}

// hangUp closes the connections of a bus.
func (c *connections) hangUp(b *bus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for x, on := range c.list {
		if on == b {
			x.Close() //nolint:errcheck // nothing to save
		}
	}
}

// finish closes everything for good and waits for it.
func (c *connections) finish() {
	c.mu.Lock()
	c.closed = true
	for x := range c.list {
		x.Close() //nolint:errcheck // nothing to save
	}
	c.mu.Unlock()
	c.wg.Wait()
}
