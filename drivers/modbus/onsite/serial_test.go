package onsite_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
	"bordo/drivers/scan"
)

const ttyTest = "/dev/ttyTEST"

// Two devices share a line whose speed is not the first one tried.
func TestSerialFindsTwoDevicesAtTheirSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "baud=38400&parity=even"
		s.units[1] = device(t, "sunspec", serial("SN0815"), grid())
		s.units[143] = device(t, "eastron-sdm120", serial("22041234"),
			map[string]float64{"frequency": 50, "ac_voltage_l1": 230})
		began := time.Now()
		if err := s.scanner().Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"baud=38400&parity=even 1 sunspec SN0815",
			"baud=38400&parity=even 143 eastron-sdm120 22041234"})
		if d := time.Since(began); d > 10*time.Minute {
			t.Errorf("the scan took %v", d)
		}
		last := s.opened[len(s.opened)-1]
		if !strings.Contains(last, "baud=38400&parity=even") {
			t.Errorf("another speed was tried after devices were found: %s", last)
		}
	})
}

// A device without an identity is recognised by its measurements and reported as only likely.
func TestSerialReportsLikelyModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "baud=9600&parity=none"
		s.units[3] = device(t, "eastron-sdm630", serial("22041234"), grid())
		s.units[4] = slave.AnswererFunc(func(pdu []byte) []byte { return []byte{pdu[0] | 0x80, 1} })
		sc := s.scanner()
		sc.Units = []int{3, 4}
		if err := sc.Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"baud=9600&parity=none 3 eastron-sdm630? 22041234", "baud=9600&parity=none 4 ? "})
	})
}

// Devices that ignore requests for a while after each reply are still recognised, including the slowest.
func TestSerialRespectsPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "baud=9600&parity=none"
		s.units[1] = pausing(t, device(t, "growatt-tlx", serial("AB12345678"), grid()), "growatt-tlx")
		s.units[3] = pausing(t, device(t, "eastron-sdm630", serial("22041234"), grid()), "eastron-sdm630")
		sc := s.scanner()
		sc.Units = []int{3, 1}
		if err := sc.Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"baud=9600&parity=none 3 eastron-sdm630? 22041234",
			"baud=9600&parity=none 1 growatt-tlx AB12345678"})
	})
}

// pausing is a device that needs its model's pause. Its replies begin 20 ms after the request.
func pausing(t *testing.T, d slave.Answerer, model string) slave.Answerer {
	t.Helper()
	p, err := modbus.Named(model)
	if err != nil {
		t.Fatal(err)
	}
	var deaf time.Time
	return slave.AnswererFunc(func(pdu []byte) []byte {
		if time.Now().Before(deaf) {
			return nil
		}
		deaf = time.Now().Add(20*time.Millisecond + p.Timing.Gap)
		return d.Answer(pdu)
	})
}

func TestSerialSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "no such"
		sc := s.scanner()
		sc.Units = []int{1, 2, 3}
		if err := sc.Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect(nil, scan.Silence)
	})
}

// Without any reply, every unit id is probed at every speed; the number of requests is limited.
func TestSerialScansEverythingAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "baud=1200&"
		s.units[240] = device(t, "eastron-sdm120", serial("1"), grid1())
		began := time.Now()
		if err := s.scanner().Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"baud=1200&parity=none 240 eastron-sdm120 1"})
		if d := time.Since(began); d > 45*time.Minute {
			t.Errorf("the scan took %v", d)
		}
	})
}

func grid1() map[string]float64 { return map[string]float64{"frequency": 50, "ac_voltage_l1": 230} }

// A device that receives noise at a wrong speed and replies with noise.
func TestSerialNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "no such"
		s.wrong = func(port *driverstest.End) {
			go func() {
				b := make([]byte, 64)
				for n := byte(0); ; n++ {
					if _, err := port.Read(b); err != nil {
						return
					}
					port.Write([]byte{0xF8, 0x80 + n, 0xFE}) //nolint:errcheck // a wire accepts everything
				}
			}()
		}
		sc := s.scanner()
		sc.Units = []int{1, 2}
		if err := sc.Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect(nil, scan.Garbage)
		if second, first := s.opened[2], s.opened[1]; !strings.Contains(second,
			strings.Split(strings.Split(first, "?")[1], "&")[0]) {
			t.Errorf("after noise with %s, %s was tried; want another parity first", first, second)
		}
	})
}

func TestSerialEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting, s.echo = "serial", true // at every setting
		sc := s.scanner()
		sc.Units = []int{1, 2}
		if err := sc.Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect(nil, scan.OnlyEcho)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting, s.echo = "baud=9600&parity=none", true
		s.units[2] = device(t, "eastron-sdm120", serial("22041234"), grid1())
		sc := s.scanner()
		sc.Units = []int{1, 2}
		if err := sc.Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"baud=9600&parity=none 2 eastron-sdm120 22041234"})
	})
}

