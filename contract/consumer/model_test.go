package consumer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bordo/contract"
)

// world is a node, its broker and a consumer, all of them plain: what the node stores, what it sends again because a PUBACK
// was eaten, what it gives up and tells, what it loses in a power cut, and, as a defect, what it takes for delivered without
// ever having sent it.
type world struct {
	t      *rapid.T
	topics contract.Topics
	now    time.Time

	epochs []string
	next   map[string]uint64
	held   []stored          // not acknowledged, oldest first
	body   map[string][]byte // by identity: what it carries
	kind   map[string]string // its topic

	consumer  *Consumer
	refuse    bool              // Deliver fails
	delivered map[string]int    // by identity
	expected  map[string]bool   // published while the consumer listened
	lost      map[string]bool   // taken for delivered, never sent
	missing   map[string]bool   // what the consumer said is missing
	other     []Defect          // any other defect
	heard     []contract.Status // obeyed
	sess      int

	deaf    bool              // nobody listens, and the node does not know it
	sent    map[string]uint64 // by epoch: the last sample that went out live, or the last record that nobody heard
	unasked map[string]bool   // if it is lost nobody can know: it was before the first status after nobody listened
	fresh   bool              // no status has come since nobody listened
}

type stored struct {
	ep  string
	seq uint64
}

func (s stored) id() string { return fmt.Sprintf("%s-%d", s.ep, s.seq) }

func newWorld(t *rapid.T) *world {
	topics, err := contract.NewTopics("", "cremasco", "quintano")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, topics: topics, now: time.UnixMilli(1760000000000), next: map[string]uint64{}, body: map[string][]byte{},
		kind: map[string]string{}, delivered: map[string]int{}, expected: map[string]bool{}, lost: map[string]bool{},
		missing: map[string]bool{},
		sent:    map[string]uint64{}, unasked: map[string]bool{},
	}
	w.open(true, 0)
	w.listen(nil)
	return w
}

