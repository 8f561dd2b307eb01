package onsite_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/onsite"
	"bordo/drivers/modbus/slave"
	"bordo/drivers/scan"
)

// site is a simulated site to scan: serial devices that accept one setting, and hosts with ports. It is used
// inside a synctest bubble.
type site struct {
	t       *testing.T
	setting string                   // of the serial devices: baud=...&parity=...
	units   map[byte]slave.Answerer  // on the serial line
	delay   func(byte) time.Duration // response time of a unit
	hosts   map[string]map[byte]slave.Answerer
	tunnels map[string]map[byte]slave.Answerer // devices that reply in RTU frames at a host
	wrong   func(port *driverstest.End)        // what happens on the line at a wrong setting
	right   func(port *driverstest.End)        // what else happens at the right setting
	echo    bool

	mu     sync.Mutex
	opened []string // guarded by mu, like all fields below
	asked  []string
	open   int
	most   int
	events []scan.Event
}

func newSite(t *testing.T) *site {
	return &site{t: t, units: map[byte]slave.Answerer{}, hosts: map[string]map[byte]slave.Answerer{}}
}

func device(t *testing.T, model string, o slave.Options, values map[string]float64) *slave.Device {
	t.Helper()
	d, err := slave.Named(model, o)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range values {
		if err := d.Set(k, catalogue.Number(v)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func serial(number string) slave.Options {
	return slave.Options{Identity: drivers.Description{Serial: number}}
}

// grid returns typical values of a three-phase device.
func grid() map[string]float64 {
	return map[string]float64{"frequency": 50.02, "ac_voltage_l1": 231.5, "ac_voltage_l2": 229.8,
		"ac_voltage_l3": 230.4}
}

// openPort is the line.Open of this site.
func (s *site) openPort(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
	s.mu.Lock()
	s.opened = append(s.opened, e.String())
	s.mu.Unlock()
	if e.Scheme == line.TCP {
		units, there := s.hosts[e.Host]
		if !there {
			return nil, &drivers.Error{Op: "open", Kind: drivers.Closed, Lost: true, Err: syscall.ECONNREFUSED}
		}
		if units == nil { // no such host
			<-ctx.Done()
			return nil, &drivers.Error{Op: "open", Kind: drivers.Closed, Lost: true, Err: ctx.Err()}
		}
		return s.connect(0, func(ctx context.Context, there *driverstest.End) error {
			return slave.ServeTCP(ctx, there, s.noted(units))
		}), nil
	}
	if e.Scheme == line.SerialOverTCP {
		return s.connect(0, func(ctx context.Context, there *driverstest.End) error {
			return slave.ServeRTU(ctx, there, s.noted(s.tunnels[e.Host]), slave.RTU{})
		}), nil
	}
	char := time.Duration(e.Line("").CharLen) * time.Second / time.Duration(e.Baud)
	return s.connect(char, func(ctx context.Context, there *driverstest.End) error {
		if !strings.Contains(e.String(), s.setting) {
			if s.wrong != nil {
				s.wrong(there)
			}
			<-ctx.Done()
			return nil
		}
		if s.right != nil {
			s.right(there)
		}
		if s.echo {
			return slave.ServeRTU(ctx, echoing{there}, s.noted(s.units), slave.RTU{})
		}
		return slave.ServeRTU(ctx, there, s.noted(s.units), slave.RTU{Delay: func(unit byte, _ []byte) time.Duration {
			if s.delay == nil {
				return 20 * time.Millisecond
			}
			return s.delay(unit)
		}})
	}), nil
}

// connect opens a wire and serves its far end until the near end is closed.
func (s *site) connect(char time.Duration, serve func(context.Context, *driverstest.End) error) drivers.Port {
	here, there := driverstest.Wire(char)
	ctx, cancel := context.WithCancel(s.t.Context())
	s.mu.Lock()
	s.open++
	s.most = max(s.most, s.open)
	s.mu.Unlock()
	go func() {
		if err := serve(ctx, there); err != nil {
			s.t.Error(err)
		}
	}()
	return &closing{Port: here, closed: sync.OnceFunc(func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
	})}
}

type closing struct {
	drivers.Port
	closed func()
}

func (c *closing) Close() error {
	c.closed()
	return c.Port.Close()
}

// echoing is a port that receives what it sends, like an adapter that hears itself.
type echoing struct{ *driverstest.End }

func (e echoing) Read(b []byte) (int, error) {
	n, err := e.End.Read(b)
	e.Write(b[:n]) //nolint:errcheck // a wire accepts everything
	return n, err
}

// noted records the requests and fails the test on a write.
func (s *site) noted(units map[byte]slave.Answerer) map[byte]slave.Answerer {
	out := map[byte]slave.Answerer{}
	for u, a := range units {
		out[u] = slave.AnswererFunc(func(pdu []byte) []byte {
			s.mu.Lock()
			s.asked = append(s.asked, fmt.Sprintf("%d: % X", u, pdu))
			s.mu.Unlock()
			if !slices.Contains([]byte{1, 2, 3, 4, 17, 43}, pdu[0]) {
				s.t.Errorf("unit %d received % X", u, pdu)
			}
			return a.Answer(pdu)
		})
	}
	return out
}

// scanner is one scan.
type scanner struct {
	driver onsite.Driver
	scan.Search
}

func (s *site) scanner() *scanner {
	return &scanner{driver(), scan.Search{Say: func(e scan.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
	}}}
}

func (s *scanner) Serial(ctx context.Context, path string, open scan.Open) error {
	return s.driver.ScanSerial(ctx, path, open, s.Search)
}

func (s *scanner) TCP(ctx context.Context, t scan.Target, open scan.Open) error {
	return s.driver.ScanTCP(ctx, t, open, s.Search)
}

// found lists the devices found, one per line.
func (s *site) found() []string {
	var out []string
	for _, e := range s.events {
		if f := e.Found; f != nil {
			sure := "?"
			if f.Sure {
				sure = ""
			}
			port, _, _ := strings.Cut(strings.TrimPrefix(f.Port, "serial:///dev/ttyTEST?"), "&bits")
			out = append(out, fmt.Sprintf("%s %d %s%s %s", port, f.Unit, f.Model, sure, f.Serial))
		}
	}
	return out
}

func (s *site) troubles() []scan.Cause {
	var out []scan.Cause
	for _, e := range s.events {
		if e.Trouble != nil {
			out = append(out, e.Trouble.Cause)
		}
	}
	return out
}

// expect compares the results of a scan.
func (s *site) expect(found []string, troubles ...scan.Cause) {
	s.t.Helper()
	if got := s.found(); !slices.Equal(got, found) {
		s.t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(found, "\n"))
	}
	if got := s.troubles(); !slices.Equal(got, troubles) {
		s.t.Errorf("troubles %v, want %v", got, troubles)
	}
	if s.open != 0 {
		s.t.Errorf("%d ports are still open", s.open)
	}
	last := -1
	for _, e := range s.events {
		if p := e.Progress; p != nil {
			if p.Done <= last || p.Done >= p.Total {
				s.t.Errorf("progress %d of %d after %d", p.Done, p.Total, last)
			}
			last = p.Done
		}
	}
}

// hangingSite closes a connection when an unused unit id is probed.
type hangingSite struct{ *site }

func (h *hangingSite) openPort(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
	p, err := h.site.openPort(ctx, e)
	if err != nil {
		return nil, err
	}
	return &hanging{p}, nil
}

type hanging struct{ drivers.Port }

func (h *hanging) Write(b []byte) (int, error) {
	if b[6] != 3 {
		h.Port.Close() //nolint:errcheck // the device closes the connection
	}
	return h.Port.Write(b)
}

// profiles are the embedded profiles, loaded once for all tests.
var profiles = sync.OnceValue(modbus.Embedded)

// driver uses the same profiles.
var driver = sync.OnceValue(func() onsite.Driver { return onsite.Driver{Driver: modbus.Of(profiles()...)} })
