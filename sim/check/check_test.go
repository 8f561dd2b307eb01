package check_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"bordo/contract"
	"bordo/drivers/catalogue"
	"bordo/sim"
	"bordo/sim/check"
)

// begin is when the story begins: a whole quarter of an hour.
var begin = time.Date(2026, 6, 21, 8, 0, 0, 0, time.UTC)

const (
	every = 10 * time.Second
	node  = "box"
	dev   = "inv-1"
	epoch = "aaaaaaaa"
)

// powerW and counterKWh are what the plant of the story does: they can be told for any time.
func powerW(at time.Time) float64 {
	return math.Round(5000 + 3000*math.Sin(at.Sub(begin).Seconds()/900))
}

func counterKWh(at time.Time) float64 {
	x := at.Sub(begin).Seconds()
	kwh := 1000 + (5000*x+3000*900*(1-math.Cos(x/900)))/3.6e6
	return math.Round(kwh*1000) / 1000
}

// plant answers for the site of the story: registers are renewed each second.
var plant = check.Site{
	Truth: func(device, point string, from, to time.Time) (values []catalogue.Value, ok bool) {
		if device != dev {
			return nil, false
		}
		for at := from.Truncate(time.Second); !at.After(to); at = at.Add(time.Second) {
			switch point {
			case "ac_power":
				values = append(values, catalogue.Number(powerW(at)))
			case "ac_energy":
				values = append(values, catalogue.Number(counterKWh(at)))
			case "state":
				values = append(values, catalogue.Words("producing"))
			default:
				return nil, false
			}
		}
		return values, len(values) > 0
	},
	Offsets: func(time.Time) []time.Duration { return []time.Duration{0} },
}

// story is two hours of an honest node with an outage in the middle, as a broker sees them.
type story struct {
	t    *testing.T
	seq  uint64
	sent []sim.Publication
	wait []sim.Publication // what was recorded while the broker was away
	away bool
}

func (s *story) publish(at time.Time, topic string, payload []byte) {
	p := sim.Publication{At: at, Client: node, Topic: "bordo/v1/demo/" + node + "/" + topic, Payload: payload, QoS: 1}
	if s.away {
		s.wait = append(s.wait, p)
		return
	}
	s.sent = append(s.sent, p)
}

func (s *story) batch(seq uint64, at time.Time, hist bool, power float64) []byte {
	s.t.Helper()
	w := contract.NewBatch(nil, contract.Envelope{Node: node, Dev: dev, Ep: epoch, Hist: hist, Clk: contract.ClockSync,
		Sent: at.UnixMilli()})
	ok, err := w.Add(seq, at.UnixMilli(), []contract.Field{
		{Key: "state", Kind: contract.KindText, Text: "producing", Quality: contract.QualityGood},
		{Key: "ac_power", Kind: contract.KindNumber, Num: power, Quality: contract.QualityGood},
		{Key: "ac_energy", Kind: contract.KindNumber, Num: counterKWh(at), Quality: contract.QualityGood},
	})
	if !ok || err != nil {
		s.t.Fatal(ok, err)
	}
	return slices.Clone(w.Bytes())
}

func (s *story) event(at time.Time, device, typ string, data map[string]any) {
	s.t.Helper()
	text, err := json.Marshal(data)
	if err != nil {
		s.t.Fatal(err)
	}
	s.seq++
	s.publish(at, "event/"+device, contract.AppendEvent(nil,
		contract.EventHead{Tenant: "demo", Node: node, Dev: device, Ep: epoch,
			Seq: s.seq, Type: typ, TS: at.UnixMilli(), Clk: contract.ClockSync}, text))
}

func (s *story) status(at time.Time, sess string, backlog uint64) {
	s.t.Helper()
	st := contract.Status{Node: node, State: contract.Online, Sess: sess, Ep: epoch, Next: s.seq + 1,
		TS: at.UnixMilli(), DiskDay: 40 << 20}
	if backlog > 0 {
		st.Backlog = []contract.Backlog{{Ep: epoch, First: 1, Last: backlog, N: backlog}}
	}
	payload, err := st.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	s.publish(at, "status", payload)
}

