package modbus_test

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus/slave"
)

// An impossible model after the first one must not make the others unreadable, and the description says what
// is not read. SMA Sunny Tripower X reports 65535 as the length of model 714 at night
// (github.com/CJNE/ha-sunspec issues 203 and 244).
func TestSunSpecChainIsCutOff(t *testing.T) {
	common, inverter := []uint16{1, 66}, inverter103(7)
	for _, c := range []struct {
		name    string
		models  [][]uint16
		end     int    // number of addresses that are answered; 0: all of the models
		warning string // part of the warning; "": none
	}{
		{"a length of 65535", [][]uint16{common, inverter, {714, 0xFFFF}}, 2, "model 714 cannot have 65535 registers"},
		{"a length of 0", [][]uint16{common, inverter, {714, 0}}, 2, "model 714 cannot have 0 registers"},
		{"beyond address 65535", [][]uint16{common, inverter, {714, 0xF000}}, 2,
			"model 714 cannot have 61440 registers"},
		{"a length without an id", [][]uint16{common, inverter, {0, 50}}, 2, "model 0 cannot have 50 registers"},
		{"zeros instead of an end model", [][]uint16{common, inverter, {0, 0}}, 2, ""},
		{"no end model", [][]uint16{common, inverter}, 0, ""},
		{"a known model one register too long",
			[][]uint16{common, append([]uint16{103, 51}, append(inverter[2:], 0)...), {0xFFFF, 0}}, 0, ""},
		{"a model whose length is one too large",
			[][]uint16{common, {122, 44, 45: 0}, append([]uint16{103, 51}, inverter[2:]...), {160, 48}, {0xFFFF, 0}},
			-1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chain := newChain(40000, c.models...)
				switch {
				case c.end > 0: // newChain uses the wrong length for the next address
					chain.end = 40002 + 68 + 52 + c.end
				case c.end < 0: // the next model lies where the correct length puts it
					at := 40002 + 68 + 46 + 52
					chain.words[at], chain.words[at+1], chain.words[at+50], chain.words[at+51] = 160, 48, 0xFFFF, 0
					chain.end = at + 52
				}
				s := tcpSite(t)
				s.add("sunspec", 1, 10*time.Second, chain)
				s.run(25 * time.Second)
				for i, r := range s.reports {
					if r.Err != nil || value(r, "ac_power") != "7" {
						t.Errorf("poll %d: %v, %s", i+1, r.Err, points(r))
					}
				}
				about := s.reports[0].Description
				if about == nil || !strings.Contains(about.Warning, c.warning) ||
					c.warning == "" && about.Warning != "" {
					t.Errorf("description %+v, want the warning %q", about, c.warning)
				}
			})
		})
	}
}

// The address of a cut is read again every hour, and a model that has become valid there is read.
func TestSunSpecCutIsRechecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := newChain(40000, []uint16{1, 66}, inverter103(7), []uint16{160, 48}, []uint16{0xFFFF, 0})
		night := newChain(40000, []uint16{1, 66}, inverter103(7), []uint16{160, 0xFFFF})
		var now atomic.Pointer[chainOf]
		now.Store(night)
		time.AfterFunc(30*time.Minute, func() { now.Store(day) })
		s := tcpSite(t)
		s.add("sunspec", 1, time.Minute, slave.AnswererFunc(func(pdu []byte) []byte { return now.Load().Answer(pdu) }))
		s.run(3 * time.Hour)
		var last string
		for _, r := range s.reports {
			if r.Description != nil {
				last = r.Description.Warning
			}
		}
		if first := s.reports[0].Description; first == nil || first.Warning == "" || last != "" {
			t.Errorf("at first %+v, at last %q", first, last)
		}
	})
}

