package audit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bordo/contract"
	"bordo/contract/consumer"
)

const base = "bordo/v1/cremasco/quintano/"

// rig is an audit of one node, fed message by message; its clock moves when told.
type rig struct {
	t   *testing.T
	a   *Audit
	now time.Time
	seq uint64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	a, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, a: a, now: time.UnixMilli(1760000000000), seq: 5000}
}

func (r *rig) take(topic string, payload []byte, retained bool, qos byte) {
	r.a.Take(Message{QoS: qos, Message: consumer.Message{Topic: topic, Payload: payload, Retained: retained}}, r.now)
}

// say publishes what a node says, as it should.
func (r *rig) say(topic, payload string) { r.take(base+topic, []byte(payload), false, 1) }

func (r *rig) sample(seq uint64, value float64) string {
	w := contract.NewBatch(nil, contract.Envelope{Node: "quintano", Dev: "inv-1", Ep: "k3f9x2q7",
		Clk: contract.ClockSync, Sent: r.now.UnixMilli() - 20})
	if _, err := w.Add(seq, r.now.UnixMilli()-50,
		[]contract.Field{{Key: "ac_power", Kind: contract.KindNumber, Num: value,
			Quality: contract.QualityGood}}); err != nil {
		r.t.Fatal(err)
	}
	return string(w.Bytes())
}

