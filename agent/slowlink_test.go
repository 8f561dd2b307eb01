package agent_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/sim"
)

// slowLink is a way to the broker that is slow, and what came through it.
type slowLink struct {
	*node
	proxy *sim.Proxy
	taken int64 // bytes of packets that the broker took
}

func newSlowLink(t *testing.T, o sim.ProxyOptions) *slowLink {
	t.Helper()
	l := &slowLink{node: newNode(t)}
	l.wall = noon
	o.Dial = l.broker.Dial
	var err error
	if l.proxy, err = sim.NewProxy(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.proxy.Close)
	l.dial = l.proxy.Dial
	l.broker.Watch(func(p sim.Publication) {
		if !p.Will {
			l.taken += int64(len(p.Topic) + len(p.Payload) + 8)
		}
	})
	return l
}

// ages returns how old the live samples of a device were that came after a time, youngest first, and how many came late.
func (l *slowLink) ages(dev string, after time.Time) (live []time.Duration, late int) {
	for _, s := range l.samples(dev) {
		switch {
		case s.ts < after.Add(12*time.Hour).UnixMilli(): // noon is a clock of its own
		case strings.Contains(s.topic, "/hist/"):
			late++
		default:
			live = append(live, s.at.Add(12*time.Hour).Sub(time.UnixMilli(s.ts)))
		}
	}
	slices.Sort(live)
	return live, late
}

// On 9.6 kbit/s live samples flow while a backlog drains with what is left of the link, and hardly anything is sent twice.
func TestSlowLink(t *testing.T) {
	for _, c := range []struct {
		name  string
		delay time.Duration // each way
		age   time.Duration // that nine of ten live samples may have
		used  float64       // bytes a second, at least, while there is a backlog
	}{
		{"near", 300 * time.Millisecond, 5 * time.Second, 1000},
		{"far away", 2500 * time.Millisecond, 8 * time.Second, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newSlowLink(t, sim.ProxyOptions{Delay: c.delay, Seed: 1,
					Faults: []sim.Fault{{Kind: sim.LinkNarrow, Code: 12}}})
				l.configure(strings.NewReplacer("every: 1s", "every: 5s", "every: 2s", "every: 5s").Replace(l.text))
				gone := l.raise(sim.Fault{Kind: sim.BrokerGone})
				a := l.start()
				time.Sleep(2 * time.Hour)
				l.broker.Clear(gone)
				before := a.Status().Sent.Bytes
				time.Sleep(time.Minute)
				steady, first := time.Now(), a.Status().Sent.Bytes
				time.Sleep(4 * time.Minute)
				if used := float64(a.Status().Sent.Bytes-first) / 240; used < c.used {
					t.Errorf("%.0f B/s were used of 1200 while there was a backlog", used)
				}
				time.Sleep(21 * time.Minute)
				live, late := l.ages("dev-1", steady)
				if len(live) < 285 || live[len(live)*9/10] > c.age {
					t.Errorf("%d live samples of 300, %d late; ages %v", len(live), late, live)
				}
				sent := a.Status().Sent.Bytes - before
				if float64(l.taken) < 0.9*float64(sent) {
					t.Errorf("%d bytes were sent and %d taken", sent, l.taken)
				}
				if len(l.doubled) > 0 {
					t.Errorf("%d records came twice", len(l.doubled))
				}
				time.Sleep(15 * time.Minute)
				if b := a.Status().Store.Backlog; len(b) > 0 && b[0].N > 10 {
					t.Errorf("the backlog is left: %+v", b)
				}
				l.stop()
				l.whole("dev-1", 1900)
				if n := l.sessions(); n != 1 {
					t.Errorf("%d sessions", n)
				}
			})
		})
	}
}

// sessions counts the sessions that told their status.
func (n *node) sessions() int {
	seen := map[string]bool{}
	for _, s := range n.statuses {
		seen[s.Sess] = true
	}
	return len(seen)
}

// A link that is fast again is used at once, and what was slow, or silent for a while, does not end the session for good.
func TestLinkBecomesFastAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSlowLink(t, sim.ProxyOptions{Delay: 20 * time.Millisecond, Seed: 1})
		a := l.start()
		time.Sleep(time.Minute)
		narrow, err := l.proxy.Raise(sim.Fault{Kind: sim.LinkNarrow, Code: 10})
		if err != nil {
			t.Fatal(err)
		}
		gone := l.raise(sim.Fault{Kind: sim.BrokerGone})
		time.Sleep(90 * time.Minute)
		l.broker.Clear(gone)
		time.Sleep(10 * time.Minute)
		left := a.Status().Store.Backlog
		if len(left) == 0 {
			t.Error("the backlog has drained on a slow link")
		}
		l.proxy.Clear(narrow)
		time.Sleep(time.Minute)
		if b := a.Status().Store.Backlog; len(b) > 0 && b[0].N > 10 {
			t.Errorf("a minute after the link became fast the backlog is %+v", b)
		}
		l.stop()
		l.whole("dev-1", 5400)
	})
}

// A broker that takes 15 s to acknowledge is not a slow link: the backlog drains, and no session ends.
func TestSlowBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSlowLink(t, sim.ProxyOptions{Seed: 1})
		gone := l.raise(sim.Fault{Kind: sim.BrokerGone})
		a := l.start()
		time.Sleep(time.Hour)
		l.raise(sim.Fault{Kind: sim.AckLate, By: 15 * time.Second})
		l.broker.Clear(gone)
		time.Sleep(30 * time.Minute)
		if b := a.Status().Store.Backlog; len(b) > 0 && b[0].N > 100 {
			t.Errorf("the backlog is %+v", b)
		}
		if n := l.sessions(); n != 1 {
			t.Errorf("%d sessions", n)
		}
		l.stop()
	})
}
