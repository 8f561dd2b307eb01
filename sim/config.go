package sim

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// AgentConfig says how an agent is to reach a simulated site.
type AgentConfig struct {
	Dir    string            // where the agent keeps its store and its control socket
	Broker string            // mqtt:// URL
	Ports  map[string]string // port URL by line id; a line that is not in it keeps the URL of the scenario
	// the lines are opened in memory under the names of the scenario, which is not a simulation in the agent's sense
	Memory bool
}

// Config writes the bordo.yaml of an agent for this scenario: everything that the site has, and nothing else.
func (s *Scenario) Config(c AgentConfig) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	timezone := s.Site.Timezone
	if timezone == "" {
		timezone = "Europe/Rome"
	}
	line("# Written by bordo-sim for the scenario %q: everything in it is simulated.", s.Name)
	line("version: 1")
	line("tenant: demo")
	line("node: %s", s.Name)
	line("timezone: %s", timezone)
	if s.Site.Name != "" {
		line("site: {name: %s, lat: %s, lon: %s}", quoted(s.Site.Name), decimal(s.Site.Lat), decimal(s.Site.Lon))
	}
	line("clock: {trust: system}")
	line("simulation: %v", !c.Memory)
	line("control: {socket: %s}", quoted(filepath.Join(c.Dir, "bordo.sock")))
	line("mqtt: {url: %s}", quoted(c.Broker))
	line("buffer: {dir: %s}", quoted(filepath.Join(c.Dir, "buffer")))
	line("lines:")
	for _, l := range s.Lines {
		port := l.Port
		if p, ok := c.Ports[l.ID]; ok {
			port = p
		}
		line("  - id: %s", l.ID)
		line("    port: %s", quoted(port))
		line("    devices:")
		for _, d := range l.Devices {
			every := ""
			if d.Every > 0 {
				every = fmt.Sprintf(", every: %s", d.Every)
			}
			line("      - {id: %s, model: %s, unit: %d%s%s}", d.ID, d.Model, d.Unit, every, taps(d.IO))
		}
	}
	return []byte(b.String())
}

// taps describes what is connected to the channels of an I/O module.
func taps(channels []Channel) string {
	if len(channels) == 0 {
		return ""
	}
	var points []string
	for _, c := range channels {
		scale := ""
		if c.Is == "level" {
			scale = fmt.Sprintf(", range: [%vmA, %vmA], scale: [0, 100]", emptyMA, fullMA)
		}
		points = append(points, fmt.Sprintf("%s: {at: %s%s}", c.Point, c.At, scale))
	}
	return ", points: {" + strings.Join(points, ", ") + "}"
}

// quoted writes a text so that YAML takes nothing in it for something else.
func quoted(text string) string { return strconv.Quote(text) }

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