// quarter tells the energy of the quarter that ends at a time.
func (s *story) quarter(end time.Time) {
	start := end.Add(-15 * time.Minute)
	from, to := counterKWh(start), counterKWh(end)
	s.event(end, dev, contract.EnergyInterval, map[string]any{"start": start.UnixMilli(), "point": "ac_energy",
		"kwh": to - from, "from": from, "to": to, "segment": 1, "coverage": 1.0, "samples": 90, "method": "counter",
		"clk": "sync", "rev": 0})
}

// tell makes the story: broker away from minute 40 to 60.
func tell(t *testing.T) *story {
	s := &story{t: t}
	s.status(begin, "s1", 0)
	s.event(begin, "node", contract.StoreOpened, map[string]any{"clean": true})
	for at := begin.Add(every); !at.After(begin.Add(2 * time.Hour)); at = at.Add(every) {
		minute := at.Sub(begin)
		s.seq++
		hist := minute >= 40*time.Minute && minute < time.Hour
		kind := map[bool]string{false: "tele", true: "hist"}[hist]
		s.away = hist
		if minute == time.Hour {
			s.comeBack(at)
		}
		s.publish(at, kind+"/"+dev, s.batch(s.seq, at, hist, powerW(at)))
		if minute%(15*time.Minute) == 0 {
			s.quarter(at)
		}
		if minute == 50*time.Minute {
			s.event(at, "node", contract.ConditionRaised,
				map[string]any{"code": "broker_unreachable", "severity": "warning", "since": at.UnixMilli()})
		}
	}
	s.status(begin.Add(2*time.Hour+time.Second), "s2", 0)
	return s
}

// comeBack sends what has waited: events first.
func (s *story) comeBack(at time.Time) {
	s.status(at, "s2", uint64(len(s.wait)))
	for _, events := range []bool{true, false} {
		for _, p := range s.wait {
			if m, err := check.Read("", p); err != nil {
				s.t.Fatal(err)
			} else if (m.Event != nil) == events {
				p.At = at
				s.sent = append(s.sent, p)
			}
		}
	}
	s.wait = nil
}

// find gives the index of the n-th publication of a kind.
func (s *story) find(n int, is func(m *check.Message) bool) int {
	s.t.Helper()
	for i, p := range s.sent {
		if m, err := check.Read("", p); err == nil && is(m) {
			if n--; n < 0 {
				return i
			}
		}
	}
	s.t.Fatal("no such publication")
	return 0
}

func tele(m *check.Message) bool { return m.Kind == contract.KindTele }

// rig is a suite with every checker, and the harness's part of it.
type rig struct {
	suite      *check.Suite
	once       *check.AtLeastOnce
	bounded    *check.Bounded
	room       *check.Room
	neighbours *check.Neighbours
	drains     *check.Drains
}

func newRig() *rig {
	r := &rig{once: check.NewAtLeastOnce(), bounded: check.NewBounded(map[string]float64{"goroutines": 50}),
		room:       check.NewRoom(fullStore),
		neighbours: check.NewNeighbours(plant, begin, map[string]time.Duration{dev: every}),
		drains:     check.NewDrains(10 * time.Minute)}
	r.suite = check.NewSuite("", r.once, check.NewIdentityOnce(), check.NewNothingInvented(plant, 2*time.Second),
		check.NewQuarterHours(map[string]float64{dev: 10}),
		check.NewEventsFirst(), check.NewConditionRate(), r.bounded, r.room, r.neighbours, r.drains,
		check.NewFlashWear(100<<20))
	r.neighbours.Until(begin.Add(2 * time.Hour))
	r.drains.Healed(begin.Add(2 * time.Hour))
	r.bounded.Measure("goroutines", 42)
	r.room.Measure(fullStore - 1)
	return r
}

