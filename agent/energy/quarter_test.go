package energy_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"bordo/agent/energy"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

const min5 = 5 * time.Minute

// Read every five minutes at :04, :09, :14 …; 12:15 is a fifth of the way from 102.5 to 103.5.
func TestQuartersByHand(t *testing.T) {
	r := newRig(t, "12:04:00", energy.Options{Every: min5,
		About: map[string]any{"pod": "IT001E12345678", "role": "production"}})
	r.count(0, 100)
	r.count(min5, 101)
	r.count(min5, 102.5)
	r.expect("", "restart ->100")
	r.count(min5, 103.5) // 12:19
	r.expect("")         // nothing agrees with it yet
	r.count(min5, 103.5) // 12:24
	r.expect("10 12:00 2.7 100>102.7 0.7333 3 counter sync 0")
	r.count(min5, 104)   // 12:29
	r.count(min5, 106.5) // 12:34
	r.count(min5, 107)   // 12:39
	// 12:30 is a fifth of the way from 104 to 106.5: 104.5.
	r.expect("10 12:15 1.8 102.7>104.5 1 3 counter sync 0")
}

func TestIntervalAsItIsSent(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: time.Minute,
		About: map[string]any{"pod": "IT001E12345678", "role": "production", "ct": "200/5"}})
	r.a.Serial("22410007")
	r.run(17, time.Minute, 500, 0.125)
	got, err := json.Marshal(r.intervals)
	if err != nil {
		t.Fatal(err)
	}
	// From the first reading, 500.125 at 12:01, to 12:15: fourteen minutes of 0.125.
	want := `[{"start":1773144000000,"point":"ac_energy","kwh":1.75,"from":500.125,"to":501.875,"meter":"22410007",` +
		`"segment":1773144060,"coverage":0.9333,"samples":14,"method":"counter","clk":"sync","rev":0,"pod":"IT001E12345678","role":"production"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err = json.Marshal(r.segments); err != nil {
		t.Fatal(err)
	}
	want = `[{"point":"ac_energy","segment":1773144060,"cause":"restart","last":null,"first":500.125,"meter":"22410007"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What is sent is what the contract's table of events says.
func TestKeysOfTheContract(t *testing.T) {
	for typ, v := range map[string]any{
		contract.EnergyInterval: energy.Interval{Meter: "1", POD: "IT", Role: "exchange"},
		contract.EnergySegment:  energy.Segment{Meter: "1"},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		var want []string
		e, _ := contract.EventTypeOf(typ)
		for _, f := range e.Fields {
			want = append(want, f.Key)
		}
		slices.Sort(want)
		if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
			t.Errorf("%s: %v, and the contract says %v", typ, keys, want)
		}
	}
}

func TestReadingOnTheEdge(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: min5})
	r.count(0, 10)
	r.run(8, min5, 10, 0.5) // 10.5 at 12:05, 11.5 at 12:15, 13 at 12:30, 14 at 12:40
	r.expect(`10 12:00 1.5 10>11.5 1 3 counter sync 0
		10 12:15 1.5 11.5>13 1 3 counter sync 0`, "restart ->10")
}

// Three hours without an answer: the difference is spread evenly, and the quarters add up to it.
func TestOutage(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: min5})
	last := r.run(3, min5, 10, 1) // 13 at 12:15
	r.count(3*time.Hour, last+12) // 25 at 15:15
	r.expect("10 12:00 2 11>13 0.6666 2 counter sync 0", "restart ->11")
	r.count(min5, 26)
	r.expect("") // after an outage, three have to agree
	r.run(4, min5, 26, 1)
	r.expect(`10 12:15 1 13>14 0 1 counter sync 0
		10 12:30 1 14>15 0 0 counter sync 0
		10 12:45 1 15>16 0 0 counter sync 0
		10 13:00 1 16>17 0 0 counter sync 0
		10 13:15 1 17>18 0 0 counter sync 0
		10 13:30 1 18>19 0 0 counter sync 0
		10 13:45 1 19>20 0 0 counter sync 0
		10 14:00 1 20>21 0 0 counter sync 0
		10 14:15 1 21>22 0 0 counter sync 0
		10 14:30 1 22>23 0 0 counter sync 0
		10 14:45 1 23>24 0 0 counter sync 0
		10 15:00 1 24>25 0 0 counter sync 0
		10 15:15 3 25>28 1 3 counter sync 0`)
}

