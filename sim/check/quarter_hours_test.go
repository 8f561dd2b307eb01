package check_test

import (
	"testing"
	"time"

	"bordo/contract"
	"bordo/sim/check"
)

// A node spreads a leap of the counter over the time that makes it believable, which may be longer than the leap is away from
// the end of a quarter. Nothing else lets the counter at that end be anything but what was read around it.
func TestACounterLeapsBeforeAQuarterEnds(t *testing.T) {
	const from = 95.0
	for _, c := range []struct {
		name  string
		leap  time.Duration // how long before the end the first reading after it was made
		rise  float64       // kWh
		to    float64       // what the quarter ends at
		wrong bool
	}{
		{"not believed until the time explains it", 15 * time.Second, 9.6, 101, false},
		{"not believed until after a minute", 45 * time.Second, 18, 110, false},
		{"beyond the leap", 15 * time.Second, 9.6, 105, true},
		{"before the leap", 15 * time.Second, 9.6, 94, true},
		{"what a power explains is no leap", 15 * time.Second, 3, 96, true},
		{"explained by the time since", 45 * time.Second, 9.6, 101, true},
		{"so long ago that the edge is not covered", 75 * time.Second, 40, 101, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			end := begin.Add(15 * time.Minute)
			s := &story{t: t}
			for at := end.Add(-2*time.Minute - 5*time.Second); at.Before(end.Add(time.Minute)); at = at.Add(10 * time.Second) {
				value := from
				if !at.Before(end.Add(-c.leap)) {
					value += c.rise
				}
				s.counter(at, value)
			}
			s.event(end, dev, contract.EnergyInterval,
				map[string]any{"start": begin.UnixMilli(), "point": "ac_energy", "kwh": c.to - 90,
					"from": 90, "to": c.to, "segment": 1, "coverage": 1.0, "samples": 90, "method": "counter",
					"clk": "sync", "rev": 0})
			if found := s.judge(1000); len(found) > 0 != c.wrong {
				t.Errorf("found %q, want something: %v", found, c.wrong)
			}
		})
	}
}

// A counter that stood still for a while and then shows at once what it had counted may give a quarter the energy of several.
func TestACounterCatchesUp(t *testing.T) {
	const rated, every = 10.0, 30 * time.Second // kW
	for _, c := range []struct {
		name  string
		stood int     // quarters before this one in which the counter did not move
		kwh   float64 // of this one
		wrong bool
	}{
		{"its own energy", 0, 2.4, false},
		{"more than its own", 0, 5, true},
		{"that of the one before as well", 1, 5, false},
		{"more than that of both", 1, 8, true},
		{"that of the two before as well", 2, 8, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &story{t: t}
			start := begin.Add(time.Duration(c.stood+1) * 15 * time.Minute)
			value := 90.0
			for at := begin; at.Before(start.Add(16 * time.Minute)); at = at.Add(every) {
				switch {
				case at.Before(begin.Add(15 * time.Minute)):
					value += 0.05
				case at.Equal(start.Add(5 * time.Minute)):
					value += c.kwh
				}
				s.counter(at, value)
			}
			s.event(start.Add(15*time.Minute), dev, contract.EnergyInterval,
				map[string]any{"start": start.UnixMilli(), "point": "ac_energy", "kwh": c.kwh,
					"from": value - c.kwh, "to": value, "segment": 1, "coverage": 1.0, "samples": 30,
					"method": "counter", "clk": "sync", "rev": 0})
			if found := s.judge(rated); len(found) > 0 != c.wrong {
				t.Errorf("found %q, want something: %v", found, c.wrong)
			}
		})
	}
}

// judge holds what was published against the claims about quarter hours.
func (s *story) judge(ratedKW float64) []string {
	s.t.Helper()
	checker := check.NewQuarterHours(map[string]float64{dev: ratedKW})
	for _, p := range s.sent {
		m, err := check.Read("", p)
		if err != nil {
			s.t.Fatal(err)
		}
		checker.See(m)
	}
	return checker.Judge()
}

// counter publishes what the counter showed at a time.
func (s *story) counter(at time.Time, kwh float64) {
	s.t.Helper()
	s.seq++
	w := contract.NewBatch(nil, contract.Envelope{Node: node, Dev: dev, Ep: epoch, Clk: contract.ClockSync,
		Sent: at.UnixMilli()})
	ok, err := w.Add(s.seq, at.UnixMilli(),
		[]contract.Field{{Key: "ac_energy", Kind: contract.KindNumber, Num: kwh, Quality: contract.QualityGood}})
	if !ok || err != nil {
		s.t.Fatal(ok, err)
	}
	s.publish(at, "tele/"+dev, w.Bytes())
}
