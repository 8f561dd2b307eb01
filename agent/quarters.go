package agent

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"bordo/agent/energy"
	"bordo/agent/keep"
	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
)

// keptEnergy is the file with the accounts of all counters.
const keptEnergy = "energy"

// quartersEvery is how often it is asked whether a quarter of an hour has become certain.
const quartersEvery = 20 * time.Second

// quarter is the length of an interval, in ms.
const quarter = int64(15 * time.Minute / time.Millisecond)

// openBook makes an account for each device.
func (a *Agent) openBook() *energy.Book {
	devices := make(map[string]energy.Options)
	for _, l := range a.cfg.Lines {
		for _, d := range l.Devices {
			devices[d.ID] = energy.Options{Every: d.Every, About: d.About, Points: energy.Points(d.Spec.Points)}
		}
	}
	return energy.NewBook(devices)
}

// rememberBook goes on from the accounts of the run before. What cannot be read begins anew, and says so by its segment.
func (a *Agent) rememberBook() {
	var states energy.States
	err := a.memory.dir.Load(keptEnergy, &states)
	older := errors.Is(err, keep.ErrOlder)
	if err != nil && !older {
		a.log.Error("load energy accounts", "err", err)
	}
	if err := a.book.Restore(states, older); err != nil {
		a.log.Error("restore energy accounts", "err", err)
	}
}

// account books a poll's counters. What a device says of itself decides whether it is still the one that was accounted; if
// not, its readings become uncertain until somebody confirms the exchange.
func (a *Agent) account(r *drivers.Report, at moment) {
	if r.Description != nil && r.Description.Serial != "" {
		a.book.Serial(r.Device, r.Description.Serial)
	}
	known, answers, replaced := a.book.Replaced(r.Device)
	if a.conditions.set(contract.DeviceExchanged, r.Device, replaced, known+" was known, "+answers+" answers") && replaced {
		a.append(buffer.Event, r.Device, contract.DeviceReplaced, at, map[string]any{"serial_before": known, "serial": answers})
	}
	if replaced {
		for i := range r.Readings {
			if r.Readings[i].Quality == drivers.Good {
				r.Readings[i].Quality = drivers.Uncertain
			}
		}
	}
	poll := energy.Poll{Wall: at.wall, Mono: time.Duration(at.mono) * time.Millisecond, Boot: a.boot, Clk: at.clk, Readings: r.Readings}
	for _, rej := range a.book.Observe(r.Device, poll) {
		a.log.Warn("counter not believed", "device", r.Device, "point", rej.Point, "cause", rej.Cause, "value", rej.Value)
		a.append(buffer.Event, r.Device, contract.EnergyRejected, at, rej)
	}
}

// keepBook hands over quarters as they become certain.
func (a *Agent) keepBook(ctx context.Context) {
	for pause(ctx, quartersEvery) {
		a.flushBook()
	}
}

// flushBook stores what is certain. The accounts from before are saved first, so that a power cut in between gives the same
// records again.
func (a *Agent) flushBook() {
	mono := a.stamp(time.Time{}).mono
	err := a.book.Flush(a.saveBookBehind, func(device string, t energy.Taken) {
		for _, s := range t.Segments {
			a.append(buffer.Event, device, contract.EnergySegment, moment{wall: time.UnixMilli(s.At), clk: s.Clk, mono: mono}, s)
		}
		for _, i := range t.Intervals {
			a.append(buffer.Interval, device, contract.EnergyInterval, moment{wall: time.UnixMilli(i.Start + quarter), clk: i.Clk, mono: mono}, i)
		}
	})
	if err != nil {
		a.log.Error("save energy accounts", "err", err)
	}
}

func (a *Agent) saveBook(s energy.States) error { return a.memory.dir.Save(keptEnergy, s) }

// saveBookBehind saves the accounts, unless the store cannot write: what was handed over is in memory only then, and the
// accounts from before it give it again after a power cut.
func (a *Agent) saveBookBehind(s energy.States) error {
	if _, err := a.store.Fault(); err != nil {
		return nil
	}
	return a.saveBook(s)
}

// closeBook saves the accounts once the store is closed in order: what they have handed over is on the disk by then, and the
// quarter that runs goes on after the next start.
func (a *Agent) closeBook() {
	if err := a.saveBook(a.book.States()); err != nil {
		a.log.Error("save energy accounts", "err", err)
	}
}

// append stores an event or interval that belongs to the given moment. Its data is marshalled.
func (a *Agent) append(class buffer.Class, device, typ string, at moment, data any) {
	body, err := json.Marshal(data)
	if err != nil {
		a.log.Error("encode event", "device", device, "type", typ, "err", err)
		return
	}
	ts := at.wall.UnixMilli()
	row := record.AppendEvent(nil, &record.Event{Dev: device, Type: typ, TS: ts, Mono: at.mono, Boot: a.boot, Clk: at.clk, Data: body})
	from := ts
	if class == buffer.Interval {
		from -= quarter
	}
	if _, err := a.keeper(device)(class, from, ts, row); err != nil {
		a.log.Error("store event", "device", device, "type", typ, "err", err)
	}
}
