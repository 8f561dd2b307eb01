package energy_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"bordo/agent/energy"
)

// tenKW is a device of 10 kW, polled every ten seconds: 27.8 Wh between two polls, 30.6 Wh with the tenth. It was read from
// 12:00:10 to 12:05:00, from 1000.02 to 1000.6 kWh.
func tenKW(t testing.TB) *rig {
	r := newRig(t, "12:00:00", energy.Options{Every: 10 * time.Second, RatedKW: 10})
	r.run(30, 10*time.Second, 1000, 0.020)
	r.expect("", "restart ->1000.02")
	return r
}

func (r *rig) expectRejected(want ...string) {
	r.t.Helper()
	var got []string
	for _, x := range r.rejected {
		got = append(got, fmt.Sprintf("%s %v %d %s>%s", x.Point, x.Cause, x.N, num(x.Last), num(&x.Value)))
	}
	if g, w := strings.Join(got, ", "), strings.Join(want, ", "); g != w {
		r.t.Errorf("rejected: %s; want %s", g, w)
	}
	r.rejected = nil
}

const s10 = 10 * time.Second

// A value that is wrong once or twice leaves no trace but in the samples: 0, a value from another counter, a bit too many.
func TestGlitches(t *testing.T) {
	for _, glitch := range []float64{0, 1, 1000, 1000.61, 1000.75, 1001, 5000, 4294967.295, math.MaxFloat32, -1, -1e300,
		1e300} {
		for n := 1; n <= 2; n++ {
			r := tenKW(t) // 1000.6 at 12:05:00
			for range n {
				r.count(s10, glitch)
			}
			r.run(90, s10, 1000.6+0.02*float64(n), 0.02)
			if glitch == 1000.61 {
				n = 0 // as good as the truth
			}
			// 1.2 kW from 12:00:10 to 12:15:00.
			r.expect(fmt.Sprintf("10 12:00 1.78 1000.02>1001.8 0.9888 %d counter sync 0", 89-n))
			r.expectRejected()
			if n == 0 {
				break
			}
		}
	}
}

// A counter that falls back is ignored until five readings over a minute agree; what lies between is not booked.
func TestReset(t *testing.T) {
	r := tenKW(t)
	r.run(3, s10, 2, 0.01)
	r.expectRejected("ac_energy fall 3 1000.58>2.03")
	r.run(3, s10, 2.03, 0.01)
	r.expect("")
	r.run(1, s10, 2.06, 0.01) // 12:06:10, a minute after the first
	r.expect("", "reset 1000.6>2.01")
	r.run(54, s10, 2.07, 0.01) // 12:15:10
	// 0.58 until 12:05:00, then from 2.01 at 12:05:10 to 2.60 at 12:15:00. Ten seconds are not covered.
	r.expect("10 12:00 1.17 ->2.6 0.9777 89 counter sync 0")
	r.run(90, s10, 2.61, 0.01)
	r.expect("10 12:15 0.9 2.6>3.5 1 90 counter sync 0")
	r.expectRejected()
}

// Zeros do not make a reset, however many: devices that wake up or lose their memory show them. What comes after decides.
func TestZeros(t *testing.T) {
	r := tenKW(t)
	r.run(100, s10, 0, 0)
	r.expect("")
	r.expectRejected("ac_energy fall 3 1000.58>0")
	r.count(s10, 1000.701) // 12:21:50: the old counter is back, 1010 s later
	r.run(75, s10, 1000.70, 0.01)
	// It rose by 0.101 in 1010 s: 0.06 of it until 12:15, 0.041 after that, and then 0.01 each ten seconds until 12:30.
	r.expect(`10 12:00 0.64 1000.02>1000.66 0.3222 30 counter sync 0
		10 12:15 0.53 1000.66>1001.19 0.5444 49 counter sync 0`)
	r.run(100, s10, 0, 0)
	r.run(8, s10, 0, 0.01)
	// The new segment begins with the last zero, so that the first step is booked.
	if len(r.segments) != 1 || r.segments[0].Cause != energy.CauseReset || r.segments[0].First != 0 {
		t.Errorf("%+v", r.segments)
	}
	// They do not vouch for what comes after an outage, either.
	r.intervals = nil
	r.count(2*time.Hour, 0.2)
	r.count(s10, 0.21)
	if len(r.intervals) != 0 {
		t.Errorf("%+v", r.intervals)
	}
	if r.count(s10, 0.22); len(r.intervals) == 0 {
		t.Error("three readings are not believed")
	}
}

