package agent_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/contract"
	"bordo/sim"
)

// newest is the last sample of a device.
func (n *node) newest(dev string) (last sample) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.arrived {
		if s.dev == dev && s.ts > last.ts {
			last = s
		}
	}
	return last
}

// exchanged tells whether a device answers in the place of another one.
func exchanged(a *agent.Agent) bool {
	return slices.ContainsFunc(a.Status().Health, func(h contract.Health) bool { return h.Code == contract.DeviceExchanged })
}

// What an exchanged device says is uncertain until somebody confirms it, and a power cut right after that forgets nothing. A
// device that is exchanged while the agent does not run is found out as well.
func TestExchangeIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a := n.start()
		time.Sleep(5 * time.Minute)
		n.faults.exchange("dev-1", "another")
		time.Sleep(10 * time.Second)
		if q := n.newest("dev-1").q; !exchanged(a) || q["ac_power"] != contract.QualityUncertain {
			t.Errorf("exchanged %v, not good are %v", exchanged(a), q)
		}
		if q := n.newest("dev-2").q; len(q) != 1 { // its temperature never is
			t.Errorf("of another device: not good are %v", q)
		}
		e, err := a.Confirm("dev-1")
		if err != nil || e.Before != "dev-1" || e.After != "another" || e.Unkept != "" {
			t.Errorf("confirmed %+v, %v", e, err)
		}
		n.cutPower()
		a = n.start()
		time.Sleep(time.Minute)
		if q := n.newest("dev-1").q; exchanged(a) || len(q) != 1 {
			t.Errorf("after a power cut: exchanged %v, not good are %v", exchanged(a), q)
		}
		n.stop()
		n.faults.exchange("dev-1", "a third")
		a = n.start()
		time.Sleep(time.Minute)
		if !exchanged(a) {
			t.Error("exchanged while nobody looked, and nobody says so")
		}
		n.stop()
	})
}

// While quarters are in memory alone a confirmation cannot be kept, and says so. It is kept as soon as they are safe.
func TestExchangeIsConfirmedWhileTheDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a := n.start()
		began := time.Now()
		time.Sleep(5 * time.Minute)
		n.free.Store(0)
		n.raise(sim.Fault{Kind: sim.BrokerGone})
		time.Sleep(11 * time.Minute)
		n.faults.exchange("dev-1", "another")
		time.Sleep(10 * time.Second)
		if e, err := a.Confirm("dev-1"); err != nil || e.After != "another" || e.Unkept == "" {
			t.Errorf("confirmed %+v, %v", e, err)
		}
		n.faults.silence("dev-1", true) // with a reading a segment would begin, and the accounts would be saved for that
		n.free.Store(10 << 30)
		time.Sleep(2 * time.Minute)
		n.cutPower()
		n.faults.silence("dev-1", false)
		a = n.start()
		time.Sleep(30 * time.Minute)
		if exchanged(a) {
			t.Error("the confirmation is forgotten")
		}
		n.stop()
		n.noHoles(began, n.intervals("dev-1"))
	})
}
