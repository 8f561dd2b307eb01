package agent_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
	"bordo/sim"
)

const ownTopic = "bordo/v1/cremasco/quintano/status"

// others writes on the node's status topic as somebody else.
func (n *node) others(payload string) {
	n.t.Helper()
	if err := n.broker.Publish(ownTopic, []byte(payload), 1, true); err != nil {
		n.t.Error(err)
	}
}

// statusesSince counts the statuses that the node itself has written since a time.
func (n *node) statusesSince(at time.Time) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.statusTimes {
		if !s.Before(at) {
			count++
		}
	}
	return count
}

// answering calls f with each status that the node writes, until stop.
func (n *node) answering(f func(payload string)) (stop func()) {
	statuses := make(chan string, 1000)
	end := n.broker.Watch(func(p sim.Publication) {
		if p.Topic == ownTopic && p.Client == "quintano" {
			statuses <- string(p.Payload)
		}
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := range statuses {
			time.Sleep(10 * time.Millisecond) // the broker has passed it on
			f(s)
		}
	}()
	return func() { end(); close(statuses); <-ended }
}

// Somebody who overwrites the status each time when the node corrects it gets a correction in ten seconds at most, and is
// named by a condition; once it stops, the status is right again and the condition ends.
func TestStatusIsOverwritten(t *testing.T) {
	for name, c := range map[string]struct {
		write func(own string) string
		what  string
	}{
		"lost of another session":    {func(string) string { return `{"sv":1,"node":"quintano","state":"lost","sess":"deadbeef00"}` }, `"lost" of session "deadbeef00"`},
		"offline of another session": {func(string) string { return `{"sv":1,"node":"quintano","state":"offline","sess":"deadbeef00"}` }, `"offline" of session`},
		"online of another session": {func(own string) string { return replaceSession(own, "deadbeef00") },
			`"online" of session`},
		"lost of its own session": {func(own string) string {
			var st contract.Status
			json.Unmarshal([]byte(own), &st) //nolint:errcheck // it is one
			return string(contract.Will("quintano", st.Sess))
		}, `"lost" of session`},
		"no status": {func(string) string { return "{" }, "1 bytes that are no status"},
		"nothing":   {func(string) string { return "" }, "the retained status was deleted"},
		"its own status with a mark": {func(own string) string {
			return strings.Replace(own, `"sv":1`,
				`"sv":1,"seen":true`, 1)
		},
			"a copy of this node's own status"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.wall = noon
				a := n.start()
				time.Sleep(30 * time.Second)
				began := time.Now()
				stop := n.answering(func(own string) { n.others(c.write(own)) })
				n.others(c.write(`{"sv":1,"node":"quintano","state":"lost","sess":"x"}`))
				time.Sleep(5 * time.Minute)
				stop()
				// Each correction may be followed by a status that says that the backlog is empty again.
				if count := n.statusesSince(began); count < 25 || count > 2*30+8 {
					t.Errorf("%d statuses in five minutes", count)
				}
				h := a.Status().Health
				if len(h) != 1 || h[0].Code != contract.StatusOverwritten || !strings.Contains(h[0].Detail, c.what) ||
					h[0].Flaps < 10 {
					t.Errorf("open: %+v", h)
				}
				time.Sleep(13 * time.Second)
				if retained, _ := n.broker.Retained(ownTopic); !strings.Contains(string(retained),
					`"state":"online"`) || strings.Contains(string(retained), "seen") {
					t.Errorf("ten seconds after the last of them: %s", retained)
				}
				time.Sleep(3 * time.Minute)
				if h := n.health(""); len(h) != 0 {
					t.Errorf("still open: %v", h)
				}
				n.stop()
				if told := n.told(contract.StatusOverwritten, contract.NodeDevice); told != "+-" {
					t.Errorf("told %s", told)
				}
			})
		})
	}
}

func replaceSession(status, sess string) string {
	var st contract.Status
	if err := json.Unmarshal([]byte(status), &st); err != nil {
		return status
	}
	return strings.Replace(status, st.Sess, sess, 1)
}