// fullStore is from how many bytes the store of the story may evict.
const fullStore = 1 << 20

// forget takes the samples between two times from what arrived, and returns the numbers of the first and the last.
func (s *story) forget(from, to time.Duration) (first, last uint64) {
	s.t.Helper()
	var kept []sim.Publication
	for i, p := range s.sent {
		m := mustRead(s, i)
		if m.Batch == nil {
			kept = append(kept, p)
			continue
		}
		sample := m.Batch.Samples[0]
		if at := time.UnixMilli(sample.TS); at.Before(begin.Add(from)) || !at.Before(begin.Add(to)) {
			kept = append(kept, p)
			continue
		}
		if first == 0 {
			first = sample.Seq
		}
		last = sample.Seq
	}
	s.sent = kept
	return first, last
}

// gap tells a gap of readings at the end of the story.
func (s *story) gap(from, to uint64, why string) {
	s.event(begin.Add(2*time.Hour), "node", contract.StoreGap, map[string]any{"ep": epoch, "class": "reading",
		"from": from, "to": to, "n": to - from + 1, "why": why})
}

// Each defect makes exactly the checker fail that is there for it; without one nobody complains.
func TestEachCheckerIsProved(t *testing.T) {
	for _, c := range []struct {
		name   string // of the defect
		want   string // the checker that must see it
		defect func(s *story, r *rig)
	}{
		{"none", "", func(*story, *rig) {}},
		{"a record is sent twice", "", func(s *story, _ *rig) {
			s.sent = append(s.sent, s.sent[s.find(5, tele)])
		}},
		{"a record is dropped", "at-least-once-or-gap", func(s *story, _ *rig) {
			i := s.find(20, tele)
			s.sent = slices.Delete(s.sent, i, i+1)
		}},
		{"a dropped record is under a gap", "", func(s *story, r *rig) {
			r.room.Measure(fullStore)
			i := s.find(20, tele)
			seq := mustRead(s, i).Batch.Samples[0].Seq
			s.sent = slices.Delete(s.sent, i, i+1)
			s.event(begin.Add(2*time.Hour), "node", contract.StoreGap,
				map[string]any{"ep": epoch, "class": "reading", "from": seq, "to": seq, "n": 1, "why": "evicted"})
		}},
		{"the node died with records that it had given out", "at-least-once-or-gap", func(s *story, r *rig) {
			r.once.Given(node, epoch, s.seq+7)
		}},
		{"an open gap after an unclean end covers them", "", func(s *story, r *rig) {
			r.once.Given(node, epoch, s.seq+7)
			s.event(begin.Add(2*time.Hour), "node", contract.StoreGap,
				map[string]any{"ep": epoch, "class": "any", "from": s.seq + 1, "to": nil, "why": "unclean"})
		}},
		{"a number is used again", "identity-once", func(s *story, _ *rig) {
			at := begin.Add(30 * time.Minute)
			s.publish(at, "tele/"+dev, s.batch(3, at, false, powerW(at)))
		}},
		{"a record changes its clock quality", "identity-once", func(s *story, _ *rig) {
			p := s.sent[s.find(5, tele)]
			p.Payload = []byte(replaceOnce(s, string(p.Payload), `"clk":"sync"`, `"clk":"est"`))
			s.sent = append(s.sent, p)
		}},
		{"a late reply is taken for the next answer", "nothing-invented", func(s *story, _ *rig) {
			i := s.find(20, tele)
			m := mustRead(s, i)
			at := time.UnixMilli(m.Batch.Samples[0].TS)
			s.sent[i].Payload = s.batch(m.Batch.Samples[0].Seq, at, false, powerW(at.Add(-every)))
		}},
		{"a glitch of the counter is booked", "quarter-hours-add-up", func(s *story, _ *rig) {
			changeInterval(s, 2, func(d map[string]any) { d["kwh"], d["to"] = 250.0, d["from"].(float64)+250 })
		}},
		{"energy is booked that the counter does not have", "quarter-hours-add-up", func(s *story, _ *rig) {
			changeInterval(s, 2, func(d map[string]any) { d["kwh"] = d["kwh"].(float64) + 0.5 })
		}},
		{"energy is lost between two quarters", "quarter-hours-add-up", func(s *story, _ *rig) {
			changeInterval(s, 2, func(d map[string]any) {
				d["from"] = d["from"].(float64) + 0.005
				d["kwh"] = d["to"].(float64) - d["from"].(float64)
			})
		}},
		{"an event waits behind readings", "events-before-readings", func(s *story, _ *rig) {
			i := s.find(0, func(m *check.Message) bool {
				return m.Event != nil &&
					m.Event.Type == contract.ConditionRaised
			})
			p := s.sent[i]
			s.sent = append(slices.Delete(s.sent, i, i+1), p)
		}},
		{"a condition flaps", "condition-rate", func(s *story, _ *rig) {
			for i := range contract.MaxConditionEvents + 1 {
				typ := []string{contract.ConditionRaised, contract.ConditionCleared}[i%2]
				s.event(begin.Add(2*time.Hour+time.Duration(i)*4*time.Minute), dev, typ,
					map[string]any{"code": "device_silent"})
			}
		}},
		{"a condition begins twice", "condition-rate", func(s *story, _ *rig) {
			for range 2 {
				s.event(begin.Add(2*time.Hour+time.Second), dev, contract.ConditionRaised,
					map[string]any{"code": "device_silent"})
			}
		}},
		{"a condition flaps over a day", "", func(s *story, _ *rig) {
			for i := range contract.MaxConditionEvents + 8 {
				typ := []string{contract.ConditionRaised, contract.ConditionCleared}[i%2]
				s.event(begin.Add(2*time.Hour+time.Duration(i)*6*time.Minute), dev, typ,
					map[string]any{"code": "device_silent"})
			}
		}},
		{"a condition flaps while the clock is put back", "", func(s *story, _ *rig) {
			for i := range contract.MaxConditionEvents + 8 {
				typ := []string{contract.ConditionRaised, contract.ConditionCleared}[i%2]
				at := begin.Add(2*time.Hour + time.Duration(i)*6*time.Minute)
				if i > 10 {
					at = at.Add(-30 * time.Minute)
				}
				s.event(at, dev, typ, map[string]any{"code": "device_silent"})
			}
		}},
		{"events are evicted", "events-before-readings", func(s *story, r *rig) {
			r.room.Measure(fullStore)
			s.event(begin.Add(2*time.Hour), "node", contract.StoreGap,
				map[string]any{"ep": epoch, "class": "event", "from": 1, "to": 2, "n": 2, "why": "evicted"})
		}},
		{"goroutines are left", "bounded", func(_ *story, r *rig) { r.bounded.Measure("goroutines", 51) }},
		{"a healthy device is not polled for five minutes", "neighbours-unharmed", func(s *story, _ *rig) {
			var kept []sim.Publication
			var never []uint64 // numbers that nobody was given
			for i, p := range s.sent {
				m := mustRead(s, i)
				if m.Kind == contract.KindTele && p.At.After(begin.Add(70*time.Minute)) &&
					p.At.Before(begin.Add(75*time.Minute)) {
					never = append(never, m.Batch.Samples[0].Seq)
					continue
				}
				kept = append(kept, p)
			}
			s.sent = kept
			s.event(begin.Add(2*time.Hour), "node", contract.StoreGap, map[string]any{"ep": epoch, "class": "any",
				"from": never[0], "to": never[len(never)-1], "n": 0, "why": "unreadable"})
		}},
		{"a full store evicts readings", "", func(s *story, r *rig) {
			r.room.Measure(fullStore)
			from, to := s.forget(41*time.Minute, 56*time.Minute)
			s.gap(from, (from+to)/2, "evicted")
			s.gap((from+to)/2+1, to, "evicted")
		}},
		{"a store that has room evicts readings", "evicts-only-when-full", func(s *story, _ *rig) {
			from, to := s.forget(41*time.Minute, 56*time.Minute)
			s.gap(from, to, "evicted")
		}},
		{"readings are lost that no eviction covers", "neighbours-unharmed", func(s *story, r *rig) {
			r.room.Measure(fullStore)
			from, to := s.forget(41*time.Minute, 56*time.Minute)
			s.gap(from, to-20, "evicted")
			s.gap(to-19, to, "unreadable")
		}},
		{"readings are lost between two evictions", "neighbours-unharmed", func(s *story, r *rig) {
			r.room.Measure(fullStore)
			from, to := s.forget(41*time.Minute, 56*time.Minute)
			s.gap(from, from+20, "evicted")
			s.gap(from+21, to-21, "unreadable")
			s.gap(to-20, to, "evicted")
		}},
		{"the backlog stays", "drains", func(s *story,
			_ *rig) {
			s.status(begin.Add(2*time.Hour+2*time.Second), "s2", 3)
		}},
		{"the backlog is gone too late", "drains", func(s *story, r *rig) {
			r.drains.Healed(begin.Add(61 * time.Minute))
		}},
		{"the card is written all the time", "quiet-card", func(s *story, _ *rig) {
			i := s.find(2, func(m *check.Message) bool { return m.Status != nil })
			s.sent[i].Payload = []byte(replaceOnce(s, string(s.sent[i].Payload), `"disk_day":41943040`,
				`"disk_day":941943040`))
		}},
		{"a message is broken", "readable", func(s *story, _ *rig) {
			s.publish(begin.Add(2*time.Hour), "tele/"+dev, []byte(`{"sv":1,`))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, r := tell(t), newRig()
			c.defect(s, r)
			for _, p := range s.sent {
				r.suite.See(p)
			}
			verdicts := r.suite.Judge()
			var names []string
			for _, v := range verdicts {
				names = append(names, v.Checker)
			}
			var want []string
			if c.want != "" {
				want = []string{c.want}
			}
			if !slices.Equal(names, want) {
				t.Errorf("complaints of %v, want %v", names, want)
				for _, v := range verdicts {
					t.Log(v)
				}
			}
		})
	}
}

