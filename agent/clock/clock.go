// Package clock judges the wall clock: whether its time can be trusted, and by how much it was wrong before it was set.
//
// A small box often has no battery-backed clock. It wakes up in 1970, or at the time when it was switched off, and is
// corrected minutes or days later. The Keeper promises that its time runs evenly with monotonic time unless a Set says
// otherwise; that a time has the quality sync only if the machine vouched for it, and recently enough; that a start of
// the machine is never earlier than the last trusted time before it; and that a Set states exactly by how much earlier
// times were wrong. It reads no clock itself, except in Kernel, sets none, and keeps no file.
package clock

import (
	"sync"
	"time"

	"bordo/agent/record"
	"bordo/contract"
)

// Defaults and fixed limits.
const (
	// DefaultHoldover is how long a time is trusted after the machine last vouched for it. An uncorrected crystal is
	// off by up to 100 ppm, 9 s a day; one whose rate was disciplined until then, by far less. The kernel itself
	// vouches for some nine hours after the last answer of a time server.
	DefaultHoldover = 24 * time.Hour

	// SaveEvery is the interval at which the last trusted time is to be saved.
	SaveEvery = 10 * time.Minute

	step     = time.Second      // less is a correction, more is a step
	settle   = 10 * time.Minute // how long an unvouched step is ignored: most daemons set the clock first
	patience = time.Hour        // how long a machine that vouches for less than the last trusted time is not believed
	early    = time.Minute      // how far the wall clock may be behind the last trusted time
)

// Reading is what the machine's clocks show at one moment.
type Reading struct {
	Wall   time.Time
	Mono   time.Duration // since the start of the machine
	Boot   string        // which start
	Synced bool          // the machine vouches for Wall
}

// Stamp is a time with its quality, sync or free.
type Stamp struct {
	Time time.Time // UTC
	Clk  contract.Clock
	Era  uint64 // counts the sets: times of one era lie as far apart as the monotonic clock says
}

// Set reports that the wall clock was set and the Keeper's time with it: the first synchronisation, or a later step.
type Set struct {
	Boot   string
	Offset time.Duration  // to add to every earlier time of this start of the machine
	Was    contract.Clock // the quality of those times
	Clk    contract.Clock // the quality from now on; free if the new time is not vouched for either
	Told   bool           // times of this start of the machine were used before: they may need a correction

	base time.Time // the time at the start of the machine
}

// Data is what the event contract.ClockSet says.
func (s Set) Data() map[string]any {
	return map[string]any{"boot": s.Boot, "offset": s.Offset.Milliseconds()}
}

// Restamp corrects a row of package record in place, if it was stamped in this start of the machine by an unset clock
// and the time is trusted now. ts is the row's new time; done reports whether there is one. Rows of one device differ
// in their monotonic time and therefore in their new one. Only rows that nothing outside has seen may be passed.
func (s Set) Restamp(row []byte) (ts int64, done bool, err error) {
	info, err := record.Describe(row)
	if err != nil {
		return 0, false, err
	}
	if info.Boot != s.Boot || info.Clk != contract.ClockFree || s.Clk != contract.ClockSync {
		return info.TS, false, nil
	}
	ts = s.base.UnixMilli() + info.Mono
	return ts, true, record.Restamp(row, ts, contract.ClockEst)
}

// State is what outlives the agent.
type State struct {
	Trusted time.Time      `json:"trusted"` // the last time that was trusted
	Boot    string         `json:"boot"`    // the start of the machine that the rest refers to
	Mono    time.Duration  `json:"mono"`    // since that start, when this was saved
	Base    time.Time      `json:"base"`    // the Keeper's time at that start
	Heard   time.Duration  `json:"heard"`   // since that start, when the machine last vouched for it
	Clk     contract.Clock `json:"clk"`
}

// Options are what a Keeper can do without. The zero value works.
type Options struct {
	State     State     // the saved state
	NotBefore time.Time // no time is earlier than this: the date on which the program was built
	// Steadfast is for machines that always vouch for their clock. A time before the last trusted one is never believed
	// from them.
	Steadfast bool
	Holdover  time.Duration // 0: DefaultHoldover
}

// Keeper judges the readings of a machine's clocks. Its methods may be called concurrently.
type Keeper struct {
	o Options

	mu      sync.Mutex
	boot    string
	begun   bool
	told    bool // a time of this start of the machine
	era     uint64
	base    time.Time // the Keeper's time at the start of the machine
	clk     contract.Clock
	heard   time.Duration // when the machine last vouched for base
	odd     *elsewhere    // where the wall clock is, if not where it should be
	doubted time.Duration // since when the machine vouches for too early a time; 0: it does not
	floor   time.Time     // until the machine has vouched for a time in this start
	trusted time.Time
	saved   time.Duration
	unsaved bool
}

