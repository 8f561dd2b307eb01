package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
	"bordo/sim"
)

// What is polled at one moment waits a moment for its like, and leaves together and in order: nothing waits longer than the
// session gathers, however often the window is full.
func TestLiveIsGatheredAndPrompt(t *testing.T) {
	const gathering = 10 * time.Millisecond
	for _, devices := range []int{1, 50} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t)
			text := n.text[:strings.Index(n.text, "lines:")] + "lines:\n"
			for i := range devices {
				text += fmt.Sprintf("  - {id: l%[1]d, port: \"tcp://127.0.0.1:%[1]d\", devices: [{id: dev-%[1]d, model: test-counter, unit: 1, every: 1s}]}\n", i+1)
			}
			n.configure(text)
			var last uint64
			n.broker.Watch(func(p sim.Publication) {
				a, err := contract.ParseTopic("bordo", p.Topic)
				if err != nil || a.Kind != contract.KindTele {
					return
				}
				b, err := contract.DecodeBatch(p.Payload)
				if err != nil {
					t.Error(err)
					return
				}
				for _, s := range b.Samples {
					if s.Seq < last {
						t.Errorf("%d devices: %d arrives behind %d", devices, s.Seq, last)
					}
					last = s.Seq
				}
			})
			n.start()
			time.Sleep(29500 * time.Millisecond) // a stop waits for nothing more
			n.stop()
			for i := range devices {
				dev := fmt.Sprintf("dev-%d", i+1)
				n.whole(dev, 30)
				for count, s := range n.samples(dev) {
					if late := s.at.Sub(time.UnixMilli(s.ts)); count > 1 && late != gathering {
						t.Errorf("%d devices: count %d of %s arrived after %v, want %v", devices, count, dev, late,
							gathering)
					}
				}
			}
		})
	}
}

// A status that nothing hurries waits until nothing is under way; on a link where something always is, it is told all the same.
func TestStatusIsToldOnABusyLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.raise(sim.Fault{Kind: sim.Slow}) // each acknowledgement takes 2 s, and there is a sample each second
		n.start()
		time.Sleep(61 * time.Minute)
		n.mu.Lock()
		told := len(n.statuses)
		n.mu.Unlock()
		n.stop()
		if told < 7 {
			t.Errorf("%d statuses in an hour", told)
		}
	})
}

// What still waits for its like when the agent is stopped leaves before it.
func TestStopDoesNotWaitToGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(30*time.Second + 5*time.Millisecond) // the 31st poll was 5 ms ago
		n.stop()
		n.whole("dev-1", 31)
	})
}
