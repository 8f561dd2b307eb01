package check

import (
	"testing"
	"time"

	"bordo/agent/energy"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// What the checker takes for a leap is what the agent does not believe: both know the same bound. The agent holds a
// reading against the last that another one has confirmed, so a power that is a little too high shows only after a while.
func TestALeapIsWhatTheAgentDoesNotBelieve(t *testing.T) {
	for kw, leaps := range map[float64]bool{0.95 * believedKW: false, 1.05 * believedKW: true} {
		begin := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
		account := energy.New(energy.Options{Every: 10 * time.Second})
		rejected := 0
		var before counterReading
		for i := range 60 {
			at := time.Duration(i) * 10 * time.Second
			value := 95.125 + kw*max(0, at-time.Minute).Hours()
			r := counterReading{ts: begin.Add(at).UnixMilli(), value: value}
			if at > time.Minute && inReach(before, r) == leaps {
				t.Errorf("%.0f kW: from %v to %v a leap is %v", kw, before, r, leaps)
			}
			before = r
			rejected += len(account.Observe(energy.Poll{Wall: begin.Add(at), Mono: at, Boot: "b",
				Clk:      contract.ClockSync,
				Readings: []drivers.Reading{{Point: "ac_energy", Value: catalogue.Number(value)}}}))
		}
		if rejected > 0 != leaps {
			t.Errorf("%.0f kW: the agent rejected %d times", kw, rejected)
		}
	}
}
