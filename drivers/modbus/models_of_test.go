package modbus

import (
	"slices"
	"strings"
	"testing"
)

// makersProfile has its own bases, takes the models of another profile, and describes one model differently.
const makersProfile = `
schema: 1
model: maker-family
title: A make
kind: inverter
verified: paper
links: [tcp]
limits: {registers: 60}
sunspec:
  bases: [0]
  models_of: sunspec
  models:
    - ids: [101]
      family: inverter
      points:
        - {point: ac_power, at: 14, type: i16}
`

func TestModelsOf(t *testing.T) {
	base, err := Named("sunspec")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Load("maker.yaml", []byte(makersProfile))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.SunSpec.Bases; !slices.Equal(got, []uint16{0}) {
		t.Errorf("bases %v, want those of the profile itself", got)
	}
	if got, want := len(p.SunSpec.Models), len(base.SunSpec.Models)+1; got != want {
		t.Fatalf("%d models, want %d: its own and those of sunspec", got, want)
	}
	if own := p.SunSpec.Models[0]; !slices.Equal(own.IDs, []uint16{101}) || len(own.Points) != 1 {
		t.Errorf("the first model is %v with %d points, want its own 101 with one", own.IDs, len(own.Points))
	}
	ids := map[uint16]int{}
	for _, m := range p.SunSpec.Models {
		for _, id := range m.IDs {
			ids[id]++
		}
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("model %d occurs %d times", id, n)
		}
	}
	if ids[103] != 1 {
		t.Error("model 103 is missing")
	}
	if !slices.ContainsFunc(base.SunSpec.Models, func(m SunSpecModel) bool { return slices.Contains(m.IDs, 101) }) {
		t.Error("the source profile has lost a model")
	}
}

func TestModelsOfFaults(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown", "models_of: sunspec", "models_of: sunspek",
			`maker.yaml:11:14: sunspec.models_of: must name an embedded profile with SunSpec models for kind inverter; sunspec has them for inverter and meter (got "sunspek")`},
		{"without models", "models_of: sunspec", "models_of: eastron-sdm630", `(got "eastron-sdm630")`},
		{"another kind", "kind: inverter", "kind: ups",
			`must name an embedded profile with SunSpec models for kind ups`},
		{"outside the directory", "models_of: sunspec", "models_of: ../driver", `(got "../driver")`},
		{"requests too small", "registers: 60", "registers: 1",
			"value, scale factor and condition must fit into one request of 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(makersProfile, c.old, c.new, 1)
			if text == makersProfile {
				t.Fatalf("%q is not in the profile", c.old)
			}
			_, err := Load("maker.yaml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("fault:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

// A meter takes only the models that describe a meter.
func TestModelsOfForAMeter(t *testing.T) {
	text := strings.Replace(makersProfile, "kind: inverter", "kind: meter", 1)
	text = text[:strings.Index(text, "  models:\n")]
	p, err := Load("maker.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint16
	for _, m := range p.SunSpec.Models {
		ids = append(ids, m.IDs...)
	}
	if want := []uint16{201, 202, 203, 204, 211, 212, 213, 214}; !slices.Equal(ids, want) {
		t.Errorf("models %v, want %v", ids, want)
	}
}

// A profile from which others take models must have its own, so that profiles cannot refer to each other in a
// cycle.
func TestModelsOfCannotBeChained(t *testing.T) {
	_, err := load("maker.yaml", []byte(makersProfile), nil, false)
	if want := "must be left out of a profile whose models others use"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("fault %v, want %q", err, want)
	}
}
