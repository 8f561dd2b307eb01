// Package onsite is the Modbus driver with what an installer needs beside polling: it looks for devices, reads registers as
// they are, and records what a device answers.
//
// It looks on a serial line whose speed is not known, at TCP addresses, or on a line that a running agent lends. It tells
// which model each device is, as far as the profiles can tell, and what is probably wrong where nothing answers. It promises
// that it only reads (functions 1 to 4, 17 and 43), that it asks one thing at a time on each line, that it stops within a
// question's time-out when its context ends, and that the number of its questions is bounded. It opens ports through a
// function that it is given, and prints nothing.
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

// Driver is the Modbus driver with the tools of an installer.
type Driver struct{ *modbus.Driver }

var (
	_ drivers.Extensible = Driver{}
	_ drivers.RawReader  = Driver{}
	_ drivers.Capturer   = Driver{}
	_ scan.Scanner       = Driver{}
)

// New makes the driver with the embedded profiles.
func New() Driver { return Driver{modbus.New()} }

// WithModels implements drivers.Extensible.
func (d Driver) WithModels(dir string) (drivers.Driver, error) {
	with, err := d.Driver.WithModels(dir)
	if err != nil {
		return nil, err
	}
	return Driver{with}, nil
}

// profiles are those of all models of the driver.
func (d Driver) profiles() (out []*modbus.Profile) {
	for _, m := range d.Models() {
		if p, ok := d.Profile(m.Name); ok {
			out = append(out, p)
		}
	}
	return out
}

// search begins a scan.
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

// ScanLine implements scan.Scanner. Each question borrows the line anew, so that the polls of its devices go on in between.
func (d Driver) ScanLine(ctx context.Context, e line.Endpoint, lend scan.Lend, s scan.Search) error {
	return d.search(s).onLine(ctx, e, lentLine{e, lend})
}

// lentLine is a line of a running agent.
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

// rawWait is how long a device is given to answer a raw read: nothing is known of it, so as long as the slowest that is known.
const rawWait = 3 * time.Second

// tables are what can be read raw.
var tables = []modbus.Table{modbus.Holding, modbus.Input, modbus.Coil, modbus.Discrete}

// RawAreas implements drivers.RawReader. The bounds are those of one request (Modbus Application Protocol V1.1b3, 6.1 and
// 6.3).
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
	a, err := modbus.NewSession(l, port, timing).Read(ctx, q.Unit, modbus.Span{Table: tables[i], First: uint16(q.First), Count: q.Count})
	return a.Data, err
}

// Capture implements drivers.Capturer. The text is a golden file (drivers/modbus/testdata).
func (d Driver) Capture(ctx context.Context, l drivers.Line, port drivers.Port, dev drivers.Device, source string) (string, error) {
	dev.ChannelMaps = slices.Clone(dev.ChannelMaps)
	for i := range dev.ChannelMaps { // a channel is captured as the device gives it, in mA or V
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
		"The readings are what this version decodes: compare them with the device's display before they prove anything.",
	}
	f.Source = source
	return string(f.Format()), nil
}
