package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// keptClock is the file with the last trusted time.
const keptClock = "clock"

// moment is a point in time as the clocks of the machine show it.
type moment struct {
	wall time.Time
	clk  contract.Clock
	mono int64  // ms since the machine was started
	era  uint64 // of the clock
}

// timekeeper gives moments. Its methods may be called from any goroutine.
type timekeeper struct {
	shown  func() (time.Time, contract.Clock) // the wall clock
	keeper *clock.Keeper
	began  time.Time     // of the agent, with its monotonic part
	uptime time.Duration // of the machine, at began
	boot   string        // which start of the machine

	set   atomic.Pointer[clock.Set] // the last time that the clock was set; nil: it was not, since the agent began
	onSet func(*clock.Set, moment)  // called each time, in the goroutine that asks for a moment then
}

// newTimekeeper finds out in which start of the machine the agent runs.
func newTimekeeper(sys System, onSet func(*clock.Set, moment)) (*timekeeper, error) {
	t := &timekeeper{shown: sys.Wall, began: time.Now(), keeper: clock.New(clock.Options{NotBefore: sys.Built}),
		onSet: onSet}
	if sys.Boot != nil {
		var err error
		if t.boot, t.uptime, err = sys.Boot(); err != nil {
			return nil, fmt.Errorf("name this start of the machine: %w", err)
		}
		return t, nil
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("name this run: %w", err)
	}
	t.boot = hex.EncodeToString(b[:])
	return t, nil
}

// stamp converts a time of package time (zero: now) to a moment. If it detects that the clock was set, it calls onSet
// first.
func (t *timekeeper) stamp(at time.Time) moment {
	if at.IsZero() {
		at = time.Now()
	}
	shown, quality := t.shown()
	since := t.uptime + time.Since(t.began)
	st, set := t.keeper.Observe(clock.Reading{Wall: shown, Mono: since, Boot: t.boot,
		Synced: quality == contract.ClockSync})
	if set != nil && set.Told {
		t.set.Store(set)
		t.onSet(set, moment{st.Time, st.Clk, since.Milliseconds(), st.Era})
	}
	return moment{st.Time.Add(-time.Since(at)), st.Clk, (t.uptime + at.Sub(t.began)).Milliseconds(), st.Era}
}

func (t *timekeeper) now() time.Time { return t.stamp(time.Time{}).wall }

// tlsTime is the time at which certificates are judged: a box whose clock was never set still knows a time that has
// passed.
func (t *timekeeper) tlsTime() time.Time {
	now, floor := t.now(), t.keeper.Floor()
	if now.Before(floor) {
		return floor
	}
	return now
}

// trusted returns the wall clock and whether it is synchronised. The store calls it with its locks held, so it does not
// react to a clock that was set.
func (t *timekeeper) trusted() (now time.Time, ok bool) {
	now, clk := t.shown()
	return now, clk == contract.ClockSync
}

// rememberClock takes the last trusted time as the least that it can be now.
func (a *Agent) rememberClock() {
	var s clock.State
	if err := a.state.dir.Load(keptClock, &s); err != nil {
		a.log.Error("load clock", "err", err)
		a.state.note(keptClock, err)
	}
	a.clock.keeper = clock.New(clock.Options{State: s, NotBefore: a.sys.Built,
		Steadfast: a.cfg.Clock.Trust == config.TrustSystem})
}

// keepClock writes the last trusted time down from time to time.
func (a *Agent) keepClock(ctx context.Context) {
	for clock.Sleep(ctx, time.Minute) {
		now := a.clock.stamp(time.Time{})
		a.conditions.Set(contract.ClockUnset, "", now.clk != contract.ClockSync,
			"nothing has set the clock since the start")
		if s, due := a.clock.keeper.Save(time.Duration(now.mono) * time.Millisecond); due {
			a.state.save(keptClock, s)
		}
	}
}

// clockSet corrects the records that nothing outside has seen and reports the offset for the rest. The event follows
// every record that it concerns. Before the store is open there is nothing to correct, and the event waits: an epoch
// begins with its own event.
func (a *Agent) clockSet(set *clock.Set, now moment) {
	if a.store == nil {
		return
	}
	n := a.restamp(set, now.era)
	a.log.Warn("clock set", "offset", set.Offset, "was", string(set.Was), "count", n)
	a.records.append(contract.NodeDevice, contract.ClockSet, now, set.Data())
}

// restampLate corrects a sample that was stored with a moment from before the clock was set, too late to be corrected
// with the others.
func (a *Agent) restampLate(stamped moment) {
	if set := a.clock.set.Load(); set != nil && stamped.clk == contract.ClockFree {
		if now := a.clock.stamp(time.Time{}); now.era != stamped.era {
			a.restamp(set, now.era)
		}
	}
}

// restamp corrects the samples in memory that were neither sent nor sealed. Events are on disk as soon as they are
// stored, and a quarter of an hour states its own time.
func (a *Agent) restamp(set *clock.Set, era uint64) (n int) {
	last := make(map[string]int64)
	n = a.store.Restamp(func(r buffer.Record) (buffer.Record, bool) {
		if r.Class != buffer.Reading {
			return r, false
		}
		ts, done, err := set.Restamp(r.Payload)
		if err != nil || !done {
			return r, false // an unreadable record is reported when it is to be sent
		}
		if info, err := record.Describe(r.Payload); err == nil {
			last[info.Dev] = max(last[info.Dev], ts)
		}
		r.From, r.To = ts, ts
		return r, true
	})
	a.devices.restamped(last, era)
	return n
}
