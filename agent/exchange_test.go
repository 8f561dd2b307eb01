package agent_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/agent/energy"
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
	return slices.ContainsFunc(a.Status().Health,
		func(h contract.Health) bool { return h.Code == contract.DeviceExchanged })
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
		e, err := a.Confirm(n.t.Context(), "dev-1", nil)
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
		if e, err := a.Confirm(n.t.Context(), "dev-1", nil); err != nil || e.After != "another" || e.Unkept == "" {
			t.Errorf("confirmed %+v, %v", e, err)
		}
		// with a reading a segment would begin, and the accounts would be saved for that
		n.faults.silence("dev-1", true)
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

// Confirming reads who the device is, and confirms nothing when the device does not say so or does not answer.
func TestConfirmReadsTheSerialNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		a := n.start()
		time.Sleep(time.Minute)
		n.faults.exchange("dev-1", "another")
		time.Sleep(10 * time.Second)
		for _, x := range []struct {
			name       string
			begin, end func()
		}{
			{"mute", func() { n.faults.mute["dev-1"] = true }, func() { n.faults.mute["dev-1"] = false }},
			{"silent", func() { n.faults.silence("dev-1", true) }, func() { n.faults.silence("dev-1", false) }},
		} {
			x.begin()
			e, err := a.Confirm(t.Context(), "dev-1", nil)
			if !errors.Is(err, agent.ErrNotIdentified) || e.After != "" || !exchanged(a) {
				t.Errorf("%s: confirmed %+v, %v", x.name, e, err)
			}
			x.end()
		}
		asked := n.faults.asked["dev-1"]
		e, err := a.Confirm(t.Context(), "dev-1", nil)
		if err != nil || e.After != "another" || exchanged(a) || n.faults.asked["dev-1"] != asked+1 {
			t.Errorf("confirmed %+v, %v", e, err)
		}
		n.stop()
	})
}

// What a device counted between its exchange and the confirmation is booked then, from its first reading on, with the old
// one's energy up to its final reading: nothing is missing, and the centre can tell the two apart.
func TestExchangeIsBookedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a := n.start()
		time.Sleep(20 * time.Minute)
		n.faults.silence("dev-1", true)
		time.Sleep(2 * time.Minute)
		n.faults.silence("dev-1", false)
		n.faults.exchange("dev-1", "another")
		n.faults.energy["dev-1"] = 500_000 // it shows 6000 kWh
		time.Sleep(40 * time.Minute)
		e, err := a.Exchanged(t.Context(), "dev-1")
		if err != nil || e.After != "another" || len(e.Counters) != 1 || e.Counters[0].KWh == nil {
			t.Fatalf("exchanged %+v, %v", e, err)
		}
		last := *e.Counters[0].KWh
		if e, err = a.Confirm(t.Context(), "dev-1", energy.Final{"ac_energy": last - 1}); err != nil ||
			e.Refused == nil || !exchanged(a) {
			t.Errorf("confirmed %+v, %v", e, err)
		}
		if e, err = a.Confirm(t.Context(), "dev-1", energy.Final{"ac_energy": last + 0.5}); err != nil ||
			e.Refused != nil || e.After != "another" {
			t.Errorf("confirmed %+v, %v", e, err)
		}
		time.Sleep(20 * time.Minute)
		n.stop()
		byStart := map[int64]interval{}
		revs := 0
		for _, iv := range n.intervals("dev-1") {
			if old, ok := byStart[iv.Start]; !ok || iv.Rev > old.Rev {
				byStart[iv.Start] = iv
			}
			revs = max(revs, iv.Rev)
		}
		total, olds := 0.0, 0
		for _, iv := range byStart {
			total += iv.KWh
			if iv.Meter == "dev-1" {
				olds++
			}
		}
		first, end := 1000.01, byStart[slices.Max(slices.Collect(maps.Keys(byStart)))].To
		if want := last + 0.5 - first + *end - 6000.01; math.Abs(total-want) > 0.011 || revs != 1 || olds != 1 {
			t.Errorf("booked %v kWh, want %v; highest rev %d, %d quarters of the old meter", total, want, revs, olds)
		}
	})
}
