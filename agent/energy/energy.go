// Package energy accounts the energy of a device by quarters of an hour, from its counters. A central system compares
// the result with the distributor's meters: it is an estimate and never settlement.
//
// It promises that the quarters of a counter add up to the counter's own difference, to the milliwatt-hour, over any
// span of a segment and over any outage; that no quarter is negative or beyond what the rated power allows; that a
// reading which the next one does not confirm is not booked; that unknown energy is reported (segment, coverage) and
// not invented; and that a clock jump neither books energy twice nor moves a published quarter. It is a pure state
// machine: no port, no file, no clock, no goroutine. It does not decide what is published or stored, and it learns of
// an exchanged device only through its methods.
//
// # From a poll to a quarter
//
// A reading passes three stations. The guard (counter) accepts it when it is plausible after the previous one and the
// next reading agrees with it. An accepted reading waits in the track as a vertex, placed on the time line by the best
// available clock. The ledger spreads the energy between two vertices evenly over the time between them and closes a
// quarter when the track has passed its end. All of this is the account's state: saved at any point and restored into a
// new account, it produces the same quarters.
//
// # Time
//
// Durations are monotonic time. The wall clock says where a quarter lies, as long as it is trusted. Readings of a clock
// that is not set wait in the track for the first synchronisation, for up to Options.Hold, and are then booked in their
// proper place ("est"). Only after that time are they booked where the unset clock puts them ("free"). A clock that is
// put forward skips the quarters in between. One that is put back by up to a quarter of an hour keeps the open quarter
// open until it has caught up. One that is put back further begins a new segment, and repeated quarters have a higher
// rev. It is undecidable which of two times was right, but a part never replaces a whole: a quarter that was published
// with full coverage under a set clock is never published again with less. The energy of that time is then in no
// interval, and the next segment states how much it is.
package energy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Defaults and fixed limits.
const (
	// DefaultRatedKW is the assumed maximum power of a device whose rating is unknown: 1 MW is the largest plant of a
	// renewable energy community, and its exchange meter does not carry much more in either direction.
	DefaultRatedKW = 1000
	// DefaultHold is how long quarters wait for a clock that is not set.
	DefaultHold = 24 * time.Hour
	// MaxOutage is the longest time over which energy is spread; after a longer one a new segment begins.
	MaxOutage = 31 * 24 * time.Hour

	coveredMin  = time.Minute      // readings at most this far apart cover the time between them, or three polls
	confirm     = 5                // number of agreeing readings before a jump or fall of a counter is believed
	confirmSpan = time.Minute      // and the time over which they have to
	after       = 3                // readings that have to agree after an outage
	rejectedAt  = 3                // number of consecutive rejected readings after which this is reported
	unusable    = 30 * time.Minute // seen without its counter, a device is accounted by its power
)

// Options describe what is known of a device. The zero value works for a device that is polled once a minute.
type Options struct {
	Every   time.Duration  // from poll to poll; 0: a minute
	RatedKW float64        // power above this plus a tenth is not believed; 0: rated_kw of About, the rating that the device reports, or DefaultRatedKW
	About   map[string]any // the operator's description of the device; pod, role and rated_kw are used
	Points  []string       // counters that the device is known to have, see Points; others are found when they are read
	Hold    time.Duration  // 0: DefaultHold

	// Meter means that the rating that the device reports bounds every counter. On an inverter it bounds only
	// ac_energy: its grid counters include the loads of the house.
	Meter bool
}

// rules are the limits that follow from the options, in the package's units.
type rules struct {
	perMS                     float64 // mWh in a millisecond
	watts                     float64
	gap, outage, hold, silent int64 // ms
}

// Bounds of a rating that a device reports. No plant is smaller or larger, so a register in another unit, or one that
// was never filled, has no effect.
const (
	leastRatedKW = 0.1
	mostRatedKW  = 100_000
)

