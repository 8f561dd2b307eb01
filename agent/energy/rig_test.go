package energy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bordo/agent/energy"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// rig is an account with the clocks that it is told of.
type rig struct {
	t    testing.TB
	a    *energy.Account
	wall time.Time
	mono time.Duration
	boot string
	clk  contract.Clock

	intervals []energy.Interval
	segments  []energy.Segment
	rejected  []energy.Rejection
}

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

// newRig begins at a time of 2026-03-10 with a set clock.
func newRig(t testing.TB, clock string, o energy.Options) *rig {
	return &rig{t: t, a: energy.New(o), wall: at("2026-03-10 " + clock), mono: time.Hour, boot: "b1",
		clk: contract.ClockSync}
}

// wait lets time pass by all clocks.
func (r *rig) wait(d time.Duration) {
	r.wall, r.mono = r.wall.Add(d), r.mono+d
}

// read polls, and takes what is ready.
func (r *rig) read(readings ...drivers.Reading) {
	r.t.Helper()
	r.rejected = append(r.rejected, r.a.Observe(energy.Poll{Wall: r.wall, Mono: r.mono, Boot: r.boot, Clk: r.clk,
		Readings: readings})...)
	r.take()
}

func (r *rig) take() {
	r.t.Helper()
	if !r.a.Ready() {
		return
	}
	got := r.a.Take()
	if len(got.Intervals)+len(got.Segments) == 0 {
		r.t.Error("ready, and yet nothing to take")
	}
	r.intervals = append(r.intervals, got.Intervals...)
	r.segments = append(r.segments, got.Segments...)
	if r.a.Ready() {
		r.t.Error("ready again at once")
	}
}

// count waits, then reads the counter ac_energy.
func (r *rig) count(wait time.Duration, kwh float64) {
	r.t.Helper()
	r.wait(wait)
	r.read(good("ac_energy", kwh))
}

// run reads ac_energy n times, so much more each time; it returns the last value.
func (r *rig) run(n int, wait time.Duration, from, by float64) float64 {
	r.t.Helper()
	for range n {
		from += by
		r.count(wait, from)
	}
	return from
}

// restart goes on with a new account from the state of the old one.
func (r *rig) restart(o energy.Options) {
	r.t.Helper()
	st := r.a.State()
	r.a = energy.New(o)
	if err := r.a.Restore(st, false); err != nil {
		r.t.Fatal(err)
	}
}

// reboot is a restart of the machine: monotonic time begins anew.
func (r *rig) reboot(o energy.Options, boot string, off time.Duration) {
	r.t.Helper()
	r.restart(o)
	r.boot, r.mono = boot, 20*time.Second
	r.wall = r.wall.Add(off)
}

func good(point string, v float64) drivers.Reading {
	return drivers.Reading{Point: point, Value: catalogue.Number(v)}
}

func bad(point string) drivers.Reading { return drivers.Reading{Point: point, Quality: drivers.Bad} }

func num(p *float64) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%.6g", *p)
}

// line is an interval as the tests write it: start kwh from>to coverage samples method clk rev.
func line(iv energy.Interval) string {
	return fmt.Sprintf("%s %.6g %s>%s %.4g %d %s %s %d", time.UnixMilli(iv.Start).UTC().Format("02 15:04"), iv.KWh,
		num(iv.From), num(iv.To), iv.Coverage, iv.Samples, iv.Method, iv.Clk, iv.Rev)
}

// expect compares the intervals that came since the last call, and the segments as cause last>first.
func (r *rig) expect(intervals string, segments ...string) {
	r.t.Helper()
	var got, segs []string
	for _, iv := range r.intervals {
		got = append(got, line(iv))
	}
	for _, s := range r.segments {
		segs = append(segs, fmt.Sprintf("%s %s>%s", s.Cause, num(s.Last), num(&s.First)))
	}
	var want []string
	for l := range strings.Lines(intervals) {
		if l = strings.TrimSpace(l); l != "" {
			want = append(want, l)
		}
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		r.t.Errorf("intervals:\n%s\nwant:\n%s", g, w)
	}
	if g, w := strings.Join(segs, ", "), strings.Join(segments, ", "); g != w {
		r.t.Errorf("segments: %s; want %s", g, w)
	}
	r.intervals, r.segments = nil, nil
}

func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Fields(s)
}

func counted(v float64) []drivers.Reading { return []drivers.Reading{good("ac_energy", v)} }
