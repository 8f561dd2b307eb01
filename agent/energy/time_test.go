package energy_test

import (
	"testing"
	"time"

	"bordo/agent/energy"
	"bordo/contract"
)

var minutely = energy.Options{Every: time.Minute}

// sixKW reads 0.1 kWh a minute from 12:00, 10 kWh, up to 12:20, 12 kWh. Half of the open quarter's first third is booked.
func sixKW(t testing.TB) *rig {
	r := newRig(t, "12:00:00", minutely)
	r.count(0, 10)
	r.run(20, time.Minute, 10, 0.1)
	r.expect("10 12:00 1.5 10>11.5 1 15 counter sync 0", "restart ->10")
	return r
}

// put puts the wall clock.
func (r *rig) put(to string) { r.wall = at(to) }

// The clock is put forward by forty minutes: the quarters that it jumps over never were.
func TestClockForward(t *testing.T) {
	r := sixKW(t)
	r.put("2026-03-10 13:00:00")
	r.run(32, time.Minute, 12, 0.1) // 13:01 to 13:32
	r.expect(`10 12:15 0.5 11.5>12 0.3333 6 counter free 0
		10 13:00 1.5 12>13.5 1 14 counter sync 0
		10 13:15 1.5 13.5>15 1 15 counter sync 0`)
}

// It is put back by five minutes: the open quarter lasts until it has caught up, twenty minutes in all.
func TestClockBackByLittle(t *testing.T) {
	r := sixKW(t)
	r.put("2026-03-10 12:15:00")
	r.run(32, time.Minute, 12, 0.1) // 12:16 to 12:47
	r.expect(`10 12:15 2 11.5>13.5 1 20 counter free 0
		10 12:30 1.5 13.5>15 1 15 counter sync 0`)
}

// It is put back by three hours: a new segment, and the quarters that come again have a higher revision.
func TestClockBack(t *testing.T) {
	r := sixKW(t)
	r.put("2026-03-10 09:20:00")
	r.run(12, time.Minute, 12, 0.1) // 09:21 to 09:32
	r.expect(`10 12:15 0.5 11.5>12 0.3333 6 counter sync 0
		10 09:15 1 12>13 0.6666 9 counter sync 1`, "clock 12>12")
	r.run(195, time.Minute, 13.2, 0.1) // until 12:47
	n := len(r.intervals)
	if n != 13 {
		t.Fatalf("%d intervals", n)
	}
	for i, iv := range r.intervals {
		rev := 1
		if i == n-1 {
			rev = 0 // 12:30 is told for the first time
		}
		if iv.Rev != rev || iv.KWh != 1.5 || iv.Start != r.intervals[0].Start+int64(i)*900_000 {
			t.Errorf("%s", line(iv))
		}
	}
	// And back once more. Of 12:00, which was told whole, a part is not told: its energy stands in a segment. What comes
	// again whole has a higher revision than all before.
	r.intervals = nil
	r.put("2026-03-10 12:05:00")
	r.run(26, time.Minute, 32.7, 0.1)
	r.expect(`10 12:45 0.2 32.5>32.7 0.1333 3 counter sync 0
		10 12:15 1.5 33.7>35.2 1 15 counter sync 2`, "clock 32.7>32.7", "clock 32.7>33.7")
}

