package modbus_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// twenty returns a profile with twenty consecutive values.
func twenty(t *testing.T, extra string) *modbus.Profile {
	t.Helper()
	text := `
schema: 1
model: test-twenty
title: Twenty values
kind: meter
verified: paper
bus: baud=9600
unit: {range: [1, 247]}
identity: {serial: {at: holding:200, type: u16}, firmware: {at: holding:201, type: u16}}
` + extra + "points:\n"
	for i := range 20 {
		text += fmt.Sprintf("  - {point: dc%d_power, at: holding:%d, type: u16}\n", i+1, 100+i)
	}
	return profile(t, text)
}

func twentySite(t *testing.T, d *slave.Device, p *modbus.Profile) *site {
	s := tcpSite(t)
	s.driver = modbus.Of(p)
	s.add(p.Model, 1, 10*time.Second, d)
	return s
}

func savedState(t *testing.T, reports []drivers.Report) modbus.DriverState {
	t.Helper()
	var l modbus.DriverState
	for _, r := range reports {
		if r.DriverState != nil {
			l = modbus.DriverState{}
			if err := json.Unmarshal(r.DriverState, &l); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l
}

// One register is refused. All others are still delivered in the same poll, and the refused one is found and
// quarantined.
func TestFindsTheRefusedRegister(t *testing.T) {
	for bad := range 20 {
		synctest.Test(t, func(t *testing.T) {
			p := twenty(t, "")
			d := profileDevice(t, p, slave.Options{})
			d.Refuse(modbus.Span{Table: modbus.Holding, First: uint16(100 + bad), Count: 1})
			s := twentySite(t, d, p)
			s.run(25 * time.Second)
			if len(s.reports) != 3 {
				t.Fatalf("%d reports", len(s.reports))
			}
			key := fmt.Sprintf("dc%d_power", bad+1)
			for i, r := range s.reports {
				if len(r.Readings) != 19 || value(r, key) != "?" {
					t.Errorf("poll %d: %s", i+1, points(r))
				}
			}
			if first := s.reports[0].Err; drivers.KindOf(first) != drivers.Exception ||
				!strings.Contains(first.Error(), fmt.Sprintf("holding:0x%04X:", 100+bad)) {
				t.Errorf("first poll: %v", first)
			}
			if s.reports[1].Err != nil || s.reports[2].Err != nil {
				t.Errorf("later polls: %v, %v", s.reports[1].Err, s.reports[2].Err)
			}
			if about := s.reports[0].Description; about == nil || !slices.Equal(about.Quarantined, []string{key}) ||
				len(about.Points) != 19 {
				t.Errorf("description %+v", about)
			}
			l := savedState(t, s.reports)
			if len(l.Quarantined) != 1 || l.Quarantined[0].Point != key ||
				!strings.Contains(l.Quarantined[0].Why, "exception 2") {
				t.Errorf("saved state %+v", l)
			}
			// The search costs a few requests once; afterwards there are at most two blocks.
			if n := len(s.asked); n > 20 {
				t.Errorf("%d requests in three polls", n)
			}
		})
	}
}

// Reading over a gap is refused although both sides are answered: the gap is not read over any more.
func TestLearnsHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := profile(t, `
schema: 1
model: test-gap
title: Gap
kind: meter
verified: paper
bus: baud=9600
readable: [holding:0-100]
points:
  - {point: ac_power, at: holding:0, type: u16}
  - {point: frequency, at: holding:10, type: u16}
`)
		d := profileDevice(t, p, slave.Options{})
		d.Refuse(modbus.Span{Table: modbus.Holding, First: 5, Count: 1})
		s := twentySite(t, d, p)
		s.run(15 * time.Second)
		for _, r := range s.reports {
			if points(r) != "ac_power frequency" || r.Err != nil {
				t.Errorf("poll: %s, %v", points(r), r.Err)
			}
		}
		if l := savedState(t, s.reports); !slices.Equal(l.Holes, []string{"holding:0x0001-0x0009"}) ||
			len(l.Quarantined) != 0 {
			t.Errorf("saved state %+v", l)
		}
		if want := []string{"1: 03 00 00 00 0B", "1: 03 00 00 00 01", "1: 03 00 0A 00 01", "1: 03 00 00 00 0B",
			"1: 03 00 00 00 01", "1: 03 00 0A 00 01"}; !slices.Equal(s.asked, want) {
			t.Errorf("requests %q", s.asked)
		}
	})
}

