// Package modbus implements Modbus TCP, RTU and RTU over TCP. Device models are data: a profile says where
// the values of a model lie, how they are encoded, and which timing the device needs (profiles/*.yaml,
// embedded).
//
// Every reading comes from a reply to the request for it. Late and foreign replies are dropped, lengths and
// function codes are checked, and a "no value" pattern becomes a quality, never a number. If a device refuses
// a block, the driver finds the register that causes it and keeps reading the others. It writes only in Do,
// and only what the profile allows.
//
// github.com/goburrow/modbus encodes PDUs and frames; its transports are not used (see DESIGN.md beside
// drivers).
package modbus

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

//go:embed profiles/*.yaml
var embedded embed.FS

// Embedded loads the built-in profiles, sorted by model name. Tests load them all, so a fault is a bug and
// Embedded panics.
func Embedded() []*Profile {
	files, err := embedded.ReadDir("profiles")
	if err != nil {
		panic(fmt.Sprintf("modbus: embedded profiles: %v", err))
	}
	var out []*Profile
	shared := map[string]*Profile{} // profiles that others copy SunSpec models from, each read once
	other := func(model string) (*Profile, error) {
		if p, ok := shared[model]; ok {
			return p, nil
		}
		p, err := loadOther(model)
		if err == nil {
			shared[model] = p
		}
		return p, err
	}
	for _, f := range files {
		p, err := loadEmbedded(f.Name(), other)
		if err != nil {
			panic(fmt.Sprintf("modbus: embedded profiles: %v", err))
		}
		out = append(out, p)
	}
	return out
}

// Named loads one embedded profile.
func Named(model string) (*Profile, error) {
	p, err := loadEmbedded(model+".yaml", loadOther)
	if err != nil {
		return nil, fmt.Errorf("load profile %q: %w", model, err)
	}
	return p, nil
}

// LongestGap returns the longest pause that any of the profiles requires between a reply and the next
// request. Use it when the device's model is unknown.
func LongestGap(profiles []*Profile) time.Duration {
	var longest time.Duration
	for _, p := range profiles {
		longest = max(longest, p.Timing.Gap)
	}
	return longest
}

func loadEmbedded(file string, other func(string) (*Profile, error)) (*Profile, error) {
	data, err := embedded.ReadFile(path.Join("profiles", file))
	if err != nil {
		return nil, err
	}
	p, err := load("profiles/"+file, data, other, false)
	if err != nil {
		return nil, err
	}
	if p.Model != strings.TrimSuffix(file, ".yaml") {
		return nil, Faults{{File: "profiles/" + file, Line: 1, Column: 1, Path: "model",
			Text: "must be the file's name"}}
	}
	return p, nil
}

// index lists the embedded models in the form that Models returns. A program that needs a few of them at
// startup does not have to parse every profile, which takes seconds on a small box. It is generated from the
// profiles.
//
//go:embed profiles/models.json
var index []byte

// Driver is the Modbus driver with a list of models. It can serve any number of lines. An embedded profile is
// loaded when a line first needs it and then shared; profiles are immutable.
type Driver struct {
	models   []drivers.Model
	profiles map[string]*Profile // profiles that are not embedded or replace an embedded one
	embedded *profileSet         // embedded profiles; nil: none
}

// profileSet caches loaded embedded profiles, because loading is slow on a small box.
type profileSet struct {
	mu   sync.Mutex
	read map[string]*Profile
}

// profile loads an embedded profile. It panics on a fault: tests load every profile, so a fault is a bug.
func (s *profileSet) profile(model string) *Profile {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.read[model]
	if !ok {
		var err error
		if p, err = Named(model); err != nil {
			panic(fmt.Sprintf("modbus: embedded profile: %v", err))
		}
		s.read[model] = p
	}
	return p
}

var _ drivers.TCPDriver = (*Driver)(nil)

// New returns a driver with the embedded profiles and the others. A later profile replaces an earlier one of
// the same name.
func New(others ...*Profile) *Driver {
	d := &Driver{embedded: &profileSet{read: map[string]*Profile{}}, profiles: map[string]*Profile{}}
	if err := json.Unmarshal(index, &d.models); err != nil {
		panic(fmt.Sprintf("modbus: embedded index: %v", err))
	}
	return d.with(others)
}

