package modbus_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// do sends a command some time after the line has started, and returns its result and what it wrote.
func (s *site) do(c drivers.Command) (res drivers.Result, wrote []string) {
	s.t.Helper()
	answered := false
	before := 0
	time.AfterFunc(5500*time.Millisecond, func() {
		s.mu.Lock()
		before = len(s.asked)
		s.mu.Unlock()
		s.in <- drivers.Request{Device: c.Device, Command: &c,
			Answer: func(a drivers.Answer) { res, answered = a.Result, true }}
	})
	s.run(time.Minute)
	if !answered {
		s.t.Fatalf("no result for %s", c.Action)
	}
	for i, a := range s.asked {
		_, pdu, _ := strings.Cut(a, ": ")
		if !slices.Contains([]string{"01", "02", "03", "04"}, pdu[:2]) {
			if i < before {
				s.t.Errorf("%s was written before the command", a)
			}
			wrote = append(wrote, pdu)
		}
	}
	return res, wrote
}

func barrier(t *testing.T, onCoil func(d *slave.Device, n uint16) error) (*site, *slave.Device) {
	t.Helper()
	var d *slave.Device
	d = device(t, "came-gard-ptx", slave.Options{OnCoil: func(n uint16, on bool) error { return onCoil(d, n) }})
	set(t, d, "state", catalogue.Words("closed"))
	s := serialSite(t)
	s.add("came-gard-ptx", 1, time.Second, d)
	return s, d
}

func TestDoOpensABarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := barrier(t, func(d *slave.Device, n uint16) error {
			time.AfterFunc(700*time.Millisecond,
				func() { d.Set("state", catalogue.Words("opening")) }) //nolint:errcheck // checked elsewhere
			return nil
		})
		res, wrote := s.do(drivers.Command{Device: "d1", Action: "barrier.open"})
		if e := res.Expect; res.Outcome != drivers.Accepted || e == nil || e.Point != "state" ||
			!slices.Equal(e.Words, []string{"opening", "open"}) || e.Within != 3*time.Second {
			t.Errorf("result %+v, expects %+v", res, res.Expect)
		}
		if want := []string{"05 00 01 FF 00"}; !slices.Equal(wrote, want) {
			t.Errorf("wrote %q, want %q", wrote, want)
		}
	})
}

func TestDoOutcomes(t *testing.T) {
	silent := false
	for _, c := range []struct {
		name   string
		action string
		on     func(d *slave.Device, n uint16) error
		state  drivers.Outcome
		code   string
	}{
		{"no movement", "barrier.open", func(*slave.Device, uint16) error { return nil }, drivers.Accepted, "accepted"},
		{"refused", "barrier.open", func(*slave.Device, uint16) error { return slave.Exception(4) }, drivers.Failed,
			"exception_4"},
		{"no answer", "barrier.open", func(*slave.Device, uint16) error { silent = true; return nil }, drivers.Unknown,
			"no_answer"},
		{"unknown action", "barrier.reset", func(*slave.Device, uint16) error { return nil }, drivers.Rejected,
			"unknown_action"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				silent = false
				s, _ := barrier(t, c.on)
				unit := s.units[1]
				s.units[1] = slave.AnswererFunc(func(pdu []byte) []byte {
					if a := unit.Answer(pdu); !silent {
						return a
					}
					return nil
				})
				res, wrote := s.do(drivers.Command{Device: "d1", Action: c.action})
				if res.Outcome != c.state || res.Code != c.code || res.Detail == "" {
					t.Errorf("result %+v, want %s %s", res, c.state, c.code)
				}
				if len(wrote) > 1 {
					t.Errorf("wrote %q: a write was repeated", wrote)
				}
			})
		})
	}
}

func TestDoOnALostLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := barrier(t, func(*slave.Device, uint16) error { return nil })
		s.units = nil // no device answers
		res, wrote := s.do(drivers.Command{Device: "d1", Action: "barrier.open"})
		if res.Outcome != drivers.Rejected || len(wrote) != 0 {
			t.Errorf("result %+v, wrote %q: want no write to a device that never answered", res, wrote)
		}
	})
}

