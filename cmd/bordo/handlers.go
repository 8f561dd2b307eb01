package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/agent/control"
	"bordo/agent/energy"
	"bordo/drivers"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/scan"
)

// The questions that the running agent answers at its socket, so that a port that it has is never opened twice.
type (
	deviceQuestion struct {
		Device string `json:"device"`
	}
	confirmQuestion struct {
		Device string       `json:"device"`
		Look   bool         `json:"look,omitempty"` // only tell what there is to confirm
		Final  energy.Final `json:"final,omitempty"`
	}
	registersQuestion struct {
		Line string      `json:"line"`
		Unit int         `json:"unit"`
		Span modbus.Span `json:"span"`
	}
	scanQuestion struct {
		Line  string `json:"line"`
		Units []int  `json:"units,omitempty"`
	}
)

// questions ties them to an agent. All but confirm only read.
func questions(a *agent.Agent, cfg *config.Config) map[string]control.Stream {
	r := apiHandler{a, cfg}
	return map[string]control.Stream{
		"read": r.read, "capture": r.capture, "raw": r.raw, "scan": r.scan,
		"confirm": r.confirm, "buffer": r.buffer,
	}
}

type apiHandler struct {
	agent *agent.Agent
	cfg   *config.Config
}

// decode reads a question of this program's.
func decode[T any](question []byte) (q T, err error) {
	if err := json.Unmarshal(question, &q); err != nil {
		return q, fmt.Errorf("understand the question: %w", err)
	}
	return q, nil
}

func (r apiHandler) device(id string) (config.Line, config.Device, error) {
	for _, l := range r.cfg.Lines {
		for _, d := range l.Devices {
			if d.ID == id {
				return l, d, nil
			}
		}
	}
	return config.Line{}, config.Device{}, fmt.Errorf("device %s: %w", id, agent.ErrUnknownName)
}

// asked is the device that a question is about.
func (r apiHandler) asked(question []byte) (config.Line, config.Device, error) {
	q, err := decode[deviceQuestion](question)
	if err != nil {
		return config.Line{}, config.Device{}, err
	}
	return r.device(q.Device)
}

func (r apiHandler) read(ctx context.Context, question []byte, say func(any) error) error {
	l, d, err := r.asked(question)
	if err != nil {
		return err
	}
	rep, err := r.agent.Read(ctx, d.ID)
	if err != nil {
		return err
	}
	out := newReading(l, d, rep)
	if out.Info == nil { // the device said it earlier
		for _, ls := range r.agent.Status().Lines {
			for _, ds := range ls.Devices {
				if ds.ID == d.ID {
					out.Info = ds.Info
				}
			}
		}
	}
	return say(out)
}

func (r apiHandler) capture(ctx context.Context, question []byte, say func(any) error) error {
	l, d, err := r.asked(question)
	if err != nil {
		return err
	}
	var text string
	err = r.agent.Borrow(ctx, l.ID, func(ctx context.Context, port drivers.Port) error {
		text, err = captureOn(ctx, l, d, port, time.Now())
		return err
	})
	if err != nil {
		return err
	}
	return say(text)
}

func (r apiHandler) confirm(ctx context.Context, question []byte, say func(any) error) error {
	q, err := decode[confirmQuestion](question)
	if err != nil {
		return err
	}
	var e agent.Exchange
	if q.Look {
		e, err = r.agent.Exchanged(ctx, q.Device)
	} else {
		e, err = r.agent.Confirm(ctx, q.Device, q.Final)
	}
	if err != nil {
		return err
	}
	return say(e)
}

// modbusLine finds a line on which registers can be read.
func (r apiHandler) modbusLine(id string) (config.Line, error) {
	for _, l := range r.cfg.Lines {
		if l.ID != id {
			continue
		}
		if _, ok := l.Driver.(*modbus.Driver); !ok {
			return l, fmt.Errorf("line %s: it speaks %s, not modbus", id, l.Driver.Name())
		}
		return l, nil
	}
	return config.Line{}, fmt.Errorf("line %s: %w", id, agent.ErrUnknownName)
}

func (r apiHandler) raw(ctx context.Context, question []byte, say func(any) error) error {
	q, err := decode[registersQuestion](question)
	if err != nil {
		return err
	}
	l, err := r.modbusLine(q.Line)
	if err != nil {
		return err
	}
	var a modbus.Answer
	err = r.agent.Borrow(ctx, l.ID, func(ctx context.Context, port drivers.Port) (err error) {
		a, err = modbus.NewSession(l.Endpoint.Line(l.ID), port, rawTiming(profilesOf(r.cfg.Drivers))).Read(ctx, q.Unit, q.Span)
		return err
	})
	if err != nil {
		return err
	}
	return say(a.Data)
}

func (r apiHandler) scan(ctx context.Context, question []byte, say func(any) error) error {
	q, err := decode[scanQuestion](question)
	if err != nil {
		return err
	}
	l, err := r.modbusLine(q.Line)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := scan.Scanner{Profiles: profilesOf(r.cfg.Drivers), Units: q.Units, Known: map[int]string{}, Say: func(e scan.Event) {
		if err := say(e); err != nil {
			cancel(err) // nobody listens
		}
	}}
	for _, d := range l.Devices {
		s.Known[d.Unit] = d.ID
	}
	return s.OnLine(ctx, l.Endpoint, agentLine{r.agent, l})
}

// agentLine is a line of the running agent for a scan: each question waits for its turn between two polls.
type agentLine struct {
	agent *agent.Agent
	line  config.Line
}

// Use implements scan.Line.
func (l agentLine) Use(ctx context.Context, f func(context.Context, *modbus.Session) error) error {
	return l.agent.Borrow(ctx, l.line.ID, func(ctx context.Context, port drivers.Port) error {
		return f(ctx, modbus.NewSession(l.line.Endpoint.Line(l.line.ID), port, modbus.Timing{}))
	})
}
