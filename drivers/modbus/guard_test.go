package modbus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// course feeds a guard one reading a minute and returns the results: value, a sign for the quality, and the
// events.
func course(g *guard, point string, values ...float64) string {
	var out []string
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, v := range values {
		readings, events := g.check([]drivers.Reading{
			{Point: point, Value: catalogue.Number(v)}, {Point: "ac_power", Value: catalogue.Number(1000)},
		}, at)
		at = at.Add(time.Minute)
		text := readings[0].Value.String() +
			map[drivers.Quality]string{drivers.Good: "", drivers.Uncertain: "?", drivers.Bad: "!",
				drivers.Stale: "~"}[readings[0].Quality]
		for _, e := range events {
			text += fmt.Sprintf(" %s%v", e.Type, e.Data)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestGuardCounters(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   string
	}{
		{"normal counter", []float64{100, 100, 100.1, 100.2}, "100; 100; 100.1; 100.2"},
		{"0 for one poll", []float64{100, 0, 100.1},
			"100; 0? bordo.counter.doubted.v1map[last:100 point:ac_energy value:0 why:fell]; 100.1"},
		{"restart", []float64{100, 0.1, 0.2, 0.3, 0.4, 0.5},
			"100; 0.1? bordo.counter.doubted.v1map[last:100 point:ac_energy value:0.1 why:fell]; 0.2?; 0.3?; 0.4 bordo.counter.reset.v1map[from:100 point:ac_energy to:0.4]; 0.5"},
		{"erratic counter", []float64{100, 5, 3, 101},
			"100; 5? bordo.counter.doubted.v1map[last:100 point:ac_energy value:5 why:fell]; 3? bordo.counter.doubted.v1map[last:100 point:ac_energy value:3 why:fell]; 101"},
		{"jump beyond the rating", []float64{100, 150, 100.2},
			"100; 150? bordo.counter.doubted.v1map[last:100 point:ac_energy value:150 why:leapt]; 100.2"},
		{"zero is never accepted as a start", []float64{100, 0, 0, 0, 0, 0, 0, 100.2},
			"100; 0? bordo.counter.doubted.v1map[last:100 point:ac_energy value:0 why:fell]; 0?; 0?; 0?; 0?; 0?; 100.2"},
		{"reset, then counting from zero", []float64{100, 0, 0, 0, 0, 0.1, 0.2, 0.3, 0.4},
			"100; 0? bordo.counter.doubted.v1map[last:100 point:ac_energy value:0 why:fell]; 0?; 0?; 0?; 0.1?; 0.2?; 0.3 bordo.counter.reset.v1map[from:100 point:ac_energy to:0.3]; 0.4"},
		{"never above zero before", []float64{0, 0, 0, 0.1}, "0; 0; 0; 0.1"},
		{"one coarse step", []float64{100, 101, 101, 102}, "100; 101; 101; 102"},
	} {
		g := &guard{rules: Guards{Counters: true}, ratedW: 6000}
		if got := course(g, "ac_energy", c.values...); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
	// Without a rating a jump is not detected; without the rule nothing is.
	if got := course(&guard{rules: Guards{Counters: true}}, "ac_energy", 100, 5000); got != "100; 5000" {
		t.Errorf("without a rating: %s", got)
	}
	if got := course(&guard{}, "ac_energy", 100, 1); got != "100; 1" {
		t.Errorf("without the rule: %s", got)
	}
	if got := course(&guard{rules: Guards{Counters: true}}, "temperature", 100, 1); got != "100; 1" {
		t.Errorf("a gauge: %s", got)
	}
	if got := course(&guard{rules: Guards{Counters: true}}, "cycles", 100, 1); got != "100; 1" {
		t.Errorf("a counter that is not energy: %s", got)
	}
}

// A daily counter restarts each midnight. A jump of it is doubted like that of any other counter.
func TestGuardDailyCounters(t *testing.T) {
	g := &guard{rules: Guards{Counters: true}, ratedW: 6000, inverter: true}
	want := "12.3; 0; 0; 0.1; 0.2; 12.3? bordo.counter.doubted.v1map[last:0.2 point:ac_energy_today value:12.3 why:leapt]; 0.3"
	if got := course(g, "ac_energy_today", 12.3, 0, 0, 0.1, 0.2, 12.3, 0.3); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The rating of an inverter does not limit what the house draws from the grid; that of a meter limits all its
// counters.
func TestGuardRatingByKind(t *testing.T) {
	for _, c := range []struct {
		inverter bool
		point    string
		doubted  bool
	}{{true, "ac_energy", true}, {true, "ac_energy_today", true}, {true, "import_energy", false},
		{true, "export_energy", false}, {false, "import_energy", true}} {
		g := &guard{rules: Guards{Counters: true}, ratedW: 6000, inverter: c.inverter}
		if got := strings.Contains(course(g, c.point, 100, 107), "doubted"); got != c.doubted {
			t.Errorf("%s of an inverter %v: doubted %v", c.point, c.inverter, got)
		}
	}
}

// An implausible rating comes from a register in another unit, or one that was never set.
func TestGuardRatingOfADevice(t *testing.T) {
	for watts, want := range map[float64]float64{6000: 6000, 0: 0, 6: 0, 1e9: 0, -5000: 0, 330000: 330000} {
		g := &guard{}
		if news := g.setRating(watts); g.ratedW != want || news != (want > 0) || g.setRating(watts) {
			t.Errorf("reported %v W, accepted %v (%v)", watts, g.ratedW, news)
		}
	}
	if g := (&guard{ratedW: 3000, ratingFixed: true}); g.setRating(6000) || g.ratedW != 3000 {
		t.Error("the device's rating replaced the configured one")
	}
}

func TestGuardRating(t *testing.T) {
	g := &guard{ratedW: 6000}
	for power, want := range map[float64]drivers.Quality{5000: drivers.Good, 7000: drivers.Good,
		13000: drivers.Uncertain, -13000: drivers.Uncertain} {
		readings, _ := g.check([]drivers.Reading{{Point: "ac_power", Value: catalogue.Number(power)}}, time.Time{})
		if readings[0].Quality != want || readings[0].Value.Float() != power {
			t.Errorf("%v W of 6 kW: %v", power, readings)
		}
	}
}

func TestGuardNullFrame(t *testing.T) {
	g := &guard{rules: Guards{NullFrame: []string{"frequency", "ac_voltage_l1"}}}
	frame := func(hz, volt float64, q drivers.Quality) []drivers.Reading {
		return []drivers.Reading{
			{Point: "ac_power", Value: catalogue.Number(0)}, {Point: "frequency", Value: catalogue.Number(hz)},
			{Point: "ac_voltage_l1", Value: catalogue.Number(volt), Quality: q},
		}
	}
	for _, c := range []struct {
		name     string
		readings []drivers.Reading
		empty    bool
		events   int
	}{
		{"alive", frame(50, 230, drivers.Good), false, 0},
		{"empty", frame(0, 0, drivers.Good), true, 1},
		{"still empty", frame(0, 0, drivers.Good), true, 0},
		{"half", frame(50, 0, drivers.Good), false, 0},
		{"empty again", frame(0, 0, drivers.Bad), true, 1},
		{"none of the points present", []drivers.Reading{{Point: "ac_power", Value: catalogue.Number(0)}}, false, 0},
	} {
		readings, events := g.check(c.readings, time.Time{})
		if (readings[0].Quality == drivers.Bad) != c.empty ||
			(readings[0].Value.Type() == catalogue.None) != c.empty || len(events) != c.events {
			t.Errorf("%s: %v, %v", c.name, readings, events)
		}
	}
}

func TestGuardFrozen(t *testing.T) {
	g := &guard{rules: Guards{Frozen: 3}}
	if got, want := course(g, "temperature", 20, 20, 20, 20, 20, 21, 21),
		"20; 20; 20; 20~ bordo.device.frozen.v1map[polls:3]; 20~; 21; 21"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	night := &guard{rules: Guards{Frozen: 2}}
	for range 10 {
		readings, events := night.check([]drivers.Reading{{Point: "ac_power", Value: catalogue.Number(0)}}, time.Time{})
		if readings[0].Quality != drivers.Good || len(events) != 0 {
			t.Fatalf("night reported as frozen: %v, %v", readings, events)
		}
	}
}

func TestMeasuredLoops(t *testing.T) {
	level := &drivers.ChannelMap{From: [2]float64{4, 20}, To: [2]float64{0, 100}}
	fall := &drivers.ChannelMap{From: [2]float64{0, 10}, To: [2]float64{250, 0}} // a distance: full when short
	for _, c := range []struct {
		x    float64
		unit string
		tap  *drivers.ChannelMap
		want string
		q    drivers.Quality
	}{
		{4, "mA", level, "0", drivers.Good},
		{20, "mA", level, "100", drivers.Good},
		{12, "mA", level, "50", drivers.Good},
		{12.345, "mA", level, "52.1563", drivers.Good}, // 8.345 of 16
		{3.7, "mA", level, "-1.875", drivers.Uncertain},
		{20.6, "mA", level, "103.75", drivers.Uncertain},
		{3.5, "mA", level, "-", drivers.Bad},
		{21.1, "mA", level, "-", drivers.Bad},
		{2.5, "V", fall, "187.5", drivers.Good},
		{0, "V", fall, "250", drivers.Good},
		{23.5, "Cel", nil, "23.5", drivers.Good},
	} {
		if v, q := measured(c.x, c.unit, c.tap); v.String() != c.want || q != c.q {
			t.Errorf("%v %s is %v (quality %d), want %s (%d)", c.x, c.unit, v, q, c.want, c.q)
		}
	}
}
