package consumer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bordo/contract"
)

// rig is a consumer that notes what it says.
type rig struct {
	t       *testing.T
	c       *Consumer
	now     time.Time
	got     []string // kind dev ep-seq
	defects []string
	states  []string
	metas   []string
	fail    string // ep-seq that Deliver refuses
}

func newRig(t *testing.T, opt Options) *rig {
	t.Helper()
	r := &rig{t: t, now: time.UnixMilli(1760000000000)}
	opt.Deliver = func(x Record) error {
		id := fmt.Sprintf("%s-%d", x.Ep, x.Seq)
		if id == r.fail {
			return errors.New("disk full")
		}
		r.got = append(r.got, fmt.Sprintf("%s %s %s", x.Kind, x.Dev, id))
		if (x.Sample == nil) == (x.Event == nil) || !x.Clk.Valid() {
			t.Errorf("record %+v", x)
		}
		return nil
	}
	opt.Defect = func(d Defect) {
		r.defects = append(r.defects, fmt.Sprintf("%s %s/%s %s %d-%d", d.Kind, d.Tenant, d.Node, d.Ep, d.Range[0],
			d.Range[1]))
	}
	opt.Status = func(tenant string, s contract.Status) {
		r.states = append(r.states, fmt.Sprintf("%s/%s %s %s", tenant, s.Node, s.State, s.Sess))
	}
	opt.Meta = func(a contract.Address, m *contract.Meta) {
		rev := "gone"
		if m != nil {
			rev = fmt.Sprint(m.Rev)
		}
		r.metas = append(r.metas, a.Dev+" "+rev)
	}
	c, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	r.c = c
	return r
}

const base = "bordo/v1/cremasco/quintano/"

func (r *rig) take(topic, payload string) error {
	return r.c.Handle(Message{Topic: base + topic, Payload: []byte(payload)}, r.now)
}

func (r *rig) must(topic, payload string) {
	r.t.Helper()
	if err := r.take(topic, payload); err != nil {
		r.t.Fatalf("%s %s: %v", topic, payload, err)
	}
}

func batch(ep string, hist bool, seqs ...int) string {
	var samples []string
	for _, s := range seqs {
		samples = append(samples, fmt.Sprintf(`{"seq":%d,"ts":1760000000000,"v":{"ac_power":%d}}`, s, s))
	}
	return fmt.Sprintf(`{"sv":1,"node":"quintano","dev":"inv-1","ep":"%s","hist":%v,"clk":"sync","sent":1,"samples":[%s]}`, ep, hist, strings.Join(samples, ","))
}

