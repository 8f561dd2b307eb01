package energy_test

import (
	"testing"
	"time"

	"bordo/agent/energy"
	"bordo/contract"
	"bordo/drivers"
)

// Off and on again with a clock that is set, and earlier than before: by ten minutes the open quarter bears it, by three
// hours not.
func TestBootBeforeTheLastReading(t *testing.T) {
	r := sixKW(t)
	r.reboot(minutely, "b2", 0)
	r.put("2026-03-10 12:10:00")
	r.count(0, 12.001)
	r.run(22, time.Minute, 12.001, 0.1) // 12:32
	// What was counted while it was off lies in a moment, and so do the ten minutes that come again.
	r.expect("10 12:15 2.501 11.5>14.001 1 26 counter free 0")

	r = sixKW(t)
	r.reboot(minutely, "b2", 0)
	r.put("2026-03-10 09:10:00")
	r.count(0, 13)
	r.run(7, time.Minute, 13, 0.1)
	r.expect(`10 12:15 0.5 11.5>12 0.3333 6 counter sync 0
		10 09:00 0.5 13>13.5 0.3333 5 counter sync 1`, "clock 12>13")

	// More than could be counted in no time, it is not booked.
	r = sixKW(t)
	r.reboot(minutely, "b2", 0)
	r.put("2026-03-10 12:18:00")
	r.count(0, 90)
	r.run(14, time.Minute, 90, 0.1)
	r.expect("10 12:15 1.7 ->91.2 1 18 counter free 0", "jump 12>90")
}

// How long the box was off is known only when the clock is set: then it shows that what was counted is too much, or that
// it was off for too long.
func TestKnownOnlyAfterwards(t *testing.T) {
	tenKW := energy.Options{Every: time.Minute, RatedKW: 10}
	for _, x := range []struct {
		off   time.Duration
		cause string
	}{
		{10 * time.Hour, ""}, {2 * time.Hour, energy.CauseJump}, {energy.MaxOutage + time.Hour, energy.CauseOutage},
	} {
		r := newRig(t, "12:00:00", tenKW)
		r.run(20, time.Minute, 10, 0.1)
		r.reboot(tenKW, "b2", 0)
		r.clk = contract.ClockFree
		r.run(5, time.Minute, 102, 0.1)
		if len(r.segments) != 1 {
			t.Errorf("%v: %+v", x.off, r.segments)
		}
		r.clk = contract.ClockSync
		r.wall = r.wall.Add(x.off)
		r.run(3, time.Minute, 102.5, 0.1)
		if x.cause == "" && len(r.segments) != 1 || x.cause != "" &&
			(len(r.segments) != 2 || r.segments[1].Cause != x.cause || *r.segments[1].Last != 12) {
			t.Errorf("%v: %+v", x.off, r.segments)
		}
	}
}

// The counter falls back while the clock is not set, and the box is switched off before it is: the segment is told as it
// can be seen from both sides.
func TestResetThatCannotBePlaced(t *testing.T) {
	r := sixKW(t)
	r.reboot(minutely, "b2", 0)
	r.clk = contract.ClockFree
	r.run(5, time.Minute, 13, 0.1)
	r.run(20, time.Minute, 2, 0.1) // a reset
	r.expect("")
	r.reboot(minutely, "b3", 0)
	r.clk = contract.ClockSync
	r.put("2026-03-10 13:59:00")
	r.run(20, time.Minute, 5, 0.1)
	r.expect(`10 12:15 0.5 11.5>12 0.3333 6 counter sync 0
		10 14:00 1.5 5.1>6.6 1 15 counter sync 0`, "reset 12>5.1")
}

// A reset after an outage whose first part cannot be placed: what was counted before the reset is booked, coarsely.
func TestResetAfterTwoBoots(t *testing.T) {
	r := sixKW(t)
	r.reboot(minutely, "b2", 0)
	r.clk = contract.ClockFree
	r.run(30, time.Minute, 13, 0.1) // 16, of which 15.9 is accepted
	r.reboot(minutely, "b3", 0)
	r.clk = contract.ClockSync
	r.put("2026-03-10 13:59:00")
	r.run(20, time.Minute, 5, 0.1)
	sum := 0.0
	for _, iv := range r.intervals {
		sum += iv.KWh
	}
	// 11.5 to 15.9, and 5.1 at 14:00 to 6.6 at 14:15.
	if sum < 4.4+1.5-1e-9 || sum > 4.4+1.5+1e-9 || len(r.intervals) != 8 {
		t.Errorf("%v kWh in %+v", sum, r.intervals)
	}
	r.intervals = nil
	r.expect("", "reset 15.9>5.1")
}

// Nobody takes: the account stays small, and says that something is missing.
func TestNobodyTakes(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: time.Minute})
	for i := range 10_000 {
		r.wait(time.Minute)
		r.a.Observe(energy.Poll{Wall: r.wall, Mono: r.mono, Boot: r.boot, Clk: r.clk,
			Readings: counted(1000 + 0.1*float64(i))})
		if i%100 == 99 {
			r.wall = r.wall.Add(time.Hour) // so that the track cannot be made shorter
		}
	}
	if n := len(r.a.State()); n > 40_000 {
		t.Errorf("%d bytes of state", n)
	}
	// Seven days in quarters, of which there are 192 at most one by one; all energy is there all the same.
	r.take()
	r.run(100, time.Minute, 2000, 0.1)
	sum := 0.0
	for _, iv := range r.intervals {
		sum += iv.KWh
	}
	for _, s := range r.segments[1:] {
		sum += s.First - *s.Last
	}
	if last := r.intervals[len(r.intervals)-1]; sum < *last.To-1000-1e-6 || sum > *last.To-1000+1e-6 {
		t.Errorf("%v kWh, the counter %v", sum, *last.To-1000)
	}
}

func BenchmarkObserve(b *testing.B) {
	r := newRig(b, "12:00:00", energy.Options{Every: s10})
	readings := []drivers.Reading{
		good("ac_power", 5000), good("ac_voltage_l1", 230), good("frequency", 50), good("ac_energy", 1000),
		good("import_energy", 10), good("export_energy", 20),
	}
	for i := range b.N {
		r.wait(s10)
		for j, v := range []float64{1000, 10, 20} {
			readings[3+j] = good(readings[3+j].Point, v+0.01*float64(i))
		}
		r.a.Observe(energy.Poll{Wall: r.wall, Mono: r.mono, Boot: r.boot, Clk: r.clk, Readings: readings})
		if r.a.Ready() {
			r.a.Take()
		}
	}
	b.ReportMetric(float64(len(r.a.State())), "B/state")
}
