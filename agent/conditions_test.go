package agent_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/contract"
	"bordo/drivers"
	"bordo/sim"
)

// told returns the events of a condition of a device, "+" for a beginning and "-" for an end, in their order.
func (n *node) told(code, dev string) (out string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := map[string]bool{}
	for _, e := range n.events {
		var d struct{ Code string }
		if seen[e.ID] { // sent twice, because a session ended in between
			continue
		}
		seen[e.ID] = true
		if e.Dev != dev || json.Unmarshal(e.Data, &d) != nil || d.Code != code {
			continue
		}
		switch e.Type {
		case contract.ConditionRaised:
			out += "+"
		case contract.ConditionCleared:
			out += "-"
		}
	}
	return out
}

// health returns the codes of a device's conditions ("" for the node's) in the status that stands at the broker.
func (n *node) health(dev string) (codes []string) {
	retained, _ := n.broker.Retained("bordo/v1/cremasco/quintano/status")
	st, err := contract.DecodeStatus(retained)
	if err != nil {
		n.t.Error(err)
	}
	for _, h := range st.Health {
		if h.Dev == dev {
			codes = append(codes, h.Code)
		}
	}
	return codes
}

// noon is a set clock that is at noon when the bubble begins: no device sleeps.
func noon() (time.Time, contract.Clock) { return time.Now().Add(12 * time.Hour), contract.ClockSync }

// conditionCase brings a condition about and ends it. A condition must be there within 5 s of what within is counted from.
type conditionCase struct {
	dev         string // "" for the node
	before      func(n *node)
	begin, end  func(n *node, a *agent.Agent)
	within      time.Duration // from begin until the agent can know
	after       time.Duration // from end until it can know
	confirmed   bool          // a person ends it: nothing is waited for
	unreachable bool          // while it lasts the broker has no status that could tell it
	told        string        // what arrives of its events, "" for "+-"
}

