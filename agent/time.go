package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// keptClock is the file with the last trusted time.
const keptClock = "clock"

// place finds out in which start of the machine the agent runs.
func (a *Agent) place() error {
	if a.sys.Boot == nil {
		var b [4]byte
		if _, err := rand.Read(b[:]); err != nil {
			return fmt.Errorf("name this run: %w", err)
		}
		a.boot = hex.EncodeToString(b[:])
	} else {
		boot, uptime, err := a.sys.Boot()
		if err != nil {
			return fmt.Errorf("name this start of the machine: %w", err)
		}
		a.boot, a.uptime = boot, uptime
	}
	a.clock = clock.New(clock.Options{NotBefore: a.sys.Built})
	return nil
}

// rememberClock takes the last trusted time as the least that it can be now.
func (a *Agent) rememberClock() {
	var s clock.State
	if err := a.state.dir.Load(keptClock, &s); err != nil {
		a.log.Error("load clock", "err", err)
		a.state.note(keptClock, err)
	}
	a.clock = clock.New(clock.Options{State: s, NotBefore: a.sys.Built, Steadfast: a.cfg.Clock.Trust == config.TrustSystem})
}

// keepClock writes the last trusted time down from time to time.
func (a *Agent) keepClock(ctx context.Context) {
	for clock.Sleep(ctx, time.Minute) {
		now := a.stamp(time.Time{})
		a.conditions.Set(contract.ClockUnset, "", now.clk != contract.ClockSync, "nothing has set the clock since the start")
		if s, due := a.clock.Save(time.Duration(now.mono) * time.Millisecond); due {
			a.state.save(keptClock, s)
		}
	}
}

// moment is a point in time as the clocks of the machine show it.
type moment struct {
	wall time.Time
	clk  contract.Clock
	mono int64  // ms since the machine was started
	era  uint64 // of the clock
}

// stamp places a moment of package time (zero: now). When the clock turns out to have been set, what follows from that is
// done first.
func (a *Agent) stamp(at time.Time) moment {
	if at.IsZero() {
		at = time.Now()
	}
	shown, quality := a.sys.Wall()
	since := a.uptime + time.Since(a.began)
	st, set := a.clock.Observe(clock.Reading{Wall: shown, Mono: since, Boot: a.boot, Synced: quality == contract.ClockSync})
	if set != nil && set.Told {
		a.clockSet(set, moment{st.Time, st.Clk, since.Milliseconds(), st.Era})
	}
	return moment{st.Time.Add(-time.Since(at)), st.Clk, (a.uptime + at.Sub(a.began)).Milliseconds(), st.Era}
}

// clockSet corrects what nobody has seen yet and tells by how much the rest is wrong. The event comes behind every record
// that it concerns. Before the store is open there is nothing to correct, and the event waits: an epoch begins with its own.
func (a *Agent) clockSet(set *clock.Set, now moment) {
	a.lastSet.Store(set)
	if a.store == nil {
		return
	}
	n := a.restamp(set, now.era)
	a.log.Warn("clock set", "offset", set.Offset, "was", string(set.Was), "count", n)
	a.records.append(contract.NodeDevice, contract.ClockSet, now, set.Data())
}

// restampLate corrects a sample that was stored with a moment from before the clock was set: too late to be corrected with
// the others.
func (a *Agent) restampLate(stamped moment) {
	if set := a.lastSet.Load(); set != nil && stamped.clk == contract.ClockFree {
		if now := a.stamp(time.Time{}); now.era != stamped.era {
			a.restamp(set, now.era)
		}
	}
}

// restamp corrects the samples that wait in memory and have neither been handed to the broker nor sealed. Events are on the
// disk as soon as they are stored, and a quarter of an hour says itself where it lies.
func (a *Agent) restamp(set *clock.Set, era uint64) (n int) {
	last := make(map[string]int64)
	n = a.store.Restamp(func(r buffer.Record) (buffer.Record, bool) {
		if r.Class != buffer.Reading {
			return r, false
		}
		ts, done, err := set.Restamp(r.Payload)
		if err != nil || !done {
			return r, false // what cannot be read is told when it is to be sent
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

func (a *Agent) now() time.Time {
	return a.stamp(time.Time{}).wall
}

// tlsTime is the time at which certificates are judged: a box whose clock was never set still knows a time that has been.
func (a *Agent) tlsTime() time.Time {
	now, floor := a.now(), a.clock.Floor()
	if now.Before(floor) {
		return floor
	}
	return now
}

// trustedTime is the wall clock and whether it is synchronised. The store calls it with its locks held, so nothing follows
// from a clock that was set.
func (a *Agent) trustedTime() (now time.Time, ok bool) {
	now, clk := a.sys.Wall()
	return now, clk == contract.ClockSync
}