// Energy that does not divide is spread without a remainder: 1 mWh in 7 quarters is six times nothing and once all.
func TestNothingIsLostByRounding(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: min5})
	r.run(3, min5, 10, 0.000001)
	r.count(105*time.Minute, 10.000004)
	r.run(4, min5, 10.000004, 0)
	sum := 0.0
	for _, iv := range r.intervals {
		if iv.Start >= at("2026-03-10 12:15:00").UnixMilli() && iv.Start < at("2026-03-10 14:00:00").UnixMilli() {
			sum += iv.KWh
		}
	}
	if sum != 0.000001 || len(r.intervals) != 9 {
		t.Errorf("%d intervals, %v kWh", len(r.intervals), sum)
	}
}

func TestLongestOutage(t *testing.T) {
	for off, segments := range map[time.Duration]int{energy.MaxOutage - time.Minute: 1,
		energy.MaxOutage + time.Minute: 2} {
		r := newRig(t, "12:00:00", energy.Options{Every: time.Minute})
		r.run(5, time.Minute, 1000, 0.1)
		r.count(off, 5000)
		r.run(5, time.Minute, 5000, 0.1)
		if len(r.segments) != segments {
			t.Errorf("%v: segments %+v", off, r.segments)
		}
		if n := len(r.intervals); segments == 1 && n != 31*96 || segments == 2 && n != 1 {
			t.Errorf("%v: %d intervals", off, n)
		}
	}
}

// Quarters of an hour are those of UTC. In Rome the day on which summer time begins has 92 of them, that on which it ends
// 100, and none lies in two local days.
func TestDaysOfSummerTime(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]int{"2026-03-28": 96, "2026-03-29": 92, "2026-10-24": 96, "2026-10-25": 100} {
		begin, err := time.ParseInLocation("2006-01-02", day, rome)
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, "12:00:00", energy.Options{Every: min5})
		r.wall = begin.Add(-time.Hour)
		r.run(27*12, min5, 100, 0.25) // 3 kW
		n, sum := 0, 0.0
		for _, iv := range r.intervals {
			start := time.UnixMilli(iv.Start).In(rome)
			if start.Format("2006-01-02") != day {
				continue
			}
			n++
			sum += iv.KWh
			if last := start.Add(15*time.Minute - time.Millisecond); last.Format("2006-01-02") != day {
				t.Errorf("the quarter of %v ends in another day", start)
			}
		}
		if n != want || sum != float64(want)*0.75 {
			t.Errorf("%s: %d quarters, %v kWh", day, n, sum)
		}
	}
}

// Only counters that never start anew by themselves are accounted, and only good readings.
func TestWhatCounts(t *testing.T) {
	r := newRig(t, "12:00:00", energy.Options{Every: time.Minute})
	for i := range 40 {
		v := float64(i)
		r.wait(time.Minute)
		r.read(
			drivers.Reading{Point: "import_energy", Value: catalogue.Number(900 + v)},
			drivers.Reading{Point: "export_energy", Value: catalogue.Number(900 - v), Quality: drivers.Uncertain},
			drivers.Reading{Point: "ac_energy_today", Value: catalogue.Number(v)},
			drivers.Reading{Point: "reactive_import_energy", Value: catalogue.Number(v)},
			drivers.Reading{Point: "cycles", Value: catalogue.Number(v)},
			drivers.Reading{Point: "ac_energy", Value: catalogue.Words("much")},
			drivers.Reading{Point: "export_energy", Value: catalogue.Number(v), Quality: drivers.Stale},
			bad("ac_energy"),
		)
	}
	for _, iv := range r.intervals {
		if iv.Point != "import_energy" {
			t.Errorf("%+v", iv)
		}
	}
	if len(r.intervals) != 2 || r.intervals[1].KWh != 15 {
		t.Errorf("%+v", r.intervals)
	}
	for has, want := range map[string]string{
		"ac_power ac_energy ac_energy_today":   "ac_energy",
		"ac_power import_energy export_energy": "import_energy export_energy",
		"ac_power temperature":                 "ac_energy", "temperature": "", "": "",
	} {
		if got := energy.Points(words(has)); !slices.Equal(got, words(want)) {
			t.Errorf("points of %q: %q", has, got)
		}
	}
}
