package modbus_test

import (
	"encoding/binary"
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

func TestSunSpecChains(t *testing.T) {
	for _, c := range []struct {
		name string
		o    slave.Options
	}{
		{"40000", slave.Options{}},
		{"50000", slave.Options{Base: 50000}},
		{"0", slave.Options{AtZero: true}},
		{"common model of 65 registers", slave.Options{CommonLength: 65}},
		{"floats", slave.Options{SunSpec: []uint16{113}}},
		{"single phase", slave.Options{SunSpec: []uint16{101}}},
		{"sparse registers", slave.Options{Sparse: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.o.Identity = drivers.Description{Maker: "ACME", Model: "M10", Serial: "S1", Firmware: "2.1"}
				d := device(t, "sunspec", c.o)
				set(t, d, "ac_power", catalogue.Number(5430))
				set(t, d, "frequency", catalogue.Number(49.98))
				set(t, d, "ac_energy", catalogue.Number(12345.678))
				set(t, d, "state", catalogue.Words("producing"))
				s := tcpSite(t)
				s.add("sunspec", 1, 10*time.Second, d)
				s.run(25 * time.Second)
				for i, r := range s.reports {
					energy := value(r, "ac_energy")
					if strings.HasPrefix(c.name, "floats") {
						// 12 345 678 Wh is a whole number below 2^24
						energy = strings.Replace(energy, "12345.678", "12345.678", 1)
					}
					if r.Err != nil || value(r, "ac_power") != "5430" || value(r, "frequency") != "49.98" ||
						energy != "12345.678" || value(r, "state") != "producing" {
						t.Errorf("poll %d: %v, %v", i+1, r.Err, r.Readings)
					}
				}
				if about := s.reports[0].Description; about == nil || about.Maker != "ACME" || about.Model != "M10" ||
					about.Serial != "S1" || about.Firmware != "2.1" {
					t.Errorf("description %+v", about)
				}
				if polls := len(s.reports); len(s.asked) > 12+polls {
					t.Errorf("%d requests for %d polls", len(s.asked), polls)
				}
			})
		})
	}
}

// chainOf replies for a hand-made chain. A model is its id, its length and, if needed, its content.
type chainOf struct {
	base  int
	words map[int]uint16
	end   int // the device refuses addresses from here on
}

func newChain(base int, models ...[]uint16) *chainOf {
	c := &chainOf{base: base, words: map[int]uint16{base: 0x5375, base + 1: 0x6E53}}
	at := base + 2
	for _, m := range models {
		for i, w := range m {
			c.words[at+i] = w
		}
		at += 2 + int(m[1])
	}
	c.end = at
	return c
}

func (c *chainOf) Answer(pdu []byte) []byte {
	first, n := int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
	if pdu[0] != 3 || first < c.base || first+n > c.end {
		return []byte{pdu[0] | 0x80, 2}
	}
	out := []byte{3, byte(2 * n)}
	for i := range n {
		out = binary.BigEndian.AppendUint16(out, c.words[first+i])
	}
	return out
}

// inverter103 returns a model 103 with the given power.
func inverter103(watts uint16) []uint16 {
	m := make([]uint16, 52)
	m[0], m[1], m[14] = 103, 50, watts
	m[40] = 0
	return m
}

