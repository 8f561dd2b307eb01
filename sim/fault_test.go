package sim

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestFaultWindows(t *testing.T) {
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		f    Fault
		on   []time.Duration
		off  []time.Duration
	}{
		{"always", Fault{Kind: Gone}, []time.Duration{0, time.Hour}, nil},
		{"from", Fault{Kind: Gone, At: time.Minute}, []time.Duration{time.Minute, time.Hour},
			[]time.Duration{0, time.Minute - 1}},
		{"once", Fault{Kind: Gone, At: time.Minute, For: time.Second},
			[]time.Duration{time.Minute, time.Minute + time.Second - 1},
			[]time.Duration{time.Minute + time.Second, time.Hour}},
		{"again", Fault{Kind: Gone, At: time.Minute, For: time.Second, Every: time.Hour},
			[]time.Duration{time.Minute, 5*time.Hour + time.Minute},
			[]time.Duration{0, 5 * time.Hour, time.Minute + time.Second}},
	} {
		fs := newFaults(1, "line", zero, []Fault{c.f})
		for _, d := range c.on {
			if _, _, on := fs.on(Gone, "", zero.Add(d)); !on {
				t.Errorf("%s: off at %s", c.name, d)
			}
		}
		for _, d := range c.off {
			if _, _, on := fs.on(Gone, "", zero.Add(d)); on {
				t.Errorf("%s: on at %s", c.name, d)
			}
		}
	}
}

// Who follows next from edge to edge sees every window that there is, drawn ones too.
func TestFaultEdgesMissNothing(t *testing.T) {
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := Fault{Kind: Gone, At: time.Hour, For: 7 * time.Second, Every: time.Minute, Odds: 0.3}
	fs := newFaults(5, "line", zero, []Fault{f})
	end := zero.Add(11 * time.Hour)

	byStep, was := 0, false
	for at := zero; at.Before(end); at = at.Add(100 * time.Millisecond) {
		_, _, on := fs.on(Gone, "", at)
		if on && !was {
			byStep++
		}
		was = on
	}
	byEdge, was := 0, false
	for at := zero; at.Before(end); {
		_, _, on := fs.on(Gone, "", at)
		if on && !was {
			byEdge++
		}
		was = on
		next := fs.next(at)
		if !next.After(at) {
			t.Fatalf("the edge after %s is %s", at, next)
		}
		at = next
	}
	if byStep != byEdge || byStep < 120 || byStep > 240 {
		t.Errorf("%d windows by steps, %d by edges; want the same, about 180 of 600", byStep, byEdge)
	}
}

func TestFaultChanceIsDrawnByNumber(t *testing.T) {
	now := time.Now()
	draw := func(seed uint64, order func(i int) int) (hits int, which map[int]bool) {
		fs := newFaults(seed, "line", now, []Fault{{Kind: Drop, Chance: 0.2}, {Kind: Late, Chance: 0.2, Device: "a"}})
		which = map[int]bool{}
		for i := range 1000 {
			n := order(i)
			if _, hit := fs.hit(Drop, "b", uint64(n), now); hit {
				hits++
				which[n] = true
			}
			if _, hit := fs.hit(Late, "b", uint64(n), now); hit {
				t.Fatal("a fault of device a struck device b")
			}
		}
		return hits, which
	}
	up, whichUp := draw(1, func(i int) int { return i })
	down, whichDown := draw(1, func(i int) int { return 999 - i })
	if up != down || up < 150 || up > 250 {
		t.Errorf("%d and %d hits of 1000, want the same, about 200", up, down)
	}
	for n := range whichUp {
		if !whichDown[n] {
			t.Fatalf("exchange %d was hit in one order only", n)
		}
	}
	_, whichOther := draw(2, func(i int) int { return i })
	if maps.Equal(whichUp, whichOther) {
		t.Error("two seeds gave the same draws")
	}
}

func TestFaultsCanBeCleared(t *testing.T) {
	fs := newFaults(1, "line", time.Now(), nil)
	a, b := fs.raise(Fault{Kind: Drop}, time.Now()), fs.raise(Fault{Kind: Gone}, time.Now())
	if fs.clear(a) != 1 || fs.clear(a) != 0 {
		t.Error("clear by number")
	}
	if all := fs.all(); len(all) != 1 || all[b].Kind != Gone {
		t.Errorf("left: %v", all)
	}
	if fs.clear(0) != 1 || len(fs.all()) != 0 {
		t.Error("clear all")
	}
}

func TestFaultCheck(t *testing.T) {
	for _, f := range []Fault{
		{Kind: "dropp"}, {Kind: BrokerGone}, {Kind: Drop, Chance: 1.5}, {Kind: Drop, Odds: -1},
		{Kind: Gone, Every: time.Minute}, {Kind: Gone, Every: time.Minute, For: time.Hour}, {Kind: Gone, Odds: 0.5},
		{Kind: Gone, At: -1}, {Kind: Exception, Code: 256},
	} {
		if err := f.check("line"); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}

// The table of faults in the README has every kind, and nothing else.
func TestReadmeListsEveryFault(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), "| place | faults |")
	table, _, ends := strings.Cut(rest, "\n\n")
	if !begins || !ends {
		t.Fatal("no table of faults")
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(table, -1) {
		listed[m[1]] = true
	}
	for _, key := range []string{"by", "code", "point"} { // keys, in an explanation
		delete(listed, key)
	}
	for kind := range where {
		if !listed[string(kind)] {
			t.Errorf("%s is not listed", kind)
		}
		delete(listed, string(kind))
	}
	if len(listed) > 0 {
		t.Errorf("listed and unknown: %v", listed)
	}
}
