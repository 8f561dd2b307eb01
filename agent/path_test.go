package agent_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/contract"
	"bordo/sim"
)

// detail returns what an agent says of an open condition of the node, "" when it is not open.
func detail(a *agent.Agent, code string) string {
	for _, h := range a.Status().Health {
		if h.Code == code {
			return h.Detail
		}
	}
	return ""
}

// watched collects the sizes of the payloads by kind of topic, and the sessions.
type watched struct {
	largest  map[string]int
	sessions []string
}

func (n *node) watch() *watched {
	w := &watched{largest: map[string]int{}}
	n.broker.Watch(func(p sim.Publication) {
		if a, err := contract.ParseTopic("bordo", p.Topic); err == nil {
			w.largest[a.Kind] = max(w.largest[a.Kind], len(p.Payload))
			if st, err := contract.DecodeStatus(p.Payload); a.Kind == contract.KindStatus && err == nil && !p.Will &&
				!slices.Contains(w.sessions, st.Sess) {
				w.sessions = append(w.sessions, st.Sess)
			}
		}
	})
	return w
}

// A broker that takes packets up to 16 KiB only gets the backlog in smaller messages, is named as the reason, and is not tried
// again by the next run of the agent.
func TestBrokerRefusesLargePackets(t *testing.T) {
	for _, kind := range []sim.FaultKind{sim.Oversize, sim.OversizeAcked} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.wall = noon
				w := n.watch()
				n.raise(sim.Fault{Kind: kind, Code: 16})
				n.start()
				time.Sleep(time.Minute)
				gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
				time.Sleep(time.Hour)
				n.broker.Clear(gone)
				time.Sleep(5 * time.Minute)
				n.stop()
				n.whole("dev-1", 60+3600+240)
				n.whole("dev-2", 30+1800+120)
				if got := w.largest[contract.KindHist]; got > 16<<10 || got < 7<<10 {
					t.Errorf("the largest message of the backlog has %d bytes", got)
				}
				if s := n.told(contract.MessageLimited, "node"); s != "+" {
					t.Errorf("message_limited was told %q", s)
				}
				if s := n.told(contract.TwinSuspected, "node") + n.told(contract.TopicRefused,
					"node") + n.told(contract.NotRouted, "node"); s != "" {
					t.Errorf("something else was told: %q", s)
				}
				before := len(w.sessions)
				if before > 8 {
					t.Errorf("%d sessions", before)
				}
				a := n.start()
				time.Sleep(10 * time.Second)
				gone = n.raise(sim.Fault{Kind: sim.BrokerGone})
				time.Sleep(40 * time.Minute)
				n.broker.Clear(gone)
				time.Sleep(2 * time.Minute)
				if d := detail(a, contract.MessageLimited); !strings.Contains(d, "bytes pass") {
					t.Errorf("after a restart: %q", d)
				}
				if passed := a.Status().Broker.Passed; passed > 16<<10+5 || passed < 7<<10 {
					t.Errorf("the status says that %d bytes pass", passed)
				}
				n.stop()
				if got := len(w.sessions) - before; got != 2 {
					t.Errorf("%d sessions after a restart, want 2", got)
				}
			})
		})
	}
}

// When the broker takes large packets again, that is found out, and the condition ends.
func TestBrokerTakesLargePacketsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		w := n.watch()
		limit := n.raise(sim.Fault{Kind: sim.Oversize, Code: 8})
		n.start()
		for i := range 3 {
			if i == 2 {
				n.broker.Clear(limit)
				time.Sleep(time.Hour)
			}
			gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
			time.Sleep(time.Hour)
			n.broker.Clear(gone)
			time.Sleep(5 * time.Minute)
		}
		n.stop()
		if got := w.largest[contract.KindHist]; got < 12<<10 {
			t.Errorf("the largest message of the backlog has %d bytes", got)
		}
		if s := n.told(contract.MessageLimited, "node"); s != "+-" {
			t.Errorf("message_limited was told %q", s)
		}
	})
}

// The configured limit holds for every message, and no session dies of it.
func TestMaxMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.configure(strings.Replace(n.text, "mqtt: {", "mqtt: {max_message: 4KiB, ", 1))
		n.raise(sim.Fault{Kind: sim.Oversize, Code: 4})
		w := n.watch()
		n.start()
		time.Sleep(time.Minute)
		gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
		time.Sleep(time.Hour)
		n.broker.Clear(gone)
		time.Sleep(5 * time.Minute)
		n.stop()
		n.whole("dev-1", 60+3600+240)
		if got := w.largest[contract.KindHist]; got > 4<<10 || got < 3<<10 || len(w.sessions) != 2 {
			t.Errorf("the largest message of the backlog has %d bytes; %d sessions", got, len(w.sessions))
		}
	})
}

