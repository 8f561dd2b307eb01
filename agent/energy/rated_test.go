package energy_test

import (
	"testing"
	"time"

	"bordo/agent/energy"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// leap reads a counter for five minutes, lets it rise by 7 kWh in ten seconds, and goes on for another half an hour. It
// returns the cause of the segment that came of it, if any.
func leap(r *rig, point string) string {
	v := 1000.0
	read := func(n int) {
		for range n {
			v += 0.01
			r.wait(s10)
			r.read(drivers.Reading{Point: point, Value: catalogue.Number(v)})
		}
	}
	read(30)
	r.wait(30 * time.Second)
	v += 7
	read(180)
	if n := len(r.segments); n > 1 {
		return r.segments[n-1].Cause
	}
	return ""
}

// What bounds a counter: the operator's word, else what the device tells, of an inverter for what it makes itself, else 1 MW.
func TestRatingThatADeviceTells(t *testing.T) {
	for _, c := range []struct {
		name, point string
		o           energy.Options
		told        float64
		cause       string
	}{
		{"nothing known", "ac_energy", energy.Options{}, 0, ""},
		{"an inverter", "ac_energy", energy.Options{}, 6, "jump"},
		{"what the house takes behind it", "import_energy", energy.Options{}, 6, ""},
		{"a meter", "import_energy", energy.Options{Meter: true}, 6, "jump"},
		{"a large one", "ac_energy", energy.Options{}, 900, ""},
		{"the operator says more", "ac_energy", energy.Options{RatedKW: 900}, 6, ""},
		{"the operator says less", "import_energy", energy.Options{RatedKW: 6}, 900, "jump"},
		{"about says less", "ac_energy", energy.Options{About: map[string]any{"rated_kw": 6.0}}, 900, "jump"},
		{"about says what cannot be", "ac_energy", energy.Options{About: map[string]any{"rated_kw": 6e6}}, 6, "jump"},
		{"told in watts", "ac_energy", energy.Options{}, 6e6, ""},
		{"told in megawatts", "ac_energy", energy.Options{}, 0.006, ""},
	} {
		c.o.Every, c.o.Points = s10, []string{c.point}
		r := newRig(t, "12:00:00", c.o)
		r.a.Rated(c.told)
		if got := leap(r, c.point); got != c.cause {
			t.Errorf("%s: a segment because of %q, want %q", c.name, got, c.cause)
		}
	}
}

// What a device has told is part of the account, and goes with it.
func TestRatingIsKept(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: s10})
	r.a.Serial("A1")
	r.a.Rated(6)
	r.restart(energy.Options{Every: s10})
	r.a.Rated(0) // it was not read yet
	if got := leap(r, "ac_energy"); got != "jump" {
		t.Errorf("after a restart: %q", got)
	}
	if v, ok := r.a.Believed("ac_energy"); !ok || v < 1008 {
		t.Errorf("believed %v, %v", v, ok)
	}
	r.a.Serial("B2")
	r.a.Rated(0) // another device, which tells none
	r.a.Confirm("B2", nil)
	if v, ok := r.a.Believed("ac_energy"); ok {
		t.Errorf("of the other device %v is believed", v)
	}
	r.segments = nil
	if got := leap(r, "ac_energy"); got != "" || len(r.segments) != 1 || r.segments[0].Cause != "replaced" {
		t.Errorf("of the other device, of which no rating is known: %+v", r.segments)
	}
}