func mustRead(s *story, i int) *check.Message {
	s.t.Helper()
	m, err := check.Read("", s.sent[i])
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func replaceOnce(s *story, text, old, with string) string {
	s.t.Helper()
	before, after, ok := strings.Cut(text, old)
	if !ok {
		s.t.Fatalf("no %s in %s", old, text)
	}
	return before + with + after
}

// changeInterval changes the data of the n-th quarter hour.
func changeInterval(s *story, n int, change func(d map[string]any)) {
	s.t.Helper()
	i := s.find(n, func(m *check.Message) bool { return m.Event != nil && m.Event.Type == contract.EnergyInterval })
	var e map[string]any
	if err := json.Unmarshal(s.sent[i].Payload, &e); err != nil {
		s.t.Fatal(err)
	}
	change(e["data"].(map[string]any))
	payload, err := json.Marshal(e)
	if err != nil {
		s.t.Fatal(err)
	}
	s.sent[i].Payload = payload
}

func TestCheckersNeedSomethingToJudge(t *testing.T) {
	suite := check.NewSuite("", check.NewNothingInvented(plant, time.Second),
		check.NewBounded(map[string]float64{"disk": 1}),
		check.NewDrains(time.Minute), check.NewFlashWear(1), check.NewRoom(1))
	if got := suite.Judge(); len(got) != 5 {
		t.Errorf("%d of 5 checkers complain that they saw nothing: %v", len(got), got)
	}
}
