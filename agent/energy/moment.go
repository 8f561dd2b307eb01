package energy

import (
	"fmt"
	"time"

	"bordo/contract"
	"bordo/drivers"
)

// Poll is one poll of a device.
type Poll struct {
	Wall     time.Time      // as good as Clk says
	Mono     time.Duration  // since the machine was started, or since anything that stays the same while Boot does
	Boot     string         // which start of the machine; empty: unknown, so each run of the agent counts as one
	Clk      contract.Clock // of Wall; anything but sync and est counts as free
	Readings []drivers.Reading
}

// slackMS is how far the two clocks may drift apart between two polls without one of them having been set: NTP corrects
// less than half a second without a step, and both are read within milliseconds.
const slackMS = 2000

// lateMS is how much later than its successor a poll may be reported.
const lateMS = 10_000

// moment is when a poll was made, by all clocks.
type moment struct {
	T    int64          `json:"t"` // ms UTC; provisional while Clk is free
	M    int64          `json:"m"` // ms, monotonic in Boot
	Boot string         `json:"b"`
	Clk  contract.Clock `json:"k"`
}

// elapsed returns the time from m to a later moment; known is false when no clock shows it.
func (m moment) elapsed(to moment) (ms int64, known bool) {
	switch {
	case m.Boot == to.Boot && to.M >= m.M:
		return to.M - m.M, true
	case m.Clk != contract.ClockFree && to.Clk != contract.ClockFree && to.T >= m.T:
		return to.T - m.T, true
	}
	return 0, false
}

// locate corrects a moment of an unset clock, once the offset of monotonic time from UTC is known.
func (m *moment) locate(boot string, offset int64) {
	if m.Clk == contract.ClockFree && m.Boot == boot {
		m.T, m.Clk = m.M+offset, contract.ClockEst
	}
}

// place finds the position of a poll on the time line. It returns false when the poll is not later than the previous
// one.
//
// While the clock is not set, time continues from the previous poll by monotonic time, unless the wall clock is
// further. Once it has been set, everything since this start of the machine is placed again.
func (a *Account) place(p Poll) (moment, bool) {
	at := moment{T: p.Wall.UnixMilli(), M: p.Mono.Milliseconds(), Boot: a.bootOf(p), Clk: p.Clk}
	if at.Clk != contract.ClockSync && at.Clk != contract.ClockEst {
		at.Clk = contract.ClockFree
	}
	same := a.s.Last.Boot == at.Boot
	if same && at.M <= a.s.Last.M {
		return moment{}, false
	}
	if !same {
		for _, c := range a.s.all() {
			c.forget(at.Boot)
		}
	}
	if at.Clk != contract.ClockFree {
		a.locate(at.Boot, at.T-at.M)
	}
	since := at.M - a.s.Last.M
	switch last := a.s.Last; {
	case at.Clk == contract.ClockFree && same:
		at.T = max(at.T, last.T+since)
	case at.Clk == contract.ClockFree:
		at.T = max(at.T, last.T)
	case same && at.T < last.T && last.T+since-at.T <= slackMS:
		at.T = last.T // a correction too small to be a step
	}
	a.s.Last = at
	for _, c := range a.s.Counters {
		c.Ledger.doubt(at.T)
	}
	return at, true
}

// bootOf names the span of time in which monotonic time is continuous. A clock that goes back by more than an old poll
// can explain was restarted, whatever the boot id says.
func (a *Account) bootOf(p Poll) string {
	name := func() string {
		boot := p.Boot
		if boot == "" {
			boot = fmt.Sprintf("run%d", a.s.Runs)
		}
		if a.s.Turns > 0 {
			boot = fmt.Sprintf("%s#%d", boot, a.s.Turns)
		}
		return boot
	}
	if name() == a.s.Last.Boot && a.s.Last.M-p.Mono.Milliseconds() > lateMS {
		a.s.Turns++
	}
	return name()
}

// locate places the readings of this start of the machine from before its clock was set.
func (a *Account) locate(boot string, offset int64) {
	a.s.Last.locate(boot, offset)
	a.s.Power.At.locate(boot, offset)
	for _, c := range a.s.all() {
		c.Last.locate(boot, offset)
		for _, q := range []*queue{&c.Pend, &c.Rival} {
			for i := range q.Readings {
				q.Readings[i].locate(boot, offset)
			}
		}
		for i := range c.Track {
			c.Track[i].locate(boot, offset)
		}
		for i := range c.Shadow {
			c.Shadow[i].locate(boot, offset)
		}
	}
}
