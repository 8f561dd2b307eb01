package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/crc16"
	"bordo/sim/plant"
)

// agent polls the devices of a site with the real driver, and opens a line again when it was lost, as an agent does.
type agent struct {
	mu      sync.Mutex
	reports map[string][]drivers.Report
	opened  map[string]int
	refused map[string]int
}

func (a *agent) of(dev string) []drivers.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.reports[dev])
}

// good gives the values that a point had in the reports that brought it.
func (a *agent) good(dev, point string) (values []catalogue.Value, at []time.Time) {
	for _, r := range a.of(dev) {
		for _, x := range r.Readings {
			if x.Point == point && x.Quality == drivers.Good {
				values, at = append(values, x.Value), append(at, r.At)
			}
		}
	}
	return values, at
}

// runAgent polls every line of a site until ctx ends.
func runAgent(ctx context.Context, t *testing.T, s *Site, wg *sync.WaitGroup) *agent {
	t.Helper()
	a := &agent{reports: map[string][]drivers.Report{}, opened: map[string]int{}, refused: map[string]int{}}
	driver := modbus.New()
	for _, l := range s.scenario.Lines {
		e, err := line.Parse(l.Port)
		if err != nil {
			t.Fatal(err)
		}
		var devices []drivers.Device
		for _, d := range l.Devices {
			devices = append(devices, drivers.Device{ID: d.ID, Model: d.Model, Unit: d.Unit, Every: d.Every,
				ChannelMaps: tapsOf(d)})
		}
		link, err := driver.Link(e.Line(l.ID), devices)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				port, err := s.OpenPort(ctx, e)
				if err != nil {
					a.mu.Lock()
					a.refused[l.ID]++
					a.mu.Unlock()
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
					}
					continue
				}
				a.mu.Lock()
				a.opened[l.ID]++
				a.mu.Unlock()
				link.Run(ctx, port, nil, func(r drivers.Report) { //nolint:errcheck // the loop opens it again
					a.mu.Lock()
					defer a.mu.Unlock()
					a.reports[r.Device] = append(a.reports[r.Device], r)
				})
				port.Close() //nolint:errcheck // nothing to save
			}
		})
	}
	return a
}

// tapsOf tells a driver what hangs on the channels of a module.
func tapsOf(d Device) []drivers.ChannelMap {
	var out []drivers.ChannelMap
	for _, c := range d.IO {
		t := drivers.ChannelMap{Point: c.Point, Channel: c.At}
		if c.Is == "level" {
			t.From, t.To = [2]float64{emptyMA, fullMA}, [2]float64{0, 100}
		}
		out = append(out, t)
	}
	return out
}

// live runs an agent at a site for a while of simulated time.
func live(t *testing.T, scenario *Scenario, seed uint64, d time.Duration, meanwhile func(s *Site)) (*Site, *agent) {
	t.Helper()
	s, err := New(scenario, Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	a := runAgent(ctx, t, s, &wg)
	if meanwhile != nil {
		meanwhile(s)
	}
	time.Sleep(d)
	cancel()
	wg.Wait()
	return s, a
}

func mustLoad(t *testing.T, name string) *Scenario {
	t.Helper()
	s, err := LoadScenario(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Everything that the real driver reads from a healthy site is what the registers held, and the books are kept.
func TestDemoIsReadAndTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := live(t, mustLoad(t, "demo"), 1, 10*time.Minute, nil)
		for _, dev := range []string{"inv-1", "meter-1", "barrier-1"} {
			if n := len(a.of(dev)); n < 280 {
				t.Errorf("%s: %d reports in 10 minutes", dev, n)
			}
			for _, r := range a.of(dev) {
				if r.Err != nil {
					t.Fatalf("%s at %s: %v", dev, r.At, r.Err)
				}
			}
		}
		if lies := invented(s, a, 2*time.Second); len(lies) > 0 {
			t.Errorf("%d readings were not true, the first: %s", len(lies), lies[0])
		}
		power, at := a.good("inv-1", "ac_power")
		energy, _ := a.good("inv-1", "ac_energy")
		made := 0.0
		for i := 1; i < len(power); i++ {
			made += (power[i-1].Float() + power[i].Float()) / 2 * at[i].Sub(at[i-1]).Hours() / 1000
		}
		if counted := energy[len(energy)-1].Float() - energy[0].Float(); math.Abs(counted-made) > 0.01*made ||
			made < 3 {
			t.Errorf("the inverter counted %.3f kWh, its power makes %.3f", counted, made)
		}
		states, _ := a.good("barrier-1", "state")
		seen := slices.Compact(slices.Clone(states))
		if len(seen) < 60 {
			t.Errorf("the barrier changed its state %d times in 10 minutes: %v", len(seen), seen[:min(8, len(seen))])
		}
	})
}

