package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/sim"
)

// A device marked personal is delivered like any other, also after an outage in which all of it had to be sealed, and
// leaves nothing in the history: no sample, no quarter hour, no event.
func TestPersonalLeavesNoHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.configure(strings.NewReplacer("unit: 2, every: 2s,", "unit: 2, every: 2s, personal: true,",
			", lat: 45.36, lon: 9.69", "").Replace(n.text)) // without a place there is no night to sleep in
		n.start()
		time.Sleep(time.Hour)
		id, err := n.broker.Raise(sim.Fault{Kind: sim.BrokerGone})
		if err != nil {
			t.Fatal(err)
		}
		n.faults.silence("dev-2", true)
		time.Sleep(time.Minute)
		n.faults.silence("dev-2", false)
		time.Sleep(time.Hour)
		n.broker.Clear(id)
		time.Sleep(30 * time.Minute)
		n.stop()
		n.whole("dev-1", 9000)
		n.whole("dev-2", 4400)
		told := map[string]int{}
		for _, e := range n.events {
			if e.Dev == "dev-2" {
				told[e.Type]++
			}
		}
		if told["bordo.energy.interval.v1"] < 8 || told["bordo.condition.raised.v1"] != 1 {
			t.Errorf("events of the personal device: %v", told)
		}

		s, err := buffer.Inspect(n.cfg.Buffer.Dir, buffer.Options{Codec: record.NewCodec()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // nothing was written
		kept := map[string]map[buffer.Class]int{}
		for r, err := range s.Records(buffer.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			about, err := record.Describe(r.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if kept[about.Dev] == nil {
				kept[about.Dev] = map[buffer.Class]int{}
			}
			kept[about.Dev][r.Class]++
		}
		if len(kept["dev-2"]) != 0 {
			t.Errorf("of the personal device there is still %v", kept["dev-2"])
		}
		if kept["dev-1"][buffer.Reading] < 9000 || kept["dev-1"][buffer.Interval] < 8 {
			t.Errorf("of the other device there is %v", kept["dev-1"])
		}
	})
}