// listen starts the consumer with the state of its former life.
func (w *world) listen(state []NodeState) {
	c, err := New(Options{
		Grace: time.Minute, State: state,
		Deliver: func(r Record) error {
			if w.refuse {
				return errors.New("database is away")
			}
			w.delivered[stored{r.Ep, r.Seq}.id()]++
			return nil
		},
		Status: func(_ string, s contract.Status) { w.heard = append(w.heard, s) },
		Defect: func(d Defect) {
			if d.Kind != Missing {
				w.other = append(w.other, d)
				return
			}
			for s := d.Range[0]; s <= d.Range[1]; s++ {
				w.missing[stored{d.Ep, s}.id()] = true
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.consumer = c
}

func (w *world) epoch() string { return w.epochs[len(w.epochs)-1] }

// open begins an epoch.
func (w *world) open(clean bool, lastSealed uint64) {
	data := map[string]any{"clean": clean}
	if len(w.epochs) > 0 {
		data["prev_ep"], data["prev_last_sealed"] = w.epoch(), lastSealed
	}
	w.epochs = append(w.epochs, fmt.Sprintf("%04dabcd", len(w.epochs)))
	w.next[w.epoch()] = 1
	w.storeEvent(contract.StoreOpened, data)
}

func (w *world) store(kind string, body func(seq uint64) []byte) stored {
	s := stored{w.epoch(), w.next[w.epoch()]}
	w.next[s.ep]++
	w.held = append(w.held, s)
	w.body[s.id()], w.kind[s.id()] = body(s.seq), kind
	return s
}

func (w *world) storeEvent(typ string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store(contract.KindEvent, func(seq uint64) []byte {
		return contract.AppendEvent(nil, contract.EventHead{Tenant: "cremasco", Node: "quintano", Dev: "node",
			Ep: w.epoch(), Seq: seq, Type: typ, TS: w.now.UnixMilli(), Clk: contract.ClockSync}, b)
	})
}

func (w *world) storeSample() {
	w.store(contract.KindTele, func(seq uint64) []byte {
		b := contract.NewBatch(nil, contract.Envelope{Node: "quintano", Dev: "inv-1", Ep: w.epoch(),
			Clk: contract.ClockSync, Sent: w.now.UnixMilli()})
		if _, err := b.Add(seq, w.now.UnixMilli(),
			[]contract.Field{{Key: "ac_power", Kind: contract.KindNumber, Num: float64(seq),
				Quality: contract.QualityGood}}); err != nil {
			w.t.Fatal(err)
		}
		return b.Bytes()
	})
}

// send publishes a held record; the consumer's program may need several attempts. Live samples go out in order.
func (w *world) send(s stored) {
	topic := w.topics.Event("node")
	if w.isSample(s) {
		if topic = w.topics.Tele("inv-1"); s.seq <= w.sent[s.ep] || s.ep != w.epoch() ||
			rapid.Bool().Draw(w.t, "late") {
			topic = w.topics.Hist("inv-1")
		} else {
			w.sent[s.ep] = s.seq
		}
	}
	if w.deaf {
		w.sent[s.ep] = max(w.sent[s.ep], s.seq)
		return
	}
	w.expected[s.id()] = true
	for tries := rapid.IntRange(0, 2).Draw(w.t, "failures"); ; tries-- {
		w.refuse = tries > 0
		err := w.consumer.Handle(Message{Topic: topic, Payload: w.body[s.id()]}, w.now)
		if err == nil {
			break
		}
		if !w.refuse {
			w.t.Fatalf("Handle: %v", err)
		}
	}
	w.refuse = false
}

func (w *world) sendSome() {
	at := 0
	for range rapid.IntRange(0, 12).Draw(w.t, "how many") {
		if at = at + rapid.IntRange(0, 3).Draw(w.t, "skip"); at >= len(w.held) {
			return
		}
		w.send(w.held[at])
		if rapid.IntRange(0, 3).Draw(w.t, "PUBACK eaten") > 0 {
			w.held = slices.Delete(w.held, at, at+1)
		} else {
			at++
		}
	}
}

func (w *world) isSample(s stored) bool { return w.kind[s.id()] == contract.KindTele }

// evict gives up the oldest samples and tells each run of them; events are not given up.
func (w *world) evict() {
	n := rapid.IntRange(1, 8).Draw(w.t, "evicted")
	gone := map[string]ranges{}
	w.held = slices.DeleteFunc(w.held, func(s stored) bool {
		if n == 0 || !w.isSample(s) {
			return false
		}
		n--
		gone[s.ep] = gone[s.ep].add(s.seq, s.seq)
		return true
	})
	for _, ep := range w.epochs {
		for _, r := range gone[ep] {
			w.storeEvent(contract.StoreGap,
				map[string]any{"ep": ep, "class": "reading", "from": r[0], "to": r[1], "why": "evicted"})
		}
	}
}

// powerCut loses the last samples, which were not on the disk yet, and begins a new epoch, which tells of it first.
func (w *world) powerCut() {
	n, old := rapid.IntRange(0, 4).Draw(w.t, "unsealed"), w.epoch()
	from := w.next[old]
	for i := len(w.held) - 1; i >= 0 && n > 0 && w.held[i].ep == old; i-- {
		if w.isSample(w.held[i]) {
			from = w.held[i].seq
			w.held = slices.Delete(w.held, i, i+1)
			n--
		}
	}
	w.open(false, from-1)
	w.storeEvent(contract.StoreGap, map[string]any{"ep": old, "class": "any", "from": from, "to": nil,
		"why": "unclean"})
}

// defect takes a record for delivered that never was.
func (w *world) defect() {
	if len(w.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.held)-1).Draw(w.t, "which")
	if s := w.held[i]; w.isSample(s) && !w.expected[s.id()] {
		w.lost[s.id()] = true
		w.held = slices.Delete(w.held, i, i+1)
	}
}

// begin notes what the first status says nothing of, after nobody listened: what is lost, and a backlog with holes.
func (w *world) begin(backlog []contract.Backlog) {
	if !w.fresh {
		return
	}
	w.fresh = false
	for id := range w.lost {
		w.unasked[id] = true
	}
	for _, b := range backlog {
		for seq := b.First; seq <= b.Last && b.N != b.Last-b.First+1; seq++ {
			w.unasked[stored{b.Ep, seq}.id()] = true
		}
	}
}

// status tells how the node is, then all its events.
func (w *world) status() {
	var backlog []contract.Backlog
	for _, s := range w.held {
		i := slices.IndexFunc(backlog, func(b contract.Backlog) bool { return b.Ep == s.ep })
		if i < 0 {
			backlog = append(backlog, contract.Backlog{Ep: s.ep, First: s.seq})
			i = len(backlog) - 1
		}
		backlog[i].Last, backlog[i].N = s.seq, backlog[i].N+1
	}
	b, err := contract.Status{Node: "quintano", State: contract.Online, Sess: fmt.Sprint("s", w.sess), Boot: "b",
		Ep:   w.epoch(),
		Next: w.next[w.epoch()], Backlog: backlog, Clk: contract.ClockSync, Ver: "1", TS: w.now.UnixMilli()}.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if !w.deaf {
		w.begin(backlog)
		if err := w.consumer.Handle(Message{Topic: w.topics.Status(), Payload: b}, w.now); err != nil {
			w.t.Fatalf("Handle status: %v", err)
		}
	}
	for _, s := range slices.Clone(w.held) { // a connected node sends events at once
		if !w.isSample(s) {
			w.send(s)
			w.held = slices.DeleteFunc(w.held, func(x stored) bool { return x == s })
		}
	}
}

func (w *world) restart() {
	b, err := json.Marshal(w.consumer.State())
	if err != nil {
		w.t.Fatal(err)
	}
	var state []NodeState
	if err := json.Unmarshal(b, &state); err != nil {
		w.t.Fatal(err)
	}
	w.listen(state)
}

// away stops listening, without a session that waits, or begins again.
func (w *world) away() {
	if w.deaf = !w.deaf; w.deaf {
		return
	}
	w.consumer.Interrupted()
	w.fresh = true
}

// drain brings everything to an end: the rest is sent, and nothing more can be late.
func (w *world) drain() {
	if w.deaf {
		w.away()
		w.status()
	}
	for len(w.held) > 0 {
		w.send(w.held[0])
		w.held = w.held[1:]
	}
	w.status()
	w.now = w.now.Add(2 * time.Minute)
	w.consumer.Check(w.now)
}

// TestAgainstModel: each record that was published is handed over once, and what is missing is what was lost untold.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.status()
		t.Repeat(map[string]func(*rapid.T){
			"sample": func(t *rapid.T) {
				w.t = t
				for range rapid.IntRange(1, 10).Draw(t, "samples") {
					w.storeSample()
				}
			},
			"send":      func(t *rapid.T) { w.t = t; w.sendSome() },
			"evict":     func(t *rapid.T) { w.t = t; w.evict() },
			"power cut": func(t *rapid.T) { w.t = t; w.powerCut() },
			"defect":    func(t *rapid.T) { w.t = t; w.defect() },
			"status":    func(t *rapid.T) { w.t = t; w.status() },
			"away":      func(t *rapid.T) { w.t = t; w.away() },
			"restart":   func(t *rapid.T) { w.t = t; w.restart() },
			"time":      func(t *rapid.T) { w.t = t; w.now = w.now.Add(20 * time.Second); w.consumer.Check(w.now) },
		})
		w.t = t
		w.drain()
		for id, n := range w.delivered {
			if n != 1 || !w.expected[id] {
				t.Fatalf("%s was handed over %d times", id, n)
			}
		}
		for id := range w.expected {
			if w.delivered[id] == 0 {
				t.Fatalf("%s was never handed over", id)
			}
		}
		w.compareMissing(t)
		if len(w.other) > 0 {
			t.Fatalf("defects %+v", w.other)
		}
	})
}

