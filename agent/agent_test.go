package agent_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/contract"
	"bordo/sim"
)

func TestHealthyHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a := n.start()
		time.Sleep(time.Hour)
		st := a.Status()
		if took := n.stop(); took > 2*time.Second {
			t.Errorf("stop took %v", took)
		}
		n.whole("dev-1", 3600)
		n.whole("dev-2", 1800)
		if len(n.doubled) > 0 {
			t.Errorf("came twice: %v", n.doubled)
		}
		for count, s := range n.samples("dev-1") {
			if !strings.HasSuffix(s.topic, "/tele/dev-1") || s.at.Sub(time.UnixMilli(s.ts)) > 100*time.Millisecond {
				t.Fatalf("count %d came on %s after %v", count, s.topic, s.at.Sub(time.UnixMilli(s.ts)))
			}
			if s.q["temperature"] != contract.QualityBad || s.v["temperature"] != nil || len(s.q) != 1 {
				t.Fatalf("a point without value: %s", s.raw)
			}
		}
		if m := n.metas["dev-2"]; m.Serial != "dev-2" || m.About["pod"] != "IT001E12345678" || len(m.Points) != 4 ||
			m.Every != 2000 {
			t.Errorf("meta: %+v", m)
		}
		first, last := n.statuses[0], n.statuses[len(n.statuses)-1]
		if first.State != contract.Online || first.Site.Name != "Prova" || first.Clk != contract.ClockSync ||
			first.Cfg != n.cfg.Sum {
			t.Errorf("first status: %+v", first)
		}
		if last.State != contract.Offline || last.Sess != first.Sess {
			t.Errorf("last status: %+v", last)
		}
		if len(n.statuses) < 7 {
			t.Errorf("%d statuses in an hour", len(n.statuses))
		}
		if !st.Broker.Connected || !st.Lines[0].Open || st.Lines[0].Devices[0].Polls < 3600 ||
			len(st.Store.Backlog) > 1 {
			t.Errorf("own status: %+v", st)
		}
		if e := n.events[0]; e.Type != contract.StoreOpened || e.Dev != contract.NodeDevice || e.Seq != 1 {
			t.Errorf("first event: %+v", e)
		}
	})
}

// The first status of a session counts the opening of the store, which is under way; that it has arrived is told at once and once.
func TestNothingHeldBackIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(30 * time.Second)
		n.stop()
		before := len(n.statuses)
		n.start() // everything is known of the devices by now: nothing else makes it speak
		time.Sleep(30 * time.Second)
		n.mu.Lock()
		told := n.statuses[before:]
		n.mu.Unlock()
		if len(told) < 2 || len(told) > 4 || len(told[0].Backlog) != 1 || len(told[len(told)-1].Backlog) != 0 {
			t.Errorf("%d statuses after a restart: %+v", len(told), told)
		}
		n.stop()
	})
}

func TestBrokerGoneForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(time.Minute)
		id, err := n.broker.Raise(sim.Fault{Kind: sim.BrokerGone})
		if err != nil {
			t.Fatal(err)
		}
		left := time.Now()
		time.Sleep(time.Hour)
		n.broker.Clear(id)
		back := time.Now()
		time.Sleep(10 * time.Minute)
		n.stop()
		n.whole("dev-1", 60+3600+600)
		n.whole("dev-2", 30+1800+300)
		if len(n.doubled) > 0 {
			t.Errorf("came twice: %v", n.doubled)
		}
		var drained time.Time
		for _, s := range n.samples("dev-1") {
			ts := time.UnixMilli(s.ts)
			hist := strings.Contains(s.topic, "/hist/")
			if ts.After(left.Add(time.Second)) && ts.Before(back.Add(-10*time.Second)) && !hist {
				t.Fatalf("%v into the outage, on %s", ts.Sub(left), s.topic)
			}
			if ts.After(back.Add(40*time.Second)) && (hist || s.at.Sub(ts) > time.Second) {
				t.Fatalf("%v after the outage, on %s after %v", ts.Sub(back), s.topic, s.at.Sub(ts))
			}
			if hist && s.at.After(drained) {
				drained = s.at
			}
		}
		if d := drained.Sub(back); d > 2*time.Minute {
			t.Errorf("drained %v after the broker came back", d)
		}
		var lost int
		for _, s := range n.statuses {
			if s.State == contract.Lost {
				lost++
			}
		}
		if last := n.statuses[len(n.statuses)-2]; len(last.Backlog) > 1 || lost != 1 {
			t.Errorf("backlog after the drain: %+v; %d wills", last.Backlog, lost)
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		id, err := n.broker.Raise(sim.Fault{Kind: sim.BrokerGone})
		if err != nil {
			t.Fatal(err)
		}
		n.start()
		time.Sleep(100 * time.Second)
		n.stop()
		before := len(n.arrived)
		n.broker.Clear(id)
		n.start()
		time.Sleep(100 * time.Second)
		n.stop()
		if before != 0 {
			t.Fatalf("%d records arrived without a broker", before)
		}
		var epochs []string
		for _, e := range n.events {
			if e.Type == contract.StoreOpened {
				epochs = append(epochs, e.Ep)
			}
			if e.Type == contract.StoreGap {
				t.Errorf("gap after a clean stop: %s", e.Data)
			}
		}
		if len(epochs) != 2 || epochs[0] == epochs[1] {
			t.Errorf("epochs opened: %v", epochs)
		}
		perCount := make(map[int]int) // both runs count from 1
		for _, s := range n.arrived {
			if s.dev == "dev-1" {
				perCount[int(s.v["cycles"].(float64))]++
			}
		}
		for i := 1; i <= 100; i++ {
			if perCount[i] != 2 {
				t.Errorf("count %d arrived %d times in two runs", i, perCount[i])
			}
		}
	})
}

func TestSilentDeviceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		// by night it may sleep
		n.wall = func() (time.Time, contract.Clock) { return time.Now().Add(12 * time.Hour), contract.ClockSync }
		a := n.start()
		time.Sleep(30 * time.Second)
		n.faults.silence("dev-1", true)
		time.Sleep(time.Minute)
		st := a.Status()
		if d := st.Lines[0].Devices[0]; d.Error == "" || d.Polls-d.Failures > 31 {
			t.Errorf("silent device: %+v", d)
		}
		if d := st.Lines[0].Devices[1]; d.Error != "" || d.Failures != 0 {
			t.Errorf("its neighbour: %+v", d)
		}
		n.mu.Lock()
		last := n.statuses[len(n.statuses)-1]
		n.mu.Unlock()
		if len(last.Health) != 1 || last.Health[0].Dev != "dev-1" {
			t.Errorf("health: %+v", last.Health)
		}
		n.faults.silence("dev-1", false)
		time.Sleep(5 * time.Minute)
		n.stop()
		if last := n.statuses[len(n.statuses)-1]; len(last.Health) != 0 {
			t.Errorf("health after the device came back: %+v", last.Health)
		}
		n.whole("dev-2", 180)
	})
}

func TestTimestampsOfADeviceDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		var back atomic.Int64
		n.wall = func() (time.Time, contract.Clock) {
			return time.Now().Add(-time.Duration(back.Load())), contract.ClockFree
		}
		n.start()
		time.Sleep(20 * time.Second)
		back.Store(int64(10 * time.Second)) // the clock is set back
		time.Sleep(20 * time.Second)
		n.stop()
		seen := make(map[int64]int)
		for count, s := range n.samples("dev-1") {
			if other, ok := seen[s.ts]; ok {
				t.Errorf("counts %d and %d have the same time", count, other)
			}
			seen[s.ts] = count
		}
		n.whole("dev-1", 40)
	})
}

// A broker whose access rules drop what it acknowledges is found out by the status that does not come back.
func TestDeniedIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		id, err := n.broker.Raise(sim.Fault{Kind: sim.Denied})
		if err != nil {
			t.Fatal(err)
		}
		a := n.start()
		time.Sleep(time.Minute)
		if h := a.Status().Health; len(h) != 1 || h[0].Code != contract.NotRouted {
			t.Errorf("health while denied: %+v", h)
		}
		n.broker.Clear(id)
		time.Sleep(2 * StatusEvery)
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("health afterwards: %+v", h)
		}
		n.stop()
	})
}

// StatusEvery is how often the retained status is written again.
const StatusEvery = 10 * time.Minute

// A late will must not stand on the status topic of a node that lives.
func TestForeignWillIsOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(30 * time.Second)
		topic := "bordo/v1/cremasco/quintano/status"
		if err := n.broker.Publish(topic, contract.Will("quintano", "f00dfeed"), 1, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		retained, _ := n.broker.Retained(topic)
		if st, err := contract.DecodeStatus(retained); err != nil || st.State != contract.Online {
			t.Errorf("retained after a foreign will: %s", retained)
		}
		n.stop()
	})
}

// Two boxes with one identity throw each other out: the agent says so and stops fighting.
func TestTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		other := newNodeAt(t, n.broker) // the same configuration on another card
		boxes := []*agent.Agent{n.start(), other.start()}
		suspected := false
		for range 10 {
			time.Sleep(time.Minute)
			for _, a := range boxes {
				suspected = suspected ||
					slices.ContainsFunc(a.Status().Health,
						func(h contract.Health) bool { return h.Code == contract.TwinSuspected })
			}
		}
		if !suspected {
			t.Error("neither box suspects the other")
		}
		other.stop()
		time.Sleep(20 * time.Minute)
		if h := boxes[0].Status().Health; len(h) != 0 {
			t.Errorf("health after the twin has gone: %+v", h)
		}
		n.stop()
		online := 0
		for _, s := range n.statuses {
			if s.State == contract.Online {
				online++
			}
		}
		if online > 120 {
			t.Errorf("%d statuses in half an hour: they fight", online)
		}
	})
}

