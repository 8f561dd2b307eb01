package agent_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/contract"
	"bordo/drivers"
)

// A bubble begins at midnight UTC on 1 January. At the coordinates of the test's site (45.4° north, 9.7° east) the sun
// rises at 7:02 UTC on that day, stands 5° high at 7:41 and 10° high at 8:24, and is below 5° again from 15:05 on (NOAA
// solar calculator, rounded).
const (
	beforeDawn = 8*time.Hour + 5*time.Minute   // 8° high and rising
	afterDawn  = 8*time.Hour + 45*time.Minute  // 12° high
	afternoon  = 14*time.Hour + 5*time.Minute  // 12° high
	lowSun     = 14*time.Hour + 40*time.Minute // 8° high and falling
	atDusk     = 15*time.Hour + 10*time.Minute
	evening    = 15*time.Hour + 25*time.Minute
)

// from lets a node's set clock show a time of day when the bubble begins, and polls once a minute.
func (n *node) from(day time.Duration) {
	n.wall = func() (time.Time, contract.Clock) { return time.Now().Add(day), contract.ClockSync }
	n.configure(strings.NewReplacer("every: 1s", "every: 1m", "every: 2s", "every: 1m").Replace(n.text))
}

// nightCase is one way in which an inverter goes missing when nothing feeds it.
type nightCase struct {
	name  string
	begin func(n *node)
	code  string // of the condition by day
}

func nightCases() []nightCase {
	port := func(err error) func(*node) { return func(n *node) { n.portFails(err) } }
	failing := func(kind drivers.ErrorKind) func(*node) {
		return func(n *node) {
			n.faults.fail("dev-1", &drivers.Error{Op: "count", Kind: kind, Err: errors.New("at night")})
		}
	}
	return []nightCase{
		{"silent", func(n *node) { n.faults.silence("dev-1", true) }, contract.DeviceSilent},
		{"gateway says that it is away", failing(drivers.Busy), contract.DeviceBusy},
		{"answers in part", failing(drivers.Exception), contract.DevicePartial},
		{"gives no value", func(n *node) { n.faults.empty["dev-1"] = true }, ""},
		{"refused", port(syscall.ECONNREFUSED), contract.LineDown},
		{"unreachable", port(syscall.EHOSTUNREACH), contract.LineDown},
	}
}

func (n *node) asleep() []string {
	retained, _ := n.broker.Retained("bordo/v1/cremasco/quintano/status")
	st, err := contract.DecodeStatus(retained)
	if err != nil {
		n.t.Error(err)
	}
	return st.Asleep
}

// codes are the conditions of a device.
func codes(a *agent.Agent, dev string) (out []string) {
	for _, h := range a.Status().Health {
		if h.Dev == dev {
			out = append(out, h.Code)
		}
	}
	return out
}

// Whatever an inverter without sun looks like, it sleeps: no condition and no event, and the centre sees it in the status.
// It may go on sleeping for a while after sunrise; after that it has failed.
func TestNightHasManyFaces(t *testing.T) {
	for _, c := range nightCases() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.from(beforeDawn - 10*time.Minute)
				c.begin(n)
				a := n.start()
				time.Sleep(10 * time.Minute)
				if got := codes(a, "dev-1"); len(got) != 0 || !slices.Contains(n.asleep(), "dev-1") {
					t.Errorf("before dawn: conditions %v, asleep %v", got, n.asleep())
				}
				time.Sleep(afterDawn - beforeDawn)
				if got := codes(a, "dev-1"); strings.Join(got, " ") != c.code || slices.Contains(n.asleep(), "dev-1") {
					t.Errorf("after dawn: conditions %v, asleep %v", got, n.asleep())
				}
				n.stop()
				if told := n.told(c.code, "dev-1"); told != "+" && c.code != "" {
					t.Errorf("told %q", told)
				}
			})
		})
	}
}

// A device that does not sleep is missed at night, also behind the port of one that does.
func TestMeterIsMissedAtNight(t *testing.T) {
	for _, c := range nightCases() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.configure(strings.Replace(n.text, "model: test-counter, unit: 1, every: 1s",
					"model: test-wide, unit: 1", 1))
				c.begin(n)
				a := n.start()
				time.Sleep(10 * time.Minute)
				if got := codes(a, "dev-1"); strings.Join(got, " ") != c.code || slices.Contains(n.asleep(), "dev-1") {
					t.Errorf("the meter: conditions %v, asleep %v", got, n.asleep())
				}
				if got := codes(a, "dev-2"); len(got) != 0 ||
					(c.code == contract.LineDown) != slices.Contains(n.asleep(), "dev-2") {
					t.Errorf("the inverter: conditions %v, asleep %v", got, n.asleep())
				}
				n.stop()
			})
		})
	}
}

// Without coordinates nobody knows when it is night.
func TestNightNeedsCoordinates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.configure(strings.Replace(n.text, ", lat: 45.36, lon: 9.69", "", 1))
		a := n.start()
		n.faults.silence("dev-1", true)
		time.Sleep(10 * time.Minute)
		if got := codes(a, "dev-1"); !slices.Equal(got, []string{contract.DeviceSilent}) {
			t.Errorf("conditions %v", got)
		}
		n.stop()
	})
}

// What failed by day does not fall asleep in the evening. What is missing only when the sun is low may.
func TestNightExcusesNoFaultOfTheDay(t *testing.T) {
	for _, x := range []struct {
		name   string
		fails  time.Duration
		asleep bool
	}{{"by day", afternoon, false}, {"in the evening", lowSun, true}, {"at dusk", atDusk, true}} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.from(afternoon - time.Minute)
				a := n.start()
				time.Sleep(x.fails - afternoon + time.Minute)
				n.faults.silence("dev-1", true)
				time.Sleep(evening - x.fails)
				if got := slices.Contains(n.asleep(), "dev-1"); got != x.asleep ||
					(len(codes(a, "dev-1")) == 0) != x.asleep {
					t.Errorf("asleep %v, conditions %v", got, codes(a, "dev-1"))
				}
				n.stop()
			})
		})
	}
}

// Far in the north the sun does not rise for weeks, or does not set: neither is a problem.
func TestNightAtThePole(t *testing.T) {
	for _, lat := range []string{"90", "69.6", "-90"} {
		t.Run(lat, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.configure(strings.Replace(n.text, "lat: 45.36", "lat: "+lat, 1))
				n.wall = noon
				a := n.start()
				n.faults.silence("dev-1", true)
				time.Sleep(time.Minute)
				dark := lat != "-90" // in January
				if got := codes(a, "dev-1"); (len(got) == 0) != dark || slices.Contains(n.asleep(), "dev-1") != dark {
					t.Errorf("conditions %v, asleep %v", got, n.asleep())
				}
				n.stop()
			})
		})
	}
}