func event(ep string, seq int, typ, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"%s-%d","source":"/cremasco/quintano/node","type":"%s","time":"2025-10-09T08:53:20.000Z",`+
		`"clk":"sync","datacontenttype":"application/json","data":%s}`, ep, seq, typ, data)
}

func online(sess, ep string, next int, backlog string) string {
	return fmt.Sprintf(`{"sv":1,"node":"quintano","state":"online","sess":"%s","boot":"b","ep":"%s","next":%d,"backlog":[%s],"clk":"sync","ver":"1","ts":1,"health":[]}`,
		sess, ep, next, backlog)
}

func (r *rig) later(d time.Duration) {
	r.now = r.now.Add(d)
	r.c.Check(r.now)
}

func (r *rig) want(what string, got []string, want ...string) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// TestOnce: re-sends, on either topic and packed or not, are not handed over again.
func TestOnce(t *testing.T) {
	r := newRig(t, Options{})
	r.must("tele/inv-1", batch("aaaaaaaa", false, 1, 2))
	r.must("hist/inv-1", batch("aaaaaaaa", true, 2, 3))
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write([]byte(batch("aaaaaaaa", true, 3, 5))); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	r.must("histz/inv-1", z.String())
	r.must("event/node", event("aaaaaaaa", 4, "bordo.tank.emptied.v1", "{}"))
	r.must("event/node", event("aaaaaaaa", 4, "bordo.tank.emptied.v1", "{}"))
	r.must("res", event("aaaaaaaa", 6, contract.CommandEvent, `{"id":"x","op":"y","dev":"node","state":"done"}`))
	r.must("tele/inv-1", batch("bbbbbbbb", false, 1))
	r.must("cmd", "whatever it is, it is not for us")
	r.want("handed over", r.got, "tele inv-1 aaaaaaaa-1", "tele inv-1 aaaaaaaa-2", "hist inv-1 aaaaaaaa-3",
		"hist inv-1 aaaaaaaa-5",
		"event node aaaaaaaa-4", "res node aaaaaaaa-6", "tele inv-1 bbbbbbbb-1")
	r.want("defects", r.defects)
}

// TestDeliverFails: what was handed over before the failure is not handed over again, the rest is.
func TestDeliverFails(t *testing.T) {
	r := newRig(t, Options{})
	r.fail = "aaaaaaaa-2"
	if err := r.take("tele/inv-1", batch("aaaaaaaa", false, 1, 2, 3)); err == nil ||
		!strings.Contains(err.Error(), "deliver aaaaaaaa-2: disk full") {
		t.Fatal(err)
	}
	r.fail = ""
	r.must("tele/inv-1", batch("aaaaaaaa", false, 1, 2, 3))
	r.want("handed over", r.got, "tele inv-1 aaaaaaaa-1", "tele inv-1 aaaaaaaa-2", "tele inv-1 aaaaaaaa-3")
}

// TestConflict: one identity with two contents is told, and the first stays.
func TestConflict(t *testing.T) {
	r := newRig(t, Options{})
	r.must("tele/inv-1", batch("aaaaaaaa", false, 7))
	r.must("tele/inv-1", strings.Replace(batch("aaaaaaaa", false, 7), `"ac_power":7`, `"ac_power":8`, 1))
	r.want("defects", r.defects, "conflict cremasco/quintano aaaaaaaa 7-7")
	r.want("handed over", r.got, "tele inv-1 aaaaaaaa-7")
}

// TestMissing: what the node counts as delivered and is not here is told once, after the time of grace, and to the number.
func TestMissing(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	r.must("status", online("s1", "aaaaaaaa", 1, ""))
	r.must("tele/inv-1", batch("aaaaaaaa", false, 2, 5, 9, 10))
	r.must("event/node", event("aaaaaaaa", 12, contract.StoreGap,
		`{"ep":"aaaaaaaa","class":"reading","from":6,"to":7,"why":"evicted"}`))
	r.must("status", online("s1", "aaaaaaaa", 14, `{"ep":"aaaaaaaa","first":11,"last":13,"n":2}`))
	r.later(59 * time.Second)
	r.want("before the time", r.defects)
	r.must("tele/inv-1", batch("aaaaaaaa", false, 3)) // just in time
	r.later(time.Second)
	r.want("defects", r.defects, "missing cremasco/quintano aaaaaaaa 1-1", "missing cremasco/quintano aaaaaaaa 4-4",
		"missing cremasco/quintano aaaaaaaa 8-8")
	r.later(time.Hour)
	r.must("status", online("s1", "aaaaaaaa", 14, `{"ep":"aaaaaaaa","first":11,"last":13,"n":2}`))
	r.later(time.Hour)
	if len(r.defects) != 3 {
		t.Errorf("told again: %q", r.defects)
	}
	r.must("tele/inv-1", batch("aaaaaaaa", false, 11))
	r.must("status", online("s1", "aaaaaaaa", 14, ""))
	r.later(time.Hour)
	r.want("later", r.defects[3:], "missing cremasco/quintano aaaaaaaa 13-13")
}

// TestMissingOfAnOldEpoch: when an epoch leaves the backlog, all of it must be here, as far as it is known to have gone.
func TestMissingOfAnOldEpoch(t *testing.T) {
	for _, c := range []struct {
		name   string
		take   func(r *rig)
		missed []string
	}{
		{"its last status told how far it went", func(r *rig) {
			r.must("status", online("s1", "aaaaaaaa", 5, `{"ep":"aaaaaaaa","first":1,"last":4,"n":4}`))
		}, []string{"missing cremasco/quintano aaaaaaaa 3-4"}},
		{"the next epoch told how far it went", func(r *rig) {
			r.must("event/node", event("bbbbbbbb", 1, contract.StoreOpened,
				`{"clean":true,"prev_ep":"aaaaaaaa","prev_last_sealed":6}`))
		}, []string{"missing cremasco/quintano aaaaaaaa 3-6"}},
		{"a gap told that the rest is lost", func(r *rig) {
			r.must("event/node", event("bbbbbbbb", 1, contract.StoreOpened,
				`{"clean":false,"prev_ep":"aaaaaaaa","prev_last_sealed":6}`))
			r.must("event/node", event("bbbbbbbb", 2, contract.StoreGap,
				`{"ep":"aaaaaaaa","class":"any","from":4,"to":null,"why":"unclean"}`))
		}, []string{"missing cremasco/quintano aaaaaaaa 3-3"}},
		{"a gap told that an epoch is lost and nobody knows which", func(r *rig) {
			r.must("event/node", event("bbbbbbbb", 1, contract.StoreOpened,
				`{"clean":false,"prev_ep":"aaaaaaaa","prev_last_sealed":6}`))
			r.must("event/node", event("bbbbbbbb", 2, contract.StoreGap,
				`{"ep":"","class":"any","from":0,"to":null,"why":"damaged"}`))
		}, nil},
		{"a backlog told how far it goes", func(r *rig) {
			r.must("status", online("s2", "bbbbbbbb", 3,
				`{"ep":"aaaaaaaa","first":3,"last":4,"n":2},{"ep":"bbbbbbbb","first":1,"last":2,"n":2}`))
		}, []string{"missing cremasco/quintano aaaaaaaa 3-4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{Grace: time.Minute})
			r.must("status", online("s1", "aaaaaaaa", 1, ""))
			r.must("tele/inv-1", batch("aaaaaaaa", false, 1, 2))
			c.take(r)
			r.must("status", online("s2", "bbbbbbbb", 3, `{"ep":"bbbbbbbb","first":1,"last":2,"n":2}`))
			r.later(time.Minute)
			r.want("defects", r.defects, c.missed...)
		})
	}
}

// TestNewEpoch: an epoch that begins while we listen must be here from its first record.
func TestNewEpoch(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	r.must("status", online("s1", "aaaaaaaa", 50, ""))
	r.must("tele/inv-1", batch("bbbbbbbb", false, 3))
	r.must("status", online("s2", "bbbbbbbb", 4, ""))
	r.later(time.Minute)
	r.want("defects", r.defects, "missing cremasco/quintano bbbbbbbb 1-2")
}

// TestEpochKnownByItsSuccessor: an epoch of which nothing has come when the next one names it, once begun, must be here to
// where it went; one from before the first status is no business of ours.
func TestEpochKnownByItsSuccessor(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	r.must("status", online("s1", "bbbbbbbb", 50, `{"ep":"bbbbbbbb","first":1,"last":49,"n":49}`))
	r.must("event/node", event("bbbbbbbb", 1, contract.StoreOpened,
		`{"clean":true,"prev_ep":"aaaaaaaa","prev_last_sealed":6}`))
	r.must("tele/inv-1", batch("bbbbbbbb", true, 2))
	r.must("event/node", event("dddddddd", 1, contract.StoreOpened,
		`{"clean":true,"prev_ep":"cccccccc","prev_last_sealed":3}`))
	r.must("tele/inv-1", batch("cccccccc", true, 1, 2))
	r.must("status", online("s2", "dddddddd", 2, `{"ep":"bbbbbbbb","first":3,"last":49,"n":47}`))
	r.later(time.Minute)
	r.want("defects", r.defects, "missing cremasco/quintano cccccccc 3-3")
	if err := r.take("event/node", event("dddddddd", 2, contract.StoreOpened,
		`{"clean":true,"prev_ep":"zzz","prev_last_sealed":3}`)); err == nil {
		t.Error("an epoch before that is none is taken")
	}
}

// TestAfterAnUnnamedLoss: an epoch that nobody can name excuses those before, not those after.
func TestAfterAnUnnamedLoss(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	r.must("status", online("s1", "aaaaaaaa", 1, ""))
	r.must("event/node", event("bbbbbbbb", 1, contract.StoreGap,
		`{"ep":"","class":"any","from":0,"to":null,"why":"damaged"}`))
	r.must("tele/inv-1", batch("aaaaaaaa", false, 2))
	r.must("tele/inv-1", batch("bbbbbbbb", false, 3))
	r.must("status", online("s3", "cccccccc", 1, ""))
	r.later(time.Minute)
	r.want("defects", r.defects, "missing cremasco/quintano bbbbbbbb 2-2")
}

// TestFirstStatus: what was delivered before anybody listened is not missing; what a retained status says is too old to
// tell where that ends.
func TestFirstStatus(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	old := Message{Topic: base + "status",
		Payload: []byte(online("s1", "aaaaaaaa", 50, `{"ep":"aaaaaaaa","first":40,"last":49,"n":10}`)), Retained: true}
	if err := r.c.Handle(old, r.now); err != nil {
		t.Fatal(err)
	}
	r.must("tele/inv-1", batch("aaaaaaaa", false, 70))
	r.must("status", online("s1", "aaaaaaaa", 75, `{"ep":"aaaaaaaa","first":71,"last":74,"n":4}`))
	r.later(time.Hour)
	r.want("defects", r.defects)
	r.must("tele/inv-1", batch("aaaaaaaa", false, 71, 74))
	r.must("status", online("s1", "aaaaaaaa", 75, ""))
	r.later(time.Hour)
	r.want("defects", r.defects, "missing cremasco/quintano aaaaaaaa 72-73")
}

// TestRestart: with its state a consumer goes on where it was.
func TestRestart(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	r.must("status", online("s1", "aaaaaaaa", 1, ""))
	r.must("tele/inv-1", batch("aaaaaaaa", false, 1, 2, 4))
	b, err := json.Marshal(r.c.State())
	if err != nil {
		t.Fatal(err)
	}
	var state []NodeState
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	r = newRig(t, Options{Grace: time.Minute, State: state})
	r.must("tele/inv-1", batch("aaaaaaaa", false, 2, 4, 5))
	r.must("status", strings.Replace(online("s0", "aaaaaaaa", 6, ""), "online", "offline", 1)) // of an earlier session
	r.must("status", online("s1", "aaaaaaaa", 6, ""))
	r.later(time.Minute)
	r.later(time.Minute)
	r.want("handed over", r.got, "tele inv-1 aaaaaaaa-5")
	r.want("states", r.states, "cremasco/quintano online s1")
	r.want("defects", r.defects, "missing cremasco/quintano aaaaaaaa 3-3")
}

// TestStatusGuard: a will that comes after the next birth is not obeyed.
func TestStatusGuard(t *testing.T) {
	r := newRig(t, Options{})
	lost := func(sess string) string { return string(contract.Will("quintano", sess)) }
	r.must("status", lost("s1")) // nothing else is known
	r.must("status", online("s2", "aaaaaaaa", 1, ""))
	r.must("status", lost("s1"))
	r.must("status", lost("s2"))
	r.must("status", online("s3", "aaaaaaaa", 1, ""))
	r.must("status", strings.Replace(online("s2", "aaaaaaaa", 1, ""), "online", "offline", 1))
	r.must("status", strings.Replace(online("s3", "aaaaaaaa", 1, ""), "online", "offline", 1))
	if err := r.c.Handle(Message{Topic: base + "status", Payload: []byte(lost("s9")), Retained: true},
		r.now); err != nil {
		t.Fatal(err) // after a reconnect: the broker's last word
	}
	r.want("states", r.states, "cremasco/quintano lost s1", "cremasco/quintano online s2", "cremasco/quintano lost s2",
		"cremasco/quintano online s3", "cremasco/quintano offline s3", "cremasco/quintano lost s9")
}

// TestMeta: descriptions come through, and go.
func TestMeta(t *testing.T) {
	r := newRig(t, Options{})
	r.must("meta/inv-1", `{"sv":1,"node":"quintano","dev":"inv-1","rev":3,"points":{}}`)
	r.must("meta/inv-1", "")
	r.want("metas", r.metas, "inv-1 3", "inv-1 gone")
}

// TestBounds: what has to be forgotten is told, and what is beyond the bounds is an error.
func TestBounds(t *testing.T) {
	r := newRig(t, Options{MaxRanges: 3, MaxEpochs: 2, MaxNodes: 1})
	r.must("status", online("s1", "cccccccc", 1, ""))
	r.must("tele/inv-1", batch("cccccccc", false, 1, 3, 5, 8))
	r.want("holes", r.defects, "forgotten cremasco/quintano cccccccc 2-2")
	r.must("tele/inv-1", batch("cccccccc", false, 2))
	if len(r.got) != 4 {
		t.Errorf("what counts as delivered was handed over: %q", r.got)
	}
	r.must("tele/inv-1", batch("aaaaaaaa", false, 6))
	r.must("tele/inv-1", batch("bbbbbbbb", false, 1))
	r.want("epochs", r.defects[1:], "forgotten cremasco/quintano aaaaaaaa 1-6")
	other := strings.ReplaceAll(batch("aaaaaaaa", false, 1), "quintano", "offanengo")
	if err := r.c.Handle(Message{Topic: "bordo/v1/cremasco/offanengo/tele/inv-1", Payload: []byte(other)},
		r.now); err == nil {
		t.Error("one node too many")
	}
	if n := len(r.c.State()); n != 1 {
		t.Errorf("%d nodes", n)
	}
}

// TestForgottenEpochIsNotMissing: an epoch that was forgotten and comes back does not count from its beginning.
func TestForgottenEpochIsNotMissing(t *testing.T) {
	r := newRig(t, Options{MaxEpochs: 2, Grace: time.Minute})
	r.must("status", online("s1", "aaaaaaaa", 1, ""))
	for _, ep := range []string{"aaaaaaaa", "bbbbbbbb", "cccccccc"} {
		r.must("tele/inv-1", batch(ep, false, 1, 2))
		r.must("status", online("s1", ep, 3, ""))
	}
	r.must("hist/inv-1", batch("aaaaaaaa", true, 2))
	r.must("status", online("s1", "cccccccc", 3, ""))
	r.later(time.Hour)
	for _, d := range r.defects {
		if strings.HasPrefix(d, "missing") {
			t.Error(d)
		}
	}
}

// TestRefused: messages that are not what they say they are.
func TestRefused(t *testing.T) {
	r := newRig(t, Options{})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(make([]byte, contract.MaxUnpacked+1)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"tele/inv-2", batch("aaaaaaaa", false, 1)},
		{"tele/inv-1", strings.Replace(batch("aaaaaaaa", false, 1), "quintano", "other", 1)},
		{"tele/inv-1", "{"},
		{"histz/inv-1", batch("aaaaaaaa", true, 1)},
		{"histz/inv-1", z.String()},
		{"event/inv-1", event("aaaaaaaa", 1, "bordo.x.v1", "{}")},
		{"event/node", strings.Replace(event("aaaaaaaa", 1, "bordo.x.v1", "{}"), "cremasco", "other", 1)},
		{"event/node", event("aaaaaaaa", 2, contract.StoreGap, `{"ep":"x","from":1,"to":2}`)},
		{"event/node", event("aaaaaaaa", 3, contract.StoreGap, `{"ep":7}`)},
		{"event/node", event("aaaaaaaa", 4, contract.StoreOpened, `{"prev_ep":7}`)},
		{"status", strings.Replace(online("s", "aaaaaaaa", 1, ""), "quintano", "other", 1)},
		{"status", strings.Replace(online("s", "aaaaaaaa", 1, ""), `"next":1`, `"next":0`, 1)},
		{"status", online("s", "aaaaaaaa", 1, `{"ep":"aaaaaaaa","first":0,"last":1,"n":1}`)},
		{"meta/inv-1", `{"sv":1,"node":"quintano","dev":"inv-2","rev":3,"points":{}}`},
		{"meta/inv-1", `{"sv":2}`},
		{"other", "{}"},
	} {
		if err := r.take(c[0], c[1]); err == nil || !strings.HasPrefix(err.Error(), "handle message") {
			t.Errorf("%s %.80s: %v", c[0], c[1], err)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no Deliver, no error")
	}
	for _, s := range []NodeState{{Tenant: "T", Node: "n"}, {Tenant: "t", Node: "n", Epochs: []EpochState{{Ep: "x"}}},
		{Tenant: "t", Node: "n", Epochs: []EpochState{{Ep: "aaaaaaaa", Seen: []Range{{2, 1}}}}}} {
		if _, err := New(Options{Deliver: func(Record) error { return nil }, State: []NodeState{s}}); err == nil {
			t.Errorf("state %+v was taken", s)
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	c, err := New(Options{Deliver: func(Record) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	w := contract.NewBatch(nil, contract.Envelope{})
	var fields []contract.Field
	for i := range 25 {
		fields = append(fields, contract.Field{Key: fmt.Sprintf("point_%d", i), Kind: contract.KindNumber,
			Num: float64(i) / 10, Quality: contract.QualityGood})
	}
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(nil, contract.Envelope{Node: "quintano", Dev: "inv-1", Ep: "aaaaaaaa", Clk: contract.ClockSync})
		for range 20 {
			seq++
			if _, err := w.Add(seq, 1760000000000, fields); err != nil {
				b.Fatal(err)
			}
		}
		if err := c.Handle(Message{Topic: base + "tele/inv-1", Payload: w.Bytes()}, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "samples/s")
}