// rules returns the limits of a counter to which the reported rating (0: none) applies. The operator's value has
// priority: the device may be misconfigured.
func (o Options) rules(told float64) rules {
	kw := o.RatedKW
	if kw <= 0 {
		kw, _ = o.About["rated_kw"].(float64)
	}
	if !(kw > 0 && kw <= mostRatedKW) {
		kw = told
	}
	if !(kw > 0) {
		kw = DefaultRatedKW
	}
	hold := o.Hold
	if hold <= 0 {
		hold = DefaultHold
	}
	return rules{
		perMS:  kw * drivers.RatedMargin * perKWh / time.Hour.Seconds() / 1000,
		watts:  kw * drivers.RatedMargin * 1000,
		gap:    max(3*o.Every, coveredMin).Milliseconds(),
		outage: MaxOutage.Milliseconds(),
		hold:   hold.Milliseconds(),
		silent: unusable.Milliseconds(),
	}
}

// Counts reports whether a point is a counter whose quarters are accounted: energy in kW.h that the device itself never
// resets.
func Counts(point string) bool {
	p, ok := catalogue.PointOf(point)
	return ok && p.Kind == catalogue.Counter && p.Unit == "kW.h" && !strings.HasSuffix(p.Key, "_today")
}

// ownCounter is the counter of what a device makes or passes on itself.
const ownCounter = "ac_energy"

// Points returns the counters to account for a device that delivers the given points: those that it has, or ac_energy
// if it has none, which is then integrated from its power.
func Points(has []string) []string {
	var out []string
	for _, p := range has {
		if Counts(p) {
			out = append(out, p)
		}
	}
	if out == nil && slices.Contains(has, powerPoint) {
		out = []string{ownCounter}
	}
	return out
}

// Account is the account of one device. It is not safe for concurrent use; Accounts is.
type Account struct {
	o Options
	r rules // of all counters
	m rules // for what the device itself produces or passes on: the reported rating applies
	s state
}

// New opens an account with nothing in it.
func New(o Options) *Account {
	a := &Account{o: o}
	a.reset()
	return a
}

// bound computes the rules from the options and from the rating that the device reports.
func (a *Account) bound() {
	a.r, a.m = a.o.rules(0), a.o.rules(a.s.RatedKW)
	if a.o.Meter {
		a.r = a.m
	}
}

// rules returns the rules of one counter.
func (a *Account) rules(point string) rules {
	if point == ownCounter {
		return a.m
	}
	return a.r
}

// Rated sets the rated power that the device reports, in kW; it is part of the state. An impossible value is ignored.
// 0, when the device reports none, keeps the known value unless another device answers.
func (a *Account) Rated(kw float64) {
	switch {
	case kw >= leastRatedKW && kw <= mostRatedKW:
		a.s.RatedKW = kw
	case a.s.Suspect != "":
		a.s.RatedKW = 0
	}
	a.bound()
}

func (a *Account) reset() {
	a.s = state{Version: stateVersion}
	a.bound()
	for _, p := range a.o.Points {
		if Counts(p) {
			a.counter(p)
		}
	}
}

// Observe books one poll. Polls come in the order in which they were made; a repeated or late one is ignored.
// Rejections are reported at the third consecutive reading. Readings of a device that answers in the place of another
// one wait for Confirm and are not reported.
func (a *Account) Observe(p Poll) []Rejection {
	at, ok := a.place(p)
	if !ok {
		return nil
	}
	if a.s.Suspect != "" {
		a.observe(&a.s.Other, at, p.Readings)
		return nil
	}
	return a.observe(&a.s.Counters, at, p.Readings)
}

// observe takes the readings of a poll into a list of counters.
func (a *Account) observe(list *[]*counter, at moment, readings []drivers.Reading) []Rejection {
	flow, rest := a.power(at, readings), *list
	if flow != nil {
		// A counter that is accounted by its power is so up to this poll, even if the counter is believed again with
		// it. For any other counter the power is recorded in case this reading is not believed.
		rest = nil
		for _, c := range *list {
			if c.Lost {
				c.integrate(*flow, a.rules(c.Point))
			} else {
				rest = append(rest, c)
			}
		}
	}
	var out []Rejection
	for _, r := range readings {
		if v, ok := number(r); ok && Counts(r.Point) {
			if rej := counterOf(list, r.Point).take(at, v, a.rules(r.Point)); rej != nil {
				out = append(out, *rej)
			}
		}
	}
	if flow != nil {
		for _, c := range rest {
			c.integrate(*flow, a.rules(c.Point))
		}
	}
	return out
}

