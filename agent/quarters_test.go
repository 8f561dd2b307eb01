package agent_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
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

// A quarter that was told while the disk was full comes again the same after a power cut, whether it was delivered at once or
// waited in memory beside the next one for a broker that was away too.
func TestQuarterToldWhileTheDiskIsFull(t *testing.T) {
	for _, c := range []struct {
		name       string
		gone, back time.Duration // the broker, after the disk is full
		cut        time.Duration
	}{
		{"delivered", 0, 0, 18 * time.Minute},
		{"one of two", 3 * time.Minute, 33 * time.Minute, 35 * time.Minute},
		{"two and a third", 3 * time.Minute, 33 * time.Minute, 44 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.start()
				time.Sleep(5 * time.Minute)
				n.free.Store(0)
				if c.back > 0 {
					time.Sleep(c.gone)
					away := n.raise(sim.Fault{Kind: sim.BrokerGone})
					time.Sleep(c.back - c.gone)
					n.broker.Clear(away)
				}
				time.Sleep(c.cut - c.back)
				synctest.Wait() // nobody is writing
				cut := t.TempDir()
				if err := os.CopyFS(cut, os.DirFS(n.cfg.StateDir)); err != nil {
					t.Fatal(err)
				}
				away := n.raise(sim.Fault{Kind: sim.BrokerGone}) // what it did after the cut nobody has seen
				n.free.Store(10 << 30)
				n.stop()
				n.broker.Clear(away)
				n.configure(strings.ReplaceAll(n.text, n.cfg.StateDir, cut))
				n.start()
				time.Sleep(30 * time.Minute)
				n.stop()
				told := map[string]string{}
				again := 0
				for _, e := range n.events {
					if e.Type != contract.EnergyInterval {
						continue
					}
					var i struct {
						Start int64
						Rev   int
					}
					if err := json.Unmarshal(e.Data, &i); err != nil {
						t.Fatal(err)
					}
					key := fmt.Sprintf("%s %s rev %d", e.Dev, time.UnixMilli(i.Start).UTC(), i.Rev)
					if before := told[key]; before != "" {
						again++
						if before != string(e.Data) {
							t.Errorf("%s:\n%s\nand\n%s", key, before, e.Data)
						}
					}
					told[key] = string(e.Data)
				}
				if again == 0 {
					t.Errorf("nothing came again, told were %v", told)
				}
			})
		})
	}
}
