package energy_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bordo/agent/energy"
	"bordo/contract"
	"bordo/drivers"
)

const (
	quarter = int64(15 * time.Minute / time.Millisecond)
	rated   = 20.0 // kW; the plant never has more
)

// world is a plant with a counter, a box that reads it, and everything that can happen to both. Time is real time in
// milliseconds; the clocks of the box are made from it.
type world struct {
	*rapid.T
	a     *energy.Account
	o     energy.Options
	now   int64
	mwh   float64 // what the plant has delivered
	kw    float64
	step  int64 // of the counter, mWh
	shift int64 // of the counter against the plant, since it was set back

	boot   string
	booted int64
	wrong  int64 // of the wall clock, ms
	clk    contract.Clock

	polls []poll // that were answered with the truth
	saved json.RawMessage
	kept  int // polls at saved
	got   energy.Taken
	now0  int64
}

type poll struct{ at, mwh int64 }

func newWorld(t *rapid.T) *world {
	w := &world{T: t, boot: "b0", clk: contract.ClockSync}
	w.o = energy.Options{Every: rapid.SampledFrom([]time.Duration{s10, time.Minute, 5 * time.Minute}).Draw(t, "every"),
		RatedKW: rated}
	w.step = rapid.SampledFrom([]int64{100, 10_000, 1_000_000}).Draw(t, "step")
	w.now = at("2026-03-10 00:00:00").UnixMilli() + rapid.Int64Range(0, quarter).Draw(t, "begin")
	w.now0 = w.now
	w.booted = w.now - 60_000
	w.mwh = float64(rapid.Int64Range(100, 80_000).Draw(t, "counter")) * perKWh
	w.kw = rapid.Float64Range(0, rated).Draw(t, "power")
	w.a = energy.New(w.o)
	return w
}

const perKWh = 1e6

// pass lets real time pass, with a power that changes now and then.
func (w *world) pass(d time.Duration) {
	ms := d.Milliseconds()
	w.now += ms
	w.mwh += w.kw * perKWh * float64(ms) / 3.6e6
	if rapid.IntRange(0, 9).Draw(w.T, "change") == 0 {
		w.kw = rapid.SampledFrom([]float64{0, 0.5, 3, 11.7, rated}).Draw(w.T, "kw")
	}
}

// counter is what the counter shows.
func (w *world) counter() int64 { return (int64(w.mwh) - w.shift) / w.step * w.step }

func (w *world) observe(kwh float64) {
	w.a.Observe(energy.Poll{
		Wall: time.UnixMilli(w.now + w.wrong), Mono: time.Duration(w.now-w.booted) * time.Millisecond, Boot: w.boot,
		Clk:      w.clk,
		Readings: []drivers.Reading{good("ac_energy", kwh)},
	})
	if len(w.polls)%32 == 0 {
		if n := len(w.a.State()); n > 30_000 {
			w.Fatalf("%d bytes of state", n)
		}
	}
	w.take()
}

func (w *world) take() {
	if w.a.Ready() {
		w.saved, w.kept = w.a.State(), len(w.polls)
		got := w.a.Take()
		w.got.Intervals = append(w.got.Intervals, got.Intervals...)
		w.got.Segments = append(w.got.Segments, got.Segments...)
	}
}

func (w *world) read() {
	c := w.counter()
	w.polls = append(w.polls, poll{w.now, c})
	w.observe(float64(c) / perKWh)
}

// The things that happen.

func (w *world) steady() {
	n := rapid.IntRange(1, 40).Draw(w.T, "polls")
	for range n {
		w.pass(w.o.Every)
		w.read()
	}
}

func (w *world) outage() {
	w.pass(time.Duration(rapid.Int64Range(1, 20*3600).Draw(w.T, "outage")) * time.Second)
	w.read()
}

func (w *world) glitch() {
	w.pass(w.o.Every)
	c := float64(w.counter()) / perKWh
	// Never in reach: that a reading a little too high is wrong cannot be seen.
	w.observe(rapid.SampledFrom([]float64{0, c / 2, c + 2e6, c * 1000, -1, 4294000}).Draw(w.T, "glitch"))
}

func (w *world) restart() {
	st := w.a.State()
	w.a = energy.New(w.o)
	if err := w.a.Restore(st, false); err != nil {
		w.Fatal(err)
	}
}

// cut is a power cut: what was not saved is forgotten, and what was taken since is taken again.
func (w *world) cut() {
	if w.saved == nil {
		return
	}
	w.a = energy.New(w.o)
	if err := w.a.Restore(w.saved, false); err != nil {
		w.Fatal(err)
	}
	w.polls = w.polls[:w.kept]
	off := rapid.Int64Range(10, 7200).Draw(w.T, "off")
	w.pass(time.Duration(off) * time.Second)
	w.boot, w.booted = w.boot+"'", w.now-30_000
	w.take()
	w.read()
}

// setBack sets the counter back, always: that a counter was set forward by as much as it may have counted cannot be seen.
func (w *world) setBack() {
	w.shift = int64(w.mwh) - rapid.Int64Range(0, w.counter()/2).Draw(w.T, "restart at")
}

