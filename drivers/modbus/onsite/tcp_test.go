package onsite_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
	"bordo/drivers/scan"
)

func target(t *testing.T, text string) scan.Target {
	t.Helper()
	to, err := scan.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// A SunSpec inverter with an unusual unit id.
func TestTCPFindsSunSpec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		o := slave.Options{Identity: drivers.Description{Maker: "Altra Marca", Model: "AM-20K", Serial: "SN000123",
			Firmware: "3.21"}}
		s.hosts["10.0.0.7:502"] = map[byte]slave.Answerer{126: device(t, "sunspec", o, grid())}
		if err := s.scanner().TCP(t.Context(), target(t, "10.0.0.7"), s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"tcp://10.0.0.7:502 126 sunspec SN000123"})
		for _, e := range s.events {
			if f := e.Found; f != nil && (f.Maker != "Altra Marca" || f.Product != "AM-20K" || f.Firmware != "3.21" ||
				f.Kind != "inverter" || f.Title == "") {
				t.Errorf("found %+v", f)
			}
		}
	})
}

// A SunSpec device of a make with its own profile is recognised by the maker's name in the chain.
func TestTCPRecognisesTheMakeOfASunSpecDevice(t *testing.T) {
	for maker, model := range map[string]string{"Fronius": "fronius-symo", "SolarEdge ": "solaredge",
		"Nobody": "sunspec", "KOSTAL": "kostal-plenticore", "Power-One": "fimer-pvs"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			o := slave.Options{Identity: drivers.Description{Maker: maker, Model: "X 10", Serial: "7"}}
			s.hosts["h:502"] = map[byte]slave.Answerer{1: device(t, "sunspec", o, grid())}
			if err := s.scanner().TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil {
				t.Error(err)
			}
			s.expect([]string{"tcp://h:502 1 " + model + " 7"})
		})
	}
}

// A device that reports its name through function 43 or function 17.
func TestTCPReadsTheName(t *testing.T) {
	fc43 := append([]byte{43, 14, 1, 1, 0, 0, 3, 0, 4}, "Moxa\x01\x0dioLogik E1210\x02\x041.10"...)
	fc17 := append([]byte{17, 15, 1, 0xFF}, "MOXA ioLogik E1210"...)
	for name, answer := range map[string][]byte{"function 43": fc43, "function 17": fc17} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.hosts["h:502"] = map[byte]slave.Answerer{1: slave.AnswererFunc(func(pdu []byte) []byte {
					if pdu[0] == answer[0] {
						return answer
					}
					return []byte{pdu[0] | 0x80, 2}
				})}
				if err := s.scanner().TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil {
					t.Error(err)
				}
				s.expect([]string{"tcp://h:502 1 moxa-iologik-e1210 "})
			})
		})
	}
}

// A device that replies to every unit id is one device.
func TestTCPFindsADeviceOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.hosts["h:502"] = map[byte]slave.Answerer{0: device(t, "sunspec", serial("1"), grid())}
		s.hosts["h:1502"] = s.hosts["h:502"]
		if err := s.scanner().TCP(t.Context(), target(t, "h"), s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"tcp://h:502 1 sunspec 1"}, scan.EveryUnit)
	})
}

// Behind a gateway that reports unused unit ids, every id is probed.
func TestTCPGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		units := map[byte]slave.Answerer{}
		for u := 1; u <= 255; u++ {
			units[byte(u)] = slave.AnswererFunc(func(pdu []byte) []byte { return []byte{pdu[0] | 0x80, 11} })
		}
		units[38] = device(t, "eastron-sdm120", serial("22041234"), grid1())
		units[201] = device(t, "eastron-sdm120", serial("22041235"), grid1())
		s.hosts["h:502"] = units
		if err := s.scanner().TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"tcp://h:502 38 eastron-sdm120 22041234", "tcp://h:502 201 eastron-sdm120 22041235"})
	})
}