func TestSunSpecWalk(t *testing.T) {
	end := []uint16{0xFFFF, 0}
	common := []uint16{1, 66}
	for _, c := range []struct {
		name   string
		models [][]uint16
		want   string // ac_power, or part of the error
	}{
		{"with an end model", [][]uint16{common, inverter103(7), end}, "7"},
		{"exception after the last model", [][]uint16{common, inverter103(7)}, "7"},
		{"unknown models in between", [][]uint16{common, {64061, 300}, {11, 13}, {65230, 1}, inverter103(7), end}, "7"},
		{"a longer unknown model", [][]uint16{common, {65234, 315}, inverter103(7), end}, "7"},
		{"a second device after it", [][]uint16{common, inverter103(7), common, inverter103(9), end}, "7"},
		{"both families of inverter models: never added",
			[][]uint16{common, append([]uint16{113, 60}, make([]uint16, 60)...), inverter103(7), end}, "7"},
		{"a model without a length", [][]uint16{common, {300, 0}, inverter103(7), end},
			"model 300 cannot have 0 registers"},
		{"a model that is too long", [][]uint16{common, {300, 2001}, inverter103(7), end},
			"model 300 cannot have 2001 registers"},
		{"no common model", [][]uint16{inverter103(7), end}, "must begin with the common model"},
		{"nothing", nil, "the chain has no models of a device 1"},
		{"an illegal length", [][]uint16{common, {103, 20}, end}, "?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := tcpSite(t)
				s.add("sunspec", 1, 10*time.Second, newChain(40000, c.models...))
				s.run(5 * time.Second)
				r := s.reports[0]
				if got := value(r, "ac_power"); got != c.want &&
					(r.Err == nil || !strings.Contains(r.Err.Error(), c.want)) {
					t.Errorf("ac_power %s, %v, want %s", got, r.Err, c.want)
				}
			})
		})
	}
	t.Run("the end model refuses two registers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newChain(40000, common, inverter103(7), end)
			c.end-- // the id can be read, a length after it cannot
			s := tcpSite(t)
			s.add("sunspec", 1, 10*time.Second, c)
			s.run(5 * time.Second)
			if r := s.reports[0]; r.Err != nil || value(r, "ac_power") != "7" {
				t.Errorf("%v, %v", r.Err, r.Readings)
			}
		})
	})
	t.Run("endless chain", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := tcpSite(t)
			s.add("sunspec", 1, time.Minute, slave.AnswererFunc(func(pdu []byte) []byte {
				first, n := int(binary.BigEndian.Uint16(pdu[1:])), int(binary.BigEndian.Uint16(pdu[3:]))
				out := []byte{3, byte(2 * n)}
				for i := range n {
					w := uint16(66) // an endless chain of models of 66 registers
					switch at := first + i - 40000; {
					case at == 0:
						w = 0x5375
					case at == 1:
						w = 0x6E53
					case at == 2:
						w = 1
					case (at-2)%68 == 0:
						w = 500
					}
					out = binary.BigEndian.AppendUint16(out, w)
				}
				return out
			}))
			s.run(30 * time.Second)
			if n := len(s.asked); n > 110 {
				t.Errorf("%d requests along an endless chain", n)
			}
		})
	})
}

// The models move during a running poll (Fronius, when someone switches between integers and floats). No
// reading comes from a wrong address, and the next poll finds the models.
func TestSunSpecMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := device(t, "sunspec", slave.Options{SunSpec: []uint16{103}})
		after := device(t, "sunspec", slave.Options{SunSpec: []uint16{113}})
		set(t, before, "ac_power", catalogue.Number(1111))
		set(t, after, "ac_power", catalogue.Number(2222))
		var now atomic.Pointer[slave.Device]
		now.Store(before)
		s := tcpSite(t)
		s.add("sunspec", 1, 10*time.Second,
			slave.AnswererFunc(func(pdu []byte) []byte { return now.Load().Answer(pdu) }))
		time.AfterFunc(25*time.Second, func() { now.Store(after) })
		s.run(65 * time.Second)
		var got []string
		for _, r := range s.reports {
			got = append(got, value(r, "ac_power"))
			if r.Err != nil && !strings.Contains(r.Err.Error(), "the SunSpec models have moved") {
				t.Errorf("error %v", r.Err)
			}
		}
		if want := "1111 1111 1111 ? 2222 2222 2222"; strings.Join(got, " ") != want {
			t.Errorf("power %v, want %s", got, want)
		}
	})
}

// A timeout in the middle of the walk is not the end of the chain.
func TestSunSpecTimeoutIsNotTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := device(t, "sunspec", slave.Options{})
		n := 0
		s := tcpSite(t)
		s.add("sunspec", 1, 10*time.Second, slave.AnswererFunc(func(pdu []byte) []byte {
			if n++; n == 3 {
				return nil
			}
			return d.Answer(pdu)
		}))
		s.run(15 * time.Second)
		if r := s.reports[0]; drivers.KindOf(r.Err) != drivers.Timeout || len(r.Readings) != 0 {
			t.Errorf("first %v, %v", r.Err, r.Readings)
		}
		if r := s.reports[1]; r.Err != nil || value(r, "ac_power") != "1" {
			t.Errorf("then %v, %v", r.Err, r.Readings)
		}
	})
}

// On a line that loses every third reply the walk continues where it stopped. If the device is replaced
// meanwhile, data of the two are not mixed.
func TestSunSpecWalkContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, other := device(t, "sunspec", slave.Options{SunSpec: []uint16{103, 160}}),
			device(t, "sunspec", slave.Options{SunSpec: []uint16{113}})
		set(t, other, "ac_power", catalogue.Number(2222))
		n, firsts := 0, 0
		s := tcpSite(t)
		s.add("sunspec", 1, 10*time.Second, slave.AnswererFunc(func(pdu []byte) []byte {
			if n++; n%3 == 0 {
				return nil
			}
			if binary.BigEndian.Uint16(pdu[1:]) == 40000 {
				firsts++
			}
			if n < 5 {
				return one.Answer(pdu)
			}
			return other.Answer(pdu)
		}))
		s.run(2 * time.Minute)
		known := slices.IndexFunc(s.reports, func(r drivers.Report) bool { return len(r.Readings) > 0 })
		if known < 0 || known > 6 || firsts > 2 { // once for each device
			t.Fatalf("complete from poll %d on, begun %d times", known+1, firsts)
		}
		for _, r := range s.reports {
			if v := value(r, "ac_power"); v != "2222" && v != "?" {
				t.Errorf("power %s", v)
			}
		}
	})
}

