package agent_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
	"bordo/sim"
)

// unsetClock makes the node's machine one without a clock of its own, which wakes up in 1970, and returns what sets it.
func (n *node) unsetClock() (set func()) {
	var synced atomic.Bool
	woke := time.Now()
	n.wall = func() (time.Time, contract.Clock) {
		if synced.Load() {
			return time.Now(), contract.ClockSync
		}
		return time.Unix(1000, 0).Add(time.Since(woke)), contract.ClockFree
	}
	return func() { synced.Store(true) }
}

// offsets returns what the events of the given epoch say by how much the clock was set, in their order.
func (n *node) offsets(ep string) (out []int64) {
	for _, e := range n.events {
		if e.Ep != ep || e.Type != contract.ClockSet {
			continue
		}
		var d struct {
			Boot   string
			Offset int64
		}
		if err := json.Unmarshal(e.Data, &d); err != nil || d.Boot == "" || e.Clk != contract.ClockSync {
			n.t.Errorf("%s %s: %v", e.Clk, e.Data, err)
		}
		out = append(out, d.Offset)
	}
	return out
}

// A box that wakes up in 1970: what neither the broker nor the disk has seen when the clock is set gets its true time, what
// one of them has seen keeps its bytes, and the event corrects it.
func TestFirstSynchronisation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.configure(strings.Replace(n.text, "sync: 5s", "sync: 30s", 1)) // sealed at about 50 s and 80 s
		set := n.unsetClock()
		woke := time.Now()
		n.start()
		time.Sleep(15500 * time.Millisecond)
		eaten := n.raise(sim.Fault{Kind: sim.AckEaten}) // the broker has these, and the agent does not know it
		time.Sleep(5 * time.Second)
		gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
		n.broker.Clear(eaten)
		time.Sleep(80 * time.Second)
		synced := time.Now()
		set()
		time.Sleep(10 * time.Second)
		n.broker.Clear(gone)
		time.Sleep(2 * time.Minute)
		n.stop()

		n.whole("dev-1", 230)
		offset := n.offsets(n.events[0].Ep)
		if len(offset) != 1 || offset[0] != woke.UnixMilli()-1000_000 {
			t.Fatalf("told offsets %v, want %d", offset, woke.UnixMilli()-1000_000)
		}
		if len(n.doubled) == 0 {
			t.Error("nothing came twice: that the bytes are the same was not tried")
		}
		count := map[contract.Clock]int{}
		times := map[int64]bool{}
		first := n.samples("dev-1")[1].ts + offset[0]
		for i, s := range n.samples("dev-1") {
			count[s.clk]++
			told, taken := s.ts, time.UnixMilli(first+int64(i-1)*1000)
			if times[told] {
				t.Errorf("two samples at %d", told)
			}
			times[told] = true
			want := contract.ClockSync
			switch {
			case s.clk == contract.ClockFree && taken.Before(synced):
				told, want = told+offset[0], contract.ClockFree
			case s.clk == contract.ClockEst && taken.Before(synced) && synced.Sub(taken) < 35*time.Second:
				want = contract.ClockEst
			}
			if s.clk != want || told != taken.UnixMilli() {
				t.Errorf("count %d, taken %v before the clock was set: %s, %s", i, synced.Sub(taken), s.clk, s.raw)
			}
		}
		if count[contract.ClockEst] < 10 || count[contract.ClockFree] < 60 || count[contract.ClockSync] < 120 {
			t.Errorf("samples by quality: %v", count)
		}
	})
}

// After a power cut the box wakes up in 1970 again: it goes on from the last time that it trusted, and says that this is
// not to be believed.
func TestLastTrustedTimeIsTheLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		set := n.unsetClock()
		set()
		n.start()
		time.Sleep(25 * time.Minute)
		n.stop()
		stopped, before := time.Now(), len(n.samples("dev-1"))
		time.Sleep(3 * time.Hour)
		n.mu.Lock()
		clear(n.arrived) // both runs count from 1
		n.mu.Unlock()
		set = n.unsetClock()
		a := n.start()
		time.Sleep(time.Minute)
		// The ages in a status are right although the machine believes that it is 1970.
		s := a.Status()
		if up, last := s.Now.Sub(s.Since), s.Now.Sub(s.Lines[0].Devices[0].Last); up != time.Minute || last < 0 ||
			last > 2*time.Second {
			t.Errorf("up for %v, the last answer %v ago", up, last)
		}
		set()
		time.Sleep(time.Minute)
		n.stop()
		first := n.samples("dev-1")[1]
		if at := time.UnixMilli(first.ts); at.Before(stopped.Add(-11*time.Minute)) || at.After(stopped) ||
			first.clk != contract.ClockFree || before < 1400 {
			t.Errorf("first sample after the power cut: %v as %s, stopped at %v", at, first.clk, stopped)
		}
		ep := n.events[len(n.events)-1].Ep
		if o := n.offsets(ep); len(o) != 1 ||
			time.UnixMilli(first.ts+o[0]).Sub(stopped.Add(3*time.Hour)).Abs() > 2*time.Second {
			t.Errorf("offsets %v after %v", o, time.UnixMilli(first.ts))
		}
	})
}

// A box that has never been trusted wakes up in 1970: it cannot be earlier than its program.
func TestNoTimeBeforeTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.unsetClock()
		n.built = time.Now().Add(-24 * time.Hour)
		n.start()
		time.Sleep(30 * time.Second)
		n.stop()
		first := n.samples("dev-1")[1]
		if d := time.UnixMilli(first.ts).Sub(n.built); d < 0 || d > time.Minute || first.clk != contract.ClockFree {
			t.Errorf("first sample %v after the program was made, as %s", d, first.clk)
		}
	})
}

// An epoch says in which start of the machine it runs: what was sent with a clock that was not set is corrected by that.
func TestOpeningNamesTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(10 * time.Second)
		n.stop()
		var d struct{ Boot string }
		if err := json.Unmarshal(n.events[0].Data, &d); err != nil || d.Boot == "" || d.Boot != n.statuses[0].Boot {
			t.Errorf("%s, status %q: %v", n.events[0].Data, n.statuses[0].Boot, err)
		}
		if o := n.offsets(n.events[0].Ep); len(o) != 0 {
			t.Errorf("a clock that was set all the time is told as set: %v", o)
		}
	})
}
