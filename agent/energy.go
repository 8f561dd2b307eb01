package agent

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"bordo/agent/energy"
	"bordo/agent/record"
	"bordo/agent/statefile"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// keptEnergy is the file with the accounts of all counters.
const keptEnergy = "energy"

// quartersEvery is how often it is asked whether a quarter of an hour has become certain.
const quartersEvery = 20 * time.Second

// quarter is the length of an interval, in ms.
const quarter = int64(15 * time.Minute / time.Millisecond)

// openAccounts makes an account for each device.
func (a *Agent) openAccounts() *energy.Accounts {
	devices := make(map[string]energy.Options)
	for _, l := range a.cfg.Lines {
		for _, d := range l.Devices {
			devices[d.ID] = energy.Options{Every: d.Every, RatedKW: d.RatedW / 1000, About: d.About,
				Points: energy.Points(d.Spec.Points), Meter: d.Spec.Kind != catalogue.Inverter}
		}
	}
	return energy.NewAccounts(devices)
}

// restoreAccounts goes on from the accounts of the run before. What cannot be read begins anew, and says so by its segment.
func (a *Agent) restoreAccounts() {
	var states energy.States
	err := a.state.dir.Load(keptEnergy, &states)
	older := errors.Is(err, statefile.ErrOlder)
	if err != nil && !older {
		a.log.Error("load energy accounts", "err", err)
		a.state.note(keptEnergy, err)
	}
	if err := a.accounts.Restore(states, older); err != nil {
		a.log.Error("restore energy accounts", "err", err)
	}
}

// account books a poll's counters. What a device says of itself decides whether it is still the one that was accounted; if
// not, its readings become uncertain until somebody confirms the exchange.
func (a *Agent) account(r *drivers.Report, at moment) {
	if r.Description != nil {
		a.accounts.Serial(r.Device, r.Description.Serial)
		a.accounts.Rated(r.Device, r.Description.RatedW/1000)
	}
	known, answers, replaced := a.accounts.Replaced(r.Device)
	if a.conditions.Set(contract.DeviceExchanged, r.Device, replaced, known+" was known, "+answers+" answers") && replaced {
		a.append(buffer.Event, r.Device, contract.DeviceReplaced, at, map[string]any{"serial_before": known, "serial": answers})
	}
	a.doubtZeros(r)
	poll := energy.Poll{Wall: at.wall, Mono: time.Duration(at.mono) * time.Millisecond, Boot: a.boot, Clk: at.clk, Readings: r.Readings}
	for _, rej := range a.accounts.Observe(r.Device, poll) {
		a.log.Warn("counter not believed", "device", r.Device, "point", rej.Point, "cause", rej.Cause, "value", rej.Value)
		a.append(buffer.Event, r.Device, contract.EnergyRejected, at, rej)
	}
	if !replaced {
		return
	}
	for i := range r.Readings { // the account has them as they were read
		if r.Readings[i].Quality == drivers.Good {
			r.Readings[i].Quality = drivers.Uncertain
		}
	}
}

// doubtZeros makes a counter of 0 uncertain that was above it when it was believed last, also before a restart: the driver
// forgets, and a device that wakes up shows 0 until it has read its memory. One that really begins anew counts on from 0.
func (a *Agent) doubtZeros(r *drivers.Report) {
	for i := range r.Readings {
		x := &r.Readings[i]
		if x.Quality != drivers.Good || x.Value.Type() != catalogue.Float || x.Value.Float() != 0 || !energy.Counts(x.Point) {
			continue
		}
		if last, ok := a.accounts.Believed(r.Device, x.Point); ok && last > 0 {
			x.Quality = drivers.Uncertain
		}
	}
}

// keepAccounts hands over quarters as they become certain.
func (a *Agent) keepAccounts(ctx context.Context) {
	for pause(ctx, quartersEvery) {
		a.flushAccounts()
	}
}

// flushAccounts stores what is certain. The accounts from before are saved first, so that a power cut in between gives the same
// records again. They are on the disk until what was handed over is safe, and as long nothing more is: from the accounts of
// two steps ago the second would come again as something else.
func (a *Agent) flushAccounts() {
	if !a.isHandOffSafe() {
		return
	}
	if err := a.keepConfirmed(); err != nil {
		a.state.note(keptEnergy, err)
	}
	mono := a.stamp(time.Time{}).mono
	err := a.accounts.Flush(func(s energy.States) error {
		a.handedOffIDs = nil
		return a.saveAccounts(s)
	}, func(device string, t energy.Taken) {
		for _, s := range t.Segments {
			at := moment{wall: time.UnixMilli(s.At), clk: s.Clk, mono: mono}
			a.handedOffIDs = append(a.handedOffIDs, a.append(buffer.Event, device, contract.EnergySegment, at, s))
		}
		for _, i := range t.Intervals {
			at := moment{wall: time.UnixMilli(i.Start + quarter), clk: i.Clk, mono: mono}
			a.handedOffIDs = append(a.handedOffIDs, a.append(buffer.Interval, device, contract.EnergyInterval, at, i))
		}
	})
	if err != nil { // they are saved as soon as what was handed over is safe
		a.state.note(keptEnergy, err)
		a.confirmed.Store(true)
	}
}

// isHandOffSafe tells whether a power cut takes nothing of what the accounts have handed over. It cannot be said while the store
// does not write and the broker does not acknowledge.
func (a *Agent) isHandOffSafe() bool { return a.store.Safe(a.handedOffIDs) }

func (a *Agent) saveAccounts(s energy.States) error {
	err := a.state.dir.Save(keptEnergy, s)
	if err == nil {
		a.state.note(keptEnergy, nil)
	}
	return err
}

// keepConfirmed saves the accounts because of an exchange that was confirmed, or because they could not be saved before, as
// soon as what they have handed over is safe. The error tells that this may not be soon.
func (a *Agent) keepConfirmed() error {
	if !a.confirmed.Load() {
		return nil
	}
	return a.accounts.Keep(func(s energy.States) error {
		if !a.isHandOffSafe() {
			_, fault := a.store.Fault()
			return fault
		}
		err := a.saveAccounts(s)
		a.confirmed.Store(err != nil)
		return err
	})
}

// closeAccounts saves the accounts once the store is closed in order: what they have handed over is on the disk by then, and the
// quarter that runs goes on after the next start.
func (a *Agent) closeAccounts() {
	if err := a.saveAccounts(a.accounts.States()); err != nil {
		a.log.Error("save energy accounts", "err", err)
	}
}

// append stores an event or interval that belongs to the given moment, and returns its identity. Its data is marshalled.
func (a *Agent) append(class buffer.Class, device, typ string, at moment, data any) buffer.ID {
	body, err := json.Marshal(data)
	if err != nil {
		a.log.Error("encode event", "device", device, "type", typ, "err", err)
		return buffer.ID{}
	}
	ts := at.wall.UnixMilli()
	row := record.AppendEvent(nil, &record.Event{Dev: device, Type: typ, TS: ts, Mono: at.mono, Boot: a.boot, Clk: at.clk, Data: body})
	from := ts
	if class == buffer.Interval {
		from -= quarter
	}
	id, err := a.keeper(device)(class, from, ts, row)
	if err != nil && !errors.Is(err, buffer.ErrNotSealed) { // held in memory: the condition of the store says so
		a.log.Error("store event", "device", device, "type", typ, "err", err)
	}
	return id
}
