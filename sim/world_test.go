//go:build world

package sim_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/sim"
	"bordo/sim/check"
)

// How much of the world is run. The seeds of testdata/seeds.txt, which once failed, are always run first.
var (
	worldSeeds  = flag.Int("world.seeds", 2, "how many seeds the world test runs, besides those that once failed")
	worldFrom   = flag.Uint64("world.from", 1, "the first of them")
	worldHours  = flag.Float64("world.hours", 2, "how many simulated hours of faults each seed has")
	worldOut    = flag.Duration("world.outage", 3*time.Hour, "how long the broker is away in the test of one long outage")
	worldReplay = flag.Bool("world.replay", true, "run the seeds of testdata/seeds.txt first")
	worldLog    = flag.Bool("world.log", false, "show what the agents log")
)

const (
	bootTakes   = 20 * time.Second // from a power cut to the start of the agent
	drainWithin = 90 * time.Minute
	settles     = 2 * time.Minute // before anybody asks whether all is well
	pollSpan    = 6 * time.Second // a poll with its repetitions
	maxSize     = 64 << 20        // of the store
	maxRoutines = 150
)

// TestWorld lets the whole agent live through everything that a seed gives, while checkers watch; then everything heals,
// and the node must converge.
func TestWorld(t *testing.T) {
	t.Parallel()
	for _, r := range runs(t) {
		t.Run(fmt.Sprint(r.seed), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { newWorld(t, dir, r.seed, sim.Chaos(r.seed)).live(r.hours) })
		})
	}
}

// TestWorldOutage lets the broker be away for long, while the lines suffer and the box dies once.
func TestWorldOutage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		spec := sim.Chaos(*worldFrom)
		spec.Broker.Faults = []sim.Fault{{Kind: sim.BrokerGone, At: 20 * time.Minute, For: *worldOut}}
		spec.Box.Faults = []sim.Fault{{Kind: sim.Kill, At: 20*time.Minute + *worldOut/2, For: time.Second}}
		newWorld(t, dir, *worldFrom, spec).live(*worldOut + 30*time.Minute)
	})
}

// run is a seed and how long it goes wrong.
type run struct {
	seed  uint64
	hours time.Duration
}

// runs lists the seeds that once failed, each with the hours that it needs for that, and those that the flags want.
func runs(t *testing.T) (list []run) {
	t.Helper()
	text, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(text), "\n") {
		if l == "" || l[0] == '#' || !*worldReplay {
			continue
		}
		var r run
		var hours float64
		if _, err := fmt.Sscan(l, &r.seed, &hours); err != nil {
			t.Fatalf("testdata/seeds.txt: %q: %v", l, err)
		}
		r.hours = time.Duration(hours * float64(time.Hour))
		list = append(list, r)
	}
	for i := range *worldSeeds {
		list = append(list, run{*worldFrom + uint64(i), time.Duration(*worldHours * float64(time.Hour))})
	}
	return list
}

// world is a node with everything around it.
type world struct {
	t      *testing.T
	seed   uint64
	node   string
	root   string // below which each life of the box has its directory
	lives  int
	site   *sim.Site
	broker *sim.Broker
	spec   *sim.Scenario

	suite      *check.Suite
	once       *check.AtLeastOnce
	bounded    *check.Bounded
	neighbours *check.Neighbours
	drains     *check.Drains
	watched    sync.Mutex // the checkers are told things by two goroutines

	agent  *agent.Agent
	stop   func() error
	net    *network
	full   time.Time // since when the disk is full
	stacks []byte    // of goroutines
}

func newWorld(t *testing.T, dir string, seed uint64, spec *sim.Scenario) *world {
	t.Helper()
	w := &world{t: t, seed: seed, root: dir, spec: spec}
	w.node = w.spec.Name
	var err error
	if w.site, err = sim.New(w.spec, sim.Options{Seed: seed}); err != nil {
		t.Fatal(err)
	}
	if w.broker, err = sim.NewBroker(sim.BrokerOptions{Seed: seed, Faults: w.spec.Broker.Faults}); err != nil {
		t.Fatal(err)
	}
	site := check.World(w.site)
	every, most := map[string]time.Duration{}, map[string]float64{}
	for _, l := range w.spec.Lines {
		for _, d := range l.Devices {
			every[d.ID], most[d.ID] = d.Every, 50
		}
	}
	w.once, w.drains = check.NewAtLeastOnce(), check.NewDrains(drainWithin)
	w.bounded = check.NewBounded(map[string]float64{"goroutines": maxRoutines, "disk": maxSize})
	w.neighbours = check.NewNeighbours(site, time.Now(), map[string]time.Duration{"inv-1": every["inv-1"]})
	w.suite = check.NewSuite("", w.once, check.NewIdentityOnce(), check.NewNothingInvented(site, pollSpan),
		check.NewQuarterHours(most), check.NewEventsFirst(), w.bounded, w.neighbours, w.drains)
	w.broker.Watch(func(p sim.Publication) {
		w.watched.Lock()
		defer w.watched.Unlock()
		w.suite.See(p)
	})
	return w
}

