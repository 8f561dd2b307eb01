package consumer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"bordo/contract"
)

// holes are what Holes says, in words.
func (r *rig) holes() (out []string) {
	for _, h := range r.c.Holes(r.now) {
		s := fmt.Sprintf("%s %d-%d", h.Ep, h.Range[0], h.Range[1])
		if h.Due {
			s += fmt.Sprintf(" for %s", r.now.Sub(h.Since))
		}
		out = append(out, s)
	}
	return out
}

// TestHoles: what has not come is open until a status says that it should have, and due from then on.
func TestHoles(t *testing.T) {
	r := newRig(t, Options{})
	r.must("status", online("s1", "aaaaaaaa", 10, ""))
	r.must("tele/inv-1", batch("aaaaaaaa", false, 10, 13, 17))
	r.must("event/node", event("aaaaaaaa", 18, contract.StoreGap,
		`{"ep":"aaaaaaaa","class":"reading","from":14,"to":15,"why":"evicted"}`))
	r.want("before the status", r.holes(), "aaaaaaaa 11-12", "aaaaaaaa 16-16")
	r.must("status", online("s1", "aaaaaaaa", 19, `{"ep":"aaaaaaaa","first":16,"last":16,"n":1}`))
	r.now = r.now.Add(5 * time.Second)
	r.want("after it", r.holes(), "aaaaaaaa 11-12 for 5s", "aaaaaaaa 16-16")
	r.must("hist/inv-1", batch("aaaaaaaa", true, 12, 16))
	r.want("when some has come", r.holes(), "aaaaaaaa 11-11 for 5s")
	r.must("event/node", event("bbbbbbbb", 1, contract.StoreGap,
		`{"ep":"","class":"any","from":0,"to":null,"why":"damaged"}`))
	r.want("when nobody knows any more", r.holes())
	r.want("defects", r.defects)
}

