package plant

import (
	"math"
	"testing"
	"time"
)

var crema = Place{Lat: 45.36, Lon: 9.69}

// The expected angles follow from the place and the obliquity alone: noon elevation is 90 - latitude + declination, and
// the declination at the solstices of 2026 is the obliquity, 23.436 degrees.
func TestSunAtTheSolstices(t *testing.T) {
	for _, c := range []struct {
		day         time.Time
		declination float64
	}{
		{time.Date(2026, 6, 21, 0, 0, 0, 0, time.UTC), 23.436},
		{time.Date(2026, 12, 21, 0, 0, 0, 0, time.UTC), -23.436},
		{time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC), 0},
	} {
		top, when := -90.0, c.day
		for at := c.day; at.Before(c.day.Add(24 * time.Hour)); at = at.Add(time.Minute) {
			if e, _ := Sun(at, crema); e > top {
				top, when = e, at
			}
		}
		if want := 90 - crema.Lat + c.declination; math.Abs(top-want) > 0.2 {
			t.Errorf("%s: highest elevation %.2f, want %.2f", c.day.Format(time.DateOnly), top, want)
		}
		if _, azimuth := Sun(when, crema); math.Abs(azimuth-180) > 1 {
			t.Errorf("%s: azimuth at noon %.2f, want 180", c.day.Format(time.DateOnly), azimuth)
		}
	}
}

// Times of sunrise and sunset for Milan as almanacs print them (centre of the sun 0.833 degrees below the horizon).
func TestSunriseInMilan(t *testing.T) {
	milan := Place{Lat: 45.464, Lon: 9.190}
	for _, c := range []struct{ day, rise, set string }{
		{"2026-06-21", "03:34", "19:15"},
		{"2026-12-21", "06:59", "15:42"},
	} {
		day, _ := time.Parse(time.DateOnly, c.day)
		var rise, set time.Time
		was, _ := Sun(day, milan)
		for at := day; at.Before(day.Add(24 * time.Hour)); at = at.Add(time.Minute) {
			e, _ := Sun(at, milan)
			if was < -0.833 && e >= -0.833 {
				rise = at
			}
			if was >= -0.833 && e < -0.833 {
				set = at
			}
			was = e
		}
		near(t, c.day+" sunrise", rise, day, c.rise)
		near(t, c.day+" sunset", set, day, c.set)
	}
}

func near(t *testing.T, what string, got, day time.Time, clock string) {
	t.Helper()
	hm, _ := time.Parse("15:04", clock)
	want := day.Add(time.Duration(hm.Hour())*time.Hour + time.Duration(hm.Minute())*time.Minute)
	if d := got.Sub(want).Abs(); d > 3*time.Minute {
		t.Errorf("%s: %s UTC, want %s", what, got.Format("15:04"), clock)
	}
}

func TestClearSky(t *testing.T) {
	south := Surface{Tilt: 30, Azimuth: 180}
	if got := ClearSky(-1, 180, south); got != 0 {
		t.Errorf("under the horizon: %v W/m2", got)
	}
	if got := ClearSky(60, 180, south); got < 900 || got > 1150 {
		t.Errorf("sun square to the surface: %v W/m2, want about 1000", got)
	}
	if face, back := ClearSky(20, 180, south), ClearSky(20, 0, south); back >= face/2 {
		t.Errorf("sun behind the surface: %v, in front: %v", back, face)
	}
}

// day runs a plant through the days from a time on and calls look after each step.
func day(from time.Time, days int, dt time.Duration, sky Sky, v *Inverter, m *Meter, l Load,
	look func(at time.Time, load [Phases]float64)) {
	grid := NewGrid(1)
	for at := from; at.Before(from.AddDate(0, 0, days)); at = at.Add(dt) {
		elevation, azimuth := Sun(at, crema)
		supply := grid.At(at)
		v.Step(at, dt, elevation, azimuth, sky, supply)
		active, reactive := l.At(at)
		exchange := active
		for i := range exchange {
			exchange[i] -= v.PowerW / Phases
		}
		m.Step(dt, exchange, reactive, supply)
		look(at, active)
	}
}

