package modbus

import (
	"math"
	"slices"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Events of this driver.
const (
	eventIdentity = "bordo.device.replaced.v1" // serial_before, serial: another device answers
	eventNull     = "bordo.frame.rejected.v1"  // why: the device gave an empty frame, nothing of it counts
	eventFrozen   = "bordo.device.frozen.v1"   // polls: every value has been the same while power flows
	eventDoubt    = "bordo.counter.doubted.v1" // point, value, last, why: fell or leapt
	eventReset    = "bordo.counter.reset.v1"   // point, from, to: the counter goes on from another value
)

const (
	// confirmations is how many polls in a row a counter must go on from a doubtful value before it is believed.
	confirmations = 3
	// quantum is the step of the coarsest counters (kW.h): a leap of less is one step, not a fault.
	quantum = 1.0
)

// guard holds the model's rules against values that cannot be, and what it must remember of the polls before.
type guard struct {
	rules       Guards
	inverter    bool    // the rating bounds what the device makes, and not what it counts of the grid
	ratedW      float64 // 0: not known
	ratingFixed bool    // the operator has said the rating
	counters    map[string]*counter
	last        []drivers.Reading // of the poll before, for the frozen rule
	samePolls   int               // polls in a row with these readings
	wasNull     bool              // the last frame was empty
}

// counter is the course of one counter.
type counter struct {
	good  float64   // the last value that was believed
	at    time.Time // when it was
	doubt float64   // the last value that was not
	times int       // how often the course from doubt on was confirmed
}

// Bounds of a rating that a device tells: one of a register in another unit, or one that was never filled, bounds nothing.
const (
	leastRatedW = 100
	mostRatedW  = 100e6
)

// setRating takes the rating that the device tells, and tells whether it is news.
func (g *guard) setRating(watts float64) bool {
	if g.ratingFixed || watts == g.ratedW || !(watts >= leastRatedW && watts <= mostRatedW) {
		return false
	}
	g.ratedW = watts
	return true
}

// reset drops what was remembered: another device answers.
func (g *guard) reset() { g.counters, g.last, g.samePolls = nil, nil, 0 }

// check gives readings that cannot be a quality, and tells each such change in an event. It invents no number and drops no
// reading.
func (g *guard) check(readings []drivers.Reading, at time.Time) ([]drivers.Reading, []drivers.Event) {
	if len(readings) == 0 {
		return readings, nil
	}
	if g.isNullFrame(readings) {
		for i := range readings {
			readings[i].Value, readings[i].Quality = catalogue.Value{}, drivers.Bad
		}
		if g.wasNull {
			return readings, nil
		}
		g.wasNull = true
		return readings, []drivers.Event{{Type: eventNull, Data: map[string]any{"why": "null_frame"}}}
	}
	g.wasNull = false
	events := g.markFrozen(readings)
	for i := range readings {
		r := &readings[i]
		if r.Quality != drivers.Good || r.Value.Type() != catalogue.Float {
			continue
		}
		if g.ratedW > 0 && r.Point == "ac_power" && math.Abs(r.Value.Float()) > 2*g.ratedW {
			r.Quality = drivers.Uncertain
		}
		if !g.rules.Counters {
			continue
		}
		if p, _ := catalogue.PointOf(r.Point); p.Kind == catalogue.Counter && p.Unit == "kW.h" {
			events = append(events, g.checkCounter(r, p, at)...)
		}
	}
	return readings, events
}

// isNullFrame tells whether all that the model never shows as 0 is 0 or absent, and something of it is 0.
func (g *guard) isNullFrame(readings []drivers.Reading) bool {
	zero := false
	for _, key := range g.rules.NullFrame {
		i := slices.IndexFunc(readings, func(r drivers.Reading) bool { return r.Point == key })
		if i < 0 || readings[i].Quality != drivers.Good {
			continue
		}
		if readings[i].Value.Float() != 0 {
			return false
		}
		zero = true
	}
	return zero
}

// markFrozen marks readings that have not changed for so long that the device, or the gateway before it, repeats old ones.
func (g *guard) markFrozen(readings []drivers.Reading) []drivers.Event {
	if g.rules.Frozen == 0 {
		return nil
	}
	if !slices.Equal(readings, g.last) || !powerFlows(readings) {
		g.last, g.samePolls = slices.Clone(readings), 0
		return nil
	}
	if g.samePolls++; g.samePolls < g.rules.Frozen {
		return nil
	}
	for i := range readings {
		if readings[i].Quality == drivers.Good {
			readings[i].Quality = drivers.Stale
		}
	}
	if g.samePolls > g.rules.Frozen {
		return nil
	}
	return []drivers.Event{{Type: eventFrozen, Data: map[string]any{"polls": g.samePolls}}}
}

// powerFlows tells whether power flows: at night every value may well stay the same.
func powerFlows(readings []drivers.Reading) bool {
	return slices.ContainsFunc(readings, func(r drivers.Reading) bool {
		return r.Point == "ac_power" && r.Value.Float() != 0
	})
}

// checkCounter follows a counter. A value below the last, or further above it than the rating allows, is uncertain until the
// counter has gone on from there for a while; then it is a new beginning. Zero is never one: it is what a device shows that
// has not read its memory yet, so a counter that was above it has to count on from zero before it is believed. A counter of
// the day begins anew at midnight, by the device's clock: that is no fall.
func (g *guard) checkCounter(r *drivers.Reading, p catalogue.Point, at time.Time) []drivers.Event {
	now := r.Value.Float()
	c := g.counters[r.Point]
	if c == nil {
		if g.counters == nil {
			g.counters = map[string]*counter{}
		}
		g.counters[r.Point] = &counter{good: now, at: at}
		return nil
	}
	rating := g.ratedW
	if g.inverter && !strings.HasPrefix(p.Key, "ac_energy") {
		rating = 0
	}
	why := counterFault(c.good, now, at.Sub(c.at), rating)
	if why == "" || why == fell && now < quantum && strings.HasSuffix(p.Key, "_today") {
		*c = counter{good: now, at: at}
		return nil
	}
	r.Quality = drivers.Uncertain
	if c.times == 0 || counterFault(c.doubt, now, at.Sub(c.at), rating) != "" {
		c.doubt, c.times = now, 1
		return []drivers.Event{{Type: eventDoubt, Data: map[string]any{"point": r.Point, "value": now, "last": c.good, "why": why}}}
	}
	c.doubt = now
	if now == 0 {
		return nil
	}
	if c.times++; c.times <= confirmations {
		return nil
	}
	r.Quality = drivers.Good
	from := c.good
	*c = counter{good: now, at: at}
	return []drivers.Event{{Type: eventReset, Data: map[string]any{"point": r.Point, "from": from, "to": now}}}
}

// What is wrong with a counter.
const (
	fell   = "fell"
	leaped = "leapt"
)

// counterFault tells why a counter cannot have gone from one value to another in a time; "" if it can. ratedW is 0 when no
// rating bounds it. It compares two polls of one run, with the step of the coarsest counter, and decides about the quality of a
// reading. What is accounted is decided in agent/energy, across restarts and with the step that the counter itself shows. Both
// allow the rated power with drivers.RatedMargin.
func counterFault(from, to float64, in time.Duration, ratedW float64) string {
	if to < from {
		return fell
	}
	if ratedW > 0 && to-from > ratedW/1000*in.Hours()*drivers.RatedMargin+quantum {
		return leaped
	}
	return ""
}
