package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
	"bordo/sim"
)

// liveSince counts the live samples of a device that were taken after a time.
func (n *node) liveSince(dev string, since time.Time) (live int) {
	for _, s := range n.samples(dev) {
		if s.at.After(since) && strings.Contains(s.topic, "/tele/") {
			live++
		}
	}
	return live
}

// A broker that ends the connection when its quota is used up, on whatever is in flight then, refuses no topic: what it takes
// in a minute flows, and nothing is lost.
func TestQuotaIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		w := n.watch()
		quota := n.raise(sim.Fault{Kind: sim.Quota, Code: 60})
		a := n.start()
		for range 60 {
			time.Sleep(time.Minute)
			if d := detail(a, contract.TopicRefused) + detail(a, contract.MessageLimited); d != "" {
				t.Errorf("said after %d sessions: %q", len(w.sessions), d)
				break
			}
		}
		if got := len(n.samples("dev-1")); got < 1800 {
			t.Errorf("%d samples of 3600 arrived", got)
		}
		n.broker.Clear(quota)
		time.Sleep(75 * time.Minute)
		n.stop()
		n.whole("dev-1", 8000)
		n.whole("dev-2", 4000)
	})
}

// A broker that ends every session on whatever it is sent, as mosquitto with TLS does to a box with another's certificate,
// passes nothing on. Neither sizes nor another box are blamed, and with the rights everything arrives.
func TestBrokerClosesOnEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		fault := n.raise(sim.Fault{Kind: sim.TopicClosed, Point: "quintano"})
		a := n.start()
		time.Sleep(3 * time.Minute)
		if d := detail(a, contract.NotRouted); !strings.Contains(d, "ends each session before it passes anything on") {
			t.Errorf("not_routed says %q after 3 min", d)
		}
		time.Sleep(2 * time.Hour)
		for _, code := range []string{contract.TwinSuspected, contract.MessageLimited} {
			if d := detail(a, code); d != "" {
				t.Errorf("%s says %q", code, d)
			}
		}
		if s := n.told(contract.TwinSuspected, "node"); s != "" {
			t.Errorf("twin_suspected was told %q", s)
		}
		n.broker.Clear(fault)
		time.Sleep(2 * time.Hour)
		if d := detail(a, contract.NotRouted) + detail(a, contract.TopicRefused); d != "" {
			t.Errorf("it still says %q", d)
		}
		n.stop()
		n.whole("dev-1", 4*3600+170)
		n.whole("dev-2", 2*3600+80)
	})
}

// With "ack: platform", a broker that ends the connection on the subscription to the acknowledgements gets everything else,
// the subscription is named, and what the platform has not acknowledged stays in the store. Once it is allowed, the
// acknowledgements are heard without anybody's help.
func TestAckSubscriptionIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		n.configure(strings.Replace(n.text, "mqtt: {", "mqtt: {ack: platform, ", 1))
		w := n.watch()
		fault := n.raise(sim.Fault{Kind: sim.SubscribeClosed, Point: "ack"})
		a := n.start()
		time.Sleep(5 * time.Minute)
		if d := detail(a, contract.TopicRefused); !strings.Contains(d,
			"on the subscription to bordo/v1/cremasco/quintano/ack") {
			t.Errorf("topic_refused says %q", d)
		}
		for _, code := range []string{contract.TwinSuspected, contract.NotRouted, contract.MessageLimited} {
			if d := detail(a, code); d != "" {
				t.Errorf("%s says %q", code, d)
			}
		}
		since, before := time.Now(), len(w.sessions)
		time.Sleep(2 * time.Minute)
		if live := n.liveSince("dev-1", since); live < 115 {
			t.Errorf("%d live samples of 120", live)
		}
		if len(w.sessions) > before+1 {
			t.Errorf("%d sessions in two minutes", len(w.sessions)-before)
		}
		backlog := func() (sum uint64) {
			for _, b := range a.Status().Store.Backlog {
				sum += b.N
			}
			return sum
		}
		if b := backlog(); b < 500 {
			t.Errorf("%d records wait that the platform has not acknowledged, want about 600", b)
		}
		n.broker.Clear(fault)
		time.Sleep(70 * time.Minute)
		payload, err := n.stored().Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := n.broker.Publish("bordo/v1/cremasco/quintano/ack", payload, 1, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if b := backlog(); b > 100 {
			t.Errorf("%d records wait that the platform has acknowledged", b)
		}
		if d := detail(a, contract.TopicRefused); d != "" {
			t.Errorf("it still says %q", d)
		}
		n.stop()
		n.whole("dev-1", 4500)
	})
}

// A broker that takes no QoS 1 on a topic ends the connection as one that refuses the topic: it is told in the same way.
func TestQoSIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		w := n.watch()
		fault := n.raise(sim.Fault{Kind: sim.TopicClosed, Point: "v1"}) // and there is no other QoS in use
		a := n.start()
		time.Sleep(10 * time.Minute)
		d := detail(a, contract.TopicRefused)
		for _, kind := range []string{"status", "tele/"} {
			if !strings.Contains(d, "on the topic bordo/v1/cremasco/quintano/"+kind) {
				t.Errorf("topic_refused does not name %s: %q", kind, d)
			}
		}
		if len(w.sessions) != 0 {
			t.Errorf("sessions %v", w.sessions)
		}
		n.broker.Clear(fault)
		time.Sleep(75 * time.Minute)
		if d := detail(a, contract.TopicRefused); d != "" {
			t.Errorf("it still says %q", d)
		}
		n.stop()
		n.whole("dev-1", 5000)
	})
}
