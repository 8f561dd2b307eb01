package drivers_test

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"testing"

	"bordo/drivers"
)

// UCUM codes that the catalogue uses, so that a misspelt one is noticed.
var units = []string{"", "W", "V", "A", "Hz", "1", "var", "V.A", "kW.h", "kvar.h", "%", "Cel", "min", "L"}

func TestCatalogue(t *testing.T) {
	key := regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	seen := map[string]bool{}
	for i, p := range drivers.Points() {
		if !key.MatchString(p.Key) || seen[p.Key] {
			t.Errorf("%q is no key, or comes twice", p.Key)
		}
		seen[p.Key] = true
		if p.It == "" || p.En == "" {
			t.Errorf("%s has no label", p.Key)
		}
		if number := p.Type == drivers.Float; number != (p.Kind == drivers.Gauge || p.Kind == drivers.Counter) || number == (p.Unit == "") {
			t.Errorf("%s: type %v, kind %s, unit %q", p.Key, p.Type, p.Kind, p.Unit)
		}
		if low, high, ok := p.Possible(); ok != (p.Type == drivers.Float) || ok && (low >= high || !p.IsPossible(high) || p.IsPossible(math.Nextafter(high, math.Inf(1)))) {
			t.Errorf("%s is possible from %v to %v, %v", p.Key, low, high, ok)
		}
		if !slices.Contains(units, p.Unit) {
			t.Errorf("%s: unknown unit %q", p.Key, p.Unit)
		}
		if got, ok := drivers.PointOf(p.Key); !ok || got.Key != p.Key || drivers.PointOrder(p.Key) != i {
			t.Errorf("%s is not found again", p.Key)
		}
	}
	state, _ := drivers.PointOf("state")
	for _, w := range slices.Concat(drivers.InverterStates, drivers.BarrierStates) {
		if !slices.Contains(state.Enum, w) {
			t.Errorf("state lacks %s", w)
		}
	}
}

func TestNumberedPoints(t *testing.T) {
	for key, unit := range map[string]string{"dc1_voltage": "V", "dc2_current": "A", "dc32_power": "W"} {
		if p, ok := drivers.PointOf(key); !ok || p.Key != key || p.Unit != unit || p.It == "" || p.En == "" {
			t.Errorf("%s is %+v", key, p)
		}
	}
	for _, key := range []string{"dc0_voltage", "dc33_voltage", "dc01_voltage", "dc1_", "dc1_frequency", "dc_1_voltage", "dcx_voltage", "dc-1_power", "nothing", ""} {
		if p, ok := drivers.PointOf(key); ok {
			t.Errorf("%q is %+v", key, p)
		}
	}
	order := []string{"state", "ac_power", "full", "dc1_voltage", "dc1_current", "dc1_power", "dc2_voltage", "dc10_voltage", "dc32_power", "nothing"}
	if !slices.IsSortedFunc(order, func(a, b string) int { return drivers.PointOrder(a) - drivers.PointOrder(b) }) {
		t.Errorf("%v is not the catalogue's order", order)
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		v    drivers.Value
		typ  drivers.Type
		text string
	}{
		{drivers.Value{}, drivers.None, "-"},
		{drivers.Number(230.2), drivers.Float, "230.2"},
		{drivers.Number(-0.5), drivers.Float, "-0.5"},
		{drivers.Number(0), drivers.Float, "0"},
		{drivers.Number(1e21), drivers.Float, "1000000000000000000000"},
		{drivers.Number(1e-7), drivers.Float, "0.0000001"},
		{drivers.Number(math.NaN()), drivers.None, "-"},
		{drivers.Number(math.Inf(-1)), drivers.None, "-"},
		{drivers.Truth(true), drivers.Bool, "true"},
		{drivers.Truth(false), drivers.Bool, "false"},
		{drivers.Words("a \"b\"\n"), drivers.Text, "a \"b\"\n"},
		{drivers.Words(""), drivers.Text, ""},
	} {
		if c.v.Type() != c.typ || c.v.String() != c.text {
			t.Errorf("%v: type %v, text %q", c.v, c.v.Type(), c.v.String())
		}
	}
	if v := drivers.Truth(true); v.Float() != 0 || v.Text() != "" || drivers.Number(1).Bool() || drivers.Words("x").Float() != 0 {
		t.Error("a value gives what it is not")
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	inner := &drivers.Error{Op: "read", Kind: drivers.Timeout, Lost: true, Err: cause}
	outer := &drivers.Error{Op: "poll", Kind: drivers.Busy, Err: inner}
	for _, c := range []struct {
		err  error
		kind drivers.ErrorKind
		lost bool
	}{
		{nil, 0, false},
		{cause, 0, false},
		{inner, drivers.Timeout, true},
		{outer, drivers.Busy, true},
		{fmt.Errorf("wrapped: %w", inner), drivers.Timeout, true},
		{errors.Join(cause, &drivers.Error{Kind: drivers.Exception}, inner), drivers.Exception, true},
		{errors.Join(cause, &drivers.Error{Kind: drivers.Exception}), drivers.Exception, false},
	} {
		if k, l := drivers.KindOf(c.err), drivers.PortLost(c.err); k != c.kind || l != c.lost {
			t.Errorf("%v: kind %v, lost %v", c.err, k, l)
		}
	}
	if !errors.Is(outer, cause) || outer.Error() != "poll: read: cause" || (&drivers.Error{Op: "read", Kind: drivers.Checksum}).Error() != "read: checksum" {
		t.Errorf("%v", outer)
	}
	for k := drivers.ErrorKind(0); k < 9; k++ {
		if (k.String() == "unknown") != (k < drivers.Timeout || k > drivers.Busy) {
			t.Errorf("kind %d is %q", k, k)
		}
	}
}
