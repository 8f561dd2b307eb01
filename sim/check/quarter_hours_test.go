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
			s.event(end, dev, contract.EnergyInterval, map[string]any{"start": begin.UnixMilli(), "point": "ac_energy", "kwh": c.to - 90,
				"from": 90, "to": c.to, "segment": 1, "coverage": 1.0, "samples": 90, "method": "counter", "clk": "sync", "rev": 0})
			checker := check.NewQuarterHours(map[string]float64{dev: 1000})
			for _, p := range s.sent {
				m, err := check.Read("", p)
				if err != nil {
					t.Fatal(err)
				}
				checker.See(m)
			}
			if found := checker.Judge(); len(found) > 0 != c.wrong {
				t.Errorf("found %q, want something: %v", found, c.wrong)
			}
		})
	}
}

// counter publishes what the counter showed at a time.
func (s *story) counter(at time.Time, kwh float64) {
	s.t.Helper()
	s.seq++
	w := contract.NewBatch(nil, contract.Envelope{Node: node, Dev: dev, Ep: epoch, Clk: contract.ClockSync, Sent: at.UnixMilli()})
	ok, err := w.Add(s.seq, at.UnixMilli(), []contract.Field{{Key: "ac_energy", Kind: contract.KindNumber, Num: kwh, Quality: contract.QualityGood}})
	if !ok || err != nil {
		s.t.Fatal(ok, err)
	}
	s.publish(at, "tele/"+dev, w.Bytes())
}