// A new counter of whole kWh is so near to zero that a zero is less than its step away: it is a zero all the same.
func TestZeroOfANewCounter(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: s10})
	for i := range 200 {
		v := 1.0
		if i%4 == 3 {
			v = 0
		}
		r.count(s10, v)
	}
	// 89 readings with 22 zeros, and 90 with 22.
	r.expect(`10 12:00 0 1>1 0.9888 67 counter sync 0
		10 12:15 0 1>1 1 68 counter sync 0`, "restart ->1")
}

func TestJump(t *testing.T) {
	r := tenKW(t)
	r.run(3, s10, 1800, 0.02)
	r.expectRejected("ac_energy jump 3 1000.58>1800.06")
	r.run(5, s10, 1800.06, 0.02)
	r.expect("", "jump 1000.6>1800.02")
	// A jump that goes on jumping is never believed, and told once.
	r = tenKW(t)
	r.run(200, s10, 1800, 500)
	r.expect("")
	r.expectRejected("ac_energy jump 3 1000.58>3300")
	// The first reading of a device may be wrong too; three in reach of each other are not enough to know it.
	r = newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
	r.count(s10, 77777)
	r.run(30, s10, 1000, 0.02)
	r.expect("", "restart ->1000.02")
}

// Beyond rated power × time and a tenth and one step, nothing passes: neither at once nor bit by bit.
func TestRatedPower(t *testing.T) {
	const perPoll = 10 * 1.1 / 360 // kWh in ten seconds
	for _, x := range []struct {
		by   float64
		pass bool
	}{{10.0 / 360, true}, {perPoll - 0.0001, true}, {perPoll + 0.0001, false}, {2 * perPoll, false}} {
		r := newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
		v := 1000.0
		for range 200 {
			v += x.by
			r.count(s10, math.Round(v*1e4)/1e4) // a step of 0.1 Wh
		}
		if passed := len(r.segments) == 1 && len(r.intervals) == 2 && r.intervals[1].Coverage == 1; passed != x.pass {
			t.Errorf("%v kWh in ten seconds: %+v %+v", x.by, r.intervals, r.segments)
		}
		for _, iv := range r.intervals {
			if iv.KWh > 2.75+0.001 { // 11 kW for a quarter of an hour
				t.Errorf("%v kWh in ten seconds: %+v", x.by, iv)
			}
		}
	}
	// A counter of whole kWh goes up by more than the rated power allows in ten seconds, and is right.
	r := newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
	for i := range 400 {
		r.count(s10, 1000+math.Floor(float64(i)*9/360))
	}
	r.expectRejected()
	sum := 0.0
	for _, iv := range r.intervals {
		sum += iv.KWh
	}
	if len(r.segments) != 1 || len(r.intervals) != 4 || sum != 8 {
		t.Errorf("%v: %+v %+v", sum, r.intervals, r.segments)
	}
	// rated_kw of about does the same as the option.
	r = newRig(t, "12:00:00", energy.Options{Every: s10, About: map[string]any{"rated_kw": 3.0}})
	r.run(30, s10, 1000, 0.020)
	r.expectRejected("ac_energy jump 3 ->1000.08")
}

// How finely a counter counts is seen from the very readings that are compared: after zeros, which show nothing of it, a
// whole kWh more than the rated power allows is not in reach.
func TestRatedPowerAfterZeros(t *testing.T) {
	for last, want := range map[float64]string{6.2760: "0>5.31657", 6.4279: ""} {
		r := newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 20})
		r.run(3, s10, 0, 0)
		r.count(1027*time.Second, last) // 22 kW make 6.2761 kWh
		r.count(s10, last)
		r.count(s10, last)
		got := ""
		for _, iv := range r.intervals {
			got += num(iv.From) + ">" + num(iv.To)
		}
		if got != want {
			t.Errorf("up to %v: intervals %q, want %q", last, got, want)
		}
	}
}

// A counter of a float32 moves by more than its last digit says.
func TestSinglePrecision(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: time.Second, RatedKW: 20})
	truth := 300000.0 // kWh; here a float32 moves by 1/32 kWh, which 20 kW need 5.6 s for
	for range 3600 {
		truth += 15.0 / 3600
		r.count(time.Second, float64(float32(truth)))
	}
	r.expectRejected()
	if len(r.segments) != 1 || len(r.intervals) != 3 {
		t.Fatalf("%+v %+v", r.intervals, r.segments)
	}
	for _, iv := range r.intervals[1:] {
		if math.Abs(iv.KWh-3.75) > 1.0/32 {
			t.Errorf("%+v", iv)
		}
	}
}

