package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/line"
	"bordo/sim"
)

// counting is a driver of devices that count their polls: what arrives can be checked by arithmetic.
type counting struct{ *faults }

// faults is what a test can do to counting devices.
type faults struct {
	mu     sync.Mutex
	silent map[string]bool
	empty  map[string]bool // by device: it answers, and gives no value
	// by device: what comes with half of its readings, or without any when it says Later
	fails  map[string]error
	serial map[string]string             // by device, where it is not its id
	energy map[string]int                // polls of a device over all runs: what it counts does not begin anew
	mute   map[string]bool               // by device: it answers, and does not say who it is
	asked  map[string]int                // by device: how often it was asked who it is
	knew   map[string]string             // what was learnt of a device in an earlier run
	rated  map[string]float64            // by device: the power in W that it says it has
	zero   map[string]bool               // by device: its counter shows nothing
	more   map[string]map[string]float64 // by device: points that it shows as well
	events map[string][]drivers.Event    // by device: what its next poll reports
	states map[string]string             // by device: its point "state"
	do     func(drivers.Command) drivers.Result
}

// rate lets a device say its rated power from the next start on.
func (f *faults) rate(dev string, watts float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rated[dev] = watts
}

// leap puts a counter forward by some kWh.
func (f *faults) leap(dev string, kwh int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.energy[dev] += 100 * kwh
}

// shows lets a device show more points.
func (f *faults) shows(dev string, points map[string]float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.more[dev] = points
}

// show0 lets a counter show 0.
func (f *faults) show0(dev string, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.zero[dev] = on
}

// fail makes a device fail in part or, with an error that says Later, altogether; nil ends that.
func (f *faults) fail(dev string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails[dev] = err
}

// exchange puts another piece of hardware in a device's place.
func (f *faults) exchange(dev, serial string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serial[dev] = serial
}

func (f *faults) silence(dev string, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent[dev] = on
}

func (counting) Name() string { return "counting" }

func (counting) Models() []drivers.Model {
	wide := drivers.Model{Name: "test-wide", Title: "Has 25 values", Unit: drivers.Range{Min: 1, Max: 247},
		Every: 10 * time.Second, MinEvery: time.Second, Streams: true, Points: []string{"cycles"}}
	return []drivers.Model{wide, {Name: "test-counter", Title: "Counts its polls",
		Unit:  drivers.Range{Min: 1, Max: 247},
		Every: time.Second, MinEvery: 100 * time.Millisecond, Streams: true, Serial: true, Sleeps: true,
		Points: []string{"ac_power", "ac_energy", "cycles"}}}
}

func (c counting) Link(_ drivers.Line, devices []drivers.Device) (drivers.Link, error) {
	var units []drivers.Unit
	for _, d := range devices {
		c.mu.Lock()
		c.knew[d.ID] = string(d.DriverState)
		c.mu.Unlock()
		units = append(units, drivers.Unit{Device: d.ID, Every: d.Every,
			Poller: &counter{id: d.ID, faults: c.faults, wide: d.Model == "test-wide"}})
	}
	return drivers.Polled(units...), nil
}

type counter struct {
	*faults
	id     string
	n      int
	wide   bool   // has 25 values in all
	serial string // as told
}

// Identify implements drivers.Identifier.
func (c *counter) Identify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[c.id]++
}

func (c *counter) Poll(context.Context, drivers.Port) drivers.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent[c.id] {
		return drivers.Report{Err: &drivers.Error{Op: "count", Kind: drivers.Timeout}}
	}
	events := c.events[c.id]
	delete(c.events, c.id)
	err := c.fails[c.id]
	if drivers.KindOf(err) == drivers.Busy {
		return drivers.Report{Err: err}
	}
	c.n++
	c.energy[c.id]++
	r := drivers.Report{At: time.Now(), Err: err, Events: events, Identified: !c.mute[c.id],
		Readings: []drivers.Reading{
			{Point: "cycles", Value: catalogue.Number(float64(c.n))},
			{Point: "ac_power", Value: catalogue.Number(float64(c.n) / 10)},
			{Point: "ac_energy", Value: catalogue.Number(1000 + float64(c.energy[c.id])/100)},
			{Point: "temperature", Quality: drivers.Bad},
		}}
	if c.zero[c.id] {
		r.Readings[2].Value = catalogue.Number(0)
	}
	for point, v := range c.more[c.id] {
		r.Readings = append(r.Readings, drivers.Reading{Point: point, Value: catalogue.Number(v)})
	}
	if word := c.states[c.id]; word != "" {
		r.Readings = append(r.Readings, drivers.Reading{Point: "state", Value: catalogue.Words(word)})
	}
	for i := 1; c.wide && i <= 7; i++ {
		for j, what := range []string{"voltage", "current", "power"} {
			r.Readings = append(r.Readings,
				drivers.Reading{Point: fmt.Sprintf("dc%d_%s", i, what),
					Value: catalogue.Number(float64(3000+10*i+j+c.n%97) / 10)})
		}
	}
	for i := range r.Readings {
		if c.empty[c.id] {
			r.Readings[i] = drivers.Reading{Point: r.Readings[i].Point, Quality: drivers.Bad}
		}
	}
	serial := c.id
	if s, ok := c.faults.serial[c.id]; ok {
		serial = s
	}
	if serial != c.serial && !c.mute[c.id] {
		c.serial = serial
		r.Description = &drivers.Description{Maker: "Test", Model: "Counter", Serial: serial,
			Points: []string{"ac_power", "ac_energy", "cycles", "temperature"}, Quarantined: []string{"humidity"},
			RatedW: c.rated[c.id]}
		r.DriverState = []byte("no humidity on " + c.id)
	}
	return r
}