// What was learnt of a device is there after a restart, and a device that left the configuration leaves the broker too.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.start()
		time.Sleep(30 * time.Second)
		n.stop()
		if m := n.metas["dev-2"]; len(m.Quarantined) != 1 || m.Quarantined[0] != "humidity" {
			t.Errorf("meta of dev-2: %+v", m)
		}
		at := strings.Index(n.text, "      - {id: dev-2")
		n.configure(n.text[:at])
		n.start()
		time.Sleep(30 * time.Second)
		n.stop()
		if got := n.faults.knew["dev-1"]; got != "no humidity on dev-1" {
			t.Errorf("known of dev-1 after the restart: %q", got)
		}
		if _, there := n.metas["dev-2"]; there {
			t.Error("the meta of a device that left still stands")
		}
		if retained, ok := n.broker.Retained("bordo/v1/cremasco/quintano/meta/dev-2"); ok {
			t.Errorf("retained: %s", retained)
		}
		if _, ok := n.broker.Retained("bordo/v1/cremasco/quintano/meta/dev-1"); !ok {
			t.Error("the meta of a device that stayed is gone")
		}
		// before and after its first answer, and not again
		if m := n.metas["dev-1"]; m.Rev != 2 || m.Serial != "dev-1" {
			t.Errorf("meta of dev-1 after the restart: %+v", m)
		}
		n.faults.exchange("dev-1", "another")
		n.start()
		time.Sleep(30 * time.Second)
		n.stop()
		if m := n.metas["dev-1"]; m.Rev != 3 || m.Serial != "another" {
			t.Errorf("meta of dev-1 after an exchange: %+v", m)
		}
		last := n.statuses[len(n.statuses)-1]
		if last.BytesMonth < 10000 || last.Lost == nil || *last.Lost != 0 {
			t.Errorf("totals: %d bytes this month, lost %v", last.BytesMonth, last.Lost)
		}
	})
}

// An inverter that is silent at night sleeps; one that is silent at noon fails.
func TestNightIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC on 1 January
		n := newNode(t)
		n.configure(strings.NewReplacer("every: 1s", "every: 1m", "every: 2s", "every: 1m").Replace(n.text))
		a := n.start()
		n.faults.silence("dev-1", true)
		time.Sleep(time.Hour)
		if st := a.Status(); len(st.Health) != 0 || !st.Lines[0].Devices[0].Asleep {
			t.Errorf("at night: %+v", st)
		}
		time.Sleep(10 * time.Hour) // 11 UTC is about noon at 9.69 degrees east
		if st := a.Status(); len(st.Health) != 1 || st.Health[0].Code != contract.DeviceSilent ||
			st.Lines[0].Devices[0].Asleep {
			t.Errorf("at noon: %+v", st)
		}
		n.stop()
	})
}

// The budget is what a node sends: more than its own bytes, by the frames around them and the way back, and not much more.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		b, err := agent.Estimate(n.cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.start()
		time.Sleep(time.Hour)
		n.stop()
		_, most := b.Total()
		sent := n.statuses[len(n.statuses)-1].BytesMonth
		if ratio := float64(most) / 720 / float64(sent); ratio < 1.1 || ratio > 1.8 {
			t.Errorf("estimated %d bytes for an hour, sent %d", most/720, sent)
		}
	})
}

// A box without a clock of its own: what it stamped before the first synchronisation is "free", the set is told with the
// offset, and from then on times are right.
func TestClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		var synced atomic.Bool
		const behind = 42 * time.Hour
		n.wall = func() (time.Time, contract.Clock) {
			if synced.Load() {
				return time.Now(), contract.ClockSync
			}
			return time.Now().Add(-behind), contract.ClockFree
		}
		a := n.start()
		time.Sleep(10 * time.Minute)
		if h := a.Status().Health; len(h) != 1 || h[0].Code != contract.ClockUnset {
			t.Errorf("health before the clock is set: %+v", h)
		}
		set := time.Now()
		synced.Store(true)
		time.Sleep(10 * time.Minute)
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("health after: %+v", h)
		}
		n.stop()
		told := 0
		for _, e := range n.events {
			if e.Type == contract.ClockSet {
				told++
				var d struct{ Offset int64 }
				if err := json.Unmarshal(e.Data, &d); err != nil || d.Offset != behind.Milliseconds() {
					t.Errorf("%s: %v", e.Data, err)
				}
			}
		}
		if told != 1 {
			t.Errorf("told %d times that the clock was set", told)
		}
		for count, s := range n.samples("dev-1") {
			off := time.Duration(0)
			if s.at.Equal(set) {
				continue // before or after: nobody can tell
			}
			if s.at.Before(set) {
				off = behind
			}
			if d := s.at.Sub(time.UnixMilli(s.ts)) - off; d < 0 || d > time.Second {
				t.Fatalf("count %d taken at %v says %v", count, s.at, time.UnixMilli(s.ts))
			}
		}
	})
}