// Of returns a driver with only these profiles.
func Of(profiles ...*Profile) *Driver { return (&Driver{}).with(profiles) }

// with returns a copy of the driver with additional profiles.
func (d *Driver) with(more []*Profile) *Driver {
	out := &Driver{models: slices.Clone(d.models), profiles: map[string]*Profile{}, embedded: d.embedded}
	maps.Copy(out.profiles, d.profiles)
	for _, p := range more {
		out.profiles[p.Model] = p
		out.models = slices.DeleteFunc(out.models, func(m drivers.Model) bool { return m.Name == p.Model })
		out.models = append(out.models, modelOf(p))
	}
	return out
}

// TCPPort is the registered port of Modbus TCP (IANA: mbap).
const TCPPort = 502

// TCPPort implements drivers.TCPDriver.
func (d *Driver) TCPPort() int { return TCPPort }

// Name implements drivers.Driver.
func (d *Driver) Name() string { return "modbus" }

// Models implements drivers.Driver.
func (d *Driver) Models() []drivers.Model { return slices.Clone(d.models) }

// modelOf describes a profile in terms that do not depend on Modbus.
func modelOf(p *Profile) drivers.Model {
	m := drivers.Model{
		Name: p.Model, Title: p.Title, Kind: p.Kind, Unit: p.Unit.Range, Every: p.Every, MinEvery: p.MinEvery,
		Streams: p.Stream, Serial: p.Serial, Bus: p.Bus, BusCan: p.BusCan, Verified: p.Verified, Sleeps: p.SleepsNight,
	}
	if p.SunSpec != nil && p.SunSpec.Stated {
		m.Part = p.SunSpec.Part
	}
	for _, c := range p.Channels {
		m.Channels = append(m.Channels, drivers.Channel{Name: c.Name, Unit: c.Unit, Output: c.Write})
	}
	for _, pt := range p.Points {
		m.Points = append(m.Points, pt.Key)
	}
	sortPoints(m.Points)
	m.States = statesOf(p)
	return m
}

// statesOf lists the words that a profile uses for the point "state", in catalogue order.
func statesOf(p *Profile) (out []string) {
	words := map[string]bool{}
	for _, pt := range p.Points {
		if pt.Key != "state" {
			continue
		}
		for _, w := range pt.Enum {
			words[w] = true
		}
		if pt.Else.Type() == catalogue.Text {
			words[pt.Else.Text()] = true
		}
	}
	state, _ := catalogue.PointOf("state")
	for _, w := range state.Enum {
		if words[w] {
			out = append(out, w)
		}
	}
	return out
}

// Profile returns the profile of a model, or false if the driver does not have it. The profile must not be
// changed.
func (d *Driver) Profile(model string) (*Profile, bool) {
	if p, ok := d.profiles[model]; ok {
		return p, true
	}
	if d.embedded == nil || !slices.ContainsFunc(d.models, func(m drivers.Model) bool { return m.Name == model }) {
		return nil, false
	}
	return d.embedded.profile(model), true
}

// Link implements drivers.Driver. All devices share the line's bus, which serialises their requests.
func (d *Driver) Link(l drivers.Line, devices []drivers.Device) (drivers.Link, error) {
	b := newBus(l)
	units := make([]drivers.Unit, len(devices))
	for i, dev := range devices {
		p, ok := d.Profile(dev.Model)
		if !ok {
			return nil, fmt.Errorf("device %s: modbus has no model %q", dev.ID, dev.Model)
		}
		if l.Stream && !p.Stream || !l.Stream && !p.Serial {
			return nil, fmt.Errorf("device %s: %s does not support this kind of line", dev.ID, p.Title)
		}
		if u := dev.Unit; u != 0 && (u < p.Unit.Range.Min || u > p.Unit.Range.Max) {
			return nil, fmt.Errorf("device %s: unit must be %d to %d (got %d)", dev.ID, p.Unit.Range.Min,
				p.Unit.Range.Max, u)
		}
		every := dev.Every
		if every == 0 {
			every = p.Every
		}
		poller, err := newDevice(p, dev, b)
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", dev.ID, err)
		}
		units[i] = drivers.Unit{Device: dev.ID, Poller: poller, Every: every}
	}
	return &link{drivers.Polled(units...), b}, nil
}
