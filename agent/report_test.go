package agent

import (
	"slices"
	"testing"
	"time"

	"bordo/agent/config"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// A state has the words of its own model in meta, not those of everything that has a state.
func TestMetaStates(t *testing.T) {
	for _, c := range []struct {
		model drivers.Model
		want  []string
	}{
		{drivers.Model{Kind: "inverter", States: []string{"off", "producing"}}, []string{"off", "producing"}},
		{drivers.Model{Kind: "inverter"}, catalogue.InverterStates},
		{drivers.Model{Kind: "barrier"}, catalogue.BarrierStates},
	} {
		p, ok := points(c.model, []string{"ac_power", "state"}).Point("state")
		if !ok || !slices.Equal(p.Enum, c.want) {
			t.Errorf("%s: %v, want %v", c.model.Kind, p.Enum, c.want)
		}
	}
}

func TestReportOnChange(t *testing.T) {
	r := reporter{cfg: config.Report{OnChange: true, Deadband: config.Deadband{Value: 0.01, Relative: true},
		AtLeast: time.Minute,
		Points:  map[string]config.Deadband{"frequency": {Value: 0.05}}}}
	poll := func(power, hz, energy float64, state string, q drivers.Quality) []drivers.Reading {
		return []drivers.Reading{{Point: "ac_power", Value: catalogue.Number(power)},
			{Point: "frequency", Value: catalogue.Number(hz)},
			{Point: "ac_energy", Value: catalogue.Number(energy)},
			{Point: "state", Value: catalogue.Words(state), Quality: q}}
	}
	start := time.Unix(1_000_000, 0)
	steps := []struct {
		after    time.Duration
		readings []drivers.Reading
		due      bool
		why      string
	}{
		{0, poll(1000, 50, 7, "producing", 0), true, "the first"},
		{1, poll(1000, 50, 8, "producing", 0), false, "only a counter moved"},
		{2, poll(1009, 50.04, 9, "producing", 0), false, "within both deadbands"},
		{3, poll(1011, 50, 9, "producing", 0), true, "power by 1.1 %"},
		{4, poll(1020, 50, 9, "producing", 0), false, "0.9 % since the last report"},
		{5, poll(1020, 50.06, 9, "producing", 0), true, "frequency by more than its own deadband"},
		{6, poll(1020, 50.06, 9, "throttled", 0), true, "another state"},
		{7, poll(1020, 50.06, 9, "throttled", drivers.Uncertain), true, "another quality"},
		{8, append(poll(1020, 50.06, 9, "throttled", drivers.Uncertain), drivers.Reading{Point: "temperature"}), true,
			"a new point"},
		{67, poll(1020, 50.06, 9, "throttled", drivers.Uncertain), false, "59 s later"},
		{68, poll(1020, 50.06, 9, "throttled", drivers.Uncertain), true, "a minute later"},
	}
	for _, s := range steps {
		if got := r.due(s.readings, start.Add(s.after*time.Second)); got != s.due {
			t.Errorf("after %d s (%s): due is %v", s.after, s.why, got)
		}
	}
	every := reporter{}
	for range 3 {
		if !every.due(poll(1, 1, 1, "off", 0), start) {
			t.Error("without on: change every poll is due")
		}
	}
}