// 2³² Wh are 4294967.296 kWh.
func TestRollover(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
	r.run(30, s10, 4294966.676, 0.02) // 4294967.276 at 12:05:00
	r.expect("", "restart ->4.29497e+06")
	r.run(70, s10, -0.01, 0.02) // 0.01 at 12:05:10, 1.19 at 12:15:00
	if len(r.segments) != 1 || r.segments[0].Cause != energy.CauseRollover || *r.segments[0].Last != 4294967.276 ||
		r.segments[0].First != 0.01 {
		t.Errorf("%+v", r.segments)
	}
	// 0.58 before, 0.02 to the largest value, 0.01 after it, and 0.02 for each ten seconds from 12:05:10 to 12:15:00.
	if iv := r.intervals[0]; iv.KWh != 0.58+0.02+0.01+1.18 || iv.From != nil || *iv.To != 1.19 || iv.Coverage < 0.98 {
		t.Errorf("%+v", iv)
	}
	// Far from such a value it is a reset, and so it is after a long silence.
	for _, x := range []struct {
		last float64
		off  time.Duration
	}{{4294900, s10}, {4294967.276, time.Hour}, {123456, s10}} {
		r := newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
		r.run(30, s10, x.last-0.6, 0.02)
		r.count(x.off, 0.01)
		r.run(10, s10, 0.01, 0.02)
		if n := len(r.segments); n != 2 || r.segments[1].Cause != energy.CauseReset {
			t.Errorf("from %v after %v: %+v", x.last, x.off, r.segments)
		}
	}
	// A display of six digits.
	r = newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
	r.run(30, s10, 999999.38, 0.02)
	r.run(10, s10, 0, 0.02)
	if n := len(r.segments); n != 2 || r.segments[1].Cause != energy.CauseRollover {
		t.Errorf("%+v", r.segments)
	}
}

// Sums of three phases, or of floats, can be one step less than before.
func TestSmallStepBack(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
	for i := range 200 {
		r.count(s10, 1000+float64(i/10)*0.01-0.01*float64(i%2))
	}
	r.expectRejected()
	if len(r.segments) != 1 || len(r.intervals) != 2 || r.intervals[1].Samples != 90 {
		t.Errorf("%+v %+v", r.intervals, r.segments)
	}
}

func TestReplacedMeter(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
	for _, serial := range []string{"A1", "A1", ""} {
		if r.a.Serial(serial) {
			t.Errorf("the serial number %q is doubted", serial)
		}
	}
	r.run(31, s10, 1000, 0.02) // 1000.62 at 12:05:10
	if !r.a.Serial("B2") || !r.a.Serial("") {
		t.Error("another serial number is not doubted")
	}
	if known, answers, ok := r.a.Replaced(); known != "A1" || answers != "B2" || !ok {
		t.Errorf("%s %s %t", known, answers, ok)
	}
	r.run(200, s10, 50, 0.02) // nothing is booked; the quarter of the known one is told as far as it went
	r.expect("10 12:00 0.58 1000.02>1000.6 0.3222 30 counter sync 0", "restart ->1000.02")
	r.restart(energy.Options{Every: s10, RatedKW: 10})
	if !r.a.Serial("") {
		t.Error("the doubt is forgotten by a restart")
	}
	r.run(200, s10, 54, 0.02) // 13:11:50, 3.3 s
	r.expect("")
	r.a.Confirm("B2", nil)
	if _, _, ok := r.a.Replaced(); ok || r.a.Serial("B2") {
		t.Error("doubted after it was confirmed")
	}
	r.run(50, s10, 58, 0.02) // 13:20:10
	r.expect(`10 12:00 1.74 ->51.18 0.9666 88 counter sync 1
		10 12:15 1.8 51.18>52.98 1 90 counter sync 0
		10 12:30 1.8 52.98>54.78 1 90 counter sync 0
		10 12:45 1.8 54.78>56.58 1 90 counter sync 0
		10 13:00 1.8 56.58>58.38 1 90 counter sync 0`, "replaced 1000.6>50.02")
	r.expectRejected()

	// The one that was known comes back: as if nothing had happened, and what it counted meanwhile is spread.
	r = tenKW(t)
	r.a.Serial("A1")
	r.run(1, s10, 1000.6, 0.02)
	r.a.Serial("B2")
	r.run(90, s10, 50, 0.02)
	if r.a.Serial("A1") {
		t.Error("the known serial number is doubted")
	}
	r.run(10, s10, 1002, 0.02)
	if len(r.segments) != 0 || len(r.intervals) != 2 || r.intervals[1].Coverage > 0.35 ||
		r.intervals[1].Meter != "A1" || r.intervals[1].Rev != 1 {
		// what was told of the quarter while it was open comes again, whole
		t.Errorf("%+v %+v", r.intervals, r.segments)
	}
	r.intervals = r.intervals[1:]
	// Confirming what is known changes nothing.
	r.a.Confirm("A1", nil)
	r.run(2, s10, 1002.2, 0.02)
	r.expect("10 12:00 1.36667 1000.02>1001.39 0.3222 29 counter sync 0"[0:0] + line(r.intervals[0]))
}
