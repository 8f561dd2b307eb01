package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
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

// Who sets reconnect_max to half a second has the backlog flowing a second after the broker is back, however long it was gone.
func TestBacklogFlowsSoon(t *testing.T) {
	for _, away := range []time.Duration{7 * time.Second, 130 * time.Second, 50 * time.Minute} {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.configure(strings.Replace(n.text, "mqtt: {", "mqtt: {reconnect_max: 500ms, ", 1))
				n.start()
				time.Sleep(30 * time.Second)
				gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
				time.Sleep(away)
				n.broker.Clear(gone)
				back := time.Now()
				time.Sleep(2 * time.Minute)
				n.stop()
				first := back.Add(time.Hour)
				for _, s := range n.samples("dev-1") {
					if s.at.After(back) && strings.Contains(s.topic, "/hist/") && s.at.Before(first) {
						first = s.at
					}
				}
				if d := first.Sub(back); d > time.Second {
					t.Errorf("the first of the backlog came %v after the broker", d)
				}
			})
		})
	}
}

// mute is a connection that takes nothing more once it is broken, and does not say so to who reads from it.
type mute struct {
	net.Conn
	writes int
	broken atomic.Bool
}

func (m *mute) Write(b []byte) (int, error) {
	if m.writes++; m.writes > 40 {
		m.broken.Store(true)
	}
	if m.broken.Load() {
		return 0, errors.New("broken pipe")
	}
	return m.Conn.Write(b)
}

func (m *mute) Read(b []byte) (int, error) {
	k, err := m.Conn.Read(b)
	for m.broken.Load() && err == nil {
		k, err = m.Conn.Read(b)
	}
	return k, err
}

// A socket that refuses every byte ends the session at once: nothing is offered to it again and again, nothing is lost.
func TestWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		dials := 0
		n.dial = func(ctx context.Context, u *url.URL) (net.Conn, error) {
			conn, err := n.broker.Dial(ctx, u)
			if dials++; dials%2 == 1 && err == nil {
				return &mute{Conn: conn}, nil
			}
			return conn, err
		}
		n.start()
		time.Sleep(time.Minute)
		began := time.Now()
		n.stop()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("the stop took %v", d)
		}
		n.whole("dev-1", 60)
		if dials < 2 || dials > 20 {
			t.Errorf("%d connections in a minute", dials)
		}
	})
}

// Two days without link of 500 values every 10 s have an hour at the defaults: so two hours have two and a half minutes.
// Live samples stay live meanwhile.
func TestDrainAtTheDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices, outage, allowed = 20, 2 * time.Hour, 150 * time.Second
		n := newNode(t)
		var text strings.Builder
		text.WriteString(n.text[:strings.Index(n.text, "      - {id: dev-1")])
		for i := range devices {
			fmt.Fprintf(&text, "      - {id: dev-%d, model: test-wide, unit: %d}\n", i+1, i+1)
		}
		n.configure(text.String())
		n.start()
		time.Sleep(time.Minute)
		gone := n.raise(sim.Fault{Kind: sim.BrokerGone})
		time.Sleep(outage)
		n.broker.Clear(gone)
		time.Sleep(10 * time.Minute)
		n.stop()
		for i := range devices {
			n.whole(fmt.Sprintf("dev-%d", i+1), 6+720+60)
		}
		var first, last time.Time
		late := time.Duration(0)
		held := 0
		for _, s := range n.arrived {
			switch ts := time.UnixMilli(s.ts); {
			case strings.Contains(s.topic, "/hist/"):
				held++
				if first.IsZero() || s.at.Before(first) {
					first = s.at
				}
				if s.at.After(last) {
					last = s.at
				}
			case strings.Contains(s.topic, "/tele/") &&
				ts.After(time.UnixMilli(n.statuses[0].TS).Add(outage+2*time.Minute)):
				late = max(late, s.at.Sub(ts))
			}
		}
		if took := last.Sub(first); held < devices*700 || took > allowed {
			t.Errorf("%d samples of the backlog took %v, want at most %v", held, took, allowed)
		}
		if late > 250*time.Millisecond {
			t.Errorf("a live sample came after %v", late)
		}
		if len(n.doubled) > 0 {
			t.Errorf("%d came twice", len(n.doubled))
		}
	})
}
