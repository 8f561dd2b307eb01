package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/agent/energy"
	"bordo/agent/health"
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

// accounting books the counters of all devices by quarters of an hour and stores what has become certain. It is an observer.
type accounting struct {
	accounts   *energy.Accounts
	conditions *health.Conditions
	records    *recorder
	saved      *stateStore
	log        *slog.Logger

	handedOffIDs []buffer.ID // what was handed over last; written while it flushes
	confirmed    atomic.Bool // the disk does not know of an exchange, or of the accounts as they were at the last try
}

// openAccounts makes an account for each device.
func openAccounts(lines []config.Line) *energy.Accounts {
	devices := make(map[string]energy.Options)
	for _, l := range lines {
		for _, d := range l.Devices {
			devices[d.ID] = energy.Options{Every: d.Every, RatedKW: d.RatedW / 1000, About: d.About,
				Points: energy.Points(d.Spec.Points), Meter: d.Spec.Kind != catalogue.Inverter}
		}
	}
	return energy.NewAccounts(devices)
}

// restore goes on from the accounts of the run before. What cannot be read begins anew, and says so by its segment.
func (a *accounting) restore() {
	var states energy.States
	err := a.saved.dir.Load(keptEnergy, &states)
	older := errors.Is(err, statefile.ErrOlder)
	if err != nil && !older {
		a.log.Error("load energy accounts", "err", err)
		a.saved.note(keptEnergy, err)
	}
	if err := a.accounts.Restore(states, older); err != nil {
		a.log.Error("restore energy accounts", "err", err)
	}
}

// Observe books a poll's counters. What a device says of itself decides whether it is still the one that was accounted; if
// not, its readings become uncertain until somebody confirms the exchange.
func (a *accounting) Observe(r *drivers.Report, at moment) {
	if r.Description != nil {
		a.accounts.Serial(r.Device, r.Description.Serial)
		a.accounts.Rated(r.Device, r.Description.RatedW/1000)
	}
	known, answers, replaced := a.accounts.Replaced(r.Device)
	if a.conditions.Set(contract.DeviceExchanged, r.Device, replaced, known+" was known, "+answers+" answers") && replaced {
		a.records.append(r.Device, contract.DeviceReplaced, at, map[string]any{"serial_before": known, "serial": answers})
	}
	a.doubtZeros(r)
	poll := energy.Poll{Wall: at.wall, Mono: time.Duration(at.mono) * time.Millisecond, Boot: a.records.boot, Clk: at.clk, Readings: r.Readings}
	for _, rej := range a.accounts.Observe(r.Device, poll) {
		a.log.Warn("counter not believed", "device", r.Device, "point", rej.Point, "cause", rej.Cause, "value", rej.Value)
		a.records.append(r.Device, contract.EnergyRejected, at, rej)
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
func (a *accounting) doubtZeros(r *drivers.Report) {
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

// run hands over quarters as they become certain.
func (a *accounting) run(ctx context.Context) {
	for clock.Sleep(ctx, quartersEvery) {
		a.flush()
	}
}

// flush stores what is certain. The accounts from before are saved first, so that a power cut in between gives the same
// records again. They are on the disk until what was handed over is safe, and as long nothing more is: from the accounts of
// two steps ago the second would come again as something else.
func (a *accounting) flush() {
	if !a.isHandOffSafe() {
		return
	}
	if err := a.keepConfirmed(); err != nil {
		a.saved.note(keptEnergy, err)
	}
	mono := a.records.stamp(time.Time{}).mono
	err := a.accounts.Flush(func(s energy.States) error {
		a.handedOffIDs = nil
		return a.save(s)
	}, func(device string, t energy.Taken) {
		for _, s := range t.Segments {
			at := moment{wall: time.UnixMilli(s.At), clk: s.Clk, mono: mono}
			a.handedOffIDs = append(a.handedOffIDs, a.records.append(device, contract.EnergySegment, at, s))
		}
		for _, i := range t.Intervals {
			at := moment{wall: time.UnixMilli(i.Start + quarter), clk: i.Clk, mono: mono}
			a.handedOffIDs = append(a.handedOffIDs, a.records.append(device, contract.EnergyInterval, at, i))
		}
	})
	if err != nil { // they are saved as soon as what was handed over is safe
		a.saved.note(keptEnergy, err)
		a.confirmed.Store(true)
	}
}

// isHandOffSafe tells whether a power cut takes nothing of what the accounts have handed over. It cannot be said while the store
// does not write and the broker does not acknowledge.
func (a *accounting) isHandOffSafe() bool { return a.records.store.Safe(a.handedOffIDs) }

func (a *accounting) save(s energy.States) error {
	err := a.saved.dir.Save(keptEnergy, s)
	if err == nil {
		a.saved.note(keptEnergy, nil)
	}
	return err
}

// keepConfirmed saves the accounts because of an exchange that was confirmed, or because they could not be saved before, as
// soon as what they have handed over is safe. The error tells that this may not be soon.
func (a *accounting) keepConfirmed() error {
	if !a.confirmed.Load() {
		return nil
	}
	return a.accounts.Keep(func(s energy.States) error {
		if !a.isHandOffSafe() {
			_, fault := a.records.store.Fault()
			return fault
		}
		err := a.save(s)
		a.confirmed.Store(err != nil)
		return err
	})
}

// close saves the accounts once the store is closed in order: what they have handed over is on the disk by then, and the
// quarter that runs goes on after the next start.
func (a *accounting) close() {
	if err := a.save(a.accounts.States()); err != nil {
		a.log.Error("save energy accounts", "err", err)
	}
}
