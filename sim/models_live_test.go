package sim

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
)

// Every model's device lives: its values move with the sun, the load and the mains, its counters rise as its power says, its
// voltages are those of a grid, and it falls asleep, is emptied, opens and closes as its kind does.
func TestEveryModelLives(t *testing.T) {
	for _, p := range modbus.Embedded() {
		t.Run(p.Model, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { liveOne(t, p) })
		})
	}
}

// liveOne lets a device of a model live through two hours of a June morning in which the mains fail for five minutes.
func liveOne(t *testing.T, p *modbus.Profile) {
	port := "serial:///dev/sim/line?" + p.Bus
	if !p.Serial {
		port = "tcp://10.0.0.1:502"
	}
	dev := Device{ID: "dev", Model: p.Model, Unit: p.Unit.Default, Every: max(10*time.Second, p.MinEvery),
		IO: channelsOf(p)}
	switch p.Kind {
	case catalogue.Inverter:
		dev.Inverter = &Inverter{Rated: 20000, Strings: 2, Energy: 1000}
	case catalogue.Meter:
		dev.Meter = &Meter{Measures: "load", Import: 1000}
	case catalogue.Barrier:
		dev.Barrier = &Barrier{Traffic: 2 * time.Minute, Cycles: 100}
	}
	s := &Scenario{Version: 1, Name: "one", Site: Place{Lat: 45.36, Lon: 9.69}, Sun: Sun{From: "2026-06-21T08:00"},
		Clouds: 0.3,
		Load:   Load{Base: 2000, Peak: 8000}, // which the smallest meter, of 45 A, can take
		Mains:  FaultTable{Faults: []Fault{{Kind: MainsCut, At: 90 * time.Minute, For: 5 * time.Minute}}},
		Lines:  []Line{{ID: "line", Port: port, Devices: []Device{dev}}}}
	_, a := live(t, s, 1, 2*time.Hour, nil)
	switch p.Kind {
	case catalogue.Inverter:
		counts(t, a, "ac_energy", "ac_power")
		moves(t, a, "ac_power", 0, 20000)
		words(t, a, "state", "producing")
		varies(t, a, "state") // the mains were gone
	case catalogue.Meter:
		if !slices.ContainsFunc(p.Points, func(x modbus.Point) bool { return x.Key == "ac_power" }) {
			moves(t, a, "import_energy", 1000, 1050) // it counts, and tells no power
			break
		}
		counts(t, a, "import_energy", "ac_power")
		moves(t, a, "ac_power", 2000, 10000)
	case catalogue.Barrier:
		moves(t, a, "position", 0, 100)
		moves(t, a, "cycles", 100, 300) // up and down for each of sixty vehicles
	case catalogue.UPS:
		moves(t, a, "battery_charge", 1, 100)
		words(t, a, "on_battery", "true", "false")
	case catalogue.IO:
		words(t, a, "door_open", "true", "false")
		words(t, a, "mains_ok", "true", "false")
	}
	grid(t, a, p)
}

// grid requires that what a model measures of the mains is what mains are like, and that their voltage is never still.
func grid(t *testing.T, a *agent, p *modbus.Profile) {
	t.Helper()
	if p.Kind != catalogue.Inverter && p.Kind != catalogue.Meter {
		return
	}
	told, moved := 0, false
	for _, x := range p.Points {
		low, high := 207.0, 253.0 // EN 50160: 230 V, ten per cent more or less
		switch {
		case x.Key == "frequency":
			low, high = 49.5, 50.5
		case !strings.HasPrefix(x.Key, "ac_voltage_l"):
			continue
		case strings.Count(x.Key, "_l") > 1:
			low, high = low*math.Sqrt(3), high*math.Sqrt(3)
		}
		told++
		seen := within(t, a, x.Key, low, high)
		moved = moved || len(seen) > 1 && x.Key != "frequency" // which some tell in tenths only
	}
	if told > 0 && !moved {
		t.Error("the voltage never moves")
	}
}

// within gives the values of a point, all of which must lie within bounds. A device may say 0 of mains that are gone.
func within(t *testing.T, a *agent, point string, low, high float64) map[float64]bool {
	t.Helper()
	values, at := a.good("dev", point)
	seen := map[float64]bool{}
	for i, v := range values {
		x := v.Float()
		if x == 0 && (strings.HasPrefix(point, "ac_") || point == "frequency") {
			continue
		}
		if seen[x] = true; x < low || x > high {
			t.Errorf("%s: %v at %s, want %v to %v", point, x, at[i].Format(time.TimeOnly), low, high)
			break
		}
	}
	return seen
}

// moves requires that a point takes several values, all of them within bounds.
func moves(t *testing.T, a *agent, point string, low, high float64) {
	t.Helper()
	if seen := within(t, a, point, low, high); len(seen) < 2 {
		t.Errorf("%s does not move: %v", point, seen)
	}
}

// varies requires that a point says more than one word.
func varies(t *testing.T, a *agent, point string) {
	t.Helper()
	values, _ := a.good("dev", point)
	if !slices.ContainsFunc(values, func(v catalogue.Value) bool { return v != values[0] }) {
		t.Errorf("%s always says %v", point, values[0])
	}
}

// words requires that a point says each of some words.
func words(t *testing.T, a *agent, point string, want ...string) {
	t.Helper()
	values, _ := a.good("dev", point)
	seen := map[string]int{}
	for _, v := range values {
		seen[v.String()]++
	}
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("%s never said %q: %v", point, w, seen)
		}
	}
}

// counts requires that a counter never falls, and rises by what the power of the same readings adds up to.
func counts(t *testing.T, a *agent, counter, power string) {
	t.Helper()
	energy, at := a.good("dev", counter)
	watts, then := a.good("dev", power)
	if len(energy) < 100 || len(watts) < 100 {
		t.Fatalf("%d readings of %s, %d of %s", len(energy), counter, len(watts), power)
	}
	grain := math.Inf(1) // what the model counts in
	for i := 1; i < len(energy); i++ {
		switch d := energy[i].Float() - energy[i-1].Float(); {
		case d < 0:
			t.Errorf("%s falls from %v to %v at %s", counter, energy[i-1].Float(), energy[i].Float(),
				at[i].Format(time.TimeOnly))
		case d > 0:
			grain = min(grain, d)
		}
	}
	sum := 0.0
	for i := 1; i < len(watts); i++ {
		if d := then[i].Sub(then[i-1]); d < 3*time.Minute { // nothing flows while the mains are gone
			sum += watts[i-1].Float() / 1000 * d.Hours()
		}
	}
	rose := energy[len(energy)-1].Float() - energy[0].Float()
	if !(math.Abs(rose-sum) <= 0.02*sum+grain) || rose == 0 {
		t.Errorf("%s rose by %.2f kWh, the power adds up to %.2f", counter, rose, sum)
	}
	if sum < 5 {
		t.Errorf("only %.2f kWh flowed", sum)
	}
}
