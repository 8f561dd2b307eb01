package energy_test

import (
	"testing"
	"time"

	"bordo/agent/energy"
)

// An inverter without a counter: 6 kW are 1.5 kWh in a quarter. It takes half an hour to believe that there is no counter;
// what was read until then is not lost.
func TestNoCounter(t *testing.T) {
	r := newRig(t, "12:05:00", energy.Options{Every: time.Minute,
		Points: energy.Points([]string{"ac_power", "temperature"})})
	for range 50 { // 12:06 to 12:55
		r.wait(time.Minute)
		r.read(good("ac_power", 6000))
	}
	r.expect(`10 12:00 0.9 ->- 0.6 8 integral sync 0
		10 12:15 1.5 ->- 1 15 integral sync 0
		10 12:30 1.5 ->- 1 15 integral sync 0`)
	// A device that is asleep has no power, and that is not an integral of nothing.
	r.wait(time.Hour)
	for range 30 { // 13:56 to 14:25
		r.wait(time.Minute)
		r.read(good("ac_power", 6000))
	}
	r.expect(`10 12:45 1 ->- 0.6666 11 integral sync 0
		10 13:45 0.4 ->- 0.2666 3 integral sync 0
		10 14:00 1.5 ->- 1 15 integral sync 0`)
}

// A meter at the exchange point without counters, every five minutes at :00, :05 …: power is positive when energy is taken.
// From 12:00: 6000, 0, -3000, 3000, 3000 W, and then nothing.
func TestTrapezoids(t *testing.T) {
	r := newRig(t, "11:55:00", energy.Options{Every: 5 * time.Minute,
		Points: []string{"import_energy", "export_energy"}})
	for _, w := range []float64{6000, 0, -3000, 3000, 3000, 0, 0, 0, 0, 0, 0} {
		r.wait(5 * time.Minute)
		r.read(good("ac_power", w))
	}
	// Taken: a triangle of 6 kW over 5 minutes, 0.25 kWh; half of the way from -3 to 3 kW, 3 kW over 2.5 minutes: 0.0625; that
	// is before 12:15. Then 0.25, and a triangle of 3 kW: 0.125.
	// Delivered: triangles of 3 kW over 5 and 2.5 minutes: 0.1875.
	want := map[string][]string{
		"import_energy": {"10 12:00 0.3125 ->- 1 2 integral sync 0", "10 12:15 0.375 ->- 1 3 integral sync 0",
			"10 12:30 0 ->- 1 3 integral sync 0"},
		"export_energy": {"10 12:00 0.1875 ->- 1 2 integral sync 0", "10 12:15 0 ->- 1 3 integral sync 0",
			"10 12:30 0 ->- 1 3 integral sync 0"},
	}
	for point, lines := range want {
		for _, iv := range r.intervals {
			if iv.Point != point {
				continue
			}
			if len(lines) == 0 || line(iv) != lines[0] {
				t.Errorf("%s: %s, want %q", point, line(iv), lines)
				break
			}
			lines = lines[1:]
		}
		if len(lines) > 0 {
			t.Errorf("%s: %q is missing", point, lines)
		}
	}
}

// A piece of the integral that lies in two quarters is cut where the power was at the edge: from 0 W at 12:10 to 6 kW at
// 12:20 it was 3 kW at 12:15.
func TestTrapezoidOverTheEdge(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: 10 * time.Minute, Points: []string{"ac_energy"}})
	r.read(good("ac_power", 0))
	for _, w := range []float64{0, 6000, 6000, 6000, 6000} {
		r.wait(10 * time.Minute)
		r.read(good("ac_power", w))
	}
	// 1.5 kW over five minutes; 4.5 kW over five and 6 kW over ten; 6 kW over fifteen.
	r.expect(`10 12:00 0.125 ->- 1 1 integral sync 0
		10 12:15 1.375 ->- 1 1 integral sync 0
		10 12:30 1.5 ->- 1 2 integral sync 0`)
}

// The counter ceases to answer at 12:20 while the power goes on, and comes back at 14:00.
func TestCounterLost(t *testing.T) {
	r := newRig(t, "12:00:00", minutely)
	c := 10.0
	for i := range 150 { // 12:01 to 14:30
		r.wait(time.Minute)
		c += 0.1
		if i < 20 || i >= 119 {
			r.read(good("ac_energy", c), good("ac_power", 6000))
		} else {
			r.read(bad("ac_energy"), good("ac_power", 6000))
		}
	}
	// 12:20 is never confirmed, so the integral begins with the first power after 12:19. The counter is believed again at
	// 14:04, when five of its readings agree.
	if n := len(r.intervals); n != 9 {
		t.Fatalf("%d intervals", n)
	}
	for i, want := range map[int]string{
		0: "10 12:00 1.4 10.1>11.5 0.9333 14 counter sync 0",
		1: "10 12:15 1.5 11.5>- 1 15 mixed sync 0",
		2: "10 12:30 1.5 ->- 1 15 integral sync 0",
		7: "10 13:45 1.5 ->- 1 15 integral sync 0",
		8: "10 14:00 1.5 ->23.5 1 15 mixed sync 0",
	} {
		if got := line(r.intervals[i]); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
	r.intervals = nil
	r.expect("", "restart ->10.1", "unusable 11.9>22.4")
}

// Counter and power fail together: the counter tells what was missed.
func TestNothingAnswers(t *testing.T) {
	r := newRig(t, "12:00:00", minutely)
	for i := range 200 {
		r.wait(time.Minute)
		if i < 20 || i >= 119 {
			r.read(good("ac_energy", 10+0.1*float64(i)), good("ac_power", 6000))
		} else {
			r.read(bad("ac_energy"), bad("ac_power"))
		}
	}
	for i, iv := range r.intervals {
		if iv.Method != energy.MethodCounter || i > 0 && iv.KWh != 1.5 {
			t.Errorf("%s", line(iv))
		}
	}
	if len(r.segments) != 1 {
		t.Errorf("%+v", r.segments)
	}
}

// A watt, read every second, is less than the smallest unit from one reading to the next, and a watt-hour in an hour.
func TestSmallPower(t *testing.T) {
	r := newRig(t, "11:59:59", energy.Options{Every: time.Second, Points: []string{"ac_energy"}})
	for range 3602 {
		r.wait(time.Second)
		r.read(good("ac_power", 1))
	}
	r.expect(`10 12:00 0.00025 ->- 1 899 integral sync 0
		10 12:15 0.00025 ->- 1 900 integral sync 0
		10 12:30 0.00025 ->- 1 900 integral sync 0
		10 12:45 0.00025 ->- 1 900 integral sync 0`)
}

// Power beyond the rated one is not integrated.
func TestAbsurdPower(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: time.Minute, RatedKW: 10, Points: []string{"ac_energy"}})
	for i := range 91 {
		w := 6000.0
		if i == 20 || i == 50 {
			w = 655350
		}
		r.read(good("ac_power", w))
		r.wait(time.Minute)
	}
	for _, iv := range r.intervals {
		if iv.KWh > 1.5 || iv.KWh < 1.3 {
			t.Errorf("%s", line(iv))
		}
	}
	if len(r.intervals) != 6 {
		t.Errorf("%d intervals", len(r.intervals))
	}
}