const relays = `
schema: 1
model: test-relays
title: Relays
kind: io
verified: paper
bus: baud=9600
identify: [{at: holding:500, type: u16, in: [0xAFFE]}]
channels:
  - {channel: di1, at: discrete:0}
  - {channel: do1, at: coil:0, write: true}
  - {channel: ai0, at: input:0, type: u16, scale: 0.001, unit: mA}
commands:
  - action: relay.pulse
    steps: [{at: coil:0x0200, type: u16, scale: 0.1, arg: seconds, range: [0.1, 60], choose: {arg: relay, first: 1, count: 8}}]
  - action: set.level
    steps: [{at: holding:10, type: i16, scale: 0.1, arg: value, range: [-100, 100]}]
    check: {field: {at: holding:10, type: i16}, within: 1s}
    repeat: safe
  - action: set.long
    steps: [{at: holding:20, type: u32, words: low, function: 16, arg: value, range: [0, 1000000]}, {at: holding:30, value: 1, function: 16}]
`

func TestDoArguments(t *testing.T) {
	for _, c := range []struct {
		action string
		args   map[string]any
		state  drivers.Outcome
		code   string
		wrote  string
	}{
		{"relay.pulse", map[string]any{"relay": 3, "seconds": 0.7}, drivers.Done, "accepted", "05 02 02 00 07"},
		{"relay.pulse", map[string]any{"relay": 3.0, "seconds": 60.0}, drivers.Done, "accepted", "05 02 02 02 58"},
		{"relay.pulse", map[string]any{"relay": 9, "seconds": 1}, drivers.Rejected, "bad_argument", ""},
		{"relay.pulse", map[string]any{"relay": 1.5, "seconds": 1}, drivers.Rejected, "bad_argument", ""},
		{"relay.pulse", map[string]any{"relay": 1, "seconds": 61}, drivers.Rejected, "bad_argument", ""},
		{"relay.pulse", map[string]any{"relay": 1}, drivers.Rejected, "bad_argument", ""},
		{"relay.pulse", map[string]any{"relay": 1, "seconds": "1"}, drivers.Rejected, "bad_argument", ""},
		{"relay.pulse", map[string]any{"relay": 1, "seconds": 1, "force": true}, drivers.Rejected, "bad_argument", ""},
		{"set.level", map[string]any{"value": -12.3}, drivers.Done, "confirmed", "06 00 0A FF 85"},
		{"set.long", map[string]any{"value": int64(0x12345)}, drivers.Done, "accepted",
			"10 00 14 00 02 04 23 45 00 01 | 10 00 1E 00 01 02 00 01"},
	} {
		t.Run(fmt.Sprint(c.action, c.args), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := profile(t, relays)
				d := profileDevice(t, p, slave.Options{})
				s := tcpSite(t)
				s.driver = modbus.Of(p)
				s.add(p.Model, 1, time.Second, d)
				res, wrote := s.do(drivers.Command{Device: "d1", Action: c.action, Args: c.args})
				if res.Outcome != c.state || res.Code != c.code || strings.Join(wrote, " | ") != c.wrote {
					t.Errorf("result %+v, wrote %q; want %s %s, %q", res, wrote, c.state, c.code, c.wrote)
				}
			})
		})
	}
}

// Before the first write on a connection the device's identity must be checked.
func TestDoChecksIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := profile(t, relays)
		d := profileDevice(t, p, slave.Options{})
		d.SetRegisters(modbus.Address{Table: modbus.Holding, Number: 500}, 0xBEEF)
		s := tcpSite(t)
		s.driver = modbus.Of(p)
		s.add(p.Model, 1, time.Second, d)
		res, wrote := s.do(drivers.Command{Device: "d1", Action: "relay.pulse",
			Args: map[string]any{"relay": 1, "seconds": 1}})
		if res.Outcome != drivers.Rejected || res.Code != "not_identified" || len(wrote) != 0 {
			t.Errorf("result %+v, wrote %q", res, wrote)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a := device(t, "sunspec", slave.Options{SunSpec: []uint16{103, 123},
			Identity: drivers.Description{Serial: "A"}})
		b := device(t, "sunspec", slave.Options{SunSpec: []uint16{103, 123},
			Identity: drivers.Description{Serial: "B"}})
		var now atomic.Pointer[slave.Device]
		now.Store(a)
		s := tcpSite(t)
		s.add("sunspec", 1, 10*time.Second,
			slave.AnswererFunc(func(pdu []byte) []byte { return now.Load().Answer(pdu) }))
		time.AfterFunc(3*time.Second, func() { now.Store(b) }) // the inverter is replaced
		res, wrote := s.do(drivers.Command{Device: "d1", Action: "inverter.limit", Args: map[string]any{"percent": 50}})
		if res.Outcome != drivers.Rejected || !strings.Contains(res.Detail, "another device") || len(wrote) != 0 {
			t.Errorf("result %+v, wrote %q", res, wrote)
		}
	})
}