// A device accepts fewer registers per request than its profile says.
func TestLearnsTheRegisterLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twenty(t, "")
		d := profileDevice(t, p, slave.Options{Registers: 7})
		s := twentySite(t, d, p)
		s.run(35 * time.Second)
		for i, r := range s.reports {
			if len(r.Readings) != 20 || r.Err != nil {
				t.Errorf("poll %d: %d readings, %v", i+1, len(r.Readings), r.Err)
			}
		}
		if l := savedState(t, s.reports); l.Registers != 5 || len(l.Quarantined)+len(l.Holes) != 0 {
			t.Errorf("saved state %+v", l)
		}
		if last := s.asked[len(s.asked)-4:]; last[0] != "1: 03 00 64 00 05" {
			t.Errorf("the last poll requests %q", last)
		}
	})
}

// The saved state is used after a restart, and only for the same device and firmware.
func TestSavedStateSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twenty(t, "")
		d := profileDevice(t, p, slave.Options{Identity: drivers.Description{Serial: "77", Firmware: "5"}})
		d.Refuse(modbus.Span{Table: modbus.Holding, First: 103, Count: 1})
		s := twentySite(t, d, p)
		s.run(5 * time.Second)
		kept := s.reports[0].DriverState
		if len(kept) == 0 {
			t.Fatal("no saved state was reported")
		}
		again := func(learnt []byte, d *slave.Device) *site {
			s := twentySite(t, d, p)
			s.devices[0].DriverState = learnt
			s.run(14 * time.Second)
			return s
		}
		s = again(kept, d)
		if s.reports[0].Err != nil || len(s.asked) > 6 || s.reports[0].DriverState != nil {
			t.Errorf("after a restart: %v, %d requests, saved state %s", s.reports[0].Err, len(s.asked),
				s.reports[0].DriverState)
		}
		if value(s.reports[1], "dc4_power") != "?" {
			t.Error("the quarantined point was read after a restart")
		}
		whole := profileDevice(t, p, slave.Options{Identity: drivers.Description{Serial: "77", Firmware: "6"}})
		s = again(kept, whole)
		if value(s.reports[1], "dc4_power") != "1" {
			t.Errorf("point missing with another firmware: %s", points(s.reports[1]))
		}
		if about := s.reports[0].Description; about == nil || len(about.Quarantined) != 0 {
			t.Errorf("description %+v", about)
		}
		for _, rubbish := range []string{"", "{", `{"registers":-1}`,
			`{"holes":["x"],"quarantined":[{"point":"ac_power","at":"y"}]}`, "[]"} {
			s = again([]byte(rubbish), d)
			if len(s.reports[1].Readings) != 19 {
				t.Errorf("with saved state %q: %s", rubbish, points(s.reports[1]))
			}
		}
	})
}

// A quarantined point is retried rarely, and released when the device delivers it.
func TestQuarantineIsRetriedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twenty(t, "")
		d := profileDevice(t, p, slave.Options{})
		hole := modbus.Span{Table: modbus.Holding, First: 103, Count: 1}
		d.Refuse(hole)
		s := twentySite(t, d, p)
		tries := 0
		unit := s.units[1]
		s.units[1] = slave.AnswererFunc(func(pdu []byte) []byte {
			if string(pdu) == string([]byte{3, 0, 103, 0, 1}) {
				if tries++; tries == 5 {
					d.Allow(hole)
				}
			}
			return unit.Answer(pdu)
		})
		s.run(3*time.Hour + 5*time.Second)
		// The search, then retries after 10, 30, 70 and 130 minutes.
		if tries < 5 || tries > 6 {
			t.Errorf("read alone %d times in 3 h", tries)
		}
		if last := s.reports[len(s.reports)-1]; len(last.Readings) != 20 || last.Err != nil {
			t.Errorf("last poll: %d readings, %v", len(last.Readings), last.Err)
		}
		if l := savedState(t, s.reports); len(l.Quarantined) != 0 {
			t.Errorf("saved state still %+v", l)
		}
	})
}

