package phases_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"bordo/agent/phases"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// poll makes the readings of three phases.
func poll(volts, watts [3]float64) []drivers.Reading {
	var out []drivers.Reading
	for i := range 3 {
		out = append(out,
			drivers.Reading{Point: fmt.Sprintf("ac_voltage_l%d", i+1), Value: catalogue.Number(volts[i])},
			drivers.Reading{Point: fmt.Sprintf("ac_power_l%d", i+1), Value: catalogue.Number(watts[i])})
	}
	return out
}

var mains = [3]float64{231.4, 229.8, 230.6}

// A day of an exchange meter, a poll a minute from midnight: loads, and generators by phase.
func TestReversedPhase(t *testing.T) {
	sun := func(h float64) float64 { return math.Max(0, math.Sin((h-6)/12*math.Pi)) }
	loads := func(h float64) [3]float64 { // by night the smallest, and never equal
		w := 1 + math.Abs(math.Sin(h*3))
		return [3]float64{300 * w, 420 * w, 260 + 100*math.Cos(h)*w}
	}
	reverse := func(p [3]float64, phase int) [3]float64 { p[phase-1] = -p[phase-1]; return p }
	for _, c := range []struct {
		name  string
		power func(h float64) [3]float64
		phase int
		after time.Duration // at the latest
	}{
		{"loads", loads, 0, 0},
		{"loads, L2 reversed", func(h float64) [3]float64 { return reverse(loads(h), 2) }, 2, 25 * time.Hour},
		{"a generator on L1", func(h float64) [3]float64 {
			p := loads(h)
			p[0] -= 3000 * sun(h)
			return p
		}, 0, 0},
		{"a generator on L1, with next to nothing at night", func(h float64) [3]float64 {
			p := loads(h)
			if p[0] -= 3000 * sun(h); sun(h) < 0.3 {
				p = [3]float64{12, 15, 11}
			}
			return p
		}, 0, 0},
		{"a generator on all phases", func(h float64) [3]float64 {
			p := loads(h)
			for i := range p {
				p[i] -= 6000 * sun(h)
			}
			return p
		}, 0, 0},
		{"a generator on all phases, L3 reversed", func(h float64) [3]float64 {
			return [3]float64{5000 * sun(h), 5050 * sun(h), -4980 * sun(h)}
		}, 3, 9 * time.Hour},
		{"a generator on L1 that passes through what the others take", func(h float64) [3]float64 {
			return [3]float64{500 - 3000*sun(h), 500, 510}
		}, 0, 0},
		{"a motor, L1 reversed", func(float64) [3]float64 { return [3]float64{-5500, 5600, 5550} }, 1,
			10 * time.Minute},
		{"nothing", func(float64) [3]float64 { return [3]float64{} }, 0, 0},
		{"one phase alone", func(float64) [3]float64 { return [3]float64{-2000, 0, 0} }, 0, 0},
	} {
		var d phases.Device
		found, at := 0, time.Duration(0)
		for m := range 3 * 24 * 60 {
			now := time.Duration(m) * time.Minute
			_, f := d.Observe(poll(mains, c.power(now.Hours()-24*math.Floor(now.Hours()/24))), now)
			if f != nil && found == 0 {
				found, at = f.Phase, now
			}
		}
		if found != c.phase || at > c.after {
			t.Errorf("%s: L%d after %v, want L%d by %v", c.name, found, at, c.phase, c.after)
		}
	}
}

// Behind a meter of production there is nothing but a generator: a minute is enough, equal or not.
func TestReversedPhaseOfAGenerator(t *testing.T) {
	for generator, want := range map[bool]bool{true: true, false: false} {
		d := phases.Device{Generator: generator}
		var f *phases.Finding
		for i := range 7 {
			if f != nil {
				t.Errorf("told after %d polls", i)
			}
			_, f = d.Observe(poll(mains, [3]float64{900, 1200, -400}), time.Duration(i)*10*time.Second)
		}
		if (f != nil) != want {
			t.Errorf("generator %v: %v", generator, f)
		}
	}
}

// What was reversed is so until it was turned round, through nights and failed polls.
func TestReversedPhaseEnds(t *testing.T) {
	var d phases.Device
	now := time.Duration(0)
	step := func(n int, watts [3]float64) (f *phases.Finding) {
		for range n {
			now += 10 * time.Second
			_, f = d.Observe(poll(mains, watts), now)
		}
		return f
	}
	if f := step(60, [3]float64{-5500, 5600, 5550}); f != nil {
		t.Errorf("told after %v: %v", now, f)
	}
	if f := step(2, [3]float64{-5500, 5600, 5550}); f == nil || f.Detail != "L1: L1 -5500 W, L2 5600 W, L3 5550 W" {
		t.Errorf("after %v: %v", now, f)
	}
	if f := step(500, [3]float64{}); f == nil {
		t.Error("ended by a machine that stands still")
	}
	if f := step(2, [3]float64{5500, 5600, 5550}); f == nil {
		t.Error("ended by two polls")
	}
	if f := step(1, [3]float64{5500, 5600, 5550}); f != nil {
		t.Errorf("turned round, and still told: %v", f)
	}
}

func TestMissingPhase(t *testing.T) {
	for _, c := range []struct {
		name  string
		volts [3]float64
		phase int
	}{
		{"mains", mains, 0},
		{"without L3", [3]float64{231, 230, 0.4}, 3},
		{"without L2, with what comes back through a motor", [3]float64{231, 80, 229}, 2},
		{"low and there", [3]float64{231, 190, 229}, 0},
		{"a device on a single phase", [3]float64{231, 0, 0}, 0},
		{"asleep", [3]float64{}, 0},
		{"neither there nor gone", [3]float64{231, 120, 229}, 0},
		{"medium voltage without L1", [3]float64{0, 11540, 11520}, 1},
	} {
		var d phases.Device
		var f *phases.Finding
		for i := range 4 {
			if f, _ = d.Observe(poll(c.volts, [3]float64{100, 100, 0}), time.Duration(i)*10*time.Second); f != nil &&
				i < 3 {
				t.Errorf("%s: told after %d polls", c.name, i+1)
			}
		}
		if got := f; (got == nil) != (c.phase == 0) || got != nil && got.Phase != c.phase {
			t.Errorf("%s: %v, want L%d", c.name, got, c.phase)
		}
		for i := range 3 {
			f, _ = d.Observe(poll(mains, [3]float64{100, 100, 100}), time.Minute+time.Duration(i)*time.Second)
		}
		if f != nil {
			t.Errorf("%s: back, and still told: %v", c.name, f)
		}
	}
}

// What is bad, or not there, is not judged.
func TestDoubtfulPhases(t *testing.T) {
	bad := poll([3]float64{231, 230, 0}, [3]float64{-5500, 5600, 5550})
	for i := range bad {
		if i >= 4 {
			bad[i].Quality = drivers.Uncertain
		}
	}
	if v, p := phases.Look(bad); v != nil || p != nil {
		t.Errorf("%v %v", v, p)
	}
	v, p := phases.Look(poll([3]float64{231, 230, 0}, [3]float64{-500, 600, 850}))
	if v == nil || v.Detail != "L3: L1 231.0 V, L2 230.0 V, L3 0.0 V" || p == nil || p.Phase != 1 {
		t.Errorf("%v %v", v, p)
	}
}