// A model whose header is never answered cuts the chain off if the device answers before it. A device that
// falls asleep during the walk does not.
func TestSunSpecSilentModel(t *testing.T) {
	for name, answers := range map[string]func(at uint16, n int) bool{
		"one model":                 func(at uint16, _ int) bool { return at != 40002+68+52 },
		"unanswered from then on":   func(_ uint16, n int) bool { return n < 4 || n > 60 },
		"connection closed instead": func(at uint16, _ int) bool { return at != 40002+68+52 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chain := newChain(40000, []uint16{1, 66}, inverter103(7), []uint16{160, 48}, []uint16{0xFFFF, 0})
				h, n := &host{t: t}, 0
				h.answer = func(conn *driverstest.End, _ int, req []byte) bool {
					if n++; answers(binary.BigEndian.Uint16(req[8:]), n) {
						say(conn, frame(req, chain.Answer(req[7:])))
						return true
					}
					return name != "connection closed instead"
				}
				reports, _ := h.reach(time.Hour-time.Second, tcpLine, builtIn,
					drivers.Device{ID: "d1", Model: "sunspec", Unit: 1, Every: 10 * time.Second})
				var warning string
				for _, r := range reports {
					if r.Description != nil {
						warning = r.Description.Warning
					}
				}
				if last := reports[len(reports)-1]; value(last, "ac_power") != "7" ||
					(warning == "") != (name == "unanswered from then on") {
					t.Errorf("last poll: %s, %v; warning %q", points(last), last.Err, warning)
				}
				if name != "unanswered from then on" && value(reports[2], "ac_power") != "7" {
					t.Errorf("third poll: %s, %v", points(reports[2]), reports[2].Err)
				}
			})
		})
	}
}

// A device may stay silent, or close the connection, at a base where no SunSpec chain begins. The base that
// works is learned; an absent device teaches nothing.
func TestSunSpecSilentBase(t *testing.T) {
	for _, base := range []int{0, 50000, 40000} {
		for _, hangsUp := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				chain := newChain(base, []uint16{1, 66}, inverter103(7), []uint16{0xFFFF, 0})
				var away atomic.Bool
				away.Store(true)
				h := &host{t: t}
				h.answer = func(conn *driverstest.End, _ int, req []byte) bool {
					at := int(binary.BigEndian.Uint16(req[8:]))
					if !away.Load() && at >= chain.base && at < chain.end {
						say(conn, frame(req, chain.Answer(req[7:])))
						return true
					}
					return !hangsUp
				}
				began := time.Now()
				time.AfterFunc(5*time.Minute, func() { away.Store(false) })
				dev := drivers.Device{ID: "d1", Model: "sunspec", Unit: 1, Every: 10 * time.Second}
				reports, _ := h.reach(30*time.Minute-time.Second, tcpLine, builtIn, dev)
				first := time.Duration(0)
				for _, r := range reports {
					if r.At.Sub(began) < 5*time.Minute && (r.DriverState != nil || len(r.Readings) > 0) {
						t.Errorf("base %d: saved state of an absent device: %s", base, r.DriverState)
					}
					if len(r.Readings) > 0 && first == 0 {
						first = r.At.Sub(began)
					}
				}
				if first == 0 || first > 12*time.Minute {
					t.Fatalf("base %d: first values after %v", base, first)
				}
				h.asked = nil
				l := savedState(t, reports)
				if (l.Base == nil) != (base == 40000) || l.Base != nil && int(*l.Base) != base {
					t.Errorf("base %d: saved state %+v", base, l)
				}
				dev.DriverState = []byte(`{}`)
				for _, r := range reports {
					if r.DriverState != nil {
						dev.DriverState = r.DriverState
					}
				}
				h.reach(5*time.Second, tcpLine, builtIn, dev)
				if want := []byte{3, byte(base >> 8), byte(base), 0, 2}; len(h.asked) == 0 ||
					h.asked[0] != hexOf(want) {
					t.Errorf("base %d: first request after a restart: %q", base, h.asked[:min(len(h.asked), 1)])
				}
			})
		}
	}
}