// conditionCases has a case for every entry of the contract's table.
func conditionCases() map[string]conditionCase {
	failing := func(kind drivers.ErrorKind) func(*node, *agent.Agent) {
		return func(n *node, _ *agent.Agent) { n.faults.fail("dev-1", &drivers.Error{Op: "count", Kind: kind}) }
	}
	healed := func(n *node, _ *agent.Agent) { n.faults.fail("dev-1", nil) }
	disk := func(free int64) func(*node, *agent.Agent) {
		return func(n *node, _ *agent.Agent) {
			n.free.Store(free)
			n.faults.silence("dev-2", free < 1<<30) // its event has to be written
		}
	}
	var fault int
	return map[string]conditionCase{
		contract.LineDown: {dev: "dev-1",
			before: func(n *node) { n.portFails(errors.New("no such device")) },
			end:    func(n *node, _ *agent.Agent) { n.portFails(nil) }, after: time.Minute},
		contract.DeviceSilent: {dev: "dev-1",
			begin: func(n *node, _ *agent.Agent) { n.faults.silence("dev-1", true) }, within: 20 * time.Second,
			end: func(n *node, _ *agent.Agent) { n.faults.silence("dev-1", false) }, after: 5 * time.Minute},
		contract.DevicePartial: {dev: "dev-1", begin: failing(drivers.Exception), within: 20 * time.Second, end: healed,
			after: 5 * time.Minute},
		contract.DeviceBusy: {dev: "dev-1", begin: failing(drivers.Busy), within: 20 * time.Second, end: healed,
			after: 5 * time.Minute},
		contract.DeviceExchanged: {dev: "dev-1",
			begin: func(n *node, _ *agent.Agent) { n.faults.exchange("dev-1", "another") }, within: time.Second,
			end: func(n *node, a *agent.Agent) {
				if _, err := a.Confirm(n.t.Context(), "dev-1", nil); err != nil {
					n.t.Error(err)
				}
			}, after: time.Second, confirmed: true},
		contract.PhaseMissing: {dev: "dev-1",
			begin: func(n *node, _ *agent.Agent) {
				n.faults.shows("dev-1", map[string]float64{"ac_voltage_l1": 231, "ac_voltage_l2": 230,
					"ac_voltage_l3": 0.3})
			}, within: time.Minute,
			end: func(n *node, _ *agent.Agent) {
				n.faults.shows("dev-1", map[string]float64{"ac_voltage_l1": 231, "ac_voltage_l2": 230,
					"ac_voltage_l3": 229})
			}, after: 10 * time.Second},
		contract.PhaseReversed: {dev: "dev-1",
			begin: func(n *node, _ *agent.Agent) {
				n.faults.shows("dev-1", map[string]float64{"ac_power_l1": 5500, "ac_power_l2": -5450,
					"ac_power_l3": 5600})
			}, within: 11 * time.Minute,
			end: func(n *node, _ *agent.Agent) {
				n.faults.shows("dev-1", map[string]float64{"ac_power_l1": 5500, "ac_power_l2": 5450,
					"ac_power_l3": 5600})
			}, after: 10 * time.Second},
		contract.NotRouted: {unreachable: true, told: "-", // the beginning is acknowledged and thrown away as well
			before: func(n *node) { fault = n.raise(sim.Fault{Kind: sim.Denied}) },
			end:    func(n *node, _ *agent.Agent) { n.broker.Clear(fault) }, after: 2 * StatusEvery},
		contract.TwinSuspected: {unreachable: true,
			begin: func(n *node, _ *agent.Agent) {
				for range 5 {
					f := n.raise(sim.Fault{Kind: sim.Stolen})
					time.Sleep(2500 * time.Millisecond)
					n.broker.Clear(f)
				}
			}, after: 8 * time.Minute},
		contract.MessageLimited: {
			before: func(n *node) { fault = n.raise(sim.Fault{Kind: sim.Oversize, Code: 4}) },
			begin: func(n *node, _ *agent.Agent) {
				gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
				time.Sleep(10 * time.Minute)
				n.broker.Clear(gone)
			}, within: 30 * time.Second,
			end: func(n *node, _ *agent.Agent) {
				n.broker.Clear(fault)
				time.Sleep(20 * time.Minute)
				gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
				time.Sleep(10 * time.Minute)
				n.broker.Clear(gone)
			}, after: time.Minute},
		contract.TopicRefused: {
			before: func(n *node) { fault = n.raise(sim.Fault{Kind: sim.TopicClosed, Point: "meta"}) },
			within: 30 * time.Second,
			end:    func(n *node, _ *agent.Agent) { n.broker.Clear(fault) }, after: time.Hour},
		contract.StatusOverwritten: {
			begin: func(n *node, _ *agent.Agent) {
				for range 3 {
					n.others("{}")
				}
			}},
		contract.PacketRefused: {within: 5 * time.Second, after: StatusEvery + time.Minute,
			begin: func(n *node, _ *agent.Agent) { n.others(strings.Repeat("x", 300<<10)) }},
		contract.CredentialsUnusable: {
			before: func(n *node) {
				n.cfg.MQTT.Username, n.cfg.MQTT.PasswordFile = "quintano", filepath.Join(n.cfg.StateDir, "password")
				n.password("secret\n")
			},
			begin: func(n *node, _ *agent.Agent) { n.password("") }, within: 30 * time.Second,
			end: func(n *node, _ *agent.Agent) { n.password("renewed\n") }, after: 15 * time.Second},
		contract.ConfigChanged: {
			before: func(n *node) { n.load() },
			begin:  func(n *node, _ *agent.Agent) { n.save(n.text + "# another device is to follow\n") },
			within: 30 * time.Second,
			end:    func(n *node, _ *agent.Agent) { n.save(n.text) }, after: 30 * time.Second},
		contract.ClockUnset: {
			before: func(n *node) { n.set = n.unsetClock() }, within: 2 * time.Minute,
			end: func(n *node, _ *agent.Agent) { n.set() }, after: time.Minute},
		contract.StoreFull: {begin: disk(0), within: 20 * time.Second, end: disk(10 << 30), after: 2 * time.Minute},
		contract.StoreReadOnly: {begin: disk(-1), within: 20 * time.Second, end: disk(10 << 30),
			after: 2 * time.Minute},
		contract.StoreDenied: {begin: disk(-2), within: 20 * time.Second, end: disk(10 << 30), after: 2 * time.Minute},
		contract.StoreMissing: {
			before: func(n *node) { n.noDisk() },
			end:    func(n *node, _ *agent.Agent) { n.mount() }, after: 2 * time.Minute},
		contract.StateUnsaved: {
			begin: func(n *node, _ *agent.Agent) { n.blockState("counts", true) }, within: 11 * time.Minute,
			end: func(n *node, _ *agent.Agent) { n.blockState("counts", false) }, after: 2 * time.Minute},
		contract.RunsAsRoot: {
			begin:  func(n *node, _ *agent.Agent) { n.asRoot.Store("root in a directory of bordo") },
			within: 3 * time.Second,
			end:    func(n *node, _ *agent.Agent) { n.asRoot.Store("") }, after: 2 * time.Minute},
		contract.StoreDamaged: {
			before: func(n *node) { n.ruin() },
			end: func(n *node, _ *agent.Agent) {
				if err := os.RemoveAll(n.setAside()); err != nil {
					n.t.Error(err)
				}
			}, after: time.Second},
	}
}