// A whole quarter is not replaced by one with a hole, nor by one of a clock that was never set; what was told in part is.
func TestLessIsNotTold(t *testing.T) {
	r := newRig(t, "12:00:00", minutely)
	r.count(0, 10)
	r.run(46, time.Minute, 10, 0.1)
	r.expect(`10 12:00 1.5 10>11.5 1 15 counter sync 0
		10 12:15 1.5 11.5>13 1 15 counter sync 0
		10 12:30 1.5 13>14.5 1 15 counter sync 0`, "restart ->10")
	r.put("2026-03-10 12:00:00")
	r.run(17, time.Minute, 14.6, 0.1)
	r.count(10*time.Minute, 17.3) // nothing was read from 12:17 to 12:27
	r.run(19, time.Minute, 17.3, 0.1)
	r.expect(`10 12:45 0.1 14.5>14.6 0.0666 2 counter sync 0
		10 12:00 1.5 14.6>16.1 1 14 counter sync 1
		10 12:30 1.5 17.6>19.1 1 15 counter sync 1`, "clock 14.6>14.6", "clock 16.1>17.6")
	r.run(15, time.Minute, 19.2, 0.1) // 12:45 was told in part, and is replaced
	r.expect("10 12:45 1.5 19.1>20.6 1 15 counter sync 1")
	r.restart(minutely) // what is whole is remembered
	r.put("2026-03-10 12:40:00")
	r.run(12, time.Minute, 20.7, 0.1)
	r.expect("10 13:00 0.1 20.6>20.7 0.0666 2 counter sync 0", "clock 20.7>20.7", "clock 20.7>21.2")
}

// Of a quarter that is not told, the segment after it tells all, also when another one began within it.
func TestLessIsNotToldAcrossASegment(t *testing.T) {
	r := sixKW(t)
	r.run(30, time.Minute, 12, 0.1)
	r.expect(`10 12:15 1.5 11.5>13 1 15 counter sync 0
		10 12:30 1.5 13>14.5 1 15 counter sync 0`)
	r.put("2026-03-10 12:16:00")
	r.run(5, time.Minute, 15, 0.1)
	r.reboot(energy.Options{Every: time.Minute, Hold: time.Minute}, "b2", 0)
	r.clk = contract.ClockFree
	r.run(30, time.Minute, 16, 0.1) // 12:51
	// In 12:15 0.5 kWh were counted before and 0.8 after what is between the two boots.
	r.expect("10 12:45 0.5 14.5>15 0.3333 6 counter sync 0", "clock 15>15", "clock 15.5>16.1", "clock 15.6>16.9",
		"clock 16.9>18.4")
}

// Years forth and back, with a clock that says it is set.
func TestClockYears(t *testing.T) {
	r := sixKW(t)
	r.put("2036-03-10 12:00:00")
	r.run(20, time.Minute, 12, 0.1)
	r.expect(`10 12:15 0.5 11.5>12 0.3333 6 counter free 0
		10 12:00 1.5 12>13.5 1 14 counter sync 0`)
	r.put("2026-03-10 12:40:00")
	r.run(22, time.Minute, 14, 0.1) // 12:41 to 13:02
	r.expect(`10 12:15 0.5 13.5>14 0.3333 6 counter sync 0
		10 12:30 0.5 14>14.5 0.3333 4 counter sync 1
		10 12:45 1.5 14.5>16 1 15 counter sync 1`, "clock 14>14")
	r.put("1970-01-01 00:00:00")
	r.run(20, time.Minute, 16.2, 0.1)
	if len(r.segments) != 1 || len(r.intervals) != 2 ||
		line(r.intervals[1]) != "01 00:00 1.5 16.2>17.7 1 14 counter sync 2" {
		t.Errorf("%+v %+v", r.segments, r.intervals)
	}
}

// Small corrections are followed without a trace, even many of them.
func TestClockTrimmed(t *testing.T) {
	r := newRig(t, "12:00:00", minutely)
	r.count(0, 10)
	for i := range 120 {
		r.wall = r.wall.Add(time.Duration(i%5-2) * 700 * time.Millisecond)
		r.count(time.Minute, 10+0.1*float64(i+1))
	}
	sum := 0.0
	for _, iv := range r.intervals {
		sum += iv.KWh
		if iv.Coverage != 1 || iv.Clk != contract.ClockSync {
			t.Errorf("%s", line(iv))
		}
	}
	if len(r.intervals) != 7 || sum < 10.49 || sum > 10.51 || len(r.segments) != 1 {
		t.Errorf("%d intervals, %v kWh, %+v", len(r.intervals), sum, r.segments)
	}
	// Back by more than the time between two polls.
	r = newRig(t, "12:00:00", energy.Options{Every: time.Second})
	for i := range 3600 {
		r.wall = r.wall.Add(time.Duration(1500*(i%2*2-1)) * time.Millisecond)
		r.count(time.Second, 10+0.001*float64(i))
	}
	for i, iv := range r.intervals {
		if iv.Clk != contract.ClockSync || i > 0 && iv.Coverage != 1 {
			t.Errorf("%s", line(iv))
		}
	}
	if len(r.intervals) != 4 || len(r.segments) != 1 {
		t.Errorf("%d intervals, %+v", len(r.intervals), r.segments)
	}
}

