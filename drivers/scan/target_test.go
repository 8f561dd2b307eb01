package scan_test

import (
	"slices"
	"strings"
	"testing"

	"bordo/drivers/scan"
)

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
		if err != nil || len(got.Hosts) != c.n || got.Hosts[0] != c.first || got.Hosts[c.n-1] != c.last ||
			got.Port != c.port {
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
