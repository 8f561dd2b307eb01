package energy_test

import (
	"strings"
	"testing"
	"time"

	"bordo/agent/energy"
)

// exchange is an account of a meter A1 of 10 kW that shows 1000.2 kWh at 12:01:40, is followed at 12:22 by
// B2, which shows 5.02 kWh and rises as fast.
func exchange(t *testing.T) *rig {
	r := newRig(t, "12:00:00", energy.Options{Every: s10, RatedKW: 10})
	r.a.Serial("A1")
	r.run(11, s10, 1000, 0.02) // 1000.22; the last reading waits for one that agrees with it, and none comes
	r.wait(20 * time.Minute)
	r.a.Serial("B2")
	r.run(60, s10, 5, 0.02)
	return r
}

// meters are the serial numbers of the intervals that came, in their order.
func (r *rig) meters() string {
	var out []string
	for _, iv := range r.intervals {
		out = append(out, iv.Meter)
	}
	return strings.Join(out, " ")
}

// What was read under the new serial number is booked from its first reading on, each quarter under the meter that it ends
// with. The last reading that was known is the old meter's end where nobody knows better.
func TestExchangeIsBookedBack(t *testing.T) {
	r := exchange(t)
	r.expect("10 12:00 0.18 1000.02>1000.2 0.1 10 counter sync 0", "restart ->1000.02")
	if f := r.a.Confirm("B2", nil); f != nil {
		t.Fatal(f)
	}
	r.run(60, s10, 6.2, 0.02)
	if got := r.meters(); got != "B2" {
		t.Errorf("meters %s", got)
	}
	r.expect("10 12:15 0.96 5.02>5.98 0.5333 48 counter sync 0", "replaced 1000.2>5.02")
}

// A final reading of the old meter is booked between its last reading and the new one's first: the quarter that was told
// before comes again.
func TestExchangeWithAFinalReading(t *testing.T) {
	r := exchange(t)
	r.expect("10 12:00 0.18 1000.02>1000.2 0.1 10 counter sync 0", "restart ->1000.02")
	if f := r.a.Confirm("B2", energy.Final{"ac_energy": 1000.8}); f != nil {
		t.Fatal(f)
	}
	r.run(60, s10, 6.2, 0.02)
	if got := r.meters(); got != "A1 B2" {
		t.Errorf("meters %s", got)
	}
	total := 0.0
	for _, iv := range r.intervals {
		total += iv.KWh
	}
	if want := 1000.8 - 1000.02 + 5.98 - 5.02; total < want-1e-6 || total > want+1e-6 {
		t.Errorf("booked %v kWh, want %v", total, want)
	}
	if iv := r.intervals[0]; iv.Rev != 1 || iv.Coverage > 0.11 {
		t.Errorf("%s", line(iv))
	}
	if s := r.segments[0]; len(r.segments) != 1 || s.Cause != energy.CauseReplaced || *s.Last != 1000.8 ||
		s.First != 5.02 || s.Meter != "B2" {
		t.Errorf("segments %+v", r.segments)
	}
}

// A final reading that cannot be true confirms nothing.
func TestExchangeWithAnImpossibleFinalReading(t *testing.T) {
	for _, x := range []struct {
		final energy.Final
		cause string
	}{
		{energy.Final{"ac_energy": 999}, energy.RejectedFall},
		{energy.Final{"ac_energy": 2000}, energy.RejectedJump},
		{energy.Final{"ac_energy": -1}, energy.RejectedRange},
		{energy.Final{"import_energy": 1000.8}, energy.UnknownCounter},
	} {
		r := exchange(t)
		f := r.a.Confirm("B2", x.final)
		if f == nil || f.Cause != x.cause {
			t.Errorf("%v: %+v", x.final, f)
		}
		if _, _, open := r.a.Replaced(); !open {
			t.Errorf("%v: confirmed", x.final)
		}
	}
}

// A restart between the exchange and its confirmation loses nothing, nor does a third device that answers in between.
func TestExchangeOutlivesARestart(t *testing.T) {
	r := exchange(t)
	r.restart(energy.Options{Every: s10, RatedKW: 10})
	r.a.Confirm("B2", nil)
	r.run(60, s10, 6.2, 0.02)
	r.expect(`10 12:00 0.18 1000.02>1000.2 0.1 10 counter sync 0
		10 12:15 0.96 5.02>5.98 0.5333 48 counter sync 0`, "restart ->1000.02", "replaced 1000.2>5.02")

	r = exchange(t)
	r.a.Serial("C3")
	r.run(6, s10, 77, 0.02)
	r.a.Confirm("C3", nil)
	r.run(60, s10, 77.12, 0.02)
	if n := len(r.segments); n != 2 || r.segments[1].First != 77.02 || r.segments[1].Meter != "C3" {
		t.Errorf("segments %+v", r.segments)
	}
}

// An exchange that nobody confirms for weeks is held in a bounded state, and its energy is complete when it is confirmed.
func TestExchangeThatNobodyConfirms(t *testing.T) {
	r := exchange(t)
	last := r.run(20*24*60, time.Minute, 6.2, 0.1) // 20 days
	if n := len(r.a.State()); n > 64<<10 {
		t.Errorf("a state of %d bytes", n)
	}
	r.intervals, r.segments = nil, nil
	r.a.Confirm("B2", nil)
	r.run(20, time.Minute, last, 0.1)
	total := 0.0
	for _, iv := range r.intervals {
		total += iv.KWh
	}
	if to := r.intervals[len(r.intervals)-1].To; total < *to-5.03 || total > *to-5.01 {
		t.Errorf("booked %v kWh up to %v", total, *to)
	}
}
