package agent_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
)

// booked is what the tests look at of what was booked of a device: the largest quarter, and why its segments began.
func (n *node) booked(dev string) (most float64, causes string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		var x struct {
			KWh   float64
			Cause string
		}
		if e.Dev != dev || e.Type != contract.EnergyInterval && e.Type != contract.EnergySegment {
			continue
		}
		if err := json.Unmarshal(e.Data, &x); err != nil {
			n.t.Error(err)
		}
		if most = max(most, x.KWh); x.Cause != "" {
			causes += x.Cause + " "
		}
	}
	return most, strings.TrimSpace(causes)
}

// A device of 37 kW that makes 36: no quarter of it is more than 37 kW and a tenth, whatever its counter leaps by, while it is
// silent or the agent does not run. A leap that a megawatt could make in that time is none of its own.
func TestQuartersAreBoundByTheRating(t *testing.T) {
	const most = 37*1.1/4 + 0.01 // and one step of the counter
	for _, c := range []struct {
		name  string
		told  float64 // by the device, W
		about string
		// the counter leaps while the agent does not run, after which the device no longer tells its rating
		restart bool
		causes  string
	}{
		{"told by the device", 37000, "", false, "restart jump"},
		{"told before a restart", 37000, "", true, "restart jump"},
		{"of the configuration", 0, ", about: {rated_kw: 37}", false, "restart jump"},
		{"the configuration knows better", 1e6, ", about: {rated_kw: 37}", true, "restart jump"},
		{"told in kW", 37, ", about: {rated_kw: 37}", false, "restart jump"},
		{"not known", 0, "", false, "restart"},
		{"told in kW and nobody knows better", 37, "", false, "restart"},
		{"absurd", 1e15, "", false, "restart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.configure(strings.Replace(n.text, "unit: 1, every: 1s", "unit: 1, every: 1s"+c.about, 1))
				n.faults.rate("dev-1", c.told)
				n.start()
				time.Sleep(10 * time.Minute)
				if c.restart {
					n.stop()
					n.faults.rate("dev-1", 0)
				} else {
					n.faults.silence("dev-1", true)
				}
				time.Sleep(40 * time.Second)
				n.faults.leap("dev-1", 7)
				n.faults.silence("dev-1", false)
				if c.restart {
					n.start()
				}
				time.Sleep(7 * time.Minute)
				n.stop()
				got, causes := n.booked("dev-1")
				if causes != c.causes || (got <= most) != (c.causes == "restart jump") || got < 8 {
					t.Errorf("a quarter of %v kWh, segments because of %s", got, causes)
				}
			})
		})
	}
}

// A counter that was above 0 and shows 0 is uncertain, however long that lasts, and after a restart as well. It is good when
// it goes on, and nothing was booked or begun.
func TestZeroOfACounterIsUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(5 * time.Minute)
		n.stop()
		n.faults.show0("dev-1", true)
		n.start()
		for range 6 {
			time.Sleep(time.Minute)
			s := n.newest("dev-1")
			if s.v["ac_energy"] != 0.0 || s.q["ac_energy"] != contract.QualityUncertain {
				t.Fatalf("the counter shows %v with quality %v", s.v["ac_energy"], s.q)
			}
		}
		n.faults.show0("dev-1", false)
		time.Sleep(10 * time.Second)
		if s := n.newest("dev-1"); s.q["ac_energy"] != 0 {
			t.Errorf("the counter goes on with quality %v", s.q)
		}
		time.Sleep(5 * time.Minute)
		n.stop()
		if _, causes := n.booked("dev-1"); causes != "restart" {
			t.Errorf("segments because of %s", causes)
		}
	})
}