func (c *counter) Do(_ context.Context, _ drivers.Port, cmd drivers.Command) drivers.Result {
	c.mu.Lock()
	do := c.do
	c.mu.Unlock()
	if do != nil {
		return do(cmd)
	}
	return drivers.Result{Outcome: drivers.Rejected, Code: "unknown_action"}
}

// node is an agent under test with its broker. Everything in it lives inside a synctest bubble.
type node struct {
	t      *testing.T
	text   string // of the configuration
	cfg    *config.Config
	broker *sim.Broker
	faults *faults
	wall   func() (time.Time, contract.Clock)
	set    func()       // sets the clock, where it is one that is not set
	built  time.Time    // the program
	free   atomic.Int64 // bytes on the disk; below 0: it cannot even be asked, at -2 for lack of rights
	asRoot atomic.Value // string: what the system says of root
	dial   func(context.Context, *url.URL) (net.Conn, error)
	noPort error // why no port can be opened
	cancel context.CancelFunc
	ended  chan error

	mu       sync.Mutex
	arrived  map[string]sample // by identity, samples and events
	doubled  []string
	events   []contract.Event
	statuses []contract.Status
	metas    map[string]contract.Meta
	log      []string

	statusTimes []time.Time
}

type sample struct {
	topic, raw string
	dev        string
	ts         int64
	clk        contract.Clock
	at         time.Time // when the broker took it
	v          map[string]any
	q          map[string]contract.Quality
}

// newNode is a node at a broker of its own.
func newNode(t *testing.T) *node {
	t.Helper()
	broker, err := sim.NewBroker(sim.BrokerOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
	n := newNodeAt(t, broker)
	broker.Watch(n.take)
	return n
}

func newNodeAt(t *testing.T, broker *sim.Broker) *node {
	t.Helper()
	n := &node{t: t, faults: &faults{silent: map[string]bool{}, empty: map[string]bool{}, mute: map[string]bool{},
		asked: map[string]int{}, fails: map[string]error{}, serial: map[string]string{}, energy: map[string]int{},
		knew: map[string]string{}, rated: map[string]float64{}, zero: map[string]bool{},
		more: map[string]map[string]float64{}, events: map[string][]drivers.Event{}, states: map[string]string{}},
		arrived: map[string]sample{}, metas: map[string]contract.Meta{}}
	n.wall = func() (time.Time, contract.Clock) { return time.Now(), contract.ClockSync }
	n.free.Store(10 << 30)
	n.text = fmt.Sprintf(`version: 1
tenant: cremasco
node: quintano
timezone: UTC
site: {name: Prova, lat: 45.36, lon: 9.69}
mqtt: {url: "mqtt://127.0.0.1:1883"}
buffer: {dir: %s/buffer, max_size: 64MiB, sync: 5s}
lines:
  - id: one
    port: tcp://127.0.0.1:502
    devices:
      - {id: dev-1, model: test-counter, unit: 1, every: 1s}
      - {id: dev-2, model: test-counter, unit: 2, every: 2s, about: {pod: IT001E12345678}}
`, t.TempDir())
	n.broker, n.dial = broker, broker.Dial
	n.configure(n.text)
	return n
}

// configure reads a text as the node's configuration for the next start.
func (n *node) configure(text string) {
	n.t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text), []drivers.Driver{counting{n.faults}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.cfg = cfg
}

func (n *node) take(p sim.Publication) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, err := contract.ParseTopic("bordo", p.Topic)
	if err != nil {
		n.t.Error(err)
		return
	}
	switch a.Kind {
	case contract.KindTele, contract.KindHist, contract.KindHistz:
		if len(p.Payload) > contract.MaxPayload {
			n.t.Errorf("%s: %d bytes", p.Topic, len(p.Payload))
		}
		if a.Kind == contract.KindHistz {
			if p.Payload, err = contract.UnpackBatch(p.Payload); err != nil {
				n.t.Errorf("%s: %v", p.Topic, err)
			}
		}
		b, err := contract.DecodeBatch(p.Payload)
		if err != nil || b.Hist != (a.Kind != contract.KindTele) || b.Dev != a.Dev {
			n.t.Errorf("%s: %v: %s", p.Topic, err, p.Payload)
		}
		for _, s := range b.Samples {
			n.identity(fmt.Sprintf("%s-%d", b.Ep, s.Seq),
				sample{p.Topic, string(s.Raw), a.Dev, s.TS, b.Clk, p.At, s.V, s.Q})
		}
	case contract.KindEvent, contract.KindRes:
		e, err := contract.DecodeEvent(p.Payload)
		if err != nil {
			n.t.Errorf("%s: %v: %s", p.Topic, err, p.Payload)
		}
		n.events = append(n.events, e)
		n.identity(e.ID, sample{topic: p.Topic, raw: string(p.Payload), at: p.At})
	case contract.KindStatus:
		s, err := contract.DecodeStatus(p.Payload)
		if err != nil {
			n.t.Errorf("%v: %s", err, p.Payload)
		}
		n.statuses, n.statusTimes = append(n.statuses, s), append(n.statusTimes, p.At)
	case contract.KindMeta:
		if len(p.Payload) == 0 {
			delete(n.metas, a.Dev)
			return
		}
		m, err := contract.DecodeMeta(p.Payload)
		if err != nil {
			n.t.Errorf("%v: %s", err, p.Payload)
		}
		n.metas[m.Dev] = m
	}
}