// invented lists the readings that the registers did not hold at any time within span before the report.
func invented(s *Site, a *agent, span time.Duration) []string {
	var lies []string
	for dev, reports := range a.reports {
		for _, r := range reports {
			for _, x := range r.Readings {
				if x.Quality != drivers.Good {
					continue
				}
				held, ok := s.Truth(dev, x.Point, r.At.Add(-span), r.At)
				if !ok || !slices.Contains(held, x.Value) {
					lies = append(lies, fmt.Sprintf("%s %s = %s at %s; the registers held %v", dev, x.Point, x.Value,
						r.At, held))
				}
			}
		}
	}
	return lies
}

// Whatever a line does to the frames, the driver takes none of it for a reading; when it is over everything is read again.
func TestFaultsOfALineInventNothing(t *testing.T) {
	for _, kind := range []FaultKind{Drop, Late, Garble, Truncate, Echo, WrongUnit, Exception, Busy, Noise, Silent,
		Stuck, Null, Reset, Gone} {
		synctest.Test(t, func(t *testing.T) {
			scenario := mustLoad(t, "demo")
			fault := Fault{Kind: kind, Chance: 0.15} // every third walk along a SunSpec chain gets to its end
			if kind == Gone || kind == Silent || kind == Stuck || kind == Null || kind == Reset {
				fault = Fault{Kind: kind, At: 20 * time.Second, For: 15 * time.Second, Every: 40 * time.Second}
			}
			for i := range scenario.Lines {
				scenario.Lines[i].Faults = []Fault{fault}
			}
			s, a := live(t, scenario, 3, 150*time.Second, nil)
			if lies := invented(s, a, 20*time.Second); len(lies) > 0 {
				t.Errorf("%s: %d readings were not true, the first: %s", kind, len(lies), lies[0])
			}
			for _, dev := range []string{"inv-1", "meter-1", "barrier-1"} {
				struck := 0
				for _, r := range a.of(dev) {
					if r.Err != nil {
						struck++
					}
				}
				quiet := kind == Stuck || kind == Reset || kind == Null || kind == Noise || kind == Late ||
					kind == Echo || kind == Gone
				if struck == 0 && !quiet {
					t.Errorf("%s: %s never showed in %d reports", kind, dev, len(a.of(dev)))
				}
				if good, _ := a.good(dev, "state"); dev == "inv-1" && len(good) < 10 {
					t.Errorf("%s: only %d states of %s got through", kind, len(good), dev)
				}
			}
			if kind == Gone {
				for _, l := range scenario.Lines {
					if a.opened[l.ID] < 4 || a.refused[l.ID] < 20 {
						t.Errorf("gone: line %s was opened %d times and refused %d times", l.ID, a.opened[l.ID],
							a.refused[l.ID])
					}
				}
			}
		})
	}
}

func TestTheNightIsDark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scenario := mustLoad(t, "demo")
		scenario.Sun.From = "2026-06-21T23:30"
		scenario.Lines = scenario.Lines[:1]
		scenario.Lines[0].Devices[0].Every = 30 * time.Second
		_, a := live(t, scenario, 1, 2*time.Hour, nil)
		power, _ := a.good("inv-1", "ac_power")
		for _, v := range power {
			if v.Float() != 0 {
				t.Fatalf("%v W at night", v)
			}
		}
		if states, _ := a.good("inv-1", "state"); len(power) < 200 || states[0].Text() != "sleeping" {
			t.Errorf("%d readings of the power, state %v", len(power), states[0])
		}
	})
}

func TestASerialLineIsOpenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(mustLoad(t, "demo"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		open := func(url string) (drivers.Port, error) {
			e, err := line.Parse(url)
			if err != nil {
				t.Fatal(err)
			}
			return s.OpenPort(t.Context(), e)
		}
		first, err := open("serial:///dev/sim/arm?baud=38400&parity=even")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open("serial:///dev/sim/arm?baud=38400&parity=even"); !drivers.PortLost(err) {
			t.Errorf("opened twice: %v", err)
		}
		if _, err := open("serial:///dev/sim/nothing"); !drivers.PortLost(err) {
			t.Errorf("opened a line that does not exist: %v", err)
		}
		first.Close() //nolint:errcheck // nothing to save
		synctest.Wait()
		again, err := open("serial:///dev/sim/arm?baud=38400&parity=even")
		if err != nil {
			t.Errorf("not open again after it was closed: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		if _, err := again.Read(make([]byte, 1)); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("read from a site that has ended: %v", err)
		}
		again.Close() //nolint:errcheck // nothing to save
	})
}

// states gives the words that a device's state went through, without repetitions.
func states(a *agent, dev string) string {
	values, _ := a.good(dev, "state")
	var words []string
	for _, v := range values {
		if n := len(words); n == 0 || words[n-1] != v.Text() {
			words = append(words, v.Text())
		}
	}
	return strings.Join(words, " ")
}