// A value and its scale factor arrive in one reply, however the factor changes.
func TestSunSpecScaleFactorMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := device(t, "sunspec", slave.Options{})
		s := tcpSite(t)
		watts := []float64{900, 9000, 90000, 900000}
		n := 0
		s.add("sunspec", 1, 10*time.Second, slave.AnswererFunc(func(pdu []byte) []byte {
			set(t, d, "ac_power", catalogue.Number(watts[n%len(watts)])) // between any two requests
			n++
			return d.Answer(pdu)
		}))
		s.run(5 * time.Minute)
		for _, r := range s.reports {
			ok := slices.ContainsFunc(watts,
				func(w float64) bool { return value(r, "ac_power") == fmt.Sprint(catalogue.Number(w)) })
			if !ok {
				t.Errorf("power %s", value(r, "ac_power"))
			}
		}
	})
}

// Every model that is read from a chain, alone and with a request limit that separates values from their
// scale factors.
func TestSunSpecModels(t *testing.T) {
	for _, c := range []struct {
		models []uint16
		set    map[string]float64
		want   string // points that are delivered but not in set
	}{
		{[]uint16{103, 120, 122, 123, 124, 160},
			map[string]float64{"ac_power": 4321, "ac_energy": 1234.5, "battery_charge": 55.5, "battery_voltage": 402.5,
				"dc1_voltage": 612.3, "dc1_current": 41.05, "dc2_power": 25110}, "power_limit"},
		{[]uint16{701, 160}, map[string]float64{"ac_power": -1200, "ac_power_l2": 400, "ac_energy": 98765.432,
			"frequency": 49.99, "ac_voltage_l3_l1": 401.5, "temperature": 41.2, "dc1_power": 300}, ""},
		{[]uint16{203}, map[string]float64{"ac_power": -2500, "ac_power_l3": 250, "import_energy": 1000.001,
			"export_energy": 2000.5, "frequency": 50.01, "power_factor": -0.98}, ""},
		{[]uint16{213}, map[string]float64{"ac_power": -2500.5, "ac_power_l3": 250, "import_energy": 1000.5,
			"export_energy": 2000.5, "frequency": 50.01, "power_factor": -0.98}, ""},
		{[]uint16{122}, map[string]float64{"ac_energy": 1234567.891}, ""},
	} {
		for _, limit := range []int{125, 60} {
			t.Run(fmt.Sprint(c.models, " by ", limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					text := fmt.Sprintf(
						"schema: 1\nmodel: test-make\ntitle: T\nkind: inverter\nverified: paper\nlinks: [tcp]\nlimits: {registers: %d}\nsunspec: {bases: [40000], models_of: sunspec}\n", limit)
					p := profile(t, text)
					d := profileDevice(t, p, slave.Options{SunSpec: c.models, Groups: 3})
					for k, v := range c.set {
						set(t, d, k, catalogue.Number(v))
					}
					s := tcpSite(t)
					s.driver = modbus.Of(p)
					s.add(p.Model, 1, 10*time.Second, d)
					s.run(25 * time.Second)
					for _, r := range s.reports {
						if r.Err != nil {
							t.Errorf("poll: %v", r.Err)
						}
					}
					first := s.reports[0]
					for k, v := range c.set {
						if got := value(first, k); got != catalogue.Number(v).String() {
							t.Errorf("%s is %s, want %v", k, got, v)
						}
					}
					for _, k := range strings.Fields(c.want) {
						if value(first, k) == "?" {
							t.Errorf("%s is missing", k)
						}
					}
				})
			})
		}
	}
}

// Eight trackers do not fit into one request with their scale factors.
func TestSunSpecManyTrackers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := device(t, "sunspec", slave.Options{SunSpec: []uint16{103, 160}, Groups: 8})
		for n := 1; n <= 8; n++ {
			set(t, d, fmt.Sprintf("dc%d_current", n), catalogue.Number(float64(n)+0.25))
		}
		s := tcpSite(t)
		s.add("sunspec", 1, 10*time.Second, d)
		s.run(15 * time.Second)
		for n := 1; n <= 8; n++ {
			if got := value(s.reports[1], fmt.Sprintf("dc%d_current", n)); got != fmt.Sprintf("%d.25", n) {
				t.Errorf("dc%d_current is %s", n, got)
			}
		}
		if s.reports[1].Err != nil {
			t.Error(s.reports[1].Err)
		}
	})
}