func (n *node) identity(id string, s sample) {
	old, ok := n.arrived[id]
	if !ok {
		n.arrived[id] = s
		return
	}
	n.doubled = append(n.doubled, id+" on "+old.topic+" and "+s.topic+" "+s.at.Sub(old.at).String())
	if old.raw != s.raw {
		n.t.Errorf("%s carries two payloads:\n%s\n%s", id, old.raw, s.raw)
	}
}

func (n *node) diskFree(string) (uint64, error) {
	free := n.free.Load()
	if free == -2 {
		return 0, fs.ErrPermission
	}
	if free < 0 {
		return 0, errors.New("input/output error")
	}
	return uint64(free), nil
}

// start runs the agent until stop.
func (n *node) start() *agent.Agent {
	n.t.Helper()
	a, err := agent.New(n.cfg, agent.System{
		OpenPort: func(context.Context, line.Endpoint) (drivers.Port, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.noPort != nil {
				return nil, n.noPort
			}
			here, _ := driverstest.Wire(0)
			return here, nil
		},
		DialMQTT: n.dial,
		Wall:     func() (time.Time, contract.Clock) { return n.wall() },
		DiskFree: n.diskFree,
		RootWarning: func() string {
			text, _ := n.asRoot.Load().(string)
			return text
		},
		Logger:  slog.New(slog.NewTextHandler(testLog{n}, nil)),
		Version: "test",
		Built:   n.built,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(n.t.Context())
	n.cancel, n.ended = cancel, make(chan error, 1)
	go func() { n.ended <- a.Run(ctx) }()
	return a
}

// raise begins a fault of the broker.
func (n *node) raise(f sim.Fault) (id int) {
	n.t.Helper()
	id, err := n.broker.Raise(f)
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// stop ends the agent and returns how long that took.
func (n *node) stop() time.Duration {
	n.t.Helper()
	began := time.Now()
	n.cancel()
	if err := <-n.ended; err != nil {
		n.t.Errorf("run: %v", err)
	}
	return time.Since(began)
}

// cutPower ends the agent as a power cut does: nobody sees what it does from now on, and it is to go on with what is on the
// card at this moment.
func (n *node) cutPower() {
	n.t.Helper()
	synctest.Wait() // nobody is writing
	card := n.t.TempDir()
	if err := os.CopyFS(card, os.DirFS(n.cfg.StateDir)); err != nil {
		n.t.Fatal(err)
	}
	n.raise(sim.Fault{Kind: sim.BrokerGone})
	n.free.Store(10 << 30)
	n.stop()
	n.broker.Clear(0)
	n.text = strings.ReplaceAll(n.text, n.cfg.StateDir, card)
	n.configure(n.text)
}

// samples returns what has arrived of a device, by its count.
func (n *node) samples(dev string) map[int]sample {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make(map[int]sample)
	for _, s := range n.arrived {
		if s.dev == dev {
			out[int(s.v["cycles"].(float64))] = s
		}
	}
	return out
}

// whole fails the test unless every count of dev from 1 to at least min arrived.
func (n *node) whole(dev string, min int) {
	n.t.Helper()
	got := n.samples(dev)
	for i := 1; i <= max(min, len(got)); i++ {
		if _, ok := got[i]; !ok {
			n.t.Errorf("%s: count %d did not arrive, %d counts did", dev, i, len(got))
			return
		}
	}
}

// testLog shows what a node logs and keeps it.
type testLog struct{ n *node }

func (l testLog) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	l.n.t.Log(line)
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.n.log = append(l.n.log, line)
	return len(b), nil
}

// logged returns the lines of the log that contain a text.
func (n *node) logged(text string) (lines []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.log {
		if strings.Contains(l, text) {
			lines = append(lines, l)
		}
	}
	return lines
}