// A mirror that sends back what the node writes leaves nothing wrong behind: there is nothing to correct, and it is told.
func TestStatusIsMirrored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		a := n.start()
		time.Sleep(30 * time.Second)
		began := time.Now()
		stop := n.answering(func(own string) {
			for range 5 {
				n.others(own)
			}
		})
		for range 3 {
			n.faults.silence("dev-1", true) // something to tell
			time.Sleep(30 * time.Second)
			n.faults.silence("dev-1", false)
			time.Sleep(5 * time.Minute)
		}
		if !slices.ContainsFunc(a.Status().Health,
			func(h contract.Health) bool { return h.Code == contract.StatusOverwritten }) {
			t.Errorf("open: %+v", a.Status().Health)
		}
		stop()
		// Some ten changes of conditions, each with a status that says that the backlog is empty again, and a few stale copies: a
		// correction every ten seconds would be a hundred.
		if count := n.statusesSince(began); count > 60 {
			t.Errorf("%d statuses", count)
		}
		n.stop()
	})
}

// A status that never came back, because the broker dropped it, does not hide a copy of a later one.
func TestCopyAfterALostEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		n.raise(sim.Fault{Kind: sim.Denied, For: 5 * time.Second})
		a := n.start()
		time.Sleep(30 * time.Second) // the subscription and the status are repeated after ten seconds
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("before the copies: %+v", h)
		}
		began := time.Now()
		stop := n.answering(func(own string) { n.others(strings.Replace(own, `"sv":1`, `"sv":1,"seen":true`, 1)) })
		n.others(string(contract.Will("quintano", "0123456789")))
		time.Sleep(5 * time.Minute)
		stop()
		if count := n.statusesSince(began); count < 25 {
			t.Errorf("%d statuses in five minutes", count)
		}
		if h := a.Status().Health; len(h) != 1 || h[0].Code != contract.StatusOverwritten {
			t.Errorf("open: %+v", h)
		}
		n.stop()
	})
}

// A late will is corrected at once and is no reason to complain.
func TestLateWillIsCorrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		a := n.start()
		time.Sleep(30 * time.Second)
		n.others(string(contract.Will("quintano", "0123456789")))
		time.Sleep(time.Second)
		if retained, _ := n.broker.Retained(ownTopic); !strings.Contains(string(retained), `"state":"online"`) {
			t.Errorf("a second later: %s", retained)
		}
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("open: %+v", h)
		}
		n.stop()
	})
}

// A retained message that is larger than any that the node expects ends one connection. The next one leaves its topic alone, so
// that records flow, and says why; after ten minutes the topic is tried again.
func TestLargeMessageOnTheOwnTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		a := n.start()
		time.Sleep(30 * time.Second)
		stop := n.answering(func(string) { n.others(strings.Repeat("x", 300<<10)) })
		n.others(strings.Repeat("x", 300<<10))
		time.Sleep(time.Hour)
		h := a.Status().Health
		if len(h) != 1 || h[0].Code != contract.PacketRefused || !strings.Contains(h[0].Detail, ownTopic) {
			t.Errorf("open: %+v", h)
		}
		n.mu.Lock()
		sessions := map[string]bool{}
		for _, s := range n.statuses {
			sessions[s.Sess] = true
		}
		n.mu.Unlock()
		if len(sessions) < 4 || len(sessions) > 15 {
			t.Errorf("%d sessions in an hour", len(sessions))
		}
		stop()
		time.Sleep(25 * time.Minute)
		if h := n.health(""); len(h) != 0 {
			t.Errorf("still open: %v", h)
		}
		n.stop()
		n.whole("dev-1", 3600+20*60)
		if told := n.told(contract.PacketRefused, contract.NodeDevice); told != "+-" {
			t.Errorf("told %s", told)
		}
		if told := n.told(contract.NotRouted, contract.NodeDevice); told != "" {
			t.Errorf("the access rules are suspected: %s", told)
		}
	})
}
