package modbus

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bordo/drivers"
)

// spanItem returns an item that needs the span in one reply.
func spanItem(text string) *item {
	s, err := parseSpan(text)
	if err != nil {
		panic(err)
	}
	return &item{Point: &Point{Key: text, Field: Field{At: Address{s.Table, s.First}, Type: U16, Length: s.Count}}}
}

func spansOf(texts ...string) []Span {
	var out []Span
	for _, t := range texts {
		s, err := parseSpan(t)
		if err != nil {
			panic(err)
		}
		out = append(out, s)
	}
	return out
}

func showPlan(blocks []block) string {
	var out []string
	for _, b := range blocks {
		out = append(out, fmt.Sprintf("%d+%d", b.First, b.Count))
	}
	return strings.Join(out, " ")
}

var cheapBridge = cost{request: time.Second, register: time.Millisecond}

func TestPlan(t *testing.T) {
	all := spansOf("holding:0-65535", "input:0-65535", "coil:0-65535")
	for _, c := range []struct {
		name  string
		items string
		rules rules
		want  string
	}{
		{"neighbours", "holding:10-11 holding:12 holding:13-16", rules{}, "10+7"},
		{"order does not matter", "holding:13-16 holding:10-11 holding:12", rules{}, "10+7"},
		{"a gap that is not known to be readable", "holding:10 holding:12", rules{}, "10+1 12+1"},
		{"a gap that is known to be readable", "holding:10 holding:12", rules{readable: all}, "10+3"},
		{"a gap that is partly readable", "holding:10 holding:14", rules{readable: spansOf("holding:11-12")},
			"10+1 14+1"},
		{"a gap covered by two spans", "holding:10 holding:14",
			rules{readable: spansOf("holding:11-12", "holding:13")}, "10+5"},
		{"a gap with a hole", "holding:10 holding:14", rules{readable: all, holes: spansOf("holding:12")}, "10+1 14+1"},
		{"a gap that costs more than a request", "holding:10 holding:100",
			rules{readable: all, cost: cost{request: 88 * time.Millisecond, register: time.Millisecond}}, "10+1 100+1"},
		{"a gap that costs as much as a request", "holding:10 holding:100",
			rules{readable: all, cost: cost{request: 89 * time.Millisecond, register: time.Millisecond}}, "10+91"},
		{"different tables", "holding:10 input:11", rules{readable: all}, "11+1 10+1"},
		{"the limit", "holding:0-59 holding:60 holding:61", rules{Limits: Limits{Registers: 61}}, "0+61 61+1"},
		{"bits have their own limit", "coil:0-99 coil:100-199", rules{Limits: Limits{Registers: 10, Bits: 150}},
			"0+100 100+100"},
		{"groups of 45: Growatt", "input:40-44 input:45-46", rules{Limits: Limits{Align: 45}}, "40+5 45+2"},
		{"even only: Eastron", "holding:3 holding:5-6", rules{Limits: Limits{Even: true}}, "2+6"},
		{"even only, at the limit", "holding:0-59 holding:60-61", rules{Limits: Limits{Registers: 60, Even: true}},
			"0+60 60+2"},
		{"overlapping: points that share a scale factor", "holding:10-14 holding:12-14 holding:13-15", rules{}, "10+6"},
		{"the end of the table", "holding:65534 holding:65535", rules{}, "65534+2"},
		{"nothing", "", rules{}, ""},
	} {
		if c.rules.Registers == 0 {
			c.rules.Registers = 125
		}
		if c.rules.Bits == 0 {
			c.rules.Bits = 2000
		}
		if c.rules.cost == (cost{}) {
			c.rules.cost = cheapBridge
		}
		var items []*item
		for _, text := range strings.Fields(c.items) {
			items = append(items, spanItem(text))
		}
		if got := showPlan(plan(items, c.rules)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPlanRespectsCuts(t *testing.T) {
	a, b, c := spanItem("holding:1"), spanItem("holding:2"), spanItem("holding:3")
	r := rules{Limits: Limits{Registers: 125}, cuts: map[*item]bool{b: true}, cost: cheapBridge}
	if got := showPlan(plan([]*item{a, b, c}, r)); got != "1+1 2+2" {
		t.Errorf("planned %s", got)
	}
}

// The costs depend on the line: a gap that is read over at 115200 baud is not at 2400.
func TestCostDependsOnTheLine(t *testing.T) {
	m := &Timing{ReplyUsual: 20 * time.Millisecond}
	for _, c := range []struct {
		line   drivers.Line
		bridge int // widest gap that is cheaper than a request
	}{
		{drivers.Line{Baud: 2400, CharLen: 10}, 12},
		{drivers.Line{Baud: 9600, CharLen: 10}, 19},
		{drivers.Line{Baud: 115200, CharLen: 10}, 141},
	} {
		k := costOn(newBus(c.line), m)
		if got := int(k.request / k.register); got != c.bridge {
			t.Errorf("at %d baud gaps of up to %d registers are read over, want %d", c.line.Baud, got, c.bridge)
		}
	}
	if k := costOn(newBus(drivers.Line{Stream: true}), m); k.register != 0 {
		t.Errorf("on TCP a register costs %v", k.register)
	}
}

// For any items: each is in exactly one block, complete, and no block breaks a rule that its items could
// keep.
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rules{
			Limits: Limits{Registers: rapid.IntRange(8, 125).Draw(t, "limit"), Bits: 2000,
				Align: rapid.SampledFrom([]int{0, 45, 100}).Draw(t, "align"), Even: rapid.Bool().Draw(t, "even")},
			readable: spansOf("holding:0-400"),
			cost:     cost{request: time.Duration(rapid.IntRange(1, 40).Draw(t, "request")), register: 1},
		}
		for range rapid.IntRange(0, 4).Draw(t, "holes") {
			r.holes = append(r.holes, Span{Holding, uint16(rapid.IntRange(0, 500).Draw(t, "hole")),
				rapid.IntRange(1, 5).Draw(t, "size")})
		}
		var items []*item
		for i := range rapid.IntRange(1, 40).Draw(t, "n") {
			it := spanItem("holding:0")
			it.Key = fmt.Sprint(i)
			it.At.Number, it.Length = uint16(rapid.IntRange(0, 500).Draw(t, "at")), rapid.IntRange(1, 4).Draw(t, "regs")
			items = append(items, it)
		}
		blocks := plan(items, r)
		seen := map[*item]int{}
		for _, b := range blocks {
			alone := len(b.items) == 1
			for _, it := range b.items {
				if seen[it]++; !b.contains(it.Span()) {
					t.Fatalf("item %v is not in its block %v", it.Span(), b.Span)
				}
			}
			if !alone && !r.allows(b.Span) {
				t.Fatalf("block %v of %d items is not allowed", b.Span, len(b.items))
			}
			if r.Even && (b.First&1 == 1 || b.Count&1 == 1) {
				t.Fatalf("block %v is not even", b.Span)
			}
			for a := int(b.First); a < b.End(); a++ {
				one := Span{Holding, uint16(a), 1}
				used := slices.ContainsFunc(b.items, func(it *item) bool { return r.toEven(it.Span()).Meets(one) })
				if !used && (slices.ContainsFunc(r.holes, one.Meets) || a > 400) {
					t.Fatalf("block %v reads over %v", b.Span, one)
				}
			}
		}
		for _, it := range items {
			if seen[it] != 1 {
				t.Fatalf("item %v is in %d blocks", it.Span(), seen[it])
			}
		}
	})
}
