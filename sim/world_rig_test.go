//go:build world

package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
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

const (
	bootTakes   = 20 * time.Second // from a power cut to the start of the agent
	drainWithin = 90 * time.Minute
	settles     = 2 * time.Minute  // before anybody asks whether all is well
	pollSpan    = 7 * time.Second  // a poll with its repetitions, some of its registers asked for one by one
	keptAfter   = 10 * time.Second // twice the time after which the store must have sealed a record
	diskBack    = 2 * time.Minute  // from a disk with room again to a store that writes again
	maxSize     = 64 << 20         // of the store, unless a world says otherwise
	fullBelow   = 32 << 20         // a store evicts at most so far below its size, and never below half of it
	maxMemory   = 8 << 20          // of records that are in memory
	maxRoutines = 150
)

// roomInMemory is what must be free for the stores of the worlds that run at once.
const roomInMemory = 4 << 30

// storeDir gives a directory for the stores of a world: in memory where there is room, so that nobody waits for a disk while
// simulated time stands still. What a disk does to a store is the affair of the store's own tests.
func storeDir(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	var free syscall.Statfs_t
	if err := syscall.Statfs(memory, &free); err != nil || free.Bavail*uint64(free.Bsize) < roomInMemory {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "bordo-world-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// options are what makes a world another one than usual.
type options struct {
	defect  defect
	card    int64 // bytes a day that may be written; 0: nobody looks
	size    int64 // of the store; 0: maxSize
	drained time.Duration
}

// defect lets a world go wrong in a way that no node may: the parts that the agent is given by the machine are the seams.
type defect struct {
	config func(text string) string
	system func(agent.System) agent.System // of each life of the box
	end    func()                          // after the last
}

// world is a node with everything around it.
type world struct {
	t      *testing.T
	seed   uint64
	opt    options
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
	quiet      *check.FlashWear
	room       *check.Room
	watched    sync.Mutex // the checkers are told things by two goroutines

	agent  *agent.Agent
	stop   func() error
	net    *network
	card   *card
	full   time.Time // since when the disk is full
	writes time.Time // since when the store can surely write
	given  []given   // in this life, the last few
	stacks stacks
}

// given is up to which number records were given out at a time.
type given struct {
	at   time.Time
	last uint64
}

func newWorld(t *testing.T, dir string, seed uint64, spec *sim.Scenario, o options) *world {
	t.Helper()
	w := &world{t: t, seed: seed, root: dir, spec: spec, opt: o, node: spec.Name}
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
	if w.opt.drained == 0 {
		w.opt.drained = drainWithin
	}
	if w.opt.size == 0 {
		w.opt.size = maxSize
	}
	w.once, w.drains = check.NewAtLeastOnce(), check.NewDrains(w.opt.drained)
	w.room = check.NewRoom(max(w.opt.size/2, w.opt.size-fullBelow))
	w.bounded = check.NewBounded(map[string]float64{"goroutines": maxRoutines, "disk": float64(w.opt.size),
		"memory of queues": maxMemory})
	w.neighbours = check.NewNeighbours(site, time.Now(), map[string]time.Duration{"inv-1": every["inv-1"]})
	checkers := []check.Checker{w.once, check.NewIdentityOnce(), check.NewNothingInvented(site, pollSpan),
		check.NewQuarterHours(most), check.NewEventsFirst(), check.NewConditionRate(), w.bounded, w.room, w.neighbours,
		w.drains}
	if o.card > 0 {
		w.quiet = check.NewFlashWear(o.card)
		checkers = append(checkers, w.quiet)
	}
	w.suite = check.NewSuite("", checkers...)
	w.broker.Watch(func(p sim.Publication) {
		w.watched.Lock()
		defer w.watched.Unlock()
		w.suite.See(p)
	})
	return w
}

// live is the life of a world: faults, healing, judgement. It returns what the checkers found.
func (w *world) live(faulty time.Duration) []check.Verdict {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	kills := make(chan struct{}, 1)
	w.site.Host().OnKill(func() {
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
	for limit := time.Now().Add(w.opt.drained); time.Now().Before(limit) && !w.drained(); time.Sleep(time.Second) {
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
	if w.opt.defect.end != nil {
		w.opt.defect.end()
	}
	return w.suite.Judge()
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
	now := time.Now()
	if free, _ := w.site.Host().DiskFree(""); free > 0 {
		if !w.full.IsZero() {
			w.full, w.writes = time.Time{}, now.Add(diskBack)
		}
	} else if w.full.IsZero() {
		w.full = now
	}
	if now.Second()%5 == 0 {
		st := w.agent.Status().Store
		w.bounded.Measure("memory of queues", float64(st.Memory))
		w.bounded.Measure("disk", float64(st.Bytes))
		w.room.Measure(st.Bytes)
		if w.full.IsZero() && now.After(w.writes) {
			w.given = append(w.given[max(0, len(w.given)-8):], given{now, st.Next - 1})
		}
	}
	if now.Second() == 0 {
		// what leaks is still there later, and every stack of every world is written out for it
		if now.Minute()%5 == 0 {
			w.bounded.Measure("goroutines", float64(w.stacks.count()))
		}
		if w.quiet != nil {
			w.watched.Lock()
			w.quiet.Wrote(now, w.card.look(w.t))
			w.watched.Unlock()
		}
	}
}

// stacks is room for the stacks of all goroutines.
type stacks []byte

// count counts the goroutines of the caller's world alone: others may run at the same time.
func (s *stacks) count() (n int) {
	*s = (*s)[:cap(*s)]
	size := runtime.Stack(*s, true)
	for size == len(*s) {
		*s = make([]byte, 2*size+1<<16)
		size = runtime.Stack(*s, true)
	}
	all := (*s)[:size]
	// goroutine 7 [running, synctest bubble 3]:
	_, bubble, _ := strings.Cut(string(all[:bytes.IndexByte(all, ']')]), ", ")
	return bytes.Count(all, []byte(", "+bubble+"]:\n"))
}

func (w *world) newDir() string {
	w.lives++
	return filepath.Join(w.root, fmt.Sprint(w.lives))
}

// start begins a life of the box.
func (w *world) start(dir string) {
	w.t.Helper()
	text := string(w.spec.Config(sim.AgentConfig{Dir: dir, Broker: "mqtt://10.0.0.9:1883", Memory: true}))
	text = strings.Replace(text, "buffer: {", fmt.Sprintf("buffer: {max_size: %dMiB, ", w.opt.size>>20), 1)
	if w.seed%2 == 1 { // a box without a clock of its own believes what it is told in the end
		text = strings.Replace(text, "trust: system", "trust: kernel", 1)
	}
	if w.opt.defect.config != nil {
		text = w.opt.defect.config(text)
	}
	cfg, err := config.Parse(w.node+".yaml", []byte(text), []drivers.Driver{modbus.New()})
	if err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if *worldLog {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	w.net, w.card, w.given, w.writes = &network{site: w.site, broker: w.broker}, newCard(dir), nil, time.Now()
	system := agent.System{OpenPort: w.net.openPort, DialMQTT: w.net.dial, Wall: w.site.Host().Wall,
		DiskFree: w.net.diskFree,
		Written:  w.card.written, Logger: log, Version: "world"}
	if w.opt.defect.system != nil {
		system = w.opt.defect.system(system)
	}
	if w.agent, err = agent.New(cfg, system); err != nil {
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
	if st := w.agent.Status().Store; st.Epoch != "" {
		w.watched.Lock()
		w.once.Given(w.node, st.Epoch, st.Next-1)
		for _, g := range w.given {
			if died.Sub(g.at) > keptAfter && (w.full.IsZero() || w.full.Sub(g.at) > keptAfter) {
				w.once.Kept(w.node, st.Epoch, g.last)
			}
		}
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
	w.neighbours.Down(died.Add(-keptAfter), time.Now().Add(keptAfter))
}

// judge tells what the checkers found, and how to see it again.
func (w *world) judge(verdicts []check.Verdict) {
	for _, v := range verdicts {
		w.t.Errorf("%s", v)
	}
	if w.t.Failed() {
		w.t.Logf("again: go test -tags world ./sim -run '%s$' -world.from=%d -world.seeds=1 -world.hours=%v -world.replay=false -world.log",
			strings.Split(w.t.Name(), "/")[0], w.seed, *worldHours)
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

// openPort opens a line as the box does: a connection can be opened again in place, a serial port cannot.
func (n *network) openPort(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
	open := func(ctx context.Context) (drivers.Port, error) { return n.connect(ctx, e) }
	if e.Scheme == line.Serial {
		return open(ctx)
	}
	return line.Reopening(ctx, open)
}

func (n *network) connect(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
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
	return n.site.Host().DiskFree(dir)
}

func (n *network) cut() {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	n.broker.HangUp()
}
