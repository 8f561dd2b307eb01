package energy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"bordo/drivers/catalogue"
)

const stateVersion = 1

// state is everything that an account knows.
type state struct {
	Version  int        `json:"version"`
	Runs     int        `json:"runs"`            // number of times it was restored
	Turns    int        `json:"turns,omitempty"` // number of times monotonic time restarted under the same boot id
	Serial   string     `json:"serial,omitempty"`
	Suspect  string     `json:"suspect,omitempty"` // answers in its place, not confirmed
	Last     moment     `json:"last,omitzero"`     // poll
	Power    power      `json:"power,omitzero"`
	RatedKW  float64    `json:"rated_kw,omitempty"` // the rating that the device reports
	Counters []*counter `json:"counters,omitempty"` // as the catalogue lists them
	Other    []*counter `json:"other,omitempty"`    // counters of Suspect, which wait for Confirm
}

// all returns the counters of the device and of the one that answers in its place.
func (s *state) all() []*counter { return slices.Concat(s.Counters, s.Other) }

// State is the account as JSON, a few hundred bytes for each counter.
func (a *Account) State() json.RawMessage {
	b, err := json.Marshal(a.s)
	if err != nil {
		panic(fmt.Sprintf("energy: state cannot be encoded: %v", err)) // it holds nothing but finite numbers and texts
	}
	return b
}

// Restore continues from a state. older means that the account has continued from it before, so that quarters may have
// been published that it does not know: repeated ones get a higher rev. On an error the account is empty.
func (a *Account) Restore(b json.RawMessage, older bool) error {
	a.reset()
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("restore energy account: %w", err)
	}
	if err := s.check(); err != nil {
		return fmt.Errorf("restore energy account: %w", err)
	}
	s.Runs++
	for _, list := range [][]*counter{s.Counters, s.Other} {
		slices.SortFunc(list, func(a, b *counter) int { return catalogue.PointOrder(a.Point) - catalogue.PointOrder(b.Point) })
	}
	for _, c := range s.Counters {
		c.Ledger.Doubt = c.Ledger.Doubt || older
	}
	a.s = s
	a.bound()
	for _, p := range a.o.Points {
		if Counts(p) {
			a.counter(p)
		}
	}
	return nil
}

// Bounds of a state. An account cannot have written anything beyond them, and it could cause an endless loop.
const (
	timeMax   = int64(1) << 53
	energyMax = int64(maxKWh) * perKWh * 2
)

func (s *state) check() error {
	if s.Version != stateVersion {
		return fmt.Errorf("version %d", s.Version)
	}
	if s.RatedKW != 0 && !(s.RatedKW >= leastRatedKW && s.RatedKW <= mostRatedKW) {
		return fmt.Errorf("rated power %v kW", s.RatedKW)
	}
	if err := errors.Join(s.Last.check(), s.Power.At.check()); err != nil {
		return err
	}
	return errors.Join(checkCounters(s.Counters), checkCounters(s.Other))
}

func checkCounters(list []*counter) error {
	for i, c := range list {
		if c == nil || !Counts(c.Point) ||
			slices.ContainsFunc(list[:i], func(o *counter) bool { return o.Point == c.Point }) {
			return fmt.Errorf("counter %d", i)
		}
		if err := c.check(); err != nil {
			return fmt.Errorf("%s: %w", c.Point, err)
		}
	}
	return nil
}

func (m moment) check() error {
	if !within(m.T, -timeMax, timeMax) || !within(m.M, -timeMax, timeMax) {
		return fmt.Errorf("time %d, %d", m.T, m.M)
	}
	return nil
}

func within(v, low, high int64) bool { return v >= low && v <= high }

func (c *counter) check() error {
	switch {
	case !slices.Contains([]int64{1, 10, 100, 1000, 10_000, 100_000, perKWh}, c.Step):
		return fmt.Errorf("step %d", c.Step)
	case !c.Pend.fits() || !c.Rival.fits():
		return fmt.Errorf("%d and %d readings wait for %d and %d", len(c.Pend.Readings), len(c.Rival.Readings),
			c.Pend.N, c.Rival.N)
	case len(c.Track) > trackFull || len(c.Shadow) > trackMax:
		return fmt.Errorf("tracks of %d and %d", len(c.Track), len(c.Shadow))
	case !within(c.Carry, 0, energyMax) || !(math.Abs(c.Level) <= float64(energyMax)) || !(math.Abs(c.Frac) <= 1):
		return fmt.Errorf("energy of %d, %v, %v", c.Carry, c.Level, c.Frac)
	}
	for _, r := range slices.Concat(c.Pend.Readings, c.Rival.Readings, []reading{c.Last}) {
		if r.check() != nil || !within(r.C, 0, energyMax) || !within(int64(r.N), 0, math.MaxInt32) ||
			!within(r.Cov, 0, timeMax) {
			return fmt.Errorf("reading %+v", r)
		}
	}
	for _, v := range slices.Concat(c.Track, c.Shadow) {
		if v.moment.check() != nil || !within(v.D, -1, timeMax) || !within(v.E, 0, energyMax) ||
			!within(v.Cov, 0, timeMax) ||
			!within(int64(v.N), 0, math.MaxInt32) || !within(v.C, 0, energyMax) || !within(v.Carry, 0, energyMax) ||
			!within(v.Mod, 0, energyMax) {
			return fmt.Errorf("vertex %+v", v)
		}
	}
	return c.Ledger.check()
}

func (q *queue) fits() bool {
	return len(q.Readings) <= queueMax && within(int64(q.N), int64(len(q.Readings)), math.MaxInt32)
}

func (l *ledger) check() error {
	if !within(l.T, -timeMax, timeMax) || !within(l.C, 0, energyMax) || !within(l.Seg, -timeMax, timeMax) ||
		!within(l.MaxStart, -timeMax, timeMax) || !within(int64(l.MaxRev), 0, math.MaxInt32) ||
		!within(int64(l.Base), 0, math.MaxInt32) {
		return fmt.Errorf("ledger at %d", l.T)
	}
	if len(l.Whole) > maxRuns {
		return fmt.Errorf("%d runs of whole quarters", len(l.Whole))
	}
	if o := l.Open; o != nil && (quarterOf(o.Start) != o.Start || !within(o.Start, -timeMax, timeMax) ||
		!within(o.E, 0, energyMax) ||
		!within(o.Cov, 0, timeMax) || !within(o.Len, 0, timeMax) || !within(int64(o.N), 0, math.MaxInt32) ||
		!within(int64(o.Part.Rev), 0, math.MaxInt32)) {
		return fmt.Errorf("quarter at %d", o.Start)
	}
	return nil
}