// number is the value of a reading that can be believed.
func number(r drivers.Reading) (v float64, ok bool) {
	return r.Value.Float(), r.Quality == drivers.Good && r.Value.Type() == catalogue.Float
}

// counter finds a counter of the device or begins to keep it.
func (a *Account) counter(point string) *counter { return counterOf(&a.s.Counters, point) }

// counterOf finds a counter in a list or adds it. The order is that of the catalogue.
func counterOf(list *[]*counter, point string) *counter {
	at, ok := slices.BinarySearchFunc(*list, catalogue.PointOrder(point), func(c *counter, order int) int {
		return catalogue.PointOrder(c.Point) - order
	})
	if !ok {
		*list = slices.Insert(*list, at, &counter{Point: point, Why: CauseRestart, Step: perKWh})
	}
	return (*list)[at]
}

// Believed returns the last accepted value of a counter in kWh. ok is false when there is none, or when it belongs to
// another device.
func (a *Account) Believed(point string) (value float64, ok bool) {
	if a.s.Suspect != "" {
		return 0, false
	}
	for _, c := range a.s.Counters {
		if c.Point == point {
			return kwh(c.Last.C), c.Known && c.Why != CauseReplaced
		}
	}
	return 0, false
}

// Ready reports whether there is something to take: a quarter that has ended, or a segment that has begun.
func (a *Account) Ready() bool {
	return slices.ContainsFunc(a.s.Counters, func(c *counter) bool {
		return a.waits(c) || slices.ContainsFunc(c.Track[:c.due(a.s.Last, a.r)],
			func(v vertex) bool { return c.Ledger.news(&v) })
	})
}

// Taken is what has become certain.
type Taken struct {
	Intervals []Interval
	Segments  []Segment
}

// Take books what is final and returns the result, by counter and in the order of time. The state from before Take,
// restored, produces the same again: a caller that saves it first and then passes the result on neither loses a quarter
// in a power cut nor publishes it in two versions.
func (a *Account) Take() Taken {
	var out Taken
	for _, c := range a.s.Counters {
		n := c.due(a.s.Last, a.r)
		first, begun := len(out.Intervals), len(out.Segments)
		for _, v := range c.Track[:n] {
			c.Ledger.apply(v, a.rules(c.Point), c.step(v.C), &out)
		}
		c.Track = slices.Delete(c.Track, 0, n)
		if a.waits(c) {
			c.Ledger.tell(&out)
		}
		for i := range out.Intervals[first:] {
			iv := &out.Intervals[first+i]
			iv.Point, iv.Meter = c.Point, cmp.Or(iv.Meter, a.s.Serial)
			iv.POD, _ = a.o.About["pod"].(string)
			iv.Role, _ = a.o.About["role"].(string)
		}
		for i := range out.Segments[begun:] {
			s := &out.Segments[begun+i]
			s.Point, s.Meter = c.Point, cmp.Or(s.Meter, a.s.Serial)
		}
	}
	return out
}

// Serial sets the serial number that the device reports; empty is ignored. If it differs from the known one, nothing is
// booked until Confirm, and the readings wait for it: uncertain is true, and the quality of everything read from the
// device should be uncertain too. This ends when the known number returns.
func (a *Account) Serial(serial string) (uncertain bool) {
	switch {
	case serial == "" || serial == a.s.Suspect:
	case a.s.Serial == "" || a.s.Serial == serial:
		if a.s.Suspect != "" {
			a.s.Power = power{}
		}
		a.s.Serial, a.s.Suspect, a.s.Other = serial, "", nil
	default:
		a.s.Suspect, a.s.Other, a.s.Power = serial, nil, power{}
		for _, c := range a.s.Counters {
			c.Pend, c.Rival = queue{}, queue{}
		}
	}
	return a.s.Suspect != ""
}

// Replaced returns the known serial number and the other one that answers in its place. ok is false when there is no
// doubt about the device.
func (a *Account) Replaced() (known, answers string, ok bool) {
	return a.s.Serial, a.s.Suspect, a.s.Suspect != ""
}
