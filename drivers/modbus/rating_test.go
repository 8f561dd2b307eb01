package modbus_test

import (
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// Every model with a rating reports it, and a counter that jumps beyond the rating is doubted until it has
// continued from there.
func TestRatingOfEveryModel(t *testing.T) {
	found := 0
	for _, p := range modbus.Embedded() {
		for _, nameplate := range nameplates(p) {
			found++
			t.Run(p.Model, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { ratingOf(t, p, nameplate) })
			})
		}
	}
	if found < 14 {
		t.Errorf("only %d models have a rating", found)
	}
}

// nameplate is where a model stores its rating, and the chain of the SunSpec device that has it.
type nameplate struct {
	field *modbus.Field
	chain []uint16
}

func nameplates(p *modbus.Profile) (out []nameplate) {
	if p.Guards.Rated != nil {
		out = append(out, nameplate{field: p.Guards.Rated})
	}
	if p.SunSpec == nil {
		return out
	}
	for i := range p.SunSpec.Models {
		m := &p.SunSpec.Models[i]
		if m.Rated == nil {
			continue
		}
		f := *m.Rated
		first, at := uint16(103), uint16(40000+2+68+52) // mark, common model and model 103
		if m.IDs[0] == 702 {
			first, at = 701, 40000+2+68+155
		}
		f.At.Number += at
		sf := *f.SF
		sf.Number += at
		f.SF = &sf
		out = append(out, nameplate{field: &f, chain: []uint16{first, m.IDs[0]}})
	}
	return out
}

func ratingOf(t *testing.T, p *modbus.Profile, n nameplate) {
	d, err := slave.New(p, slave.Options{SunSpec: n.chain})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, d)
	const counter, want = "ac_energy", 6000.0
	values, err := n.field.Encode(catalogue.Number(want), 0)
	if err != nil {
		t.Fatal(err)
	}
	d.SetRegisters(n.field.At, values...)
	for _, k := range []string{"ac_power", "frequency"} {
		set(t, d, k, catalogue.Number(50))
	}
	set(t, d, counter, catalogue.Number(1000))
	s := tcpSite(t)
	if !p.Stream {
		s = serialSite(t)
	}
	s.add(p.Model, p.Unit.Default, p.Every, d)
	go func() {
		time.Sleep(2*p.Every + p.Every/2)
		set(t, d, counter, catalogue.Number(1007))
	}()
	s.run(5 * p.Every)
	reported, doubted := 0.0, false
	for _, r := range s.reports {
		if r.Description != nil {
			reported = r.Description.RatedW
		}
		for _, e := range r.Events {
			doubted = doubted || e.Type == "bordo.counter.doubted.v1" && e.Data["why"] == "leapt"
		}
	}
	if reported != want || !doubted {
		t.Errorf("reported %v W, want %v; jump of 7 kWh doubted: %v", reported, want, doubted)
	}
}