func TestAYearsDays(t *testing.T) {
	for _, c := range []struct {
		month    time.Month
		lo, hi   float64 // kWh of a 10 kW plant on a clear day
		coverage float64
	}{{6, 60, 100, 0}, {12, 20, 55, 0}, {6, 1, 55, 1}} {
		v, m := NewInverter(10e3, Rated(10e3, 2), 1000), &Meter{ImportKWh: 500, ExportKWh: 700}
		from := time.Date(2026, c.month, 21, 0, 0, 0, 0, time.UTC)
		dt := 5 * time.Second
		sumKWh, loadKWh, lastW, lastLoad, first := 0.0, 0.0, 0.0, 0.0, true
		day(from, 1, dt, NewSky(3, c.coverage), v, m, NewLoad(3, 500, 4000), func(at time.Time, load [Phases]float64) {
			if elevation, _ := Sun(at, crema); elevation < -1 && v.PowerW != 0 {
				t.Fatalf("%s: %v W at night", at, v.PowerW)
			}
			if v.PowerW < 0 || v.PowerW > v.RatedW {
				t.Fatalf("%s: %v W of %v", at, v.PowerW, v.RatedW)
			}
			if !first {
				sumKWh += (lastW + v.PowerW) / 2 * dt.Hours() / 1000
				loadKWh += (lastLoad + Sum(load)) / 2 * dt.Hours() / 1000
			}
			first, lastW, lastLoad = false, v.PowerW, Sum(load)
			if d := Sum(m.Active) - (Sum(load) - v.PowerW); math.Abs(d) > 1e-6 {
				t.Fatalf("%s: the meter is out of balance by %v W", at, d)
			}
		})
		if got := v.EnergyKWh - 1000; math.Abs(got-sumKWh) > 1e-6 {
			t.Errorf("month %d: counter says %.6f kWh, integral of power %.6f", c.month, got, sumKWh)
		}
		if sumKWh < c.lo || sumKWh > c.hi {
			t.Errorf("month %d, cover %v: %.1f kWh in a day, want %v to %v", c.month, c.coverage, sumKWh, c.lo, c.hi)
		}
		net := (m.ImportKWh - 500) - (m.ExportKWh - 700)
		if math.Abs(net-(loadKWh-sumKWh)) > 1e-6 {
			t.Errorf("month %d: import less export %.6f kWh, load less production %.6f", c.month, net, loadKWh-sumKWh)
		}
	}
}

// follows lists what may come after each state of an inverter.
var follows = map[string][]string{
	Sleeping:  {Starting, Fault, Standby},
	Starting:  {Producing, Throttled, Sleeping, Fault, Standby},
	Producing: {Throttled, Stopping, Fault, Standby},
	Throttled: {Producing, Stopping, Fault, Standby},
	Stopping:  {Sleeping, Fault, Standby},
	Fault:     {Starting, Sleeping},
	Standby:   {Starting, Sleeping, Fault},
}

func TestInverterStatesOfADay(t *testing.T) {
	v := NewInverter(10e3, Rated(10e3, 2, 2), 0)
	from := time.Date(2026, 6, 20, 22, 0, 0, 0, time.UTC)
	seen, was := []string{v.State}, v.State
	shaded := false
	day(from, 1, time.Second, NewSky(1, 0), v, &Meter{}, NewLoad(1, 1, 2), func(at time.Time, _ [Phases]float64) {
		switch at.Sub(from) {
		case 12 * time.Hour:
			v.LimitPct = 30
		case 13 * time.Hour:
			v.LimitPct = 100
		case 14 * time.Hour:
			v.Broken = true
		case 14*time.Hour + time.Minute:
			v.Broken = false
		}
		if v.LimitPct == 30 && at.Sub(from) > 12*time.Hour && v.PowerW > 3000 {
			t.Fatalf("%s: %v W under a limit of 3000", at, v.PowerW)
		}
		shaded = shaded || v.Inputs[1].PowerW < 0.7*v.Inputs[0].PowerW
		if v.State != was {
			if !contains(follows[was], v.State) {
				t.Fatalf("%s: %s after %s", at, v.State, was)
			}
			seen, was = append(seen, v.State), v.State
		}
	})
	want := []string{Sleeping, Starting, Producing, Throttled, Producing, Fault, Starting, Producing, Stopping,
		Sleeping}
	if len(seen) != len(want) {
		t.Fatalf("states %v, want %v", seen, want)
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Fatalf("states %v, want %v", seen, want)
		}
	}
	if !shaded {
		t.Error("the shaded string was never behind the other")
	}
}

func TestMeterBooksEachSignApart(t *testing.T) {
	var m Meter
	m.Step(0, [Phases]float64{3000}, [Phases]float64{}, Supply{})
	m.Step(time.Hour, [Phases]float64{-1000}, [Phases]float64{}, Supply{})
	// From +3 kW to -1 kW in an hour: a triangle of 3 kW over 45 minutes, one of 1 kW over 15.
	if math.Abs(m.ImportKWh-1.125) > 1e-9 || math.Abs(m.ExportKWh-0.125) > 1e-9 {
		t.Errorf("import %v, export %v; want 1.125 and 0.125", m.ImportKWh, m.ExportKWh)
	}
}

func TestDiceDependOnNothingElse(t *testing.T) {
	a, b := NewDice(7, "line a"), NewDice(7, "line b")
	if a.Word(3) == b.Word(3) || a.Word(3) == a.Word(4) || a.Word(3) == NewDice(8, "line a").Word(3) {
		t.Error("seed, actor and n must all matter")
	}
	if a.Word(3) != NewDice(7, "line a").Word(3) {
		t.Error("the same question got two answers")
	}
	sum := 0.0
	for n := range uint64(10000) {
		f := a.Float(n)
		if f < 0 || f >= 1 {
			t.Fatalf("Float(%d) = %v", n, f)
		}
		sum += f
	}
	if sum < 4800 || sum > 5200 {
		t.Errorf("mean %v of 10000 draws, want about 0.5", sum/10000)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
