package sim_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
	"bordo/sim"
	"bordo/sim/check"
)

// A fleet speaks the contract as a node does: through storms and lost acknowledgements every sample arrives, under one
// identity each, and in the end nothing waits.
func TestFleetDeliversThroughStorms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, err := sim.NewBroker(sim.BrokerOptions{Seed: 1, Faults: []sim.Fault{
			{Kind: sim.BrokerGone, At: 20 * time.Minute, For: 3 * time.Minute},
			// a goodbye does not wait so long
			{Kind: sim.AckLate, Chance: 0.01, By: 5 * time.Second, For: 29 * time.Minute},
			{Kind: sim.Refused, At: 12 * time.Minute, For: time.Minute},
		}})
		if err != nil {
			t.Fatal(err)
		}
		once := check.NewAtLeastOnce()
		suite := check.NewSuite("", once, check.NewIdentityOnce())
		taken := 0
		broker.Watch(func(p sim.Publication) { suite.See(p); taken++ })
		fleet, err := sim.NewFleet(sim.FleetOptions{URL: "mqtt://10.0.0.9:1883", Nodes: 8, Backlog: 30 * time.Minute,
			StormEvery: 9 * time.Minute, StormFor: 90 * time.Second, Seed: 1, Dial: broker.Dial})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		if err := fleet.Run(ctx); err != nil {
			t.Fatal(err)
		}
		r := fleet.Report()
		for _, v := range suite.Judge() {
			t.Errorf("%s", v)
		}
		// Two devices, every ten seconds, for half an hour before and half an hour.
		if want := uint64(8 * 2 * 6 * 60); r.Samples < want*99/100 || r.Waiting != 0 || r.Dropped != 0 {
			t.Errorf("samples %d of about %d, waiting %d, dropped %d", r.Samples, want, r.Waiting, r.Dropped)
		}
		if r.Online != 0 || r.Connects < 8*4 || r.Refused == 0 || r.Lost < 8 || r.Late < 8*2*6*30 {
			t.Errorf("%s", r)
		}
		if r.AckMax < 5*time.Second || uint64(taken) < r.Acked {
			t.Errorf("the slowest acknowledgement took %s, the broker took %d messages: %s", r.AckMax, taken, r)
		}
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A node tells that nothing waits any more as soon as it is so: its retained status is what a central system goes by.
func TestFleetTellsThatNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, err := sim.NewBroker(sim.BrokerOptions{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		type word struct {
			at time.Time
			contract.Status
		}
		said := map[string][]word{}
		broker.Watch(func(p sim.Publication) {
			if strings.HasSuffix(p.Topic, "/status") {
				s, err := contract.DecodeStatus(p.Payload)
				if err != nil {
					t.Error(err)
					return
				}
				said[s.Node] = append(said[s.Node], word{p.At, s})
			}
		})
		fleet, err := sim.NewFleet(sim.FleetOptions{URL: "mqtt://10.0.0.9:1883", Nodes: 3, Backlog: 20 * time.Minute,
			Seed: 1, Dial: broker.Dial})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		if err := fleet.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(said) != 3 {
			t.Errorf("%d nodes told of themselves", len(said))
		}
		for node, words := range said {
			if len(words) != 3 || len(words[0].Backlog) != 1 || words[0].Backlog[0].N != 2*120 {
				t.Errorf("%s: %+v, want a backlog of 240 first, and three words in all", node, words)
				continue
			}
			if w := words[1]; w.State != contract.Online || len(w.Backlog) != 0 || w.at.Sub(began) > 2*time.Minute {
				t.Errorf("%s: after %s %+v, want no backlog", node, w.at.Sub(began), w.Status)
			}
			if w := words[2]; w.State != contract.Offline || len(w.Backlog) != 0 {
				t.Errorf("%s: in the end %+v", node, w.Status)
			}
		}
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFleetOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		o    sim.FleetOptions
		want string
	}{
		{sim.FleetOptions{URL: "http://x", Nodes: 1}, "url must be"},
		{sim.FleetOptions{URL: "mqtt://x:1883"}, "nodes must be 1"},
		{sim.FleetOptions{URL: "mqtt://x:1883", Nodes: 1, Prefix: "Fleet"}, "must be 1 to 48 of a-z"},
		{sim.FleetOptions{URL: "mqtt://x:1883", Nodes: 1, Every: -1}, "may be negative"},
	} {
		if _, err := sim.NewFleet(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}
