package clock_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bordo/agent/clock"
	"bordo/agent/record"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// reporter is what tests and properties have in common.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// box is a machine with its clocks. Truth is real time.
type box struct {
	t      reporter
	k      *clock.Keeper
	o      clock.Options
	truth  time.Time
	boot   string
	mono   time.Duration
	wrong  time.Duration // of the wall clock
	synced bool
	sets   []clock.Set
}

func at(s string) time.Time {
	t, err := time.Parse(time.DateTime, s)
	if err != nil {
		panic(err)
	}
	return t
}

func newBox(t reporter, o clock.Options) *box {
	return &box{t: t, k: clock.New(o), o: o, truth: at("2026-03-10 12:00:00"), boot: "b1", mono: 20 * time.Second}
}

func (b *box) wait(d time.Duration) { b.truth, b.mono = b.truth.Add(d), b.mono+d }

func (b *box) read() clock.Stamp {
	s, set := b.k.Observe(clock.Reading{Wall: b.truth.Add(b.wrong), Mono: b.mono, Boot: b.boot, Synced: b.synced})
	if set != nil {
		b.sets = append(b.sets, *set)
	}
	return s
}

// expect reads and compares the told time, as its distance from the truth.
func (b *box) expect(off time.Duration, clk contract.Clock) {
	b.t.Helper()
	if s := b.read(); s.Clk != clk || s.Time.Sub(b.truth) != off {
		b.t.Errorf("told %v as %s, %v from the truth; want %v as %s", s.Time, s.Clk, s.Time.Sub(b.truth), off, clk)
	}
}

// expectSets compares the sets since the last call: offset, quality before, quality now.
func (b *box) expectSets(want ...[3]any) {
	b.t.Helper()
	var got [][3]any
	for _, s := range b.sets {
		if s.Boot != b.boot {
			b.t.Errorf("set of boot %s", s.Boot)
		}
		got = append(got, [3]any{s.Offset, s.Was, s.Clk})
	}
	if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
		b.t.Errorf("sets: %v, want %v", got, want)
	}
	b.sets = nil
}

// restart is a restart of the agent, or of the machine if boot is another.
func (b *box) restart(boot string) {
	b.t.Helper()
	if st, due := b.k.Save(b.mono); due {
		raw, err := json.Marshal(st)
		if err != nil {
			b.t.Fatal(err)
		}
		b.o.State = clock.State{}
		if err := json.Unmarshal(raw, &b.o.State); err != nil {
			b.t.Fatal(err)
		}
	}
	b.k = clock.New(b.o)
	if boot != b.boot {
		b.boot, b.mono = boot, 20*time.Second
	}
}

const year = 365 * 24 * time.Hour

// A box without a clock of its own wakes up in the past, or in the future, and is put right.
func TestFirstSynchronisation(t *testing.T) {
	for _, wrong := range []time.Duration{-56 * year, -year, -6 * time.Hour, -time.Minute, 0, 300 * time.Millisecond,
		time.Hour, 10 * year, 54 * year} {
		b := newBox(t, clock.Options{})
		b.wrong = wrong
		for range 30 {
			b.expect(wrong, contract.ClockFree)
			b.wait(time.Second)
		}
		b.expectSets()
		b.wrong, b.synced = 0, true
		b.expect(0, contract.ClockSync)
		b.expectSets([3]any{-wrong, contract.ClockFree, contract.ClockSync})
		b.wait(time.Hour)
		b.expect(0, contract.ClockSync)
		b.expectSets()
	}
}

// Many daemons put the clock first and say that it is right some seconds later: that is one set, not two.
func TestPutFirstAndVouchedForLater(t *testing.T) {
	b := newBox(t, clock.Options{})
	b.wrong = -6 * time.Hour
	b.expect(-6*time.Hour, contract.ClockFree)
	b.wait(time.Minute)
	b.wrong = 0
	for range 9 * 60 {
		b.expect(-6*time.Hour, contract.ClockFree)
		b.wait(time.Second)
	}
	b.synced = true
	b.expect(0, contract.ClockSync)
	b.expectSets([3]any{6 * time.Hour, contract.ClockFree, contract.ClockSync})
}

// Somebody puts the clock by hand where there is no time server: after ten minutes it is followed, and still not trusted.
func TestPutByHand(t *testing.T) {
	b := newBox(t, clock.Options{})
	b.wrong = -6 * time.Hour
	b.expect(-6*time.Hour, contract.ClockFree)
	for _, wrong := range []time.Duration{time.Hour, 2 * time.Minute, 0} { // at the third try
		b.wait(time.Minute)
		b.wrong = wrong
		b.expect(-6*time.Hour, contract.ClockFree)
	}
	b.wait(10*time.Minute - time.Second)
	b.expect(-6*time.Hour, contract.ClockFree)
	b.wait(time.Second)
	b.expect(0, contract.ClockFree)
	b.expectSets([3]any{6 * time.Hour, contract.ClockFree, contract.ClockFree})
	b.wait(time.Hour)
	b.synced = true
	b.expect(0, contract.ClockSync)
	b.expectSets([3]any{time.Duration(0), contract.ClockFree, contract.ClockSync})
}

