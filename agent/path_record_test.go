package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
	"bordo/drivers/catalogue"
	"bordo/sim"
)

// largeSample shows every point of a device, and more than 2 KiB with that. What the device counts itself is left out.
func largeSample() map[string]float64 {
	more := map[string]float64{}
	for _, p := range catalogue.Points() {
		if p.Type == catalogue.Float {
			more[p.Key] = 12345.678
		}
	}
	for i := 1; i <= catalogue.MaxStrings; i++ {
		for _, what := range []string{"voltage", "current", "power"} {
			more[fmt.Sprintf("dc%d_%s", i, what)] = 12345.678
		}
	}
	for _, own := range []string{"cycles", "ac_power", "ac_energy", "temperature"} {
		delete(more, own)
	}
	return more
}

// A device whose samples are larger, each by itself, than the broker takes is held back and named; all others flow, live and
// after an outage; and nothing is lost.
func TestOneRecordIsTooLarge(t *testing.T) {
	for _, kind := range []sim.FaultKind{sim.Oversize, sim.OversizeAcked} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { oneRecordIsTooLarge(t, kind) })
		})
	}
}

func oneRecordIsTooLarge(t *testing.T, kind sim.FaultKind) {
	n := newNode(t)
	n.wall = noon
	n.configure(strings.NewReplacer("every: 1s", "every: 4s", "every: 2s", "every: 4s", "sync: 5s",
		"sync: 20s").Replace(n.text))
	w := n.watch()
	n.faults.shows("dev-2", largeSample())
	limit := n.raise(sim.Fault{Kind: kind, Code: 2})
	a := n.start()
	time.Sleep(6 * time.Minute)
	if d := detail(a, contract.MessageLimited); !strings.Contains(d, "wait because they are too large") {
		t.Errorf("message_limited says %q", d)
	}
	if d := detail(a, contract.TopicRefused) + detail(a, contract.TwinSuspected) + detail(a,
		contract.NotRouted); d != "" {
		t.Errorf("something else is said: %q", d)
	}
	time.Sleep(2 * time.Minute)
	gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
	time.Sleep(5 * time.Minute)
	n.broker.Clear(gone)
	time.Sleep(5 * time.Minute)
	since := time.Now()
	time.Sleep(2 * time.Minute)
	if live := n.liveSince("dev-1", since); live < 28 {
		t.Errorf("%d live samples of 30", live)
	}
	if got := len(n.samples("dev-1")); got < 16*15 {
		t.Errorf("%d samples of the other device arrived", got)
	}
	if got := len(n.samples("dev-2")); got > 0 {
		t.Errorf("%d samples arrived of a device whose samples are too large", got)
	}
	if len(w.sessions) > 15 {
		t.Errorf("%d sessions", len(w.sessions))
	}
	n.broker.Clear(limit)
	time.Sleep(20 * time.Minute)
	if d := detail(a, contract.MessageLimited); d != "" {
		t.Errorf("once the broker takes everything, message_limited says %q", d)
	}
	n.stop()
	n.whole("dev-1", 39*15)
	n.whole("dev-2", 39*15)
}