// password writes the file with the password.
func (n *node) password(text string) {
	if err := os.WriteFile(n.cfg.MQTT.PasswordFile, []byte(text), 0o600); err != nil {
		n.t.Error(err)
	}
}

// file is where load has the configuration from.
func (n *node) file() string { return filepath.Join(n.cfg.StateDir, "bordo.yaml") }

// save writes the configuration file.
func (n *node) save(text string) {
	if err := os.WriteFile(n.file(), []byte(text), 0o600); err != nil {
		n.t.Error(err)
	}
}

// noDisk puts the store where a disk is not mounted: a file lies in the place of the directory above it.
func (n *node) noDisk() {
	disk := filepath.Join(n.cfg.StateDir, "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		n.t.Error(err)
	}
	n.cfg.Buffer.Dir = filepath.Join(disk, "buffer")
}

// mount makes the place of the store usable after noDisk.
func (n *node) mount() {
	if err := os.Remove(filepath.Dir(n.cfg.Buffer.Dir)); err != nil {
		n.t.Error(err)
	}
}

// load reads the node's configuration from a file, as the program does.
func (n *node) load() {
	n.save(n.text)
	cfg, err := config.Load(n.file(), []drivers.Driver{counting{n.faults}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.cfg = cfg
}

// A file that is written in two steps is no change, and one that went away is: the agent would not start again.
func TestConfigurationFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.load()
		a := n.start()
		time.Sleep(20 * time.Second) // a look every 15 s
		n.save("version: 1\n")
		if s := a.Status().Config; len(s.Changed) != 1 || s.Changed[0] != n.file() || s.Error != "" {
			t.Errorf("asked at once: %+v", s)
		}
		time.Sleep(15 * time.Second)
		n.save(n.text)
		time.Sleep(time.Minute)
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("%+v", h)
		}
		if err := os.Remove(n.file()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if h := a.Status().Health; len(h) != 1 || h[0].Code != contract.ConfigChanged ||
			!strings.Contains(h[0].Detail, "no such file") {
			t.Errorf("%+v", h)
		}
		n.stop()
	})
}

// blockState makes a file of the saved state impossible to write, until it is called with false.
func (n *node) blockState(name string, on bool) {
	for _, slot := range []string{".1.new", ".2.new"} {
		path := filepath.Join(n.cfg.StateDir, name+slot)
		do := os.Remove
		if on {
			do = func(p string) error { return os.Mkdir(p, 0o700) }
		}
		if err := do(path); err != nil {
			n.t.Error(err)
		}
	}
}

// portFails says why no port can be opened, nil: each can.
func (n *node) portFails(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noPort = err
}

// ruin leaves a store behind whose last attempts to open ended in the middle: the next one tries without the database.
func (n *node) ruin() {
	n.start()
	time.Sleep(10 * time.Second)
	n.stop()
	if err := os.WriteFile(filepath.Join(n.cfg.Buffer.Dir, "opening"), []byte("3\n"), 0o600); err != nil {
		n.t.Error(err)
	}
}

// setAside is where damaged files are, as the opening of an epoch told.
func (n *node) setAside() (dir string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		var d struct {
			Damage   string
			SetAside string `json:"set_aside"`
		}
		if e.Type == contract.StoreOpened && json.Unmarshal(e.Data, &d) == nil && d.Damage != "" {
			dir = d.SetAside
		}
	}
	if _, err := os.Stat(dir); dir == "" || err != nil {
		n.t.Errorf("set aside: %q, %v", dir, err)
	}
	return dir
}

// Each condition of the contract begins and ends in a running agent, is told once each time, and stands in the status that
// the broker has within 5 s.
func TestConditions(t *testing.T) {
	cases := conditionCases()
	for _, kind := range contract.Conditions() {
		c, ok := cases[kind.Code]
		if !ok {
			t.Errorf("%s: no case: is it ever raised?", kind.Code)
			continue
		}
		t.Run(kind.Code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { beginsAndEnds(t, kind, c) })
		})
	}
}

func beginsAndEnds(t *testing.T, kind contract.Condition, c conditionCase) {
	n := newNode(t)
	n.wall = noon
	if c.before != nil {
		c.before(n)
	}
	a := n.start()
	time.Sleep(30 * time.Second)
	if c.begin != nil {
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("before it begins: %+v", h)
		}
		c.begin(n, a)
	}
	debounce := contract.DebounceOf(kind.Code)
	time.Sleep(c.within + debounce.Raise + 5*time.Second)
	if c.unreachable {
		i := slices.IndexFunc(a.Status().Health, func(h contract.Health) bool { return h.Code == kind.Code })
		if i < 0 {
			t.Errorf("not raised: %+v", a.Status().Health)
		}
	} else if h := n.health(c.dev); !slices.Contains(h, kind.Code) {
		t.Errorf("not in the status: %v", h)
	}
	if c.end != nil {
		c.end(n, a)
	}
	time.Sleep(c.after + 5*time.Second)
	if !c.confirmed {
		time.Sleep(debounce.Clear)
	}
	if h := n.health(c.dev); len(h) != 0 {
		t.Errorf("still in the status: %v", h)
	}
	n.stop()
	dev := c.dev
	if dev == "" {
		dev = contract.NodeDevice
	}
	if s := n.told(kind.Code, dev); s != cmp.Or(c.told, "+-") {
		t.Errorf("told %q", s)
	}
}