// A clock that is set is put, by years and both ways: it is followed as long as the machine vouches for it.
func TestStepsOfASetClock(t *testing.T) {
	b := newBox(t, clock.Options{})
	b.synced = true
	b.expect(0, contract.ClockSync)
	b.expectSets([3]any{time.Duration(0), contract.ClockFree, contract.ClockSync})
	before := time.Duration(0)
	for _, wrong := range []time.Duration{10 * year, 0, -10 * year, 0, 3 * time.Second, -time.Hour} {
		b.wait(time.Minute)
		b.wrong = wrong
		b.expect(wrong, contract.ClockSync)
		b.expectSets([3]any{wrong - before, contract.ClockSync, contract.ClockSync})
		before = wrong
	}
	// The last trusted time is a bound for starts of the machine, not for a clock that is set.
	late := newBox(t, clock.Options{State: clock.State{Trusted: at("2026-03-10 11:00:00"), Boot: "b0"}})
	late.synced = true
	late.expect(0, contract.ClockSync)
	late.wrong = -10 * year
	late.expect(-10*year, contract.ClockSync)
	// Less than a second is a correction, however often it comes.
	for range 10 {
		b.wait(time.Minute)
		b.wrong += 900 * time.Millisecond
		b.expect(b.wrong, contract.ClockSync)
	}
	b.expectSets()
}

// The time servers cannot be reached any more: trusted for a day, and then not; a clock that somebody puts meanwhile is not
// followed.
func TestHoldover(t *testing.T) {
	b := newBox(t, clock.Options{})
	b.synced = true
	b.expect(0, contract.ClockSync)
	b.sets = nil
	b.synced = false
	b.wait(12 * time.Hour)
	b.wrong = time.Hour
	b.expect(0, contract.ClockSync)
	b.wait(9 * time.Minute)
	b.wrong = 0
	b.expect(0, contract.ClockSync)
	b.wait(11*time.Hour + 51*time.Minute)
	for range 4 { // slewed by somebody who does not say so
		b.expect(b.wrong, contract.ClockSync)
		b.wrong += 700 * time.Millisecond
	}
	b.wait(time.Second)
	b.expect(b.wrong, contract.ClockFree)
	b.expectSets()
	b.wait(48 * time.Hour)
	b.synced = true
	b.expect(b.wrong, contract.ClockSync)
	b.expectSets([3]any{time.Duration(0), contract.ClockFree, contract.ClockSync})

	// The agent is restarted in the meantime: it knows that the same clock was trusted.
	b = newBox(t, clock.Options{})
	b.synced = true
	b.expect(0, contract.ClockSync)
	b.sets, b.synced = nil, false
	b.wait(10 * time.Hour)
	b.restart("b1")
	b.expect(0, contract.ClockSync)
	b.wait(14*time.Hour + time.Second)
	b.expect(0, contract.ClockFree)
	// And when the clock was put while the agent was away, it sees that, too.
	b = newBox(t, clock.Options{})
	b.wrong = -6 * time.Hour
	b.expect(-6*time.Hour, contract.ClockFree)
	b.restart("b1")
	b.wait(time.Minute)
	b.wrong, b.synced = 0, true
	b.expect(0, contract.ClockSync)
	b.expectSets([3]any{6 * time.Hour, contract.ClockFree, contract.ClockSync})
}

// Monotonic time that begins anew under the name of the same start, as in a container or a test, is another start.
func TestMonotonicTimeBeginsAnew(t *testing.T) {
	b := newBox(t, clock.Options{})
	b.wait(5 * time.Hour)
	b.wrong = -time.Minute
	b.expect(-time.Minute, contract.ClockFree)
	b.restart("b1")
	b.mono = time.Hour
	b.expect(-time.Minute, contract.ClockFree)
	b.synced, b.wrong = true, 0
	b.expect(0, contract.ClockSync)
	b.expectSets([3]any{time.Minute, contract.ClockFree, contract.ClockSync})
}

