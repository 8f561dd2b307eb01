package catalogue_test

import (
	"math"
	"regexp"
	"slices"
	"testing"

	"bordo/drivers/catalogue"
)

// UCUM codes that the catalogue uses, so that a misspelt one is noticed.
var units = []string{"", "W", "V", "A", "Hz", "1", "var", "V.A", "kW.h", "kvar.h", "%", "Cel", "min", "L"}

func TestCatalogue(t *testing.T) {
	key := regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	seen := map[string]bool{}
	for i, p := range catalogue.Points() {
		if !key.MatchString(p.Key) || seen[p.Key] {
			t.Errorf("%q is no key, or comes twice", p.Key)
		}
		seen[p.Key] = true
		if p.It == "" || p.En == "" {
			t.Errorf("%s has no label", p.Key)
		}
		if number := p.Type == catalogue.Float; number != (p.Kind == catalogue.Gauge || p.Kind == catalogue.Counter) ||
			number == (p.Unit == "") {
			t.Errorf("%s: type %v, kind %s, unit %q", p.Key, p.Type, p.Kind, p.Unit)
		}
		if low, high, ok := p.Possible(); ok != (p.Type == catalogue.Float) || ok &&
			(low >= high || !p.IsPossible(high) || p.IsPossible(math.Nextafter(high, math.Inf(1)))) {
			t.Errorf("%s is possible from %v to %v, %v", p.Key, low, high, ok)
		}
		if !slices.Contains(units, p.Unit) {
			t.Errorf("%s: unknown unit %q", p.Key, p.Unit)
		}
		if got, ok := catalogue.PointOf(p.Key); !ok || got.Key != p.Key || catalogue.PointOrder(p.Key) != i {
			t.Errorf("%s is not found again", p.Key)
		}
	}
	state, _ := catalogue.PointOf("state")
	for _, w := range slices.Concat(catalogue.InverterStates, catalogue.BarrierStates) {
		if !slices.Contains(state.Enum, w) {
			t.Errorf("state lacks %s", w)
		}
	}
}

func TestNumberedPoints(t *testing.T) {
	for key, unit := range map[string]string{"dc1_voltage": "V", "dc2_current": "A", "dc32_power": "W"} {
		if p, ok := catalogue.PointOf(key); !ok || p.Key != key || p.Unit != unit || p.It == "" || p.En == "" {
			t.Errorf("%s is %+v", key, p)
		}
	}
	for _, key := range []string{"dc0_voltage", "dc33_voltage", "dc01_voltage", "dc1_", "dc1_frequency", "dc_1_voltage",
		"dcx_voltage", "dc-1_power", "nothing", ""} {
		if p, ok := catalogue.PointOf(key); ok {
			t.Errorf("%q is %+v", key, p)
		}
	}
	order := []string{"state", "ac_power", "full", "dc1_voltage", "dc1_current", "dc1_power", "dc2_voltage",
		"dc10_voltage", "dc32_power", "nothing"}
	if !slices.IsSortedFunc(order, func(a, b string) int { return catalogue.PointOrder(a) - catalogue.PointOrder(b) }) {
		t.Errorf("%v is not the catalogue's order", order)
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		v    catalogue.Value
		typ  catalogue.Type
		text string
	}{
		{catalogue.Value{}, catalogue.None, "-"},
		{catalogue.Number(230.2), catalogue.Float, "230.2"},
		{catalogue.Number(-0.5), catalogue.Float, "-0.5"},
		{catalogue.Number(0), catalogue.Float, "0"},
		{catalogue.Number(1e21), catalogue.Float, "1000000000000000000000"},
		{catalogue.Number(1e-7), catalogue.Float, "0.0000001"},
		{catalogue.Number(math.NaN()), catalogue.None, "-"},
		{catalogue.Number(math.Inf(-1)), catalogue.None, "-"},
		{catalogue.Truth(true), catalogue.Bool, "true"},
		{catalogue.Truth(false), catalogue.Bool, "false"},
		{catalogue.Words("a \"b\"\n"), catalogue.Text, "a \"b\"\n"},
		{catalogue.Words(""), catalogue.Text, ""},
	} {
		if c.v.Type() != c.typ || c.v.String() != c.text {
			t.Errorf("%v: type %v, text %q", c.v, c.v.Type(), c.v.String())
		}
	}
	if v := catalogue.Truth(true); v.Float() != 0 || v.Text() != "" || catalogue.Number(1).Bool() ||
		catalogue.Words("x").Float() != 0 {
		t.Error("a value gives what it is not")
	}
}
