package sim

import (
	"strings"
	"testing"
	"time"
)

func TestShippedScenariosAreRight(t *testing.T) {
	for _, name := range Scenarios() {
		s, err := LoadScenario(name)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if s.Name != name || s.About == "" {
			t.Errorf("%s: name %q, about %q", name, s.Name, s.About)
		}
	}
}

func TestScenarioKeysAndTimes(t *testing.T) {
	s, err := ParseScenario("x.yaml", []byte(`
version: 1
name: x
about: a test
site: {name: X, lat: 45, lon: 9}
lines:
  - id: roof
    port: tcp://10.0.0.1
    faults: [{fault: late, chance: 0.1, by: 2s, at: 1m, for: 10s, every: 1h}]
    devices: [{id: inv-1, model: sunspec, unit: 1, every: 2500ms, inverter: {rated: 10000}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Fault{Kind: Late, Chance: 0.1, By: 2 * time.Second, At: time.Minute, For: 10 * time.Second,
		Every: time.Hour}
	if got := s.Lines[0].Faults[0]; got != want {
		t.Errorf("fault %+v, want %+v", got, want)
	}
	if got := s.Lines[0].Devices[0]; got.Every != 2500*time.Millisecond || got.Inverter.Rated != 10000 {
		t.Errorf("device %+v", got)
	}
}

func TestScenarioFaultsAreToldWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "version: 1\nname: x\nclods: 1\n", "[3:1]"},
		{"version", "version: 2\nname: x\n", "version: must be 1"},
		{"name", "version: 1\nname: X\n", "name: id"},
		{"sun", "version: 1\nname: x\nsun: {from: now}\n", "sun.from: must be like"},
		{"port", "version: 1\nname: x\nlines: [{id: a, port: 'http://x'}]\n", "lines[0].port: unknown kind"},
		{"device", "version: 1\nname: x\nlines: [{id: a, port: 'tcp://h', devices: [{id: d, model: m, meter: {}, barrier: {}}]}]\n", "lines[0].devices[0]: must be one of"},
		{"every", "version: 1\nname: x\nlines: [{id: a, port: 'tcp://h', devices: [{id: d, model: eastron-sdm630, unit: 1, every: 999ms}]}]\n",
			"lines[0].devices[0].every: must be at least 1s for model eastron-sdm630 (got 999ms)"},
		{"fault", "version: 1\nname: x\nlines: [{id: a, port: 'tcp://h', faults: [{fault: dropp}]}]\n",
			"lines[0].faults[0]: fault must be one of"},
		{"whose", "version: 1\nname: x\nlines: [{id: a, port: 'tcp://h', faults: [{fault: drop, device: d}]}]\n",
			`no device "d"`},
		{"twice", "version: 1\nname: x\nlines: [{id: a, port: 'tcp://h'}, {id: a, port: 'tcp://h'}]\n",
			"is there twice"},
		{"both", "version: 3\nname: x\nclouds: 2\n", "clouds: must be 0 to 1"},
		{"missing", "", "version: must be 1"},
		{"no number", "version: 1\nname: x\nclouds: .nan\n", "clouds: must be 0 to 1"},
		{"endless", "version: 1\nname: x\nload: {base: 1, peak: .inf}\n", "load: must not be"},
		{"rated", "version: 1\nname: x\nlines: [{id: a, port: 'tcp://h', devices: [{id: d, model: sunspec, unit: 1, inverter: {rated: .nan}}]}]\n",
			"lines[0].devices[0].inverter.rated: must be more than 0 W"},
		{"no unit", "version: 1\nname: x\nlines: [{id: a, port: 'tcp://h', devices: [{id: d, model: sunspec}]}]\n",
			"lines[0].devices[0].unit: must be 1 to 247 (got 0)"},
		{"mains", "version: 1\nname: x\nmains: {faults: [{fault: mains-cut, device: d}]}\n",
			"mains.faults[0]: mains-cut has no device"},
	} {
		_, err := ParseScenario(c.name, []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := LoadScenario("nowhere"); err == nil || !strings.Contains(err.Error(), "demo") {
		t.Errorf("an unknown name must tell those that there are: %v", err)
	}
}

// What a scenario says of a device that its model is not, and a fault that no device there can have, would do nothing: New
// tells all of it at once, each with its place.
func TestSiteRefusesWhatCannotBe(t *testing.T) {
	s, err := ParseScenario("x.yaml", []byte(`
version: 1
name: x
lines:
  - id: a
    port: tcp://10.0.0.1
    devices:
      - {id: d1, model: eastron-sdm630, unit: 1, barrier: {}}
  - id: b
    port: tcp://10.0.0.2
    devices:
      - {id: d2, model: moxa-iologik-e1210, unit: 1, io: [{at: di99, point: door_open, is: mains}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(s, Options{})
	for _, want := range []string{"device d1: model eastron-sdm630 is a meter: barrier is not for it, meter is",
		`device d2: io[0].at: model moxa-iologik-e1210 has no channel "di99": must be di0, `} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s = mustLoad(t, "demo")
	s.Lines[0].Faults = []Fault{{Kind: Drop}, {Kind: Obstacle}}
	s.Lines[1].Faults = []Fault{{Kind: Stuck, Point: "ac_pwoer"}}
	_, err = New(s, Options{})
	for _, want := range []string{"lines[0].faults[1]: obstacle cannot happen to any device on line roof",
		`lines[1].faults[0]: meter-1 has no point "ac_pwoer"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