// What is done to a device shows in what the agent reads of it.
func TestDevicesSufferWhatIsDoneToThem(t *testing.T) {
	at := func(kind FaultKind, dev string, at, during time.Duration) Fault {
		f := Fault{Kind: kind, Device: dev, At: at, For: during}
		if kind == Limit {
			f.Code = 30
		}
		return f
	}
	for _, c := range []struct {
		fault Fault
		dev   string
		line  int
		want  string // states in their order
	}{
		{at(Limit, "inv-1", 10*time.Second, time.Minute), "inv-1", 0, "producing throttled producing"},
		{at(Broken, "inv-1", 10*time.Second, 30*time.Second), "inv-1", 0, "producing fault starting producing"},
		{at(Photocell, "barrier-1", 22*time.Second, 8*time.Second), "barrier-1", 2,
			"closed opening open closing opening open closing closed"},
		{at(Loop, "barrier-1", 22*time.Second, 8*time.Second), "barrier-1", 2,
			"closed opening open closing opening open closing closed"},
		{at(Obstacle, "barrier-1", 22*time.Second, 8*time.Second), "barrier-1", 2,
			"closed opening open closing stopped"},
		{at(Key, "barrier-1", 22*time.Second, 8*time.Second), "barrier-1", 2,
			"closed opening open closing unknown calibrating closed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			scenario := mustLoad(t, "demo")
			scenario.Lines[2].Devices[0].Barrier = &Barrier{AutoClose: 10 * time.Second}
			scenario.Lines[c.line].Faults = []Fault{c.fault}
			_, a := live(t, scenario, 1, 2*time.Minute, func(s *Site) {
				time.Sleep(6 * time.Second)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.nature.advance(time.Now())
				s.devices["barrier-1"].about().body.(*barrierModel).Obey(plant.OrderOpen)
			})
			if got := states(a, c.dev); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: states %q, want %q", c.fault.Kind, got, c.want)
			}
		})
	}
}

// Without mains the meter and the barrier are dead, the inverter waits; what comes back starts as it does in life.
func TestMainsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scenario := mustLoad(t, "demo")
		scenario.Mains.Faults = []Fault{{Kind: MainsCut, At: time.Minute, For: 2 * time.Minute}}
		_, a := live(t, scenario, 1, 7*time.Minute, func(s *Site) {
			barrier := s.devices["barrier-1"].about().body.(*barrierModel)
			for _, c := range []struct {
				after time.Duration
				state string
			}{{time.Minute + time.Second, plant.Unknown}, {2*time.Minute + time.Second, plant.Calibrating}} {
				time.Sleep(c.after)
				s.mu.Lock()
				s.nature.advance(time.Now())
				if barrier.State != c.state {
					t.Errorf("barrier %s after the mains changed, want %s", barrier.State, c.state)
				}
				s.mu.Unlock()
			}
		})
		if got, want := states(a, "inv-1"), "producing standby starting producing"; got != want {
			t.Errorf("inverter: %q, want %q", got, want)
		}
		powers, when := a.good("meter-1", "ac_power")
		longest := time.Duration(0)
		for i := 1; i < len(when); i++ {
			longest = max(longest, when[i].Sub(when[i-1]))
		}
		if longest < 2*time.Minute || len(powers) < 150 {
			t.Errorf("the meter was silent for %s at most, %d readings", longest, len(powers))
		}
	})
}

// A serial line in memory has settings too: whoever opens it with others hears nothing. What goes through TCP has none.
func TestLinesHaveSettings(t *testing.T) {
	for _, c := range []struct {
		port, opened string
		hears        bool
	}{
		{"serial:///dev/x?baud=19200&parity=even", "serial:///dev/x?baud=19200&parity=even", true},
		{"serial:///dev/x?baud=19200&parity=even", "serial:///dev/x?baud=19200&parity=even&stop=2", true},
		{"serial:///dev/x?baud=19200&parity=even", "serial:///dev/x?baud=9600&parity=even", false},
		{"serial:///dev/x?baud=19200&parity=even", "serial:///dev/x?baud=19200", false},
		{"serial:///dev/x?baud=19200&parity=even", "serial:///dev/x?baud=19200&parity=odd", false},
		{"serial:///dev/x?baud=19200&parity=even", "serial:///dev/x?baud=19200&parity=even&bits=7", false},
		{"rtu+tcp://10.0.0.1:4001?baud=19200", "rtu+tcp://10.0.0.1:4001?baud=9600", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			scenario := mustLoad(t, "demo")
			scenario.Lines[1].Port = c.port
			s, err := New(scenario, Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { s.Run(ctx) }) //nolint:errcheck // always nil
			e, err := line.Parse(c.opened)
			if err != nil {
				t.Fatal(err)
			}
			p, err := s.OpenPort(ctx, e)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			request := []byte{3, 4, 0, 0, 0, 1}
			if _, err := p.Write(crc16.Append(request)); err != nil {
				t.Fatal(err)
			}
			p.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // an open port takes it
			n, _ := p.Read(make([]byte, 256))
			if hears := n > 0; hears != c.hears {
				t.Errorf("%s opened as %s: %d bytes", c.port, c.opened, n)
			}
			p.Close() //nolint:errcheck // nothing to save
			cancel()
			running.Wait()
		})
	}
}