func TestDoLimitsAnInverter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := device(t, "sunspec", slave.Options{SunSpec: []uint16{103, 123}})
		at := uint16(40000 + 2 + 68 + 52)
		d.SetRegisters(modbus.Address{Table: modbus.Holding, Number: at + 23}, 0xFFFE) // hundredths of a percent
		s := tcpSite(t)
		s.add("sunspec", 1, 10*time.Second, d)
		res, wrote := s.do(drivers.Command{Device: "d1", Action: "inverter.limit",
			Args: map[string]any{"percent": 62.5}})
		if res.Outcome != drivers.Done || res.Code != "confirmed" {
			t.Errorf("result %+v", res)
		}
		if want := []string{fmt.Sprintf("06 %02X %02X 18 6A", (at+5)>>8, (at+5)&0xFF),
			fmt.Sprintf("06 %02X %02X 00 01", (at+9)>>8, (at+9)&0xFF)}; !slices.Equal(wrote, want) {
			t.Errorf("wrote %q, want %q", wrote, want)
		}
		if last := s.reports[len(s.reports)-1]; value(last, "power_limit") != "?" &&
			value(last, "power_limit") != "62.5" {
			t.Errorf("power limit %s", value(last, "power_limit"))
		}
	})
}

func TestChannelMaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := profile(t, relays)
		d := profileDevice(t, p, slave.Options{})
		d.SetRegisters(modbus.Address{Table: modbus.Discrete, Number: 0}, 1)
		d.SetRegisters(modbus.Address{Table: modbus.Input, Number: 0}, 12000)
		s := tcpSite(t)
		s.driver = modbus.Of(p)
		s.add(p.Model, 1, time.Second, d)
		s.devices[0].ChannelMaps = []drivers.ChannelMap{
			{Point: "door_open", Channel: "di1", Invert: true},
			{Point: "camera_power", Channel: "do1"},
			{Point: "level", Channel: "ai0", From: [2]float64{4, 20}, To: [2]float64{0, 100}},
		}
		time.AfterFunc(2500*time.Millisecond, func() {
			d.SetRegisters(modbus.Address{Table: modbus.Discrete, Number: 0}, 0)
			d.SetRegisters(modbus.Address{Table: modbus.Input, Number: 0}, 1000)
		})
		s.run(4500 * time.Millisecond)
		first, last := s.reports[0], s.reports[len(s.reports)-1]
		if value(first, "door_open") != "false" || value(first, "camera_power") != "false" ||
			value(first, "level") != "50" {
			t.Errorf("first report %v", first.Readings)
		}
		if value(last, "door_open") != "true" || value(last, "level") != "-" {
			t.Errorf("last report %v", last.Readings)
		}
	})
	link := func(tap drivers.ChannelMap) error {
		p := profile(t, relays)
		_, err := modbus.Of(p).Link(drivers.Line{Stream: true},
			[]drivers.Device{{ID: "d", Model: p.Model, Unit: 1, ChannelMaps: []drivers.ChannelMap{tap}}})
		return err
	}
	for _, tap := range []drivers.ChannelMap{{Point: "door_open", Channel: "di9"}, {Point: "door", Channel: "di1"},
		{Point: "level", Channel: "di1"}, {Point: "door_open", Channel: "ai0"}} {
		if link(tap) == nil {
			t.Errorf("%+v was accepted", tap)
		}
	}
}

// A module without mapped channels is still polled to see whether it is present.
func TestModuleWithoutChannelMaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := profile(t, relays)
		s := tcpSite(t)
		s.driver = modbus.Of(p)
		s.add(p.Model, 1, time.Second, profileDevice(t, p, slave.Options{}))
		s.run(1500 * time.Millisecond)
		if len(s.asked) == 0 || s.reports[0].Err != nil {
			t.Errorf("requests %q, %v", s.asked, s.reports[0].Err)
		}
	})
}

func TestLinkRejectsInvalidDevices(t *testing.T) {
	for name, c := range map[string]struct {
		line   drivers.Line
		device drivers.Device
	}{
		"unknown model":       {drivers.Line{Stream: true}, drivers.Device{ID: "d", Model: "unknown"}},
		"serial model on TCP": {drivers.Line{Stream: true}, drivers.Device{ID: "d", Model: "came-gard-ptx", Unit: 1}},
		"unit out of range":   {drivers.Line{Stream: true}, drivers.Device{ID: "d", Model: "sunspec", Unit: 256}},
	} {
		if _, err := builtIn.Link(c.line, []drivers.Device{c.device}); err == nil ||
			!strings.Contains(err.Error(), "device d") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