// status is what the node tells of itself.
func (r *rig) status(backlog ...contract.Backlog) string {
	s := contract.Status{Node: "quintano", State: contract.Online, Sess: "s1", Boot: "b1", Ep: "k3f9x2q7",
		Next: r.seq + 1, Backlog: backlog,
		Clk: contract.ClockSync, Ver: "1.4.0", TS: r.now.UnixMilli() - 20}
	b, err := s.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

const meta = `{"sv":1,"node":"quintano","dev":"inv-1","rev":1,"points":{}}`

// live lets the node live for a while, with a sample every ten seconds; skip says which of them never come.
func (r *rig) live(samples int, skip func(i int) bool) {
	for i := range samples {
		r.now = r.now.Add(10 * time.Second)
		r.seq++
		if skip == nil || !skip(i) {
			r.say("tele/inv-1", r.sample(r.seq, float64(i)))
		}
	}
}

// report ends the audit: what is retained comes once more.
func (r *rig) report() Report {
	r.a.Asked()
	r.take(base+"status", []byte(r.status()), true, 1)
	r.take(base+"meta/inv-1", []byte(meta), true, 1)
	return r.a.Report(r.now, true, false)
}

// begin is what a subscription begins with in the middle of a stream.
func (r *rig) begin() {
	r.take(base+"status", []byte(r.status(contract.Backlog{Ep: "k3f9x2q7", First: 100, Last: 900, N: 300})), true, 1)
	r.take(base+"meta/inv-1", []byte(meta), true, 1)
}

func faultLines(r Report) (out []string) {
	for _, f := range r.Faults {
		out = append(out, fmt.Sprintf("%s %s", f.Check, f.line()))
	}
	return out
}

// TestSoundNode: a node that does as it should has no fault, wherever in its stream the audit begins.
func TestSoundNode(t *testing.T) {
	r := newRig(t)
	r.begin()
	r.live(10, nil)
	r.say("hist/inv-1", strings.Replace(r.sample(r.seq, 9), `"hist":false`, `"hist":true`, 1)) // again, and alike
	r.say("status", r.status(contract.Backlog{Ep: "k3f9x2q7", First: 700, Last: 900, N: 40}))
	r.live(10, nil)
	r.seq++
	r.say("event/node", string(contract.AppendEvent(nil,
		contract.EventHead{Tenant: "cremasco", Node: "quintano", Dev: "node", Ep: "k3f9x2q7", Seq: r.seq,
			Type: contract.StoreGap, TS: r.now.UnixMilli(), Clk: contract.ClockSync},
		[]byte(`{"ep":"k3f9x2q7","class":"reading","from":701,"to":710,"n":3,"why":"evicted"}`))))
	r.say("status", r.status())
	r.live(10, nil)
	got := r.report()
	if !got.OK || len(got.Notes) > 0 {
		t.Fatalf("faults %q, notes %q", faultLines(got), got.Notes)
	}
	n := got.Nodes[0]
	if n.Samples != 30 || n.Resent != 1 || n.Events != 1 || n.Gaps != 1 || n.Statuses != 2 || n.Open != 0 ||
		n.Sent.Median != 20 || n.TS.Median != 50 || n.Sent.N != 32 {
		t.Errorf("%+v, sent %+v, ts %+v", n, n.Sent, n.TS)
	}
	if text := got.Text(); strings.Contains(text, "FAULT") ||
		!strings.Contains(text, "All that was heard is as the contract says.") {
		t.Error(text)
	}
}

// TestFaults: each kind of fault is found, by its check and in words that say where.
func TestFaults(t *testing.T) {
	every := func(n int) func(int) bool { return func(i int) bool { return i == n } }
	for _, c := range []struct {
		name string
		do   func(r *rig)
		want []string
	}{
		{"a message that never came", func(r *rig) {
			r.live(20, every(12))
			r.say("status", r.status())
			r.now = r.now.Add(grace)
		}, []string{"missing cremasco/quintano, epoch k3f9x2q7 5013: is counted as delivered, is not here, and is under no gap"}},
		{"a number twice", func(r *rig) {
			r.live(3, nil)
			r.say("hist/inv-1", strings.Replace(r.sample(r.seq, 999), `"hist":false`, `"hist":true`, 1))
		}, []string{"conflict cremasco/quintano, epoch k3f9x2q7 5003: came again with another content: two boxes under one name, most likely from a copied card (" + base + "hist/inv-1)"}},
		{"a shape", func(r *rig) {
			r.live(3, nil)
			r.seq++
			r.say("tele/inv-1", strings.Replace(r.sample(r.seq, 1), `"ac_power"`, `"acPower"`, 1))
		}, []string{"schema cremasco/quintano inv-1: 'acPower' does not match pattern '^[a-z][a-z0-9_]{0,63}$' (" + base + "tele/inv-1)"}},
		{"a value", func(r *rig) {
			r.live(3, nil)
			r.seq++
			r.say("tele/inv-1", strings.Replace(r.sample(r.seq, 1), `"ac_power":1`, `"ac_power":null`, 1))
		}, []string{"schema cremasco/quintano inv-1: '/samples/0/v/ac_power': got null, want boolean or number or string"}},
		{"no JSON", func(r *rig) { r.say("event/node", "{") },
			[]string{"schema cremasco/quintano node: it is no JSON: unexpected EOF (" + base + "event/node)"}},
		{"another device", func(r *rig) { r.say("tele/inv-2", r.sample(6000, 1)) },
			[]string{"content cremasco/quintano inv-2: handle message on " + base + "tele/inv-2: payload is of quintano/inv-1 (" + base + "tele/inv-2)"}},
		{"a clock an hour behind", func(r *rig) {
			for range 5 {
				r.now = r.now.Add(10 * time.Second)
				r.seq++
				was := r.now
				r.now = r.now.Add(-time.Hour)
				sample := r.sample(r.seq, 1)
				r.now = was
				r.say("tele/inv-1", sample)
			}
		}, []string{"clock cremasco/quintano: the clock is 60m behind by the time of its messages, and is said to be set"}},
		{"a clock an hour ahead", func(r *rig) {
			for range 5 {
				r.now = r.now.Add(time.Hour)
				sample := r.sample(r.seq+1, 1)
				r.seq++
				r.now = r.now.Add(10*time.Second - time.Hour)
				r.say("tele/inv-1", sample)
			}
		}, []string{"clock cremasco/quintano: the clock is 59m ahead by the time of its messages, and is said to be set",
			"clock cremasco/quintano inv-1: samples come from the future, and their clock is said to be set (" + base + "tele/inv-1), 5 times"}},
		{"a topic", func(r *rig) { r.say("telemetry/inv-1", "1") },
			[]string{`topic "bordo/v1/cremasco/quintano/telemetry/inv-1": no topic of the contract`}},
		{"samples that are retained", func(r *rig) { r.take(base+"tele/inv-1", []byte(r.sample(3, 1)), true, 1) },
			[]string{"retained cremasco/quintano inv-1: is retained, and must not be: everybody who comes later takes it for new (" + base + "tele/inv-1)"}},
		{"a command that is retained", func(r *rig) { r.take(base+"cmd", []byte("a.b.c"), true, 1) },
			[]string{"retained cremasco/quintano: is retained, and must not be: everybody who comes later takes it for new (" + base + "cmd)"}},
		{"no guarantee", func(r *rig) { r.take(base+"tele/inv-1", []byte(r.sample(6000, 1)), false, 0) },
			[]string{"qos cremasco/quintano inv-1: was published with QoS 0: the broker does not acknowledge it, and it may be lost (" + base + "tele/inv-1)"}},
		{"too large", func(r *rig) {
			r.say("meta/inv-1", strings.Replace(meta, `"points"`,
				`"name":"`+strings.Repeat("a", contract.MaxPayload)+`","points"`, 1))
		}, []string{"size cremasco/quintano inv-1: has more than 61440 bytes (" + base + "meta/inv-1)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.begin()
			c.do(r)
			got := r.report()
			lines := faultLines(got)
			if len(lines) != len(c.want) || got.OK {
				t.Fatalf("faults %q", lines)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("got %q, want %q", lines[i], want)
				}
			}
			if text := got.Text(); !strings.Contains(text, "FAULT "+string(got.Faults[0].Check)) {
				t.Error(text)
			}
		})
	}
}

