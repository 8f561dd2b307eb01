package sim_test

import (
	"fmt"
	"strings"
	"testing"

	"bordo/agent/config"
	"bordo/drivers"
	"bordo/drivers/modbus"
	"bordo/sim"
)

// The configuration that is written for each scenario is one that the agent takes, without a fault and without a warning.
func TestConfigurationsAreTaken(t *testing.T) {
	for _, name := range sim.Scenarios() {
		s, err := sim.LoadScenario(name)
		if err != nil {
			t.Fatal(err)
		}
		text := s.Config(sim.AgentConfig{Dir: t.TempDir(), Broker: "mqtt://127.0.0.1:1883", Memory: true})
		c, err := config.Parse(name+".yaml", text, []drivers.Driver{modbus.New()})
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		for _, w := range c.Warnings {
			t.Errorf("%s: %s", name, w)
		}
		devices := 0
		for _, l := range c.Lines {
			devices += len(l.Devices)
		}
		if len(c.Lines) != len(s.Lines) || devices == 0 || c.Node != name {
			t.Errorf("%s: %d lines and %d devices of node %s", name, len(c.Lines), devices, c.Node)
		}
	}
}

// A scenario need not say where it is.
func TestConfigurationOfNowhere(t *testing.T) {
	s, err := sim.ParseScenario("nowhere", []byte(nowhere))
	if err != nil {
		t.Fatal(err)
	}
	text := s.Config(sim.AgentConfig{Dir: t.TempDir(), Broker: "mqtt://127.0.0.1:1883", Memory: true})
	if _, err := config.Parse("nowhere.yaml", text, []drivers.Driver{modbus.New()}); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestUnknownModel(t *testing.T) {
	for model, want := range map[string]string{
		"eastron-sdm360": " (did you mean eastron-sdm630", "rdm6300": ": bordo models lists them",
	} {
		s, err := sim.ParseScenario("nowhere", []byte(strings.Replace(nowhere, "eastron-sdm630", model, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sim.New(s, sim.Options{}); err == nil ||
			!strings.Contains(err.Error(), fmt.Sprintf("no Modbus model is called %q", model)+want) {
			t.Errorf("%s: %v", model, err)
		}
	}
}

const nowhere = `version: 1
name: nowhere
about: the least that a scenario can be
lines:
  - id: bus
    port: serial:///dev/sim/bus?baud=9600
    devices:
      - {id: meter-1, model: eastron-sdm630, unit: 1}
`