func TestTCPTroubles(t *testing.T) {
	refusing := slave.AnswererFunc(func(pdu []byte) []byte { return []byte{pdu[0] | 0x80, 10} })
	gateway := map[byte]slave.Answerer{0: refusing}
	for _, c := range []struct {
		name  string
		host  map[byte]slave.Answerer
		there bool
		want  scan.Cause
	}{
		{"refused", nil, false, scan.Refused},
		{"not there", nil, true, scan.Unreachable},
		{"silent", map[byte]slave.Answerer{99: refusing}, true, scan.NotModbus},
		{"empty gateway", gateway, true, scan.NobodyThere},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				if c.there {
					s.hosts["h:502"] = c.host
				}
				sc := s.scanner()
				sc.Units = []int{1, 2, 3}
				if err := sc.TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil {
					t.Error(err)
				}
				s.expect(nil, c.want)
			})
		})
	}
}

// A network is scanned with few connections at once, and a host that does not answer does not delay the scan
// for long.
func TestTCPNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for i := range 256 {
			s.hosts[fmt.Sprintf("10.0.0.%d:502", i)] = nil
		}
		s.hosts["10.0.0.17:502"] = map[byte]slave.Answerer{1: device(t, "sunspec", serial("A"), grid())}
		s.hosts["10.0.0.200:502"] = map[byte]slave.Answerer{3: device(t, "sunspec", serial("B"), grid())}
		began := time.Now()
		if err := s.scanner().TCP(t.Context(), target(t, "10.0.0.0/24"), s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"tcp://10.0.0.17:502 1 sunspec A", "tcp://10.0.0.200:502 3 sunspec B"})
		if s.most > 6 {
			t.Errorf("%d connections at once", s.most)
		}
		if d := time.Since(began); d > 3*time.Minute {
			t.Errorf("the scan took %v", d)
		}
	})
}

func TestTCPStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.hosts["10.0.0.1:502"] = map[byte]slave.Answerer{99: nil}
		s.hosts["10.0.0.2:502"] = nil
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := s.scanner().TCP(ctx, target(t, "10.0.0.0/30"), s.openPort); !errors.Is(err,
			context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d > 1600*time.Millisecond {
			t.Errorf("stopped after %v", d)
		}
		s.expect(nil)
	})
}

// A device that closes the connection when probed with a wrong unit id is probed further on a new connection.
func TestTCPDeviceThatClosesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		inverter := device(t, "sunspec", serial("A"), grid())
		s.hosts["h:502"] = map[byte]slave.Answerer{3: inverter}
		sc := s.scanner()
		sc.Units = []int{1, 3}
		hanging := &hangingSite{site: s}
		if err := sc.TCP(t.Context(), target(t, "h:502"), hanging.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"tcp://h:502 3 sunspec A"})
	})
}

// A host that replies to every unit id ends the scan early, whatever it replies, and the scan reports it.
func TestTCPHostThatAnswersEveryUnit(t *testing.T) {
	zeros := slave.AnswererFunc(func(pdu []byte) []byte {
		if pdu[0] > 4 {
			return []byte{pdu[0] | 0x80, 1}
		}
		return append([]byte{pdu[0], 2 * pdu[4]}, make([]byte, 2*int(pdu[4]))...)
	})
	refusing := slave.AnswererFunc(func(pdu []byte) []byte { return []byte{pdu[0] | 0x80, 2} })
	for name, c := range map[string]struct {
		unit  func(u byte) slave.Answerer
		delay time.Duration
		want  int
	}{
		"one device": {func(byte) slave.Answerer { return device(t, "sunspec", serial("1"), grid()) },
			0, 1},
		"one slow device": {func(byte) slave.Answerer { return device(t, "sunspec", serial("1"), grid()) },
			1500 * time.Millisecond, 1},
		"a device for each unit id": {func(u byte) slave.Answerer {
			return device(t, "sunspec", serial(fmt.Sprint(u)),
				grid())
		}, 0, 10},
		"zeros":           {func(byte) slave.Answerer { return zeros }, 0, 1},
		"slow zeros":      {func(byte) slave.Answerer { return zeros }, 300 * time.Millisecond, 1},
		"refusals":        {func(byte) slave.Answerer { return refusing }, 0, 1},
		"slow exceptions": {func(byte) slave.Answerer { return refusing }, 700 * time.Millisecond, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				units := map[byte]slave.Answerer{}
				for u := 1; u <= 247; u++ {
					var a slave.Answerer
					units[byte(u)] = slave.AnswererFunc(func(pdu []byte) []byte {
						if a == nil {
							a = c.unit(byte(u))
						}
						time.Sleep(c.delay)
						return a.Answer(pdu)
					})
				}
				s.hosts["h:502"] = units
				began := time.Now()
				if err := s.scanner().TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil {
					t.Error(err)
				}
				if d := time.Since(began); d > time.Minute {
					t.Errorf("the scan took %v", d)
				}
				if got := s.found(); len(got) < c.want || c.want == 1 && len(got) != 1 {
					t.Errorf("found %v", got)
				}
				if got := s.troubles(); !slices.Equal(got, []scan.Cause{scan.EveryUnit}) {
					t.Errorf("troubles %v", got)
				}
			})
		})
	}
}