// Between writing a certificate and writing its key the two do not fit: one look at them that fails is no condition.
func TestCredentialsBetweenTwoFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.cfg.MQTT.Username, n.cfg.MQTT.PasswordFile = "quintano", filepath.Join(n.cfg.StateDir, "password")
		n.password("secret\n")
		a := n.start()
		time.Sleep(37 * time.Second) // a look every 15 s
		n.password("")
		time.Sleep(15 * time.Second)
		n.password("renewed\n")
		time.Sleep(time.Minute)
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("%+v", h)
		}
		n.stop()
		if told := n.told(contract.CredentialsUnusable, "node"); told != "" {
			t.Errorf("told %s", told)
		}
	})
}

// What the machine says of a condition that lasts is told as it is now, without an event of its own.
func TestDetailOfACondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		a := n.start()
		time.Sleep(10 * time.Second)
		n.faults.fail("dev-1", &drivers.Error{Op: "count", Kind: drivers.Exception, Err: errors.New("first")})
		time.Sleep(time.Minute)
		n.faults.fail("dev-1", &drivers.Error{Op: "count", Kind: drivers.Exception, Err: errors.New("second")})
		time.Sleep(5 * time.Minute)
		if h := a.Status().Health; len(h) != 1 || !strings.Contains(h[0].Detail, "second") {
			t.Errorf("%+v", h)
		}
		n.stop()
		if told := n.told(contract.DevicePartial, "dev-1"); told != "+" {
			t.Errorf("told %s", told)
		}
	})
}

// A device that answers and fails in turn costs one event, its status follows within seconds, and a restart in the middle
// begins the condition anew, once.
func TestFlappingDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		flap := func(during time.Duration) {
			for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(5 * time.Second) {
				n.faults.fail("dev-1", &drivers.Error{Op: "count", Kind: drivers.Exception})
				time.Sleep(5 * time.Second)
				n.faults.fail("dev-1", nil)
			}
		}
		n.start()
		time.Sleep(10 * time.Second)
		flap(time.Hour)
		if h := n.health("dev-1"); !slices.Equal(h, []string{contract.DevicePartial}) {
			t.Errorf("in the status after an hour: %v", h)
		}
		if told := n.told(contract.DevicePartial, "dev-1"); told != "+" {
			t.Errorf("told %s", told)
		}
		n.stop()
		n.faults.fail("dev-1", &drivers.Error{Op: "count", Kind: drivers.Exception})
		n.start()
		time.Sleep(10 * time.Second)
		if h := n.health("dev-1"); !slices.Equal(h, []string{contract.DevicePartial}) {
			t.Errorf("after a restart: %v", h)
		}
		flap(10 * time.Minute)
		time.Sleep(contract.DebounceOf(contract.DevicePartial).Clear + 2*time.Second)
		if h := n.health("dev-1"); len(h) != 0 {
			t.Errorf("in the end: %v", h)
		}
		n.stop()
		if told := n.told(contract.DevicePartial, "dev-1"); told != "++-" {
			t.Errorf("told %s", told)
		}
	})
}

// Two failed polls of three are not enough for a condition, but no health either: one that is open stays open.
func TestNearlyFailedIsNotHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		a := n.start()
		time.Sleep(10 * time.Second)
		fail := &drivers.Error{Op: "count", Kind: drivers.Exception}
		nearly := func(during time.Duration) {
			for end := time.Now().Add(during); time.Now().Before(end); {
				n.faults.fail("dev-1", fail)
				time.Sleep(2 * time.Second)
				n.faults.fail("dev-1", nil)
				time.Sleep(time.Second)
			}
		}
		time.Sleep(500 * time.Millisecond) // between two polls
		nearly(5 * time.Minute)
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("raised: %+v", h)
		}
		n.faults.fail("dev-1", fail)
		time.Sleep(10 * time.Second)
		n.faults.fail("dev-1", nil)
		time.Sleep(time.Second)
		nearly(5 * time.Minute)
		if h := a.Status().Health; len(h) != 1 {
			t.Errorf("cleared: %+v", h)
		}
		n.stop()
	})
}
