package agent_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
	"bordo/contract/consumer"
	"bordo/sim"
)

// account gives everything that the broker takes to a consumer of the contract, and returns the defects that it has found
// by the end.
func (n *node) account() (defects func() []consumer.Defect) {
	n.t.Helper()
	var found []consumer.Defect
	c, err := consumer.New(consumer.Options{
		Deliver: func(consumer.Record) error { return nil },
		Defect:  func(d consumer.Defect) { found = append(found, d) },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.broker.Watch(func(p sim.Publication) {
		if err := c.Handle(consumer.Message{Topic: p.Topic, Payload: p.Payload}, p.At); err != nil {
			n.t.Error(err)
		}
	})
	return func() []consumer.Defect {
		c.Check(time.Now())
		c.Check(time.Now().Add(2 * time.Hour))
		return found
	}
}

// eventsOf returns the data of the events of a type that have arrived, in the order of their identities.
func (n *node) eventsOf(typ string) (data []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	events := slices.Clone(n.events)
	slices.SortFunc(events, func(a, b contract.Event) int { return strings.Compare(a.ID, b.ID) })
	for _, e := range events {
		if e.Type == typ {
			data = append(data, e.Ep+" "+string(e.Data))
		}
	}
	return data
}

// lastStatus is the last status that the broker took.
func (n *node) lastStatus() contract.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.statuses[len(n.statuses)-1]
}

// TestRunFromMemory: an agent whose store cannot be opened polls, sends and says so. When the store opens an epoch of its own
// begins, and what was not acknowledged by then arrives from it. The account of the centre has no hole.
func TestRunFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		defects := n.account()
		n.noDisk()
		a := n.start()
		time.Sleep(time.Minute)
		st := n.lastStatus()
		if len(n.samples("dev-1")) < 55 || st.Store != contract.InMemory || !a.Status().Store.FromMemory {
			t.Errorf("%d samples, status %+v", len(n.samples("dev-1")), st)
		}
		if h := n.health(""); !slices.Contains(h, contract.StoreMissing) {
			t.Errorf("health %v", h)
		}
		gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
		time.Sleep(time.Minute)
		n.mount()
		time.Sleep(30 * time.Second)
		n.broker.Clear(gone)
		time.Sleep(3 * time.Minute)
		if s := a.Status().Store; s.FromMemory || s.Fault != "" || len(s.Backlog) > 1 {
			t.Errorf("after the directory could be made: %+v", s)
		}
		after := n.lastStatus()
		if after.Store != "" || after.Ep <= st.Ep || len(after.Health) > 0 || *after.Lost != 0 {
			t.Errorf("status %+v after %+v", after, st)
		}
		n.stop()
		n.whole("dev-1", 320)
		n.whole("dev-2", 160)
		if d := defects(); len(d) > 0 || len(n.doubled) > 0 {
			t.Errorf("defects %v, twice came %v", d, n.doubled)
		}
		opened := n.eventsOf(contract.StoreOpened)
		if len(opened) != 2 || !strings.Contains(opened[0], `"memory":true`) ||
			!strings.Contains(opened[1], `"prev_ep":"`+st.Ep) {
			t.Errorf("opened: %v", opened)
		}
	})
}

// TestKilledInMemory: what a node held in memory alone when it was killed is under a gap that it told before, and the node
// that runs next does not use its identities.
func TestKilledInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		defects := n.account()
		n.noDisk()
		n.start()
		time.Sleep(time.Minute)
		first := n.lastStatus().Ep
		n.raise(sim.Fault{Kind: sim.BrokerGone})
		time.Sleep(time.Minute)
		n.cancel()
		if err := <-n.ended; err == nil || !strings.Contains(err.Error(), "held in memory only are lost") {
			t.Errorf("ended with %v although records are lost", err)
		}
		n.broker.Clear(0)
		n.mount()
		n.start()
		time.Sleep(5 * time.Minute)
		n.stop()
		if d := defects(); len(d) > 0 {
			t.Errorf("defects: %v", d)
		}
		if last := n.lastStatus().Ep; last == first {
			t.Errorf("epoch %s is used again", first)
		}
		var g contract.Gap
		covered := slices.ContainsFunc(n.eventsOf(contract.StoreGap), func(data string) bool {
			_, body, _ := strings.Cut(data, " ")
			return json.Unmarshal([]byte(body), &g) == nil && g.Ep == first && g.From == 1 && g.To == nil &&
				g.Why == "memory"
		})
		if !covered {
			t.Errorf("no gap of %s in %v", first, n.eventsOf(contract.StoreGap))
		}
	})
}

// TestGapBeforeStatus: whoever knows of an epoch that exists in memory alone knows of its gap, so the gap arrives before the
// first status that names the epoch.
func TestGapBeforeStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		var order []string
		n.broker.Watch(func(p sim.Publication) { order = append(order, fmt.Sprintf("%s %s", p.Topic, p.Payload)) })
		n.noDisk()
		n.start()
		time.Sleep(10 * time.Second)
		n.cancel()
		<-n.ended
		gap := slices.IndexFunc(order, func(m string) bool { return strings.Contains(m, contract.StoreGap) })
		status := slices.IndexFunc(order, func(m string) bool { return strings.Contains(m, "/status ") })
		if gap < 0 || status < gap {
			t.Errorf("gap at %d, status at %d of %d messages", gap, status, len(order))
		}
	})
}

// TestUnsavedAccounts: energy goes on arriving while the accounts cannot be saved, which is a condition, and they are saved
// soon after they can be.
func TestUnsavedAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.blockState("energy", true)
		a := n.start()
		time.Sleep(40 * time.Minute)
		if got := n.eventsOf(contract.EnergyInterval); len(got) < 2 {
			t.Errorf("intervals: %v", got)
		}
		if h := a.Status().Health; len(h) != 1 || h[0].Code != contract.StateUnsaved {
			t.Errorf("health %+v", h)
		}
		n.blockState("energy", false)
		time.Sleep(2 * time.Minute)
		files, err := filepath.Glob(filepath.Join(n.cfg.StateDir, "energy.[12]"))
		if h := a.Status().Health; len(h) > 0 || err != nil || len(files) == 0 {
			t.Errorf("health %+v, files %v, %v", h, files, err)
		}
		n.stop()
	})
}