// A host with devices slower than the timeout is still found, and a silent one ends soon.
func TestTCPSlowHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		d := device(t, "sunspec", serial("1"), grid())
		s.hosts["h:502"] = map[byte]slave.Answerer{3: slave.AnswererFunc(func(pdu []byte) []byte {
			time.Sleep(1800 * time.Millisecond)
			return d.Answer(pdu)
		})}
		if err := s.scanner().TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"tcp://h:502 3 sunspec 1"})
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.hosts["h:502"] = map[byte]slave.Answerer{254: device(t, "sunspec", serial("1"), grid())}
		sc := s.scanner()
		began := time.Now()
		if err := sc.TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil || time.Since(began) > time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// idsSite is a gateway that replies with the next transaction id.
type idsSite struct{ *site }

func (g *idsSite) openPort(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
	p, err := g.site.openPort(ctx, e)
	if err != nil {
		return nil, err
	}
	return &otherIDs{p}, nil
}

type otherIDs struct{ drivers.Port }

func (o *otherIDs) Read(b []byte) (int, error) {
	n, err := o.Port.Read(b)
	if n > 1 {
		b[1]++
	}
	return n, err
}

// Devices behind a gateway with other transaction ids are found, and the proposed port has the necessary
// setting.
func TestTCPGatewayWithOtherIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.hosts["h:502"] = map[byte]slave.Answerer{3: device(t, "sunspec", serial("A"), grid())}
		if err := s.scanner().TCP(t.Context(), target(t, "h:502"), (&idsSite{s}).openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"tcp://h:502?ids=tolerant 3 sunspec A"}, scan.OtherIDs)
		var found []scan.Found
		for _, e := range s.events {
			if e.Found != nil {
				found = append(found, *e.Found)
			}
		}
		if p := scan.Propose(found, scan.Taken{}); !strings.Contains(p.Lines, "port: tcp://h:502?ids=tolerant\n") {
			t.Errorf("proposed\n%s", p.Lines)
		}
	})
}

// A host that accepts connections on port 502 and speaks RTU frames is a serial server. Its devices are found
// with the port that they need.
func TestTCPSerialServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.hosts["h:502"] = map[byte]slave.Answerer{}
		s.tunnels = map[string]map[byte]slave.Answerer{"h:502": {2: device(t, "eastron-sdm120", serial("22041234"),
			grid1())}}
		if err := s.scanner().TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"rtu+tcp://h:502 2 eastron-sdm120 22041234"}, scan.RTUFrames)
	})
}

// A chain that is cut off is mentioned in the result.
func TestTCPReportsACutChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		d := device(t, "sunspec", slave.Options{Identity: drivers.Description{Serial: "A"},
			SunSpec: []uint16{103, 160}}, grid())
		d.SetRegisters(modbus.Address{Table: modbus.Holding, Number: 40002 + 68 + 52 + 1}, 0xFFFF)
		s.hosts["h:502"] = map[byte]slave.Answerer{1: d}
		sc := s.scanner()
		sc.Units = []int{1}
		if err := sc.TCP(t.Context(), target(t, "h:502"), s.openPort); err != nil {
			t.Error(err)
		}
		for _, e := range s.events {
			if f := e.Found; f != nil && !strings.Contains(f.Warning, "model 160 cannot have 65535 registers") {
				t.Errorf("found %+v", f)
			}
		}
		s.expect([]string{"tcp://h:502 1 sunspec A"})
	})
}