// TestWhatIsKept: what is not there for whoever comes later is told.
func TestWhatIsKept(t *testing.T) {
	r := newRig(t)
	r.live(3, nil)
	r.a.Asked()
	got := r.a.Report(r.now, true, false)
	want := "[retained cremasco/quintano: its status is not kept by the broker: it must be published retained " +
		"retained cremasco/quintano inv-1: sends samples, and no description (meta) is kept by the broker]"
	if lines := fmt.Sprint(faultLines(got)); lines != want || len(got.Notes) != 1 {
		t.Errorf("faults %s, notes %q", lines, got.Notes)
	}
	if got := r.a.Report(r.now, false, false); !got.OK {
		t.Errorf("faults although nobody asked: %q", faultLines(got))
	}
}

// TestUndecided: a number that has not come is neither a fault nor forgotten until the node has told what it holds back.
func TestUndecided(t *testing.T) {
	r := newRig(t)
	r.begin()
	r.live(20, func(i int) bool { return i == 10 })
	if got := fmt.Sprint(r.a.Undecided(r.now)); got != "[cremasco/quintano]" {
		t.Errorf("undecided: %s", got)
	}
	if got := r.a.Report(r.now, false, false); !got.OK || got.Nodes[0].Open != 1 || len(got.Notes) != 1 ||
		!strings.Contains(got.Notes[0], "no status came") {
		t.Errorf("faults %q, open %d, notes %q", faultLines(got), got.Nodes[0].Open, got.Notes)
	}
	r.say("status", r.status(contract.Backlog{Ep: "k3f9x2q7", First: 5011, Last: 5011, N: 1}))
	if got := r.a.Undecided(r.now); got != nil {
		t.Errorf("held back, and undecided: %s", got)
	}
	r.say("status", r.status())
	if got := r.a.Undecided(r.now); len(got) != 1 {
		t.Error("a number that is just due is decided")
	}
	r.now = r.now.Add(grace)
	if got := r.a.Report(r.now, false, false); got.OK || r.a.Undecided(r.now) != nil {
		t.Errorf("%q is no fault", got.Notes)
	}
}

// TestGivenUp: while a node holds something back, a number that is due may be under a gap that is not told yet.
func TestGivenUp(t *testing.T) {
	r := newRig(t)
	r.say("status", r.status(contract.Backlog{Ep: "k3f9x2q7", First: 4901, Last: 5000, N: 100}))
	r.live(3, nil)
	r.say("status", r.status(contract.Backlog{Ep: "k3f9x2q7", First: 4951, Last: 5000, N: 50}))
	r.live(10, nil)
	if got := r.a.Report(r.now, false, false); !got.OK || len(got.Notes) != 1 ||
		!strings.Contains(got.Notes[0], "50 numbers are not here; the node still holds records back") {
		t.Errorf("faults %q, notes %q", faultLines(got), got.Notes)
	}
	r.now = r.now.Add(gapsTold)
	if got := r.a.Report(r.now, false, false); got.OK || !strings.Contains(got.Text(), "4901-4950 (50 numbers)") {
		t.Error(got.Text())
	}
}

// TestInterruptedAndDeaf: what was not heard is not missed, and hearing nothing is a fault.
func TestInterruptedAndDeaf(t *testing.T) {
	r := newRig(t)
	if got := r.a.Report(r.now, true, false); got.OK || got.Faults[0].Check != CheckHeard {
		t.Errorf("nothing was heard: %q", faultLines(got))
	}
	r.say("status", r.status())
	r.live(3, nil)
	r.seq += 100
	r.a.Interrupted()
	r.say("status", r.status())
	r.live(10, nil)
	r.say("status", r.status())
	r.now = r.now.Add(time.Hour)
	if got := r.a.Report(r.now, false, false); !got.OK || got.Breaks != 1 || len(got.Notes) != 1 {
		t.Errorf("faults %q, notes %q", faultLines(got), got.Notes)
	}
	if got := r.a.Report(r.now, false, true); got.OK || got.Faults[0].Check != CheckHeard {
		t.Errorf("too fast for us: %q", faultLines(got))
	}
}

// TestBounds: faults without end are counted, and the same one is told once.
func TestBounds(t *testing.T) {
	r := newRig(t)
	for i := range faultsMost + 500 {
		r.take(fmt.Sprintf("bordo/v1/other/%d", i), nil, false, 1)
		r.take("bordo/v1/same", nil, false, 1)
	}
	got := r.a.Report(r.now, false, false)
	if len(got.Faults) > faultsMost+1 || got.Rest != 502 {
		t.Errorf("%d faults, %d more", len(got.Faults), got.Rest)
	}
	if text := got.Text(); strings.Count(text, "\n") > 60 {
		t.Errorf("%d lines", strings.Count(text, "\n"))
	}
}
