package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"bordo/agent/clock"
	"bordo/agent/config"
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
	a.clock = clock.New(clock.Options{})
	return nil
}

// rememberClock takes the last trusted time as the least that it can be now.
func (a *Agent) rememberClock() {
	var s clock.State
	if err := a.memory.dir.Load(keptClock, &s); err != nil {
		a.log.Error("load clock", "err", err)
	}
	a.clock = clock.New(clock.Options{State: s, Steadfast: a.cfg.Clock.Trust == config.TrustSystem})
}

// keepClock writes the last trusted time down from time to time.
func (a *Agent) keepClock(ctx context.Context) {
	for pause(ctx, time.Minute) {
		_, clk, mono := a.stamp(time.Time{})
		a.conditions.set(contract.ClockUnset, "", clk != contract.ClockSync, "nothing has set the clock since the start")
		if s, due := a.clock.Save(time.Duration(mono) * time.Millisecond); due {
			a.memory.save(keptClock, s)
		}
	}
}

// stamp gives a moment of package time (zero: now) its wall time, quality and monotonic time. When the clock turns out to
// have been set, that is told first.
func (a *Agent) stamp(at time.Time) (wall time.Time, clk contract.Clock, mono int64) {
	if at.IsZero() {
		at = time.Now()
	}
	shown, quality := a.sys.Wall()
	st, set := a.clock.Observe(clock.Reading{Wall: shown, Mono: a.uptime + time.Since(a.began), Boot: a.boot, Synced: quality == contract.ClockSync})
	if set != nil && set.Offset.Abs() >= time.Millisecond {
		a.board.clockSet()
		a.log.Warn("clock set", "offset", set.Offset, "was", string(set.Was))
		if a.store != nil {
			a.append(buffer.Event, contract.NodeDevice, contract.ClockSet, st.Time.UnixMilli(), st.Clk, set.Data())
		}
	}
	return st.Time.Add(-time.Since(at)), st.Clk, (a.uptime + at.Sub(a.began)).Milliseconds()
}

func (a *Agent) now() time.Time {
	t, _, _ := a.stamp(time.Time{})
	return t
}

// tlsTime is the time at which certificates are judged: a box whose clock was never set still knows a time that has been.
func (a *Agent) tlsTime() time.Time {
	now, floor := a.now(), a.clock.Floor()
	if now.Before(floor) {
		return floor
	}
	return now
}
