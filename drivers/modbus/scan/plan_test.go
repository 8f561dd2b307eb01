package scan_test

import (
	"slices"
	"strings"
	"testing"

	"bordo/drivers/modbus/scan"
)

func TestSettings(t *testing.T) {
	settings := scan.Settings(profiles(), "/dev/ttyUSB0")
	var text []string
	seen := map[string]bool{}
	for _, e := range settings {
		s := strings.TrimPrefix(e.String(), "serial:///dev/ttyUSB0?")
		if seen[s] {
			t.Errorf("%s comes twice", s)
		}
		seen[s] = true
		text = append(text, s)
	}
	if text[0] != "baud=9600&parity=none&bits=8&stop=1" {
		t.Errorf("the first is %s, want what most devices are delivered with", text[0])
	}
	for _, p := range profiles() {
		if want := strings.Replace(p.Bus, "&stop", "&bits=8&stop", 1); p.Serial && !seen[want] {
			t.Errorf("%s: %s is not tried", p.Model, want)
		}
	}
	for _, want := range []string{"baud=19200&parity=even&bits=8&stop=1", "baud=9600&parity=even&bits=8&stop=1", "baud=9600&parity=none&bits=8&stop=2", "baud=115200&parity=none&bits=8&stop=1"} {
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
		likely, rest := scan.Units(profiles(), stream)
		all := append(slices.Clone(likely), rest...)
		slices.Sort(all)
		if len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("stream %v: a number comes twice", stream)
		}
		for u := 1; u <= 247; u++ {
			if !slices.Contains(all, u) {
				t.Errorf("stream %v: number %d is not asked", stream, u)
			}
		}
		if likely[0] != 1 || len(likely) > 32 || !slices.Contains(likely, 126) {
			t.Errorf("stream %v: the likely ones are %v", stream, likely)
		}
		if !stream && (all[0] < 1 || all[len(all)-1] > 247) {
			t.Errorf("on a serial line %v are asked", all)
		}
	}
}

func TestPorts(t *testing.T) {
	ports := scan.Ports(profiles())
	if ports[0] != 502 || !slices.Contains(ports, 1502) || len(ports) > 6 {
		t.Errorf("ports %v", ports)
	}
}

func TestParseUnits(t *testing.T) {
	if got, err := scan.ParseUnits("3, 1-4,247"); err != nil || !slices.Equal(got, []int{3, 1, 2, 4, 247}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, text := range []string{"", "a", "1-", "-1", "256", "5-3", "1,,2", "1-2-3"} {
		if got, err := scan.ParseUnits(text); err == nil {
			t.Errorf("%q gives %v", text, got)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		text        string
		n           int
		first, last string
		port        int
	}{
		{"192.168.1.40", 1, "192.168.1.40", "192.168.1.40", 0},
		{"192.168.1.40:1502", 1, "192.168.1.40", "192.168.1.40", 1502},
		{"192.168.1.40:502", 1, "192.168.1.40", "192.168.1.40", 502},
		{"tcp://Inverter.example:502", 1, "inverter.example", "inverter.example", 502},
		{"fe80::1", 1, "fe80::1", "fe80::1", 0},
		{"[fe80::1]", 1, "fe80::1", "fe80::1", 0},
		{"[fe80::1]:502", 1, "fe80::1", "fe80::1", 502},
		{"192.168.1.0/24", 254, "192.168.1.1", "192.168.1.254", 0},
		{"192.168.1.77/24", 254, "192.168.1.1", "192.168.1.254", 0},
		{"10.0.0.4/30", 2, "10.0.0.5", "10.0.0.6", 0},
		{"10.0.0.4/31", 2, "10.0.0.4", "10.0.0.5", 0},
		{"10.0.0.4/32", 1, "10.0.0.4", "10.0.0.4", 0},
		{"2001:db8::/126", 4, "2001:db8::", "2001:db8::3", 0},
		{"255.255.255.252/30", 2, "255.255.255.253", "255.255.255.254", 0},
	} {
		got, err := scan.ParseTarget(c.text)
		if err != nil || len(got.Hosts) != c.n || got.Hosts[0] != c.first || got.Hosts[c.n-1] != c.last || got.Port != c.port {
			t.Errorf("%s gives %v, %v", c.text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                  "must be HOST, HOST:PORT or a network",
		"a b":               "must be HOST, HOST:PORT or a network",
		"h:0":               "must be HOST, HOST:PORT or a network",
		"h:65536":           "must be HOST, HOST:PORT or a network",
		"h:x":               "must be HOST, HOST:PORT or a network",
		"/dev/ttyUSB0":      "must be a network such as",
		"192.168.0.0/16":    "at most 256 addresses: 192.168.0.0/24 or smaller",
		"2001:db8::/64":     "at most 256 addresses: 2001:db8::/120 or smaller",
		"192.168.1.0/33":    "must be a network such as",
		"192.168.1.0/24:80": "must be a network such as",
	} {
		if got, err := scan.ParseTarget(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, %v; want %q", text, got, err, want)
		}
	}
}