// live is the life of a world: faults, healing, judgement.
func (w *world) live(faulty time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	kills := make(chan struct{}, 1)
	w.site.Box().OnKill(func() {
		select {
		case kills <- struct{}{}:
		default:
		}
	})
	running.Go(func() { w.site.Run(ctx) }) //nolint:errcheck // always nil
	w.start(w.newDir())

	end := time.Now().Add(faulty)
	for time.Now().Before(end) {
		select {
		case <-kills:
			w.die()
		case <-time.After(time.Second):
			w.look()
		}
	}
	w.heal()
	time.Sleep(settles)
	for limit := time.Now().Add(drainWithin); time.Now().Before(limit) && !w.drained(); time.Sleep(time.Second) {
		w.look()
	}
	w.watched.Lock()
	w.neighbours.Until(time.Now())
	w.watched.Unlock()
	if err := w.stop(); err != nil {
		w.t.Errorf("the agent ended with %v", err)
	}
	cancel()
	running.Wait()
	if err := w.broker.Close(); err != nil {
		w.t.Error(err)
	}
	w.judge()
}

func (w *world) heal() {
	w.site.Heal()
	w.broker.Clear(0)
	w.watched.Lock()
	defer w.watched.Unlock()
	w.drains.Healed(time.Now())
}

func (w *world) drained() bool {
	w.watched.Lock()
	defer w.watched.Unlock()
	return w.drains.Drained()
}

// look measures what has a limit, and notes since when nothing can be stored.
func (w *world) look() {
	if free, _ := w.site.Box().DiskFree(""); free > 0 {
		w.full = time.Time{}
	} else if w.full.IsZero() {
		w.full = time.Now()
	}
	if time.Now().Second() == 0 {
		w.bounded.Measure("disk", float64(w.agent.Status().Store.Bytes))
		w.bounded.Measure("goroutines", float64(w.goroutines()))
	}
}

// goroutines counts those of this world alone: others may run at the same time.
func (w *world) goroutines() (n int) {
	w.stacks = w.stacks[:cap(w.stacks)]
	size := runtime.Stack(w.stacks, true)
	for size == len(w.stacks) {
		w.stacks = make([]byte, 2*size+1<<16)
		size = runtime.Stack(w.stacks, true)
	}
	_, bubble, _ := strings.Cut(string(w.stacks[:bytes.IndexByte(w.stacks, ']')]), ", ") // goroutine 7 [running, synctest bubble 3]:
	return bytes.Count(w.stacks[:size], []byte(", "+bubble+"]:\n"))
}

func (w *world) newDir() string {
	w.lives++
	return filepath.Join(w.root, fmt.Sprint(w.lives))
}

// start begins a life of the box.
func (w *world) start(dir string) {
	w.t.Helper()
	text := string(w.spec.Config(sim.AgentConfig{Dir: dir, Broker: "mqtt://10.0.0.9:1883", Memory: true}))
	text = strings.Replace(text, "buffer: {", fmt.Sprintf("buffer: {max_size: %dMiB, ", maxSize>>20), 1)
	cfg, err := config.Parse(w.node+".yaml", []byte(text), []drivers.Driver{modbus.New()})
	if err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if *worldLog {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	w.net = &network{site: w.site, broker: w.broker}
	if w.agent, err = agent.New(cfg, agent.System{OpenPort: w.net.openPort, DialMQTT: w.net.dial,
		Wall: w.site.Box().Wall, DiskFree: w.net.diskFree, Logger: log, Version: "world"}); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.agent.Run(ctx) }()
	w.stop = func() error { cancel(); return <-ended }
}

// die takes what is on the disk at a moment, cuts the box off from everything, and starts it again with that. At that moment
// every goroutine waits for something (synctest.Wait), so that no write is under way: a copy of many files at any other
// would be of many moments, and no crash leaves such a thing. What a crash leaves in the middle of a write is the affair of
// the store's own tests.
func (w *world) die() {
	w.t.Helper()
	synctest.Wait()
	died := time.Now()
	from, to := filepath.Join(w.root, fmt.Sprint(w.lives)), w.newDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		w.t.Fatal(err)
	}
	if st := w.agent.Status(); st.Store.Epoch != "" {
		w.watched.Lock()
		w.once.Given(w.node, st.Store.Epoch, st.Store.Next-1)
		w.watched.Unlock()
	}
	w.net.cut()
	if err := w.stop(); err != nil {
		w.t.Errorf("the agent ended with %v", err)
	}
	if err := os.RemoveAll(from); err != nil {
		w.t.Error(err)
	}
	time.Sleep(bootTakes)
	w.start(to)
	if !w.full.IsZero() && w.full.Before(died) {
		died = w.full // nothing was stored since
	}
	w.watched.Lock()
	defer w.watched.Unlock()
	w.neighbours.Down(died.Add(-time.Minute), time.Now().Add(time.Minute))
}

func (w *world) judge() {
	for _, v := range w.suite.Judge() {
		w.t.Errorf("%s", v)
	}
	if w.t.Failed() {
		w.t.Logf("again: go test -tags world ./sim -run '%s$' -world.from=%d -world.seeds=1 -world.hours=%v -world.replay=false -world.log", strings.Split(w.t.Name(), "/")[0], w.seed, *worldHours)
	}
}

// network is what a box reaches until it is cut off.
type network struct {
	site   *sim.Site
	broker *sim.Broker

	mu   sync.Mutex
	dead bool
}

var errDead = errors.New("the box is dead")

func (n *network) openPort(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		return nil, &drivers.Error{Op: "open " + e.String(), Kind: drivers.Closed, Lost: true, Err: errDead}
	}
	return n.site.OpenPort(ctx, e)
}

func (n *network) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		return nil, errDead
	}
	return n.broker.Dial(ctx, u)
}

// diskFree is what the box has; a dead one is only put away, and for that there is room.
func (n *network) diskFree(dir string) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		return 1 << 30, nil
	}
	return n.site.Box().DiskFree(dir)
}

func (n *network) cut() {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.broker.HangUp()
}
