//go:build world

package sim_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/sim"
)

// How much of the world is run. The seeds of testdata/seeds.txt, which once failed, are always run first.
var (
	worldSeeds = flag.Int("world.seeds", 2, "how many seeds the world test runs, besides those that once failed")
	worldFrom  = flag.Uint64("world.from", 1, "the first of them")
	worldHours = flag.Float64("world.hours", 2, "how many simulated hours of faults each seed has")
	worldOut   = flag.Duration("world.outage", 2*time.Hour,
		"how long the broker is away in the test of one long outage")
	worldReplay = flag.Bool("world.replay", true, "run the seeds of testdata/seeds.txt first")
	worldLog    = flag.Bool("world.log", false, "show what the agents log")
)

// TestWorld lets the whole agent live through everything that a seed gives, while checkers watch; then everything heals,
// and the node must converge.
func TestWorld(t *testing.T) {
	t.Parallel()
	for _, r := range runs(t) {
		t.Run(fmt.Sprint(r.seed), func(t *testing.T) {
			t.Parallel()
			dir := storeDir(t)
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, dir, r.seed, sim.Chaos(r.seed), options{})
				w.judge(w.live(r.hours))
			})
		})
	}
}

// usualSize is the default of buffer.max_size.
const usualSize = 512 << 20

// TestWorldOutage lets the broker be away for long, while the lines suffer and the box dies once. A store of the usual size
// holds all of it, also of a week.
func TestWorldOutage(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	synctest.Test(t, func(t *testing.T) {
		spec := sim.Chaos(*worldFrom)
		spec.Broker.Faults = []sim.Fault{{Kind: sim.BrokerGone, At: 20 * time.Minute, For: *worldOut}}
		spec.Host.Faults = []sim.Fault{{Kind: sim.Kill, At: 20*time.Minute + *worldOut/2, For: time.Second}}
		w := newWorld(t, dir, *worldFrom, spec, options{size: usualSize})
		w.judge(w.live(*worldOut + 30*time.Minute))
		largest, evicted := w.room.Largest()
		t.Logf("the store took %d bytes", largest)
		if evicted {
			t.Errorf("records were evicted: %v without a broker did not fit into %d bytes", *worldOut, usualSize)
		}
	})
}

// TestWorldFullStore lets the broker be away until the smallest store has evicted readings, while the box dies once. What is
// evicted lies under gaps; what is not, arrives, and no device has any other hole. The outage of a week with seed 1796086164
// showed this with a store of 64 MiB.
func TestWorldFullStore(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	const away = 6*time.Hour + 30*time.Minute
	synctest.Test(t, func(t *testing.T) {
		spec := uplinkSite(10*time.Second, 2) // inv-1 is the one whose pace is watched
		meters := sim.Line{ID: "meters", Port: "tcp://10.0.0.3:502"}
		for i := range 10 {
			meters.Devices = append(meters.Devices,
				sim.Device{ID: fmt.Sprintf("meter-%d", i), Model: "eastron-sdm630", Unit: 1 + i,
					Every: 2 * time.Second})
		}
		spec.Lines = append(spec.Lines, meters)
		spec.Broker.Faults = []sim.Fault{{Kind: sim.BrokerGone, At: 10 * time.Minute, For: away}}
		spec.Host.Faults = []sim.Fault{{Kind: sim.Kill, At: 10*time.Minute + away/2, For: time.Second}}
		w := newWorld(t, dir, 1, spec, options{size: 16 << 20})
		w.judge(w.live(away + 20*time.Minute))
		largest, evicted := w.room.Largest()
		t.Logf("the store took %d bytes", largest)
		if !evicted {
			t.Error("nothing was evicted: this world needs a longer outage")
		}
	})
}

// TestWorldFlapping lets a bus with two meters fail and answer in turn for six hours, every half a minute, and a port go and
// come back. Their conditions stay open, and the checker of their rate holds.
func TestWorldFlapping(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	synctest.Test(t, func(t *testing.T) {
		spec := sim.Chaos(1)
		spec.Site.Lat, spec.Site.Lon = 0, 180 // noon at the beginning: at night an inverter that is away sleeps
		for i := range spec.Lines {
			spec.Lines[i].Faults = nil
		}
		spec.Broker.Faults, spec.Host.Faults = nil, nil
		const from = 5 * time.Minute
		spec.Lines[1].Faults = []sim.Fault{{Kind: sim.Gone, At: from, Every: 90 * time.Second, For: 45 * time.Second}}
		spec.Lines[2].Faults = []sim.Fault{{Kind: sim.Silent, At: from, Every: 30 * time.Second, For: 20 * time.Second}}
		w := newWorld(t, dir, 1, spec, options{})
		events := 0
		w.broker.Watch(func(p sim.Publication) {
			if strings.Contains(string(p.Payload), "bordo.condition.") {
				events++
			}
		})
		w.judge(w.live(6 * time.Hour))
		if events < 4 || events > 60 {
			t.Errorf("%d events of conditions in six hours", events)
		}
	})
}

// flashBytesPerDay is how many bytes a day a node with six devices may write on a healthy link.
const flashBytesPerDay = 8 << 20

// TestWorldFlashWear lets nothing go wrong for three hours and counts what is written to the flash.
func TestWorldFlashWear(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	synctest.Test(t, func(t *testing.T) {
		spec := sim.Chaos(1)
		for i := range spec.Lines {
			spec.Lines[i].Faults = nil
		}
		spec.Broker.Faults, spec.Host.Faults = nil, nil
		w := newWorld(t, dir, 1, spec, options{card: flashBytesPerDay})
		w.judge(w.live(3 * time.Hour))
		t.Logf("%d bytes in three hours", w.card.total.Load())
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
