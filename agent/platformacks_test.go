package agent_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
)

// stored makes the platform's acknowledgement of everything that has arrived.
func (n *node) stored() contract.Ack {
	n.mu.Lock()
	defer n.mu.Unlock()
	seqs := make(map[string][]uint64)
	for id := range n.arrived {
		ep, seq, _ := strings.Cut(id, "-")
		x, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			n.t.Fatal(err)
		}
		seqs[ep] = append(seqs[ep], x)
	}
	a := contract.Ack{OK: make(map[string][]contract.Range)}
	for ep, list := range seqs {
		slices.Sort(list)
		var ranges []contract.Range
		for _, x := range list {
			if k := len(ranges) - 1; k >= 0 && ranges[k][1]+1 == x {
				ranges[k][1] = x
			} else {
				ranges = append(ranges, contract.Range{x, x})
			}
		}
		a.OK[ep] = ranges
	}
	return a
}

// With "ack: platform" a record stays in the store until the platform has it, whatever the broker says.
func TestPlatformAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.configure(strings.Replace(n.text, "mqtt: {", "mqtt: {ack: platform, ", 1))
		a := n.start()
		speak := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Second) {
				payload, err := n.stored().Encode()
				if err != nil {
					t.Fatal(err)
				}
				if err := n.broker.Publish("bordo/v1/cremasco/quintano/ack", payload, 1, true); err != nil {
					t.Fatal(err)
				}
			}
		}
		backlog := func() (sum uint64) {
			for _, b := range a.Status().Store.Backlog {
				sum += b.N
			}
			return sum
		}
		speak(2 * time.Minute)
		if b := backlog(); b > 5 {
			t.Errorf("%d records wait although the platform has them", b)
		}
		time.Sleep(10 * time.Minute)
		if b := backlog(); b < 850 {
			t.Errorf("%d records wait after ten minutes without the platform, want about 900", b)
		}
		n.stop()
		if last := n.statuses[len(n.statuses)-1]; len(last.Backlog) == 0 || last.Backlog[0].N < 850 {
			t.Errorf("backlog at the goodbye: %+v", last.Backlog)
		}
		a = n.start() // the retained word of ten minutes ago stands; what came since comes again
		time.Sleep(30 * time.Second)
		speak(2 * time.Minute)
		if b := backlog(); b > 5 {
			t.Errorf("%d records wait after the platform spoke again", b)
		}
		n.stop()
		n.whole("dev-1", 720)
	})
}
