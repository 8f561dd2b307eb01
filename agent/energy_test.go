package agent_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
	"bordo/sim"
)

// Each quarter of an hour is told once, an hour without broker or not, and they add up to the counter.
func TestQuarterHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(70 * time.Minute)
		id, err := n.broker.Raise(sim.Fault{Kind: sim.BrokerGone})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		n.broker.Clear(id)
		time.Sleep(52 * time.Minute) // three hours and two minutes
		n.stop()
		sum, starts := 0.0, map[int64]bool{}
		for _, e := range n.events {
			if e.Type != contract.EnergyInterval || e.Dev != "dev-1" {
				continue
			}
			var i struct {
				Start    int64
				KWh      float64
				Coverage float64
				Method   string
				Samples  int
			}
			if err := json.Unmarshal(e.Data, &i); err != nil {
				t.Fatal(err)
			}
			if starts[i.Start] || i.Start%(15*60*1000) != 0 {
				t.Errorf("quarter of %v told twice, or not aligned", time.UnixMilli(i.Start).UTC())
			}
			starts[i.Start] = true
			sum += i.KWh
			if i.Method != "counter" || math.Abs(i.KWh-9) > 0.02 || i.Coverage < 0.99 || i.Samples < 899 {
				t.Errorf("quarter of %v: %s", time.UnixMilli(i.Start).UTC(), e.Data)
			}
		}
		if len(starts) != 12 || math.Abs(sum-108) > 0.02 {
			t.Errorf("%d quarters with %v kWh, want 12 with 108", len(starts), sum)
		}
	})
}

// A clean stop in the middle of a quarter costs nothing of it.
func TestQuarterOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(20*time.Minute + 500*time.Millisecond)
		n.stop()
		n.start()
		time.Sleep(11 * time.Minute)
		n.stop()
		quarters := map[int64]int{}
		for _, e := range n.events {
			if e.Dev != "dev-1" || e.Type != contract.EnergyInterval && e.Type != contract.EnergySegment {
				continue
			}
			var i struct {
				Start    int64
				KWh      float64
				Coverage float64
				Cause    string
			}
			if err := json.Unmarshal(e.Data, &i); err != nil {
				t.Fatal(err)
			}
			if e.Type == contract.EnergySegment && e.Time.Sub(n.events[0].Time) > time.Minute {
				t.Errorf("a new segment: %s", e.Data)
			}
			if e.Type == contract.EnergyInterval {
				quarters[i.Start]++
				if math.Abs(i.KWh-9) > 0.05 || i.Coverage < 0.99 {
					t.Errorf("quarter: %s", e.Data)
				}
			}
		}
		for start, told := range quarters {
			if told != 1 {
				t.Errorf("quarter of %v told %d times", time.UnixMilli(start).UTC(), told)
			}
		}
		if len(quarters) != 2 {
			t.Errorf("%d quarters", len(quarters))
		}
	})
}

// interval is what the tests look at of a quarter that was told.
type interval struct {
	Start int64
	Rev   int
	KWh   float64
	To    *float64
	Meter string
	data  string
}

// intervals are the quarters that were told of a device, in the order in which they came.
func (n *node) intervals(dev string) (out []interval) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		if e.Type != contract.EnergyInterval || e.Dev != dev {
			continue
		}
		i := interval{data: string(e.Data)}
		if err := json.Unmarshal(e.Data, &i); err != nil {
			n.t.Error(err)
		}
		out = append(out, i)
	}
	return out
}

// noHoles fails the test if a quarter that has ended since a time was not told.
func (n *node) noHoles(since time.Time, told []interval) {
	n.t.Helper()
	const quarter = 15 * time.Minute
	for at := since.Truncate(quarter); at.Add(quarter + time.Minute).Before(time.Now()); at = at.Add(quarter) {
		if !slices.ContainsFunc(told, func(i interval) bool { return i.Start == at.UnixMilli() }) {
			n.t.Errorf("the quarter of %v was not told", at.UTC())
		}
	}
}

// A quarter that was told while the disk was full comes again the same after a power cut, whether it was delivered at once or
// waited in memory beside the next one for a broker that was away too; and it comes then, if it was not told to anybody.
func TestQuarterToldWhileTheDiskIsFull(t *testing.T) {
	for _, c := range []struct {
		name       string
		gone, back time.Duration // the broker, after the disk is full; 0: never
		cut        time.Duration
		again      bool // something was delivered that a power cut makes forgotten
	}{
		{"delivered", 0, 0, 18 * time.Minute, true},
		{"one of two", 3 * time.Minute, 33 * time.Minute, 35 * time.Minute, true},
		{"two and a third", 3 * time.Minute, 33 * time.Minute, 44 * time.Minute, true},
		{"two of which nobody knows", 3 * time.Minute, 0, 35 * time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.start()
				began := time.Now()
				time.Sleep(5 * time.Minute)
				full := time.Now()
				n.free.Store(0)
				if c.gone > 0 {
					time.Sleep(c.gone)
					n.raise(sim.Fault{Kind: sim.BrokerGone})
				}
				if c.back > 0 {
					time.Sleep(c.back - c.gone)
					n.broker.Clear(0)
				}
				time.Sleep(c.cut - time.Since(full))
				n.cutPower()
				n.start()
				time.Sleep(30 * time.Minute)
				n.stop()
				for _, dev := range []string{"dev-1", "dev-2"} {
					told := map[interval]string{}
					again := false
					list := n.intervals(dev)
					for _, i := range list {
						key := interval{Start: i.Start, Rev: i.Rev}
						if before := told[key]; before != "" {
							again = true
							if before != i.data {
								t.Errorf("%s:\n%s\nand\n%s", dev, before, i.data)
							}
						}
						told[key] = i.data
					}
					if again != c.again || len(told) < 3 {
						t.Errorf("%s: something came again: %v, told were %v", dev, again, told)
					}
					n.noHoles(began, list)
				}
			})
		})
	}
}

// Where the newest accounts cannot be read, those from before are gone on from: what comes again after that has a higher
// revision, since it may be something else.
func TestQuartersAfterOlderAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		began := time.Now()
		time.Sleep(50 * time.Minute)
		n.stop()
		var newest string
		var serial uint64
		slots, err := filepath.Glob(filepath.Join(n.cfg.StateDir, "energy.*"))
		if err != nil || len(slots) != 2 {
			t.Fatalf("accounts in %v, %v", slots, err)
		}
		for _, slot := range slots {
			text, err := os.ReadFile(slot)
			if err != nil {
				t.Fatal(err)
			}
			var of uint64
			if _, err := fmt.Sscanf(string(text), "bordo-state 1 %d", &of); err != nil {
				t.Fatal(err)
			}
			if of > serial {
				newest, serial = slot, of
			}
		}
		if err := os.Truncate(newest, 100); err != nil {
			t.Fatal(err)
		}
		n.start()
		time.Sleep(30 * time.Minute)
		n.stop()
		told := n.intervals("dev-1")
		n.noHoles(began, told)
		rev := map[int64]int{}
		again := 0
		for _, i := range told {
			if before, known := rev[i.Start]; known {
				if again++; i.Rev <= before {
					t.Errorf("told again: %s", i.data)
				}
			}
			rev[i.Start] = i.Rev
		}
		if again == 0 {
			t.Errorf("nothing came again of %d quarters", len(told))
		}
	})
}
