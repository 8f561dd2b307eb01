package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/sim"
)

// With history_gzip a backlog arrives whole, packed, and in a fraction of the bytes.
func TestPackedBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.configure(strings.Replace(n.text, "mqtt: {", "mqtt: {history_gzip: true, ", 1))
		n.start()
		time.Sleep(time.Minute)
		gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
		time.Sleep(time.Hour)
		n.broker.Clear(gone)
		time.Sleep(5 * time.Minute)
		n.stop()
		n.whole("dev-1", 60+3600+300)
		n.whole("dev-2", 30+1800+150)
		packed := 0
		for _, s := range n.samples("dev-1") {
			if strings.Contains(s.topic, "/histz/") {
				packed++
			}
		}
		if packed < 3500 || len(n.doubled) > 0 {
			t.Errorf("%d samples came packed, twice came %v", packed, n.doubled)
		}
	})
}