// compareMissing: all that was said to be missing was lost; all that was lost was said, unless a gap came to cover it.
func (w *world) compareMissing(t *rapid.T) {
	gaps := map[string]ranges{}
	for _, s := range w.consumer.State()[0].Epochs {
		gaps[s.Ep] = s.Gaps
	}
	for id := range w.missing {
		if !w.lost[id] {
			t.Fatalf("%s is said to be missing, and is not lost", id)
		}
	}
	for id := range w.lost {
		var s stored
		if _, err := fmt.Sscanf(id, "%8s-%d", &s.ep, &s.seq); err != nil {
			t.Fatal(err)
		}
		if !w.missing[id] && !w.unasked[id] && !gaps[s.ep].has(s.seq) {
			t.Fatalf("%s is lost and nobody said so", id)
		}
	}
}

// TestModelHasTeeth: a consumer that forgets what it has seen is found out by the model.
func TestModelHasTeeth(t *testing.T) {
	found := false
	for seed := range 50 {
		w := rapid.Custom(func(t *rapid.T) *world {
			w := newWorld(t)
			for range 5 {
				w.storeSample()
				w.send(w.held[len(w.held)-1])
			}
			w.listen(nil) // without its state
			w.drain()
			return w
		}).Example(seed)
		for _, n := range w.delivered {
			found = found || n > 1
		}
	}
	if !found {
		t.Fatal("nothing was handed over twice")
	}
}
