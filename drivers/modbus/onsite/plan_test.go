package onsite_test

import (
	"slices"
	"strings"
	"testing"

	"bordo/drivers/modbus/onsite"
)

func TestSettings(t *testing.T) {
	settings := driver().SerialSettings("/dev/ttyUSB0")
	var text []string
	seen := map[string]bool{}
	for _, e := range settings {
		s := strings.TrimPrefix(e.String(), "serial:///dev/ttyUSB0?")
		if seen[s] {
			t.Errorf("%s occurs twice", s)
		}
		seen[s] = true
		text = append(text, s)
	}
	if text[0] != "baud=9600&parity=none&bits=8&stop=1" {
		t.Errorf("first settings %s, want the most frequent factory settings", text[0])
	}
	for _, p := range profiles() {
		if want := strings.Replace(p.Bus, "&stop", "&bits=8&stop", 1); p.Serial && !seen[want] {
			t.Errorf("%s: %s is not tried", p.Model, want)
		}
	}
	for _, want := range []string{"baud=19200&parity=even&bits=8&stop=1", "baud=9600&parity=even&bits=8&stop=1",
		"baud=9600&parity=none&bits=8&stop=2", "baud=115200&parity=none&bits=8&stop=1"} {
		if !seen[want] {
			t.Errorf("%s is not tried", want)
		}
	}
	if len(settings) > 24 {
		t.Errorf("%d settings", len(settings))
	}
}

func TestUnits(t *testing.T) {
	for _, stream := range []bool{false, true} {
		likely, rest := onsite.UnitsOf(profiles(), stream)
		all := append(slices.Clone(likely), rest...)
		slices.Sort(all)
		if len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("stream %v: a unit id occurs twice", stream)
		}
		for u := 1; u <= 247; u++ {
			if !slices.Contains(all, u) {
				t.Errorf("stream %v: unit id %d is missing", stream, u)
			}
		}
		if likely[0] != 1 || len(likely) > 32 || !slices.Contains(likely, 126) {
			t.Errorf("stream %v: likely unit ids %v", stream, likely)
		}
		if !stream && (all[0] < 1 || all[len(all)-1] > 247) {
			t.Errorf("unit ids on a serial line: %v", all)
		}
	}
}

func TestPorts(t *testing.T) {
	ports := driver().Ports()
	if ports[0] != 502 || !slices.Contains(ports, 1502) || len(ports) > 6 {
		t.Errorf("ports %v", ports)
	}
}
