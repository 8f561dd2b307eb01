package modbus_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// builtIn is the driver with the embedded profiles, which are slow to load.
var builtIn = modbus.New()

// site is a simulated line in a synctest bubble, with simulated devices at one end and the driver at the
// other.
type site struct {
	t       *testing.T
	line    drivers.Line
	units   map[byte]slave.Answerer
	devices []drivers.Device
	driver  *modbus.Driver
	mu      sync.Mutex
	asked   []string // guarded by mu while the line runs: requests, as hexadecimal PDUs
	reports []drivers.Report
	in      chan drivers.Request
	delay   time.Duration
	char    time.Duration
}

func tcpSite(t *testing.T) *site {
	return &site{t: t, line: drivers.Line{ID: "l", Stream: true}, units: map[byte]slave.Answerer{},
		in: make(chan drivers.Request, 8)}
}

func serialSite(t *testing.T) *site {
	s := tcpSite(t)
	s.line = drivers.Line{ID: "l", Baud: 9600, CharLen: 10}
	s.char = 10 * time.Second / 9600
	return s
}

// add puts a device on the line.
func (s *site) add(model string, unit int, every time.Duration, a slave.Answerer) {
	s.devices = append(s.devices, drivers.Device{ID: fmt.Sprint("d", unit), Model: model, Unit: unit, Every: every})
	s.units[byte(unit)] = slave.AnswererFunc(func(pdu []byte) []byte {
		s.mu.Lock()
		s.asked = append(s.asked, fmt.Sprintf("%d: % X", unit, pdu))
		s.mu.Unlock()
		return a.Answer(pdu)
	})
}

// run runs the line for a while and reopens it whenever it is lost.
func (s *site) run(d time.Duration) {
	s.t.Helper()
	if s.driver == nil {
		s.driver = builtIn
	}
	link, err := s.driver.Link(s.line, s.devices)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	for ctx.Err() == nil {
		here, there := driverstest.Wire(s.char)
		over := make(chan struct{})
		go func() {
			defer close(over)
			var err error
			if s.line.Stream {
				err = slave.ServeTCP(ctx, delayed{there, s}, s.units)
			} else {
				err = slave.ServeRTU(ctx, there, s.units,
					slave.RTU{Delay: func(byte, []byte) time.Duration { return s.delay }})
			}
			if err != nil {
				s.t.Errorf("serve: %v", err)
			}
		}()
		link.Run(ctx, here, s.in, func(r drivers.Report) {
			s.reports = append(s.reports,
				r)
		}) //nolint:errcheck // the loop looks at ctx
		here.Close()
		<-over
		there.Close()
	}
	synctest.Wait()
}

// delayed is a connection whose other side waits before it replies.
type delayed struct {
	*driverstest.End
	s *site
}

func (d delayed) Write(b []byte) (int, error) {
	time.Sleep(d.s.delay)
	return d.End.Write(b)
}

// of returns the reports of a device.
func (s *site) of(id string) []drivers.Report {
	var out []drivers.Report
	for _, r := range s.reports {
		if r.Device == id {
			out = append(out, r)
		}
	}
	return out
}

// value returns a reading of a report, "?" if it is missing.
func value(r drivers.Report, point string) string {
	for _, rd := range r.Readings {
		if rd.Point == point {
			return rd.Value.String()
		}
	}
	return "?"
}

func points(r drivers.Report) string {
	var keys []string
	for _, rd := range r.Readings {
		keys = append(keys, rd.Point)
	}
	return strings.Join(keys, " ")
}

// device returns a simulated device with every number 1 and every text at its first word.
func device(t *testing.T, model string, o slave.Options) *slave.Device {
	t.Helper()
	d, err := slave.Named(model, o)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, d)
	return d
}

func profileDevice(t *testing.T, p *modbus.Profile, o slave.Options) *slave.Device {
	t.Helper()
	d, err := slave.New(p, o)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, d)
	return d
}

func fill(t *testing.T, d *slave.Device) {
	t.Helper()
	for _, k := range d.Points() {
		if p, _ := catalogue.PointOf(k); p.Type == catalogue.Float {
			set(t, d, k, catalogue.Number(1))
		}
	}
}

func set(t *testing.T, d *slave.Device, point string, v catalogue.Value) {
	t.Helper()
	if err := d.Set(point, v); err != nil {
		t.Fatal(err)
	}
}

func profile(t *testing.T, text string) *modbus.Profile {
	t.Helper()
	p, err := modbus.Load("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
