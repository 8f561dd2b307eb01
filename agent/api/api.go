// Package api is everything that a person or a program can ask the running agent: methods with data types. It knows no
// transport and contains no texts for people; its results can be sent as JSON. All methods but Confirm only read.
//
// Operations that the tools also perform on their own ports or stores, where no agent runs, are functions here, so that
// both give the same results.
package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/agent/energy"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/scan"
)

// API asks an agent. Its methods may be called from any goroutine. The errors of those that need a port match
// agent.ErrUnknownName when the configuration has no such device or line, agent.ErrLineDown when its port is not open,
// and UnsupportedError when its protocol lacks the operation.
type API struct {
	agent   *agent.Agent
	cfg     *config.Config
	version string
}

// New makes the api of an agent that runs with a configuration. version is that of the program.
func New(a *agent.Agent, cfg *config.Config, version string) *API { return &API{a, cfg, version} }

// The data types of the agent that the methods give and take, so that a transport needs this package alone.
type (
	Status   = agent.Status
	Exchange = agent.Exchange
	Final    = energy.Final
)

// UnsupportedError says that a protocol has no scan, raw read or capture.
type UnsupportedError struct {
	Name     string // of the device or line
	Protocol string
}

// Error names the device or line.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: it speaks %s, which does not offer this", e.Name, e.Protocol)
}

// Status returns the state of the agent.
func (x *API) Status() Status { return x.agent.Status() }

// Reading is one poll of a device.
type Reading struct {
	Device string                `json:"device"`
	Model  string                `json:"model"`
	Line   string                `json:"line"`
	Port   string                `json:"port"`
	At     time.Time             `json:"at"`
	Error  string                `json:"error,omitempty"`
	Later  bool                  `json:"later,omitempty"` // the device says that it cannot answer now
	Cause  string                `json:"cause,omitempty"` // why it does not answer; see the contract
	Info   *agent.DeviceIdentity `json:"info,omitempty"`
	Values []agent.PointStatus   `json:"values"`
}

// NewReading makes the reading of a poll.
func NewReading(l config.Line, d config.Device, r drivers.Report) Reading {
	out := Reading{Device: d.ID, Model: d.Model, Line: l.ID, Port: l.Endpoint.String(), At: r.At,
		Info: agent.IdentityOf(r.Description), Values: agent.PointsOf(r.Readings)}
	if r.Err != nil {
		out.Cause = agent.CauseOf(contract.DeviceSilent, r.Err, l.Endpoint.Scheme)
		out.Later = drivers.KindOf(r.Err) == drivers.Busy
		out.Error = strings.ReplaceAll(r.Err.Error(), "\n", "; ")
	}
	return out
}

// Read polls a device now. The result is stored and sent like every other poll.
func (x *API) Read(ctx context.Context, device string) (Reading, error) {
	l, d, err := x.device(device)
	if err != nil {
		return Reading{}, err
	}
	rep, err := x.agent.Read(ctx, d.ID)
	if err != nil {
		return Reading{}, err
	}
	out := NewReading(l, d, rep)
	if out.Info == nil { // the device said it earlier
		for _, ls := range x.agent.Status().Lines {
			for _, ds := range ls.Devices {
				if ds.ID == d.ID {
					out.Info = ds.Info
				}
			}
		}
	}
	return out, nil
}

// Capture records what a device answers to one poll, as CaptureOn does.
func (x *API) Capture(ctx context.Context, device string) (text string, err error) {
	l, d, err := x.device(device)
	if err != nil {
		return "", err
	}
	err = x.agent.Borrow(ctx, l.ID, func(ctx context.Context, port drivers.Port) (err error) {
		text, err = CaptureOn(ctx, l, d, port, x.version, time.Now())
		return err
	})
	return text, err
}

// CaptureOn records what a device answers on an open port of its line, as the text of a golden file (drivers.Capturer).
// version is that of the program.
func CaptureOn(ctx context.Context, l config.Line, d config.Device, port drivers.Port, version string,
	now time.Time) (string, error) {
	driver, ok := l.Driver.(drivers.Capturer)
	if !ok {
		return "", &UnsupportedError{"capture " + d.ID, l.Driver.Name()}
	}
	source := fmt.Sprintf("bordo %s, %s", version, now.UTC().Format(time.DateOnly))
	return driver.Capture(ctx, l.Endpoint.Line(l.ID), port, d.Device, source)
}

// Exchanged reads the identity of a device and reports whether an exchange has to be confirmed (agent.Agent.Exchanged).
func (x *API) Exchanged(ctx context.Context, device string) (Exchange, error) {
	return x.agent.Exchanged(ctx, device)
}

// Confirm accepts that another piece of hardware answers in a device's place (agent.Agent.Confirm).
func (x *API) Confirm(ctx context.Context, device string, final Final) (Exchange, error) {
	return x.agent.Confirm(ctx, device, final)
}

// Raw reads what a unit of a line holds, without knowing its model.
func (x *API) Raw(ctx context.Context, line string, q drivers.RawQuery) (data []byte, err error) {
	l, err := x.line(line)
	if err != nil {
		return nil, err
	}
	driver, ok := l.Driver.(drivers.RawReader)
	if !ok {
		return nil, &UnsupportedError{"line " + l.ID, l.Driver.Name()}
	}
	err = x.agent.Borrow(ctx, l.ID, func(ctx context.Context, port drivers.Port) (err error) {
		data, err = driver.ReadRaw(ctx, l.Endpoint.Line(l.ID), port, q)
		return err
	})
	return data, err
}

// Scan searches for devices on a line, between the polls of its configured ones. say receives all events, and its error
// ends the scan. units are the ids to probe; none: all.
func (x *API) Scan(ctx context.Context, line string, units []int, say func(scan.Event) error) error {
	l, err := x.line(line)
	if err != nil {
		return err
	}
	driver, ok := l.Driver.(scan.Scanner)
	if !ok {
		return &UnsupportedError{"line " + l.ID, l.Driver.Name()}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := scan.Search{Units: units, Known: map[int]string{}, Say: func(e scan.Event) {
		if err := say(e); err != nil {
			cancel(err) // the receiver has left
		}
	}}
	for _, d := range l.Devices {
		s.Known[d.Unit] = d.ID
	}
	return driver.ScanLine(ctx, l.Endpoint,
		func(ctx context.Context, f func(context.Context, drivers.Port) error) error {
			return x.agent.Borrow(ctx, l.ID, f)
		}, s)
}

// Buffer asks the store.
func (x *API) Buffer(ctx context.Context, q BufferQuestion, say func(BufferPart) error) error {
	a, err := x.agent.Archive()
	if err != nil {
		return err
	}
	return q.Answer(ctx, a, func(p BufferPart) error {
		if p.Stat != nil {
			day := x.agent.Status().Store.WrittenDay
			p.Day = &day
		}
		return say(p)
	})
}

func (x *API) device(id string) (config.Line, config.Device, error) {
	for _, l := range x.cfg.Lines {
		for _, d := range l.Devices {
			if d.ID == id {
				return l, d, nil
			}
		}
	}
	return config.Line{}, config.Device{}, fmt.Errorf("device %s: %w", id, agent.ErrUnknownName)
}

func (x *API) line(id string) (config.Line, error) {
	for _, l := range x.cfg.Lines {
		if l.ID == id {
			return l, nil
		}
	}
	return config.Line{}, fmt.Errorf("line %s: %w", id, agent.ErrUnknownName)
}