// unique drops what came twice with the same content, as a central system does.
func (w *world) unique() []energy.Interval {
	var out []energy.Interval
	seen := map[string]bool{}
	for _, iv := range w.got.Intervals {
		if b := text(w.T, iv); !seen[b] {
			seen[b] = true
			out = append(out, iv)
		}
	}
	return out
}

func mwh(kwh float64) int64 { return int64(math.Round(kwh * perKWh)) }

// checkEach holds of every interval alone, and of the order. squeezed is by how much longer than a quarter one can last.
func (w *world) checkEach(all []energy.Interval, squeezed time.Duration) {
	rev, last := map[int64]int{}, map[int64]int64{}
	for _, iv := range all {
		if iv.Start%quarter != 0 || iv.KWh < 0 || iv.Coverage < 0 || iv.Coverage > 1 || iv.Samples < 0 || iv.Rev < 0 {
			w.Fatalf("%+v", iv)
		}
		if limit := rated*1.1*(15*time.Minute+squeezed).Hours() + float64(w.step)/perKWh; iv.KWh > limit+1e-6 {
			w.Fatalf("%s is more than %v", line(iv), limit)
		}
		if r, ok := rev[iv.Start]; ok && iv.Rev <= r {
			w.Fatalf("%s comes again with revision %d", line(iv), iv.Rev)
		}
		rev[iv.Start] = iv.Rev
		if s, ok := last[iv.Segment]; ok && iv.Start <= s {
			w.Fatalf("%s is not later than the one before in its segment", line(iv))
		}
		last[iv.Segment] = iv.Start
		if iv.From != nil && iv.To != nil && mwh(*iv.To)-mwh(*iv.From) != mwh(iv.KWh) {
			w.Fatalf("%s does not add up", line(iv))
		}
	}
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if a.Segment == b.Segment && a.To != nil && b.From != nil && *a.To != *b.From {
			w.Fatalf("%s and %s do not join", line(a), line(b))
		}
	}
}

// checkSum holds that the intervals add up to what the segments say.
func (w *world) checkSum(all []energy.Interval) {
	if len(all) == 0 {
		return
	}
	end := all[len(all)-1]
	sum, want := int64(0), mwh(*end.To)
	for _, iv := range all {
		sum += mwh(iv.KWh)
	}
	segs := slices.CompactFunc(slices.Clone(w.got.Segments),
		func(a, b energy.Segment) bool { return a.Segment == b.Segment })
	for _, s := range segs {
		if s.Segment > end.Segment {
			break
		}
		if s.Last != nil {
			want += mwh(*s.Last)
		}
		want -= mwh(s.First)
		if s.Cause == energy.CauseRollover {
			w.Fatalf("a rollover was guessed: %+v", s)
		}
	}
	if sum != want {
		w.Fatalf("intervals add up to %d mWh, segments to %d: %+v", sum, want, segs)
	}
}

func (w *world) repeat(events ...func()) {
	for range rapid.IntRange(3, 25).Draw(w.T, "events") {
		rapid.SampledFrom(events).Draw(w.T, "event")()
	}
	w.steady()
}

// Polls and outages alone: energy, coverage and samples are those that can be counted from outside.
func TestPropertyExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.read()
		w.repeat(w.steady, w.outage)
		all := w.unique()
		w.checkEach(all, 0)
		w.checkSum(all)
		if len(w.got.Segments) != 1 {
			t.Fatalf("%+v", w.got.Segments)
		}
		gap := max(3*w.o.Every, time.Minute).Milliseconds()
		for i, iv := range all {
			if i > 0 && iv.Start != all[i-1].Start+quarter {
				t.Fatalf("%s follows %s", line(iv), line(all[i-1]))
			}
			seen, samples := int64(0), 0
			for i, p := range w.polls {
				if p.at >= iv.Start && p.at < iv.Start+quarter {
					samples++
				}
				if i > 0 && p.at-w.polls[i-1].at <= gap {
					seen += max(0, min(p.at, iv.Start+quarter)-max(w.polls[i-1].at, iv.Start))
				}
			}
			if want := float64(seen) / float64(quarter); iv.Samples != samples || iv.Coverage > want+1e-9 ||
				iv.Coverage < want-0.0002 {
				t.Fatalf("%s: %d samples, coverage %v", line(iv), samples, want)
			}
			if i > 0 && mwh(*iv.From) != w.edge(iv.Start) {
				t.Fatalf("%s begins at %d mWh", line(iv), w.edge(iv.Start))
			}
		}
	})
}

// edge is the counter at a time, linear between the polls around it.
func (w *world) edge(t int64) int64 {
	i := slices.IndexFunc(w.polls, func(p poll) bool { return p.at >= t })
	a, b := w.polls[i-1], w.polls[i]
	return a.mwh + int64(math.Floor(float64(b.mwh-a.mwh)*float64(t-a.at)/float64(b.at-a.at)+1e-6))
}