// The charge and discharge inputs of a Fronius hybrid's battery are not strings.
func TestSunSpecSkipsTheBattery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := device(t, "sunspec", slave.Options{SunSpec: []uint16{160}, Groups: 4})
		at := uint16(40000 + 2 + 68)
		for i, name := range []string{"MPPT 1", "MPPT 2", "StCha 3", "StDisCha 4"} {
			f := modbus.Field{At: modbus.Address{Table: modbus.Holding, Number: at + 10 + uint16(20*i) + 1},
				Type: modbus.String, Length: 8}
			regs, err := f.Encode(catalogue.Words(name), 0)
			if err != nil {
				t.Fatal(err)
			}
			d.SetRegisters(f.At, regs...)
		}
		s := tcpSite(t)
		s.add("sunspec", 1, 10*time.Second, d)
		s.run(5 * time.Second)
		if got := points(s.reports[0]); got != "dc1_voltage dc1_current dc1_power dc2_voltage dc2_current dc2_power" {
			t.Errorf("read %s", got)
		}
	})
}

// A meter that shares the unit id with an inverter is the second device of the chain.
func TestSunSpecParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := make([]uint16, 107)
		meter[0], meter[1], meter[18] = 203, 105, 42
		chain := newChain(40000, []uint16{1, 65}, inverter103(7), []uint16{1, 65}, meter)
		p := profile(t,
			"schema: 1\nmodel: test-second\ntitle: T\nkind: inverter\nverified: paper\nlinks: [tcp]\nsunspec: {bases: [40000], part: 2, models_of: sunspec}\n")
		s := tcpSite(t)
		s.driver = modbus.Of(p)
		s.add(p.Model, 1, 10*time.Second, chain)
		s.run(5 * time.Second)
		if r := s.reports[0]; r.Err != nil || value(r, "ac_power") != "42" {
			t.Errorf("%v, %v", r.Err, r.Readings)
		}
	})
}

// An inverter and the meter behind it are two devices with one unit id. The meter can be chosen as the second
// device of the chain or as the first meter.
func TestSunSpecSharedUnit(t *testing.T) {
	const head = "schema: 1\nmodel: test-meter\ntitle: T\nkind: meter\nverified: paper\nlinks: [tcp]\n"
	meter := func(watts uint16) []uint16 {
		m := make([]uint16, 107)
		m[0], m[1], m[18] = 203, 105, watts
		return m
	}
	for _, x := range []struct {
		part, want string
	}{{"part: 1", "42"}, {"part: 2", "42"}, {"part: 3", "43"}, {"part: 4", "the chain has no models of a device 4"}} {
		t.Run(x.part, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chain := newChain(40000, []uint16{1, 65}, inverter103(7), []uint16{1, 65}, meter(42), []uint16{1, 65},
					meter(43))
				s := tcpSite(t)
				s.driver = modbus.New(profile(t, head+"sunspec: {bases: [40000], "+x.part+", models_of: sunspec}\n"))
				s.add("sunspec", 1, 10*time.Second, chain)
				s.add("test-meter", 1, 10*time.Second, chain)
				s.devices[1].ID = "meter"
				s.run(5 * time.Second)
				for _, r := range s.reports {
					got, want := value(r, "ac_power"), x.want
					if r.Device == s.devices[0].ID {
						want = "7"
					}
					if r.Err != nil {
						got = r.Err.Error()
					}
					if !strings.Contains(got, want) {
						t.Errorf("%s: %s, want %s", r.Device, got, want)
					}
				}
				if len(s.reports) < 2 {
					t.Errorf("%d reports", len(s.reports))
				}
			})
		})
	}
}

// Reading one device of the chain under two names would count its energy twice.
func TestSunSpecPartIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := make([]uint16, 107)
		m[0], m[1] = 203, 105
		chain := newChain(40000, []uint16{1, 65}, inverter103(7), []uint16{1, 65}, m)
		text := "schema: 1\nmodel: test-%d\ntitle: T\nkind: meter\nverified: paper\nlinks: [tcp]\nsunspec: {bases: [40000], part: %[1]d, models_of: sunspec}\n"
		s := tcpSite(t)
		s.driver = modbus.New(profile(t, fmt.Sprintf(text, 1)), profile(t, fmt.Sprintf(text, 2)))
		s.add("test-1", 1, 10*time.Second, chain)
		s.add("test-2", 1, 10*time.Second, chain)
		s.devices[1].ID = "meter"
		s.run(5 * time.Second)
		var message string
		for _, r := range s.reports {
			if r.Err != nil {
				message = r.Err.Error()
			}
		}
		if !strings.Contains(message, "this device of the chain is already read as "+s.devices[0].ID) {
			t.Errorf("errors %q", message)
		}
	})
}