// A device that refuses everything while it starts is not ready; nothing is learned about its registers.
func TestDeviceThatRefusesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twenty(t, "")
		d := profileDevice(t, p, slave.Options{})
		var ready atomic.Bool
		s := twentySite(t, d, p)
		unit := s.units[1]
		s.units[1] = slave.AnswererFunc(func(pdu []byte) []byte {
			answer := unit.Answer(pdu)
			if !ready.Load() {
				return []byte{pdu[0] | 0x80, 2}
			}
			return answer
		})
		time.AfterFunc(95*time.Second, func() { ready.Store(true) })
		s.run(115 * time.Second)
		if len(s.reports) != 12 {
			t.Fatalf("%d reports: a device that answers is not dead", len(s.reports))
		}
		for i, r := range s.reports {
			if i < 10 && (drivers.KindOf(r.Err) != drivers.Exception || len(r.Readings) != 0) ||
				i >= 10 && (r.Err != nil || len(r.Readings) != 20) {
				t.Errorf("poll %d: %d readings, %v", i+1, len(r.Readings), r.Err)
			}
		}
		if l := savedState(t, s.reports); len(l.Quarantined)+len(l.Holes)+l.Registers != 0 {
			t.Errorf("saved state %+v", l)
		}
		if n := len(s.asked); n > 40+9+1+2*4 {
			t.Errorf("%d requests", n)
		}
	})
}

// Nothing is learned from a device that refuses a block once and delivers its halves a moment later.
func TestTemporaryRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twenty(t, "")
		s := twentySite(t, profileDevice(t, p, slave.Options{}), p)
		unit, n := s.units[1], 0
		s.units[1] = slave.AnswererFunc(func(pdu []byte) []byte {
			answer := unit.Answer(pdu)
			if n++; n == 1 {
				return []byte{pdu[0] | 0x80, 3}
			}
			return answer
		})
		s.run(25 * time.Second)
		for i, r := range s.reports {
			if len(r.Readings) != 20 || r.Err != nil {
				t.Errorf("poll %d: %d readings, %v", i+1, len(r.Readings), r.Err)
			}
		}
		if l := savedState(t, s.reports); l.Registers != 0 || s.asked[len(s.asked)-1] != "1: 03 00 64 00 14" {
			t.Errorf("saved state %+v, last request %q", l, s.asked[len(s.asked)-1])
		}
	})
}

// A block that never gets a reply, while others do, is treated as refused: on a serial line, and where a
// timeout costs the connection.
func TestSilentRegister(t *testing.T) {
	for _, serial := range []bool{true, false} {
		t.Run(fmt.Sprint("serial ", serial), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := twenty(t, "limits: {registers: 10}\n")
				d := profileDevice(t, p, slave.Options{})
				s := twentySite(t, d, p)
				if serial {
					s.line, s.char = drivers.Line{Baud: 9600, CharLen: 10}, 10*time.Second/9600
				}
				unit := s.units[1]
				s.units[1] = slave.AnswererFunc(func(pdu []byte) []byte {
					if first, n := int(pdu[2]), int(pdu[4]); pdu[0] == 3 && first <= 113 && 113 < first+n {
						return nil // register 113 silences the device
					}
					return unit.Answer(pdu)
				})
				s.run(30*time.Minute - 5*time.Second)
				last := s.reports[len(s.reports)-1]
				if len(last.Readings) != 19 || value(last, "dc14_power") != "?" || last.Err != nil {
					t.Errorf("the last poll: %s, %v", points(last), last.Err)
				}
				for _, r := range s.reports[3:] {
					if len(r.Readings) < 10 {
						t.Errorf("only %[2]d readings at %[1]v, %[3]v", r.At, len(r.Readings), r.Err)
					}
				}
			})
		})
	}
}

// A device that never answers costs its neighbours one timeout per probe, which is one request.
func TestDeadDeviceIsProbedCheaply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twenty(t, "")
		s := serialSite(t)
		s.driver = modbus.Of(p)
		s.add(p.Model, 1, time.Second, slave.AnswererFunc(func([]byte) []byte { return nil }))
		s.add(p.Model, 2, time.Second, profileDevice(t, p, slave.Options{}))
		s.run(time.Hour)
		dead := 0
		for _, a := range s.asked {
			if strings.HasPrefix(a, "1: ") {
				if dead++; dead > 1 && a != "1: 03 00 64 00 01" {
					t.Errorf("probed with %s", a)
				}
			}
		}
		if reports := len(s.of("d1")); dead != reports {
			t.Errorf("%d requests for %d reports of the dead device", dead, reports)
		}
		if alive := len(s.of("d2")); alive < 3600*95/100 {
			t.Errorf("its neighbour was polled %d times in an hour", alive)
		}
	})
}