// On a path that loses packets above 1300 bytes, readings get through in small messages, and the MTU is named.
func TestBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		p, err := sim.NewProxy(sim.ProxyOptions{Dial: n.broker.Dial, Delay: 20 * time.Millisecond, Seed: 1,
			Faults: []sim.Fault{{Kind: sim.BlackHole}}})
		if err != nil {
			t.Fatal(err)
		}
		n.dial = p.Dial
		w := n.watch()
		a := n.start()
		time.Sleep(3 * time.Minute)
		// Two sessions have to die. By chance the live samples fit after the first; a backlog makes larger messages.
		for tries := 0; !strings.Contains(detail(a, contract.MessageLimited), "MTU"); tries++ {
			if tries == 3 {
				t.Fatalf("message_limited says %q", detail(a, contract.MessageLimited))
			}
			gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
			time.Sleep(15 * time.Minute)
			n.broker.Clear(gone)
			time.Sleep(5 * time.Minute)
		}
		if d := detail(a, contract.NotRouted) + detail(a, contract.TwinSuspected) + detail(a,
			contract.TopicRefused); d != "" {
			t.Errorf("something else is said: %q", d)
		}
		before := len(n.samples("dev-1"))
		time.Sleep(7 * time.Minute)
		if got := len(n.samples("dev-1")) - before; got < 360 {
			t.Errorf("%d samples of 420 s arrived; %d sessions", got, len(w.sessions))
		}
		n.stop()
		p.Close()
	})
}

// A broker that ends the connection on something that it does not allow is told as that, and everything else flows. When it
// allows it again, that is found out without anybody's help.
func TestBrokerClosesOnWhatItRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault sim.Fault
		says  string // in the condition
		live  bool   // samples arrive live
	}{
		{"event", sim.Fault{Kind: sim.TopicClosed, Point: "event"}, "on the topic bordo/v1/cremasco/quintano/event/",
			true},
		{"tele", sim.Fault{Kind: sim.TopicClosed, Point: "tele"}, "on the topic bordo/v1/cremasco/quintano/tele/",
			false},
		{"hist", sim.Fault{Kind: sim.TopicClosed, Point: "hist"}, "on the topic bordo/v1/cremasco/quintano/hist/",
			true},
		{"status", sim.Fault{Kind: sim.TopicClosed, Point: "status"}, "on the topic bordo/v1/cremasco/quintano/status",
			true},
		{"meta", sim.Fault{Kind: sim.TopicClosed, Point: "meta"}, "on the topic bordo/v1/cremasco/quintano/meta/",
			true},
		{"one device", sim.Fault{Kind: sim.TopicClosed, Point: "tele/dev-2"},
			"on the topic bordo/v1/cremasco/quintano/tele/dev-2", true},
		{"subscription", sim.Fault{Kind: sim.SubscribeClosed},
			"on the subscription to bordo/v1/cremasco/quintano/status", true},
		{"retained", sim.Fault{Kind: sim.RetainClosed}, "on retained messages", true},
		{"will", sim.Fault{Kind: sim.WillClosed}, "on a login with a last will", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.wall = noon
				fault := n.raise(c.fault)
				gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
				a := n.start()
				time.Sleep(30 * time.Second)
				n.broker.Clear(gone)
				time.Sleep(3 * time.Minute)
				if d := detail(a, contract.TopicRefused); !strings.Contains(d, c.says) {
					t.Errorf("topic_refused says %q, want %q", d, c.says)
				}
				for _, code := range []string{contract.TwinSuspected, contract.NotRouted, contract.MessageLimited} {
					if d := detail(a, code); d != "" {
						t.Errorf("%s says %q", code, d)
					}
				}
				live, before := 0, len(n.samples("dev-1"))
				since := time.Now()
				time.Sleep(2 * time.Minute)
				for _, s := range n.samples("dev-1") {
					if s.at.After(since) && strings.Contains(s.topic, "/tele/") {
						live++
					}
				}
				if got := len(n.samples("dev-1")) - before; got < 110 && c.name != "hist" || c.live && live < 100 {
					t.Errorf("%d samples of 120 arrived, %d of them live", got, live)
				}
				n.broker.Clear(fault)
				time.Sleep(40 * time.Minute)
				if d := detail(a, contract.TopicRefused); d != "" {
					t.Errorf("it still says %q", d)
				}
				n.stop()
				n.whole("dev-1", 2600)
				n.whole("dev-2", 1300)
			})
		})
	}
}

// A broker that never answers a subscription gets everything, and the subscription is named.
func TestSubscriptionIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		w := n.watch()
		n.raise(sim.Fault{Kind: sim.SubscribeMute})
		a := n.start()
		time.Sleep(5 * time.Minute)
		if d := detail(a, contract.NotRouted); !strings.Contains(d, "subscribe") ||
			!strings.Contains(d, "did not answer") {
			t.Errorf("not_routed says %q", d)
		}
		n.stop()
		n.whole("dev-1", 295)
		for _, s := range n.samples("dev-1") {
			if strings.Contains(s.topic, "/hist/") {
				t.Errorf("a sample came late: %+v", s)
				break
			}
		}
		if len(w.sessions) != 1 {
			t.Errorf("%d sessions", len(w.sessions))
		}
	})
}