// Glitches, restarts and power cuts: one segment, everything adds up, and no edge is further from the truth than the
// readings around it.
func TestPropertyRobust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.read()
		w.steady()
		w.repeat(w.steady, w.outage, w.glitch, w.restart, w.cut)
		all := w.unique()
		w.checkEach(all, 0)
		w.checkSum(all)
		if segs := slices.CompactFunc(w.got.Segments,
			func(a, b energy.Segment) bool { return a.Segment == b.Segment }); len(segs) != 1 {
			t.Fatalf("%+v", segs)
		}
		for i, iv := range all {
			if i == 0 {
				continue
			}
			i := slices.IndexFunc(w.polls, func(p poll) bool { return p.at > iv.Start })
			low, high := w.polls[max(0, i-4)].mwh, w.polls[min(len(w.polls)-1, i+4)].mwh
			if from := mwh(*iv.From); from < low || from > high {
				t.Fatalf("%s does not begin between %d and %d", line(iv), low, high)
			}
		}
	})
}

// Counters that are set back, at any time: nothing is negative or doubled, and what is missing stands in the segments.
func TestPropertyResets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.read()
		w.repeat(w.steady, w.outage, w.glitch, w.restart, w.setBack)
		all := w.unique()
		w.checkEach(all, 0)
		w.checkSum(all)
	})
}

// Clocks that are put, lost, found and started anew, in any order.
func TestPropertyClocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.o.Hold = rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "hold")
		w.a = energy.New(w.o)
		w.read()
		w.repeat(w.steady, w.steady, w.steady, w.outage, w.restart, w.setBack,
			func() {
				w.wrong += rapid.SampledFrom([]int64{300, -900, 5_000, -5_000, 400_000, -400_000, 3_600_000, -3_600_000,
					1e10, -1e10, 1e11, -1e12}).Draw(t, "put")
			},
			func() { w.wrong = 0 },
			func() { w.clk = contract.ClockFree },
			func() { w.clk, w.wrong = contract.ClockSync, 0 },
			func() {
				w.restart()
				w.pass(time.Duration(rapid.Int64Range(1, 100_000).Draw(t, "off")) * time.Second)
				w.boot, w.booted = w.boot+"'", w.now
				w.clk, w.wrong = contract.ClockFree, w.now0-w.now
			})
		w.wrong = 0
		w.clk = contract.ClockSync
		w.steady()
		all := w.got.Intervals
		w.checkEach(all, 15*time.Minute)
		sum := int64(0)
		for _, iv := range all {
			sum += mwh(iv.KWh)
		}
		// Each counter may be a step ahead of the plant at its end.
		if delivered := int64(w.mwh) - w.polls[0].mwh + w.step*int64(1+len(w.got.Segments)); sum > delivered {
			t.Fatalf("booked %d mWh of %d", sum, delivered)
		}
		w.checkSum(all)
	})
}

// Anything at all in the readings: what comes out is possible, and what is remembered stays small.
func TestPropertyAnything(t *testing.T) {
	point := rapid.SampledFrom([]string{"ac_energy", "import_energy", "export_energy", "ac_power", "ac_power"})
	value := rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 30_000), rapid.Float64Range(1000, 1001),
		rapid.Just(1000.5), rapid.Just(0.0))
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.o.Hold = time.Hour
		w.o.Points = []string{"import_energy"}
		w.a = energy.New(w.o)
		steady := rapid.Float64Range(-rated*1000, rated*1000).Draw(t, "watts")
		for range rapid.IntRange(1, 60).Draw(t, "stretches") {
			w.clk = rapid.SampledFrom([]contract.Clock{contract.ClockSync, contract.ClockSync, contract.ClockFree,
				contract.ClockEst, "?"}).Draw(t, "clk")
			w.wrong = rapid.SampledFrom([]int64{0, 0, 0, 5_000, -4_000_000, 1e13}).Draw(t, "wrong")
			readings := []drivers.Reading{good("ac_power", steady)}
			for range rapid.IntRange(0, 3).Draw(t, "readings") {
				readings = append(readings, good(point.Draw(t, "point"), value.Draw(t, "value")))
			}
			for range rapid.IntRange(1, 60).Draw(t, "polls") {
				w.pass(rapid.SampledFrom([]time.Duration{0, time.Millisecond, w.o.Every, w.o.Every, w.o.Every,
					time.Hour}).Draw(t, "dt"))
				w.a.Observe(energy.Poll{Wall: time.UnixMilli(w.now + w.wrong),
					Mono: time.Duration(w.now-w.booted) * time.Millisecond, Boot: w.boot, Clk: w.clk,
					Readings: readings})
				if rapid.IntRange(0, 5).Draw(t, "taken") > 0 {
					w.take()
				}
			}
			if n := len(w.a.State()); n > 90_000 {
				t.Fatalf("%d bytes of state", n)
			}
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				w.restart()
			}
		}
		for _, p := range []string{"ac_energy", "import_energy", "export_energy"} {
			w.checkEach(slices.DeleteFunc(slices.Clone(w.got.Intervals),
				func(iv energy.Interval) bool { return iv.Point != p }), 15*time.Minute)
		}
	})
}