// Another master is detected at its own speed before anything is sent, and nothing is sent.
func TestSerialStopsForAnotherMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "baud=19200&parity=even"
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		master := func(frame []byte) func(*driverstest.End) {
			return func(port *driverstest.End) {
				go func() {
					for err := error(nil); err == nil; _, err = port.Write(frame) {
						select {
						case <-time.After(500 * time.Millisecond):
						case <-ctx.Done():
							return
						}
					}
				}()
			}
		}
		s.right = master([]byte{1, 4, 0, 0, 0, 2, 0x71, 0xCB})
		s.wrong = master([]byte{0xFE, 0x81, 0xF0, 0x80, 0xFF, 0x03})
		s.units[1] = device(t, "eastron-sdm120", serial("1"), nil)
		if err := s.scanner().Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect(nil, scan.OtherMaster)
		trouble := s.events[len(s.events)-1].Trouble
		if !strings.Contains(trouble.Port, s.setting) || !strings.HasSuffix(trouble.Detail, "for unit ids 1") {
			t.Errorf("trouble %+v", trouble)
		}
		if len(s.asked) > 0 {
			t.Errorf("requests %v", s.asked)
		}
	})
}

// A late reply is detected while the next unit id is probed, and the unit is probed again.
func TestSerialDetectsALateReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "baud=9600&parity=none"
		s.units[2] = device(t, "eastron-sdm120", serial("22041234"), grid1())
		s.delay = func(byte) time.Duration { return 700 * time.Millisecond }
		sc := s.scanner()
		sc.Units = []int{1, 2, 3, 4, 5, 6}
		if err := sc.Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.expect([]string{"baud=9600&parity=none 2 eastron-sdm120 22041234"})
	})
}

func TestSerialStopsAtOnce(t *testing.T) {
	for _, after := range []time.Duration{time.Second, 5 * time.Second, time.Minute, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.setting = "no such"
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			began := time.Now()
			if err := s.scanner().Serial(ctx, ttyTest, s.openPort); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if d := time.Since(began) - after; d > 100*time.Millisecond {
				t.Errorf("stopped after %v", d)
			}
			s.expect(nil)
		})
	}
}

func TestSerialPortThatCannotBeOpened(t *testing.T) {
	busy := &drivers.Error{Op: "open", Kind: drivers.Closed, Lost: true,
		Err: errors.New("busy: another program has it open")}
	var causes []scan.Cause
	sc := scanner{driver(), scan.Search{Say: func(e scan.Event) {
		if e.Trouble != nil {
			causes = append(causes, e.Trouble.Cause)
		}
	}}}
	err := sc.Serial(t.Context(), ttyTest,
		func(context.Context, line.Endpoint) (drivers.Port, error) { return nil, busy })
	if !errors.Is(err, busy) || !slices.Equal(causes, []scan.Cause{scan.NoPort}) {
		t.Errorf("got %v, troubles %v", err, causes)
	}
}

// borrowed is a line that must be waited for, like one of a running agent.
type borrowed struct {
	port drivers.Port
	uses int
}

func (s *site) borrowed(e line.Endpoint) *borrowed {
	port, err := s.openPort(s.t.Context(), e)
	if err != nil {
		s.t.Fatal(err)
	}
	return &borrowed{port: port}
}

func (b *borrowed) lend(ctx context.Context, f func(context.Context, drivers.Port) error) error {
	b.uses++
	began := time.Now()
	err := f(ctx, b.port)
	if d := time.Since(began); d > 4*time.Second {
		return errors.New("held for too long")
	}
	time.Sleep(100 * time.Millisecond)
	return err
}

// On a running line, the known devices are not probed, and requests are sent one at a time.
func TestOnLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "baud=9600&parity=even"
		s.units[1] = slave.AnswererFunc(func([]byte) []byte { t.Error("a known device was probed"); return nil })
		s.units[9] = device(t, "eastron-sdm120", serial("22041234"), grid1())
		e, err := line.Parse("serial:///dev/ttyTEST?baud=9600&parity=even")
		if err != nil {
			t.Fatal(err)
		}
		l := s.borrowed(e)
		sc := s.scanner()
		sc.Known = map[int]string{1: "meter-1"}
		if err := sc.driver.ScanLine(t.Context(), e, l.lend, sc.Search); err != nil {
			t.Error(err)
		}
		l.port.Close() //nolint:errcheck // the test is over
		s.expect([]string{"baud=9600&parity=even 9 eastron-sdm120 22041234"})
		if l.uses < 247 || len(s.opened) != 1 {
			t.Errorf("%d uses, opened %v", l.uses, s.opened)
		}
	})
}

// On a running line with a gateway that reports unused unit ids, all ids are probed.
func TestOnLineOfAGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		units := map[byte]slave.Answerer{0: slave.AnswererFunc(
			func(pdu []byte) []byte { return []byte{pdu[0] | 0x80, 11} })}
		units[3] = slave.AnswererFunc(func([]byte) []byte { t.Error("a known device was probed"); return nil })
		units[201] = device(t, "eastron-sdm120", serial("22041234"), grid1())
		s.hosts["h:502"] = units
		e, err := line.Parse("tcp://h:502")
		if err != nil {
			t.Fatal(err)
		}
		l := s.borrowed(e)
		sc := s.scanner()
		sc.Known = map[int]string{3: "meter-1"}
		if err := sc.driver.ScanLine(t.Context(), e, l.lend, sc.Search); err != nil {
			t.Error(err)
		}
		l.port.Close() //nolint:errcheck // the test is over
		s.expect([]string{"tcp://h:502 201 eastron-sdm120 22041234"})
		if len(s.opened) != 1 {
			t.Errorf("opened %v", s.opened)
		}
	})
}