// TestBeginInABacklog: who begins to listen while a backlog is drained does not miss what went between it and the live
// samples before, and does miss what is lost of the backlog itself.
func TestBeginInABacklog(t *testing.T) {
	for _, c := range []struct {
		name, backlog string
		missed        []string
	}{
		{"without holes", `{"ep":"aaaaaaaa","first":10,"last":14,"n":5}`,
			[]string{"missing cremasco/quintano aaaaaaaa 12-12"}},
		{"with holes", `{"ep":"aaaaaaaa","first":10,"last":14,"n":4}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{Grace: time.Minute})
			r.must("status", online("s1", "aaaaaaaa", 100, c.backlog))
			r.must("tele/inv-1", batch("aaaaaaaa", false, 100))
			r.must("hist/inv-1", batch("aaaaaaaa", true, 10, 11, 13, 14))
			r.must("status", online("s1", "aaaaaaaa", 101, ""))
			r.later(time.Minute)
			r.want("defects", r.defects, c.missed...)
		})
	}
}

// TestOldCard: epochs from before anybody listened come back with their backlog, and nothing else of them is missed; the
// epoch of a spare box counts from its beginning although it sorts before.
func TestOldCard(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	r.must("status", online("s1", "cccccccc", 5, ""))
	r.must("status", online("s2", "aaaabbbb", 3,
		`{"ep":"aaaabbbb","first":2,"last":2,"n":1},{"ep":"bbbbbbbb","first":50,"last":60,"n":11}`))
	r.must("hist/inv-1", batch("bbbbbbbb", true, 50, 51, 60))
	r.must("tele/inv-1", batch("aaaabbbb", false, 2))
	r.must("status", online("s3", "dddddddd", 1, ""))
	r.later(time.Minute)
	r.want("defects", r.defects, "missing cremasco/quintano aaaabbbb 1-1", "missing cremasco/quintano bbbbbbbb 52-59")
}

// TestSpareBox: what a box held back when it died is not missed while another one stands in its place, however often that one
// starts, and over a restart of the program; it is missed when the card is in a box again and says that it has delivered.
func TestSpareBox(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	r.must("status", online("s1", "0005aaaa", 1, ""))
	r.must("tele/inv-1", batch("0005aaaa", false, 1, 2))
	r.must("status", online("s1", "0005aaaa", 7, `{"ep":"0005aaaa","first":4,"last":6,"n":3}`))
	r.must("status", online("s2", "0001bbbb", 2, `{"ep":"0001bbbb","first":1,"last":1,"n":1}`))
	r.must("event/node", event("0001bbbb", 1, contract.StoreOpened, `{"clean":false}`))
	saved, err := json.Marshal(r.c.State())
	if err != nil {
		t.Fatal(err)
	}
	var state []NodeState
	if err := json.Unmarshal(saved, &state); err != nil {
		t.Fatal(err)
	}
	opt := r.c.opt
	opt.State = state
	if r.c, err = New(opt); err != nil {
		t.Fatal(err)
	}
	r.must("event/node", event("0006bbbb", 1, contract.StoreOpened,
		`{"clean":true,"prev_ep":"0001bbbb","prev_last_sealed":1}`))
	r.must("status", online("s3", "0006bbbb", 2, ""))
	r.later(time.Hour)
	// that was delivered, as the box said itself
	r.want("the spare box", r.defects, "missing cremasco/quintano 0005aaaa 3-3")
	r.must("status", online("s4", "0007aaaa", 2, `{"ep":"0005aaaa","first":4,"last":6,"n":3}`))
	r.must("hist/inv-1", batch("0005aaaa", true, 4, 6))
	r.must("status", online("s4", "0007aaaa", 2, ""))
	r.later(time.Hour)
	r.want("the old card", r.defects, "missing cremasco/quintano 0005aaaa 3-3",
		"missing cremasco/quintano 0005aaaa 5-5", "missing cremasco/quintano 0007aaaa 1-1")
}

// TestAnchor: after half a minute of live samples what is missed is noticed although no status has come yet.
func TestAnchor(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	hear := func(seqs ...int) {
		r.now = r.now.Add(20 * time.Second)
		r.must("tele/inv-1", batch("aaaaaaaa", false, seqs...))
	}
	r.must("hist/inv-1", batch("aaaaaaaa", true, 3)) // says nothing of what is live
	hear(50)
	hear(52)
	r.want("too early", r.holes())
	hear(54)
	hear(56, 58)
	r.want("before any status", r.holes(), "aaaaaaaa 55-55", "aaaaaaaa 57-57")
	r.must("status", online("s1", "aaaaaaaa", 60, `{"ep":"aaaaaaaa","first":57,"last":59,"n":2}`))
	r.later(time.Minute)
	r.want("defects", r.defects, "missing cremasco/quintano aaaaaaaa 55-55")
}

// TestInterrupted: what was published while nobody listened is not missed; what comes after is.
func TestInterrupted(t *testing.T) {
	r := newRig(t, Options{Grace: time.Minute})
	r.must("status", online("s1", "aaaaaaaa", 1, ""))
	r.must("tele/inv-1", batch("aaaaaaaa", false, 1, 2))
	r.c.Interrupted()
	r.must("tele/inv-1", batch("aaaaaaaa", false, 2, 9))
	r.must("hist/inv-1", batch("bbbbbbbb", true, 7)) // begun meanwhile
	r.must("status", online("s2", "cccccccc", 20, ""))
	r.later(time.Hour)
	r.want("holes", r.holes())
	r.must("tele/inv-1", batch("cccccccc", false, 21))
	r.must("status", online("s2", "cccccccc", 22, ""))
	r.later(time.Minute)
	r.want("defects", r.defects, "missing cremasco/quintano cccccccc 20-20")
	r.want("handed over", r.got, "tele inv-1 aaaaaaaa-1", "tele inv-1 aaaaaaaa-2", "tele inv-1 aaaaaaaa-9",
		"hist inv-1 bbbbbbbb-7", "tele inv-1 cccccccc-21")
}

// TestAgain: what comes again is told, and compared as far back as was asked for: content, device and quality of time.
func TestAgain(t *testing.T) {
	var again []string
	r := newRig(t, Options{MaxPrints: 100,
		Again: func(x Record) { again = append(again, fmt.Sprintf("%s %s-%d %d", x.Dev, x.Ep, x.Seq, x.Sent)) }})
	for seq := 1; seq <= 101; seq++ {
		r.must("tele/inv-1", batch("aaaaaaaa", false, seq))
	}
	other := func(seq int) string {
		return strings.Replace(batch("aaaaaaaa", true, seq), `"ac_power":`, `"ac_power":9`, 1)
	}
	r.must("hist/inv-1", other(1)) // too long ago
	r.must("hist/inv-1", batch("aaaaaaaa", true, 2))
	r.must("hist/inv-1", other(3))
	r.must("hist/inv-1", strings.Replace(batch("aaaaaaaa", true, 4), `"sync"`, `"est"`, 1))
	r.must("hist/inv-2", strings.Replace(batch("aaaaaaaa", true, 5), `"inv-1"`, `"inv-2"`, 1))
	r.want("again", again, "inv-1 aaaaaaaa-1 1", "inv-1 aaaaaaaa-2 1", "inv-1 aaaaaaaa-3 1", "inv-1 aaaaaaaa-4 1",
		"inv-2 aaaaaaaa-5 1")
	r.want("defects", r.defects, "conflict cremasco/quintano aaaaaaaa 3-3", "conflict cremasco/quintano aaaaaaaa 4-4",
		"conflict cremasco/quintano aaaaaaaa 5-5")
}
