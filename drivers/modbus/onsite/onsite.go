// Package onsite adds to the Modbus driver what an installer needs besides polling: it scans for devices,
// reads raw registers, and records a device's replies.
//
// It scans a serial port with unknown settings, TCP addresses, or a line borrowed from a running agent. It
// reports the model of each device, as far as the profiles can identify it, and the likely cause if nothing
// answers. It only reads (functions 1 to 4, 17 and 43), sends one request at a time on each line, stops
// within one request timeout after its context ends, and sends a limited number of requests. It opens ports
// through a function passed by the caller, and prints nothing.
package onsite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/golden"
	"bordo/drivers/scan"
)

// Driver is the Modbus driver with the tools for installers.
type Driver struct{ *modbus.Driver }

var (
	_ drivers.Extensible = Driver{}
	_ drivers.RawReader  = Driver{}
	_ drivers.Capturer   = Driver{}
	_ scan.Scanner       = Driver{}
)

// New returns a driver with the embedded profiles.
func New() Driver { return Driver{modbus.New()} }

// WithModels implements drivers.Extensible.
func (d Driver) WithModels(dir string) (drivers.Driver, error) {
	with, err := d.Driver.WithModels(dir)
	if err != nil {
		return nil, err
	}
	return Driver{with}, nil
}

// profiles returns the profiles of all models of the driver.
func (d Driver) profiles() (out []*modbus.Profile) {
	for _, m := range d.Models() {
		if p, ok := d.Profile(m.Name); ok {
			out = append(out, p)
		}
	}
	return out
}

// search prepares a scan.
func (d Driver) search(s scan.Search) *search { return &search{Search: s, profiles: d.profiles()} }

// Ports implements scan.Scanner.
func (d Driver) Ports() []int { return portsOf(d.profiles()) }

// SerialSettings implements scan.Scanner.
func (d Driver) SerialSettings(path string) []line.Endpoint { return settingsOf(d.profiles(), path) }

// ScanSerial implements scan.Scanner.
func (d Driver) ScanSerial(ctx context.Context, path string, open scan.Open, s scan.Search) error {
	return d.search(s).onSerial(ctx, path, open)
}

// ScanTCP implements scan.Scanner.
func (d Driver) ScanTCP(ctx context.Context, t scan.Target, open scan.Open, s scan.Search) error {
	return d.search(s).onTCP(ctx, t, open)
}

// ScanLine implements scan.Scanner. It borrows the line for each request, so that polling continues in
// between.
func (d Driver) ScanLine(ctx context.Context, e line.Endpoint, lend scan.Lend, s scan.Search) error {
	return d.search(s).onLine(ctx, e, lentLine{e, lend})
}

// lentLine is a line borrowed from a running agent.
type lentLine struct {
	endpoint line.Endpoint
	lend     scan.Lend
}

// Use implements wire.
func (w lentLine) Use(ctx context.Context, f func(context.Context, *modbus.Session) error) error {
	return w.lend(ctx, func(ctx context.Context, port drivers.Port) error {
		return f(ctx, modbus.NewSession(w.endpoint.Line("scan"), port, modbus.Timing{}))
	})
}

// rawWait is the reply timeout of a raw read. The model is unknown, so it suits the slowest known device.
const rawWait = 3 * time.Second

// tables are the tables that can be read raw.
var tables = []modbus.Table{modbus.Holding, modbus.Input, modbus.Coil, modbus.Discrete}

// RawAreas implements drivers.RawReader. The limits are those of one request (Modbus Application Protocol
// V1.1b3, 6.1 and 6.3).
func (d Driver) RawAreas() []drivers.RawArea {
	var out []drivers.RawArea
	for _, t := range tables {
		a := drivers.RawArea{Name: t.String(), Function: int(t.Read()), Bits: t.Bits(), MaxCount: 125}
		if a.Bits {
			a.MaxCount = 2000
		}
		out = append(out, a)
	}
	return out
}

// ReadRaw implements drivers.RawReader.
func (d Driver) ReadRaw(ctx context.Context, l drivers.Line, port drivers.Port, q drivers.RawQuery) ([]byte, error) {
	i := slices.IndexFunc(tables, func(t modbus.Table) bool { return t.String() == q.Area })
	if i < 0 {
		return nil, fmt.Errorf("read raw: modbus has no %q", q.Area)
	}
	timing := modbus.Timing{ReplyMax: rawWait, TCPReplyMax: rawWait, Gap: modbus.LongestGap(d.profiles())}
	a, err := modbus.NewSession(l, port, timing).Read(ctx, q.Unit,
		modbus.Span{Table: tables[i], First: uint16(q.First), Count: q.Count})
	return a.Data, err
}

// Capture implements drivers.Capturer. It returns a golden file (drivers/modbus/testdata).
func (d Driver) Capture(ctx context.Context, l drivers.Line, port drivers.Port, dev drivers.Device,
	source string) (string, error) {
	dev.ChannelMaps = slices.Clone(dev.ChannelMaps)
	// Capture analogue channels unscaled, in mA or V.
	for i := range dev.ChannelMaps {
		dev.ChannelMaps[i].From, dev.ChannelMaps[i].To = [2]float64{}, [2]float64{}
	}
	rep, exchanges, err := d.Driver.Capture(ctx, l, port, dev)
	if err != nil {
		return "", err
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	profile, ok := d.Profile(dev.Model)
	if !ok {
		return "", fmt.Errorf("capture %s: modbus has no model %q", dev.ID, dev.Model)
	}
	f, err := golden.FromCapture(profile, dev, l.Stream, rep, exchanges)
	if err != nil {
		return "", err
	}
	f.About = []string{
		profile.Title + ", captured by bordo capture; serial numbers are masked.",
		"The readings are what this version decodes: " +
			"compare them with the device's display before they prove anything.",
	}
	f.Source = source
	return string(f.Format()), nil
}