// The box was off from 12:20 to 18:00 and begins with a clock that nobody has set. When it is set at 18:10, everything is
// placed where it belongs: 6 kWh in 340 minutes while it was off.
func TestSetAfterBoot(t *testing.T) {
	r := sixKW(t)
	r.reboot(minutely, "b2", 0)
	r.clk = contract.ClockFree
	r.put("2026-03-10 12:20:30") // 18:00:00
	r.count(0, 18)
	r.run(9, time.Minute, 18, 0.1)
	r.expect("")
	r.clk = contract.ClockSync
	r.put("2026-03-10 18:09:00")
	r.run(10, time.Minute, 18.9, 0.1) // 18:10 to 18:19
	n := len(r.intervals)
	if n != 24 {
		t.Fatalf("%d intervals", n)
	}
	// 12:20 is accepted only now: a third is covered. Then 15 minutes of 6/340 kWh each.
	for i, want := range map[int]string{
		0:     "10 12:15 0.67647 11.5>12.1765 0.3333 6 counter est 0",
		1:     "10 12:30 0.264706 12.1765>12.4412 0 0 counter est 0",
		n - 1: "10 18:00 1.5 18>19.5 1 15 counter est 0",
	} {
		if got := line(r.intervals[i]); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
	if len(r.segments) != 0 {
		t.Errorf("%+v", r.segments)
	}
	r.intervals = nil
	r.run(15, time.Minute, 19.9, 0.1)
	r.expect("10 18:15 1.5 19.5>21 1 15 counter sync 0")
}

// A clock that is never set: quarters are booked where it puts them, as free and after the time in which it might be set.
func TestNeverSet(t *testing.T) {
	o := energy.Options{Every: time.Minute, Hold: time.Hour}
	r := newRig(t, "12:00:00", o)
	r.clk = contract.ClockFree
	r.count(0, 10)
	r.run(59, time.Minute, 10, 0.1)
	r.expect("")
	r.run(31, time.Minute, 15.9, 0.1) // 13:30
	r.expect(`10 12:00 1.5 10>11.5 1 15 counter free 0
		10 12:15 1.5 11.5>13 1 15 counter free 0`, "restart ->10")
	// After a restart of the machine, nobody knows how long it was off: what was counted meanwhile, and what waited, is not
	// booked, and told.
	r.reboot(o, "b2", 0)
	r.put("2026-03-10 13:31:00")
	r.count(0, 25)
	r.run(100, time.Minute, 25, 0.1) // 15:11
	r.expect(`10 13:30 1.4 25>26.4 0.9333 14 counter free 0
		10 13:45 1.5 26.4>27.9 1 15 counter free 0`, "clock 13>25")
}

// Off, on without a set clock, off again, on and set: of the time between, only the difference is known.
func TestSetAtTheSecondBoot(t *testing.T) {
	r := sixKW(t)
	r.reboot(minutely, "b2", 0)
	r.clk = contract.ClockFree
	r.run(40, time.Minute, 14, 0.1) // 18 at the end
	r.expect("")
	r.reboot(minutely, "b3", 0)
	r.clk = contract.ClockSync
	r.put("2026-03-10 14:20:00")
	r.count(0, 24)
	r.run(20, time.Minute, 24, 0.1)
	// From 12 kWh at 12:20 to 24 at 14:20.
	r.expect(`10 12:15 1.5 11.5>13 0.3333 6 counter sync 0
		10 12:30 1.5 13>14.5 0 0 counter sync 0
		10 12:45 1.5 14.5>16 0 0 counter sync 0
		10 13:00 1.5 16>17.5 0 0 counter sync 0
		10 13:15 1.5 17.5>19 0 0 counter sync 0
		10 13:30 1.5 19>20.5 0 0 counter sync 0
		10 13:45 1.5 20.5>22 0 0 counter sync 0
		10 14:00 1.5 22>23.5 0 0 counter sync 0
		10 14:15 1.5 23.5>25 0.6666 10 counter sync 0`)
}

// The machine's word for its clock is withdrawn and comes back: nothing moves.
func TestUnsetForAWhile(t *testing.T) {
	r := sixKW(t)
	r.clk = contract.ClockFree
	r.run(30, time.Minute, 12, 0.1) // 12:50
	r.expect("")
	r.clk = contract.ClockSync
	r.run(12, time.Minute, 15, 0.1)
	r.expect(`10 12:15 1.5 11.5>13 1 15 counter est 0
		10 12:30 1.5 13>14.5 1 15 counter est 0
		10 12:45 1.5 14.5>16 1 15 counter est 0`)
	// For less than a quarter, too, the quarter says so.
	r = sixKW(t)
	r.clk = contract.ClockFree
	r.run(3, time.Minute, 12, 0.1)
	r.clk = contract.ClockSync
	r.run(9, time.Minute, 12.3, 0.1)
	r.expect(`10 12:15 1.5 11.5>13 1 15 counter est 0`)
}

// The box runs for two days without a set clock. What waits for it becomes coarser and stays small; nothing is lost.
func TestLongWait(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: s10, Hold: 72 * time.Hour})
	r.clk = contract.ClockFree
	r.run(2*8640, s10, 1000, 0.01)
	r.expect("")
	if n := len(r.a.State()); n > 14_000 {
		t.Errorf("%d bytes of state", n)
	}
	r.clk = contract.ClockSync
	r.wall = r.wall.Add(100 * time.Hour)
	r.run(3, s10, 1172.8, 0.01)
	sum := 0.0
	for _, iv := range r.intervals {
		sum += iv.KWh
		if iv.Clk != contract.ClockEst || iv.KWh < 0.88 || iv.KWh > 0.92 {
			if iv.Start != r.intervals[0].Start {
				t.Errorf("%s", line(iv))
			}
		}
	}
	first, last := r.intervals[0], r.intervals[len(r.intervals)-1]
	if n := len(r.intervals); n != 192 || first.Start != at("2026-03-14 16:00:00").UnixMilli() {
		t.Errorf("%d intervals from %s", n, line(first))
	}
	if diff := *last.To - *first.From; diff-sum > 1e-6 || sum-diff > 1e-6 {
		t.Errorf("sum %v, counter %v", sum, diff)
	}
}