// elsewhere is a wall clock that nothing vouches for.
type elsewhere struct {
	base  time.Time
	since time.Duration
}

// New makes a keeper.
func New(o Options) *Keeper {
	if o.Holdover <= 0 {
		o.Holdover = DefaultHoldover
	}
	return &Keeper{o: o, trusted: o.State.Trusted}
}

// Observe returns the time when the clocks show r, and a Set if the clock turns out to have been set since the last
// call. Call it for every time that is used: the first caller after a clock change receives the Set, before any time
// that depends on it.
func (k *Keeper) Observe(r Reading) (Stamp, *Set) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r.Wall = r.Wall.Round(0).UTC() // without Go's own monotonic time
	base := r.Wall.Add(-r.Mono)
	if !k.begun || r.Boot != k.boot {
		k.begin(r, base)
	}
	set := k.follow(r, base)
	k.told = true
	return Stamp{k.base.Add(r.Mono), k.clk, k.era}, set
}

// begin processes the first reading in a start of the machine. If the agent already ran in the same start, it continues
// from the time used then, so that a clock that was set in between is detected.
func (k *Keeper) begin(r Reading, base time.Time) {
	k.floor = later(k.o.NotBefore, k.trusted)
	k.begun, k.boot, k.odd, k.doubted, k.unsaved, k.told = true, r.Boot, nil, 0, true, false
	k.era++
	if s := k.o.State; s.Boot == r.Boot && r.Boot != "" && s.Mono <= r.Mono && !s.Base.IsZero() {
		k.base, k.clk, k.heard, k.told = s.Base, s.Clk, s.Heard, true
		if k.clk == contract.ClockSync {
			k.floor = k.o.NotBefore
		}
		return
	}
	k.base, k.clk = later(base, k.floor.Add(-r.Mono)), contract.ClockFree
}

// follow compares the wall clock with the Keeper's time.
func (k *Keeper) follow(r Reading, base time.Time) *Set {
	off := base.Sub(k.base)
	near := off < step && off > -step
	switch {
	case r.Synced && k.believable(r):
		was := k.clk
		k.clk, k.heard, k.floor, k.odd = contract.ClockSync, r.Mono, k.o.NotBefore, nil
		k.trusted = r.Wall
		if near && was == contract.ClockSync {
			k.base = base
			return nil
		}
		return k.set(base, was)
	case near:
		k.base, k.odd = base, nil
	case k.odd == nil || apart(base, k.odd.base) >= step:
		k.odd = &elsewhere{base, r.Mono}
	case r.Mono-k.odd.since >= settle && !r.Wall.Before(later(k.floor, k.trusted)):
		was := k.clk
		k.clk, k.odd = contract.ClockFree, nil
		return k.set(base, was)
	}
	if r.Mono-k.heard > k.o.Holdover {
		k.clk = contract.ClockFree
	}
	return nil
}

// set moves the Keeper's time.
func (k *Keeper) set(base time.Time, was contract.Clock) *Set {
	s := &Set{Boot: k.boot, Offset: base.Sub(k.base), Was: was, Clk: k.clk, Told: k.told, base: base}
	k.base, k.unsaved = base, true
	k.era++
	return s
}

// believable reports whether a time that the machine vouches for can be true. A time before the last trusted one may be
// the mistake of either: if the machine insists, it is believed.
func (k *Keeper) believable(r Reading) bool {
	switch {
	case !r.Wall.Before(k.floor.Add(-early)):
		return true
	case k.o.Steadfast || r.Wall.Before(k.o.NotBefore.Add(-early)):
		return false
	case k.doubted == 0:
		k.doubted = max(r.Mono, 1)
		return false
	}
	return r.Mono-k.doubted >= patience
}

// Save returns the state to save, and whether it is time to do so: after a set, at the first reading of a start of the
// machine, and every SaveEvery while the time is trusted. now is the monotonic time.
func (k *Keeper) Save(now time.Duration) (State, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.begun || !k.unsaved && (k.clk != contract.ClockSync || now-k.saved < SaveEvery) {
		return State{}, false
	}
	k.unsaved, k.saved = false, now
	return State{Trusted: k.trusted, Boot: k.boot, Mono: now, Base: k.base, Heard: k.heard, Clk: k.clk}, true
}

// Floor returns the earliest time that can be true: the last trusted one, or the date on which the program was built.
// Certificates are judged at this time when the clock is behind it.
func (k *Keeper) Floor() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return later(k.o.NotBefore, k.trusted)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func apart(a, b time.Time) time.Duration { return a.Sub(b).Abs() }