// After a start of the machine no time is earlier than the last trusted one.
func TestLastTrustedTime(t *testing.T) {
	b := newBox(t, clock.Options{})
	b.synced = true
	b.expect(0, contract.ClockSync)
	b.wait(3 * time.Hour)
	b.expect(0, contract.ClockSync)
	b.restart("b2")
	b.wait(5 * time.Hour)
	b.mono -= 5 * time.Hour // off
	b.synced, b.wrong, b.sets = false, -56*year, nil
	// Twenty seconds after the start: as if it had been off for no time.
	b.expect(-5*time.Hour, contract.ClockFree)
	b.wait(30 * time.Minute)
	b.expect(-5*time.Hour, contract.ClockFree)
	b.wrong, b.synced = 0, true
	b.expect(0, contract.ClockSync)
	b.expectSets([3]any{5 * time.Hour, contract.ClockFree, contract.ClockSync})
	if got := b.k.Floor(); !got.Equal(b.truth) {
		t.Errorf("floor %v", got)
	}
	// A clock that is ahead of it may be right.
	b.restart("b3")
	b.wait(5 * time.Hour)
	b.mono -= 5 * time.Hour
	b.synced, b.wrong = false, -time.Hour
	b.expect(-time.Hour, contract.ClockFree)
	// Nothing is earlier than the program.
	b = newBox(t, clock.Options{NotBefore: at("2026-01-01 00:00:00")})
	b.wrong = -56 * year
	if s := b.read(); s.Clk != contract.ClockFree || !s.Time.Equal(at("2026-01-01 00:00:00")) {
		t.Errorf("%v", s)
	}
	b.wait(24 * time.Hour)
	b.synced = true // a battery-backed clock without its battery
	if s := b.read(); s.Clk != contract.ClockFree || !s.Time.Equal(at("2026-01-02 00:00:00")) {
		t.Errorf("%v", s)
	}
}

// The last trusted time was wrong, years ahead: a machine that vouches for another time is believed after an hour, unless
// it vouches for any time.
func TestLastTrustedTimeIsWrong(t *testing.T) {
	for _, steadfast := range []bool{false, true} {
		ahead := at("2036-03-10 12:00:00")
		b := newBox(t, clock.Options{State: clock.State{Trusted: ahead}, NotBefore: at("2026-01-01 00:00:00"),
			Steadfast: steadfast})
		b.synced = true
		told := ahead.Sub(b.truth)
		b.expect(told, contract.ClockFree)
		b.wait(time.Hour - time.Second)
		b.expect(told, contract.ClockFree)
		b.wait(time.Second)
		if steadfast {
			b.expect(told, contract.ClockFree)
			b.wait(100 * time.Hour)
			b.expect(told, contract.ClockFree)
			b.expectSets()
			continue
		}
		b.expect(0, contract.ClockSync)
		b.expectSets([3]any{-told, contract.ClockFree, contract.ClockSync})
		if got := b.k.Floor(); !got.Equal(b.truth) {
			t.Errorf("floor %v", got)
		}
		b.wait(time.Minute)
		b.expect(0, contract.ClockSync)
	}
}

func TestSaving(t *testing.T) {
	b := newBox(t, clock.Options{})
	if _, due := b.k.Save(b.mono); due {
		t.Error("nothing is known yet")
	}
	saves := 0
	run := func(d time.Duration) {
		for end := b.mono + d; b.mono < end; b.wait(time.Second) {
			b.read()
			if st, due := b.k.Save(b.mono); due {
				saves++
				if b.synced && !st.Trusted.Equal(b.truth) {
					t.Errorf("%+v at %v", st, b.truth)
				}
			}
		}
	}
	b.wrong = -time.Hour
	run(2 * time.Hour) // once, so that the offset is known after a restart of the agent
	if saves != 1 {
		t.Errorf("%d saves without a set clock", saves)
	}
	b.wrong, b.synced, saves = 0, true, 0
	run(24 * time.Hour)
	if saves != 24*6 {
		t.Errorf("%d saves in a day", saves)
	}
}

