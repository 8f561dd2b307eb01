package sim_test

import (
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
