package main

import (
	"fmt"
	"strings"
	"testing"

	"bordo/agent"
	"bordo/agent/energy"
)

// A person answers for each counter, with a comma or a point, says that a reading is not known, and is asked again after
// what is no number. Whoever goes away confirms nothing.
func TestAskFinal(t *testing.T) {
	last := 10234.56
	e := agent.Exchange{Device: "meter-1", Before: "54477095", After: "11111111", Counters: []energy.CounterReading{
		{Point: "import_energy", KWh: &last}, {Point: "export_energy"}}}
	for _, x := range []struct{ typed, want string }{
		{"10234,6\n987.7\n", "map[export_energy:987.7 import_energy:10234.6]"},
		{"\n\n", "map[]"},
		{"boh\n10234.6\nunknown\n", "map[import_energy:10234.6]"},
		{"-5\n?\n12\n", "map[export_energy:12]"},
		{"10234.6\n", "interrupted: nothing was confirmed"},
	} {
		var out strings.Builder
		final, err := askFinal(strings.NewReader(x.typed), &out, e, english())
		got := fmt.Sprint(map[string]float64(final))
		if err != nil {
			got = err.Error()
		}
		if got != x.want {
			t.Errorf("%q: %s, want %s", x.typed, got, x.want)
		}
		if !strings.Contains(out.String(), "last read 10234.56 kWh: ") ||
			!strings.Contains(out.String(), "never read: ") && len(final) > 0 {
			t.Errorf("asked\n%s", out.String())
		}
	}
}
