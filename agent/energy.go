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

// quartersEvery is the interval of the check whether a quarter of an hour has become final.
const quartersEvery = 20 * time.Second

// quarter is the length of an interval, in ms.
const quarter = int64(15 * time.Minute / time.Millisecond)

// accounting books the counters of all devices by quarters of an hour and stores final quarters. It is an observer.
type accounting struct {
	accounts   *energy.Accounts
	conditions *health.Conditions
	records    *recorder
	saved      *stateStore
	log        *slog.Logger

	handedOffIDs []buffer.ID // identities of the last records handed to the store; written during a flush
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

// restore continues with the accounts of the previous run. Unreadable accounts begin anew, and their segment says so.
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

// Observe books the counters of a poll. The device's identity decides whether it is still the one that was accounted.
// If it is not, its readings become uncertain until the exchange is confirmed.
func (a *accounting) Observe(r *drivers.Report, at moment) {
	if r.Description != nil {
		a.accounts.Serial(r.Device, r.Description.Serial)
		a.accounts.Rated(r.Device, r.Description.RatedW/1000)
	}
	known, answers, replaced := a.accounts.Replaced(r.Device)
	if a.conditions.Set(contract.DeviceExchanged, r.Device, replaced, known+" was known, "+answers+" answers") &&
		replaced {
		a.records.append(r.Device, contract.DeviceReplaced, at,
			map[string]any{"serial_before": known, "serial": answers})
	}
	a.doubtZeros(r)
	poll := energy.Poll{Wall: at.wall, Mono: time.Duration(at.mono) * time.Millisecond, Boot: a.records.boot,
		Clk: at.clk, Readings: r.Readings}
	for _, rej := range a.accounts.Observe(r.Device, poll) {
		a.log.Warn("counter not believed", "device", r.Device, "point", rej.Point, "cause", rej.Cause, "value",
			rej.Value)
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

// doubtZeros makes a counter reading of 0 uncertain when the last believed reading was above 0, also before a restart.
// The driver forgets, and a device that wakes up shows 0 until it has read its memory. A counter that really begins
// anew counts on from 0.
func (a *accounting) doubtZeros(r *drivers.Report) {
	for i := range r.Readings {
		x := &r.Readings[i]
		if x.Quality != drivers.Good || x.Value.Type() != catalogue.Float || x.Value.Float() != 0 ||
			!energy.Counts(x.Point) {
			continue
		}
		if last, ok := a.accounts.Believed(r.Device, x.Point); ok && last > 0 {
			x.Quality = drivers.Uncertain
		}
	}
}

// run stores quarters as they become final.
func (a *accounting) run(ctx context.Context) {
	for clock.Sleep(ctx, quartersEvery) {
		a.flush()
	}
}

// flush stores final quarters. It saves the accounts from before them first, so that a power cut in between produces
// the same records again. These accounts stay on disk until the stored records are safe, and nothing more is flushed
// until then: replaying from the accounts of two steps ago would change the second batch.
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
	if err != nil { // they are saved as soon as the stored records are safe
		a.saved.note(keptEnergy, err)
		a.confirmed.Store(true)
	}
}

// isHandOffSafe reports whether a power cut cannot lose any of the stored quarters. It is false while the store does
// not write and the broker does not acknowledge.
func (a *accounting) isHandOffSafe() bool { return a.records.store.Safe(a.handedOffIDs) }

func (a *accounting) save(s energy.States) error {
	err := a.saved.dir.Save(keptEnergy, s)
	if err == nil {
		a.saved.note(keptEnergy, nil)
	}
	return err
}

// keepConfirmed saves the accounts after a confirmed exchange, or when an earlier save failed, as soon as the stored
// quarters are safe. An error means that this may take a while.
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

// close saves the accounts after the store was closed properly: the stored quarters are then on disk, and the current
// quarter continues after the next start.
func (a *accounting) close() {
	if err := a.save(a.accounts.States()); err != nil {
		a.log.Error("save energy accounts", "err", err)
	}
}