func TestRestamp(t *testing.T) {
	b := newBox(t, clock.Options{})
	b.wrong = -6 * time.Hour
	stamp := b.read()
	sample := record.Sample{Dev: "inv-1", TS: stamp.Time.UnixMilli(), Mono: b.mono.Milliseconds(), Boot: "b1",
		Clk:      stamp.Clk,
		Readings: []drivers.Reading{{Point: "ac_power", Value: catalogue.Number(5)}}}
	truth := b.truth.UnixMilli()
	b.wait(42 * time.Second)
	b.wrong, b.synced = 0, true
	b.read()
	set := b.sets[0]
	if got, want := set.Data(), (map[string]any{"boot": "b1", "offset": int64(21_600_000)}); !reflect.DeepEqual(got,
		want) {
		t.Errorf("%v", got)
	}
	row := record.AppendSample(nil, &sample)
	if ts, done, err := set.Restamp(row); ts != truth || !done || err != nil {
		t.Errorf("%d instead of %d, %t, %v", ts, truth, done, err)
	}
	got, err := record.DecodeSample(row)
	want := sample
	want.TS, want.Clk = truth, contract.ClockEst
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if sent := sample.TS + set.Offset.Milliseconds(); sent != truth {
		t.Errorf("who corrects by the event gets %d instead of %d", sent, truth)
	}
	event := record.AppendEvent(nil, &record.Event{Dev: "inv-1", Type: "bordo.door.opened.v1", TS: sample.TS,
		Mono: sample.Mono, Boot: "b1", Clk: contract.ClockFree, Data: []byte("{}")})
	if ts, done, err := set.Restamp(event); ts != truth || !done || err != nil {
		t.Errorf("event: %d, %t, %v", ts, done, err)
	}
	for name, change := range map[string]func(*record.Sample, *clock.Set){
		"another boot":      func(s *record.Sample, _ *clock.Set) { s.Boot = "b0" },
		"already right":     func(s *record.Sample, _ *clock.Set) { s.Clk = contract.ClockSync },
		"already restamped": func(s *record.Sample, _ *clock.Set) { s.Clk = contract.ClockEst },
		"not trusted":       func(_ *record.Sample, set *clock.Set) { set.Clk = contract.ClockFree },
	} {
		s, set := sample, set
		change(&s, &set)
		row := record.AppendSample(nil, &s)
		if ts, done, err := set.Restamp(row); ts != s.TS || done || err != nil {
			t.Errorf("%s: %d, %t, %v", name, ts, done, err)
		}
		if got, err := record.DecodeSample(row); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, _, err := set.Restamp([]byte("nonsense")); err == nil {
		t.Error("nonsense was restamped")
	}
}

// Whatever happens to an honest machine, which vouches only for the truth: what is told as sync is true, time goes on
// evenly between sets, and the sets that came after a time correct it.
func TestPropertyHonestMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBox(t, clock.Options{NotBefore: at("2026-01-01 00:00:00")})
		type told struct {
			boot   string
			stamp  clock.Stamp
			truth  time.Time
			before int // sets
		}
		var all []told
		vouched := time.Duration(-1) // when the machine last vouched, in this boot
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			switch rapid.IntRange(0, 6).Draw(t, "event") {
			case 0:
				b.wrong, b.synced = rapid.SampledFrom([]time.Duration{0, 5 * time.Second, -time.Hour, 9 * year,
					-50 * year}).Draw(t, "wrong"), false
			case 1:
				b.wrong, b.synced = 0, true
			case 2:
				b.synced = false
			case 3:
				b.restart(b.boot)
			case 4:
				b.restart(b.boot + "'")
				b.truth = b.truth.Add(time.Duration(rapid.IntRange(0, 1e6).Draw(t, "off")) * time.Second)
				b.synced, vouched = false, -1
			}
			for range rapid.IntRange(1, 20).Draw(t, "readings") {
				b.wait(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 7 * time.Minute,
					5 * time.Hour}).Draw(t, "wait"))
				s := b.read()
				if b.synced {
					vouched = b.mono
				}
				if b.synced != (s.Clk == contract.ClockSync) &&
					(b.synced || vouched < 0 || b.mono-vouched > clock.DefaultHoldover) {
					t.Fatalf("told as %s, synced %t", s.Clk, b.synced)
				}
				if s.Clk == contract.ClockSync && !s.Time.Equal(b.truth) {
					t.Fatalf("%v told as sync at %v", s.Time, b.truth)
				}
				if n := len(all); n > 0 && all[n-1].boot == b.boot && all[n-1].before == len(b.sets) &&
					s.Time.Sub(all[n-1].stamp.Time) != b.truth.Sub(all[n-1].truth) {
					t.Fatalf("%v after %v in %v", s.Time, all[n-1].stamp.Time, b.truth.Sub(all[n-1].truth))
				}
				if s.Time.Before(b.o.State.Trusted) {
					t.Fatalf("%v is before %v", s.Time, b.o.State.Trusted)
				}
				all = append(all, told{b.boot, s, b.truth, len(b.sets)})
			}
		}
		b.wrong, b.synced = 0, true
		b.wait(time.Second)
		b.read()
		for _, x := range all {
			corrected := x.stamp.Time
			for _, s := range b.sets[x.before:] {
				if s.Boot == x.boot {
					corrected = corrected.Add(s.Offset)
				}
			}
			if x.boot == b.boot && !corrected.Equal(x.truth) {
				t.Fatalf("%v told as %v %s, corrected to %v", x.truth, x.stamp.Time, x.stamp.Clk, corrected)
			}
		}
	})
}
