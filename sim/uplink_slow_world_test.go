//go:build world

package sim_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/sim"
	"bordo/sim/check"
)

// uplinkTraffic holds what a node sent on its way to a broker against what the broker had use for.
type uplinkTraffic struct {
	sent   int             // bytes of the publications that the node wrote
	useful float64         // of those, what arrived for the first time
	seen   map[string]bool // records that have arrived
}

// arrived counts a publication that the broker took: of one that carries records, the part that is new.
func (c *uplinkTraffic) arrived(p sim.Publication) {
	m, err := check.Read("", p)
	if err != nil || p.Will {
		return
	}
	size := float64(len(p.Topic) + len(p.Payload))
	var ids []string
	switch {
	case m.Event != nil:
		ids = []string{m.Event.ID}
	case m.Batch != nil:
		for _, s := range m.Batch.Samples {
			ids = append(ids, m.Batch.Ep+string(s.Raw))
		}
	default: // a status, a description: each is new
		c.useful += size
		return
	}
	fresh := 0
	for _, id := range ids {
		if !c.seen[id] {
			c.seen[id] = true
			fresh++
		}
	}
	c.useful += size * float64(fresh) / float64(len(ids))
}

// TestWorldUplinkSlow is an hour on 9.6 kbit/s after an outage: live samples come first, the backlog gets what they leave of
// the link and is gone before the hour is, and hardly a byte is sent twice, although the link stands still for a while.
func TestWorldUplinkSlow(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	const rate, hour = 1200, time.Hour // bytes a second
	synctest.Test(t, func(t *testing.T) {
		u := newUplink(t, dir, uplinkSite(20*time.Second, 2), sim.BrokerOptions{Seed: *worldFrom})
		p := u.proxy(sim.ProxyOptions{Dial: u.broker.Dial, Seed: *worldFrom, Delay: 300 * time.Millisecond, Rate: rate})
		traffic := &uplinkTraffic{seen: map[string]bool{}}
		u.dial = linked(func() *link {
			return &link{up: func(p packet) []packet {
				if p.kind() == publishPacket {
					u.mu.Lock()
					defer u.mu.Unlock()
					traffic.sent += len(p.body()) - 4 // without the length of the topic and the number
				}
				return []packet{p}
			}}
		})(agent.System{DialMQTT: p.Dial}).DialMQTT
		u.broker.Watch(func(p sim.Publication) {
			u.mu.Lock()
			defer u.mu.Unlock()
			traffic.arrived(p)
		})
		u.watch()
		u.start()
		time.Sleep(time.Minute)
		raise := func(f sim.Fault) (id int) {
			id, err := p.Raise(f)
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		cut := raise(sim.Fault{Kind: sim.LinkCut})
		u.broker.HangUp()
		time.Sleep(2 * time.Hour)
		p.Clear(cut)
		back := time.Now()
		time.Sleep(5 * time.Minute)
		raise(sim.Fault{Kind: sim.LinkStalled, For: 20 * time.Second})
		u.live(hour - 5*time.Minute)

		var ages []time.Duration
		late := u.freshSince(back.Add(time.Minute), &ages)
		last := u.hist[len(u.hist)-1].Sub(back)
		again := float64(traffic.sent) - traffic.useful
		t.Logf("drained in %v; %d live samples, median age %v, 9 of 10 below %v, %d late; %d bytes sent, %.0f of them again; %d sessions",
			last, len(ages), ages[len(ages)/2], ages[len(ages)*9/10], late, traffic.sent, again, u.sessions)
		if last > hour {
			t.Errorf("the backlog took %v", last)
		}
		if p90 := ages[len(ages)*9/10]; p90 > 10*time.Second || len(ages) < 3*170*9/10 {
			t.Errorf("%d live samples in an hour, nine of ten younger than %v", len(ages), p90)
		}
		if again > 0.1*float64(traffic.sent) {
			t.Errorf("%.0f of %d bytes were sent again", again, traffic.sent)
		}
	})
}

// freshSince collects the ages of the live samples that came in the hour after a time, youngest first.
func (u *uplink) freshSince(from time.Time, ages *[]time.Duration) (late int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.aged {
		if s.at.After(from) && s.at.Before(from.Add(time.Hour)) {
			if *ages = append(*ages, s.age); s.age > time.Minute {
				late++
			}
		}
	}
	slices.Sort(*ages)
	return late
}