// A "busy" exception ends a poll, but the device is not treated as dead.
func TestBusyDeviceIsNotDead(t *testing.T) {
	for _, code := range []byte{6, 10, 11} {
		synctest.Test(t, func(t *testing.T) {
			p := twenty(t, "limits: {registers: 10}\n")
			d := profileDevice(t, p, slave.Options{})
			var asleep atomic.Bool
			asleep.Store(true)
			s := twentySite(t, d, p)
			unit := s.units[1]
			s.units[1] = slave.AnswererFunc(func(pdu []byte) []byte {
				answer := unit.Answer(pdu)
				if asleep.Load() {
					return []byte{pdu[0] | 0x80, code}
				}
				return answer
			})
			time.AfterFunc(45*time.Second, func() { asleep.Store(false) })
			s.run(65 * time.Second)
			if len(s.reports) != 7 {
				t.Fatalf("%d polls in 65 s", len(s.reports))
			}
			for i, r := range s.reports {
				if i < 5 && (drivers.KindOf(r.Err) != drivers.Busy || len(r.Readings) != 0) ||
					i > 5 && (r.Err != nil || len(r.Readings) != 20) {
					t.Errorf("poll %d: %d readings, %v", i+1, len(r.Readings), r.Err)
				}
			}
			if n := slices.Index(s.asked, s.asked[len(s.asked)-1]); n < 0 || len(s.asked) > 5+3*3 {
				t.Errorf("%d requests", len(s.asked))
			}
		})
	}
}

// Paces: fast in every poll, slow once a minute, once after each opening of the line.
func TestPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := profile(t, `
schema: 1
model: test-paces
title: Paces
kind: meter
verified: paper
bus: baud=9600
identity: {serial: {at: holding:300, type: string, length: 4}}
points:
  - {point: ac_power, at: holding:0, type: u16}
  - {point: temperature, at: holding:100, type: u16, pace: slow}
  - {point: capacity, at: holding:200, type: u16, pace: once}
`)
		s := twentySite(t, profileDevice(t, p, slave.Options{Identity: drivers.Description{Serial: "AB12"}}), p)
		s.run(125 * time.Second)
		count := map[string]int{}
		for _, r := range s.reports {
			for _, rd := range r.Readings {
				count[rd.Point]++
			}
		}
		if count["ac_power"] != 13 || count["temperature"] != 3 || count["capacity"] != 1 {
			t.Errorf("read %v", count)
		}
		if about := s.reports[0].Description; about == nil || about.Serial != "AB12" ||
			strings.Join(about.Points, " ") != "ac_power temperature capacity" {
			t.Errorf("description %+v", about)
		}
		for _, r := range s.reports[1:] {
			if r.Description != nil {
				t.Errorf("second description %+v", r.Description)
			}
		}
	})
}

// One dead device among ten on a line of 9600 baud: once its backoff has grown, the other nine keep their
// poll intervals.
func TestOneDeadAmongTen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twenty(t, "")
		polls := func(dead bool) (n int) {
			s := serialSite(t)
			s.driver, s.delay = modbus.Of(p), 30*time.Millisecond
			for unit := 1; unit <= 10; unit++ {
				var a slave.Answerer = profileDevice(t, p, slave.Options{})
				if unit == 5 && dead {
					a = slave.AnswererFunc(func([]byte) []byte { return nil })
				}
				s.add(p.Model, unit, 4*time.Second, a)
			}
			s.run(70 * time.Minute)
			for _, r := range s.reports {
				if r.At.Sub(s.reports[0].At) > time.Hour && r.Device != "d5" && r.Err == nil {
					n++
				}
			}
			return n
		}
		healthy, degraded := polls(false), polls(true)
		t.Logf("nine devices got %d polls in ten minutes with a dead neighbour, %d without: %.1f %%", degraded, healthy,
			100*float64(degraded)/float64(healthy))
		if degraded < healthy*95/100 {
			t.Errorf("%d polls instead of %d", degraded, healthy)
		}
	})
}