// Polls that come twice, late or with a monotonic clock that begins anew.
func TestMonotonicTime(t *testing.T) {
	r := sixKW(t)
	twice := energy.Poll{Wall: r.wall, Mono: r.mono, Boot: r.boot, Clk: r.clk}
	for _, back := range []time.Duration{0, time.Second, 9 * time.Second} {
		twice.Mono = r.mono - back
		twice.Readings = nil
		r.a.Observe(twice)
	}
	r.mono = 0 // under the same name: as in a container that keeps the name of the machine's start
	r.run(27, time.Minute, 12, 0.1)
	r.expect(`10 12:15 1.5 11.5>13 0.9333 15 counter sync 0
		10 12:30 1.5 13>14.5 1 15 counter sync 0`)
	// Where nobody names the start of the machine, each run counts as one.
	r = newRig(t, "12:00:00", minutely)
	r.boot = ""
	r.run(40, time.Minute, 10, 0.1)
	r.restart(minutely)
	r.mono = 0
	r.run(20, time.Minute, 14, 0.1)
	r.expect(`10 12:00 1.4 10.1>11.5 0.9333 14 counter sync 0
		10 12:15 1.5 11.5>13 1 15 counter sync 0
		10 12:30 1.5 13>14.5 0.9333 15 counter sync 0`, "restart ->10.1")
}
