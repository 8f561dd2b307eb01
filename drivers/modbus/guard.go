package modbus

import (
	"math"
	"slices"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Event types of this driver, with their data.
const (
	eventIdentity = "bordo.device.replaced.v1" // serial_before, serial: another device replies now
	eventNull     = "bordo.frame.rejected.v1"  // why: the device sent an empty frame; none of its values count
	eventFrozen   = "bordo.device.frozen.v1"   // polls: no value has changed while power flows
	eventDoubt    = "bordo.counter.doubted.v1" // point, value, last, why: the counter fell or jumped
	eventReset    = "bordo.counter.reset.v1"   // point, from, to: the counter continues from another value
)

const (
	// confirmations is how many consecutive polls must continue from a doubtful counter value before it is
	// accepted.
	confirmations = 3
	// quantum is the step of the coarsest counters (kW.h). A smaller excess is one step, not a fault.
	quantum = 1.0
)

// guard checks readings against the model's plausibility rules and stores what it needs of earlier polls.
type guard struct {
	rules       Guards
	inverter    bool    // the rating limits what the device generates, not the grid energy it counts
	ratedW      float64 // 0: unknown
	ratingFixed bool    // the rating comes from the configuration
	counters    map[string]*counter
	last        []drivers.Reading // of the previous poll, for the frozen rule
	samePolls   int               // consecutive polls with these readings
	wasNull     bool              // the last frame was empty
}

// counter is what the guard stores about one counter.
type counter struct {
	good  float64   // last accepted value
	at    time.Time // time of good
	doubt float64   // last value that was not accepted
	times int       // confirmations of the values that follow doubt
}

// Limits of a rating read from a device, in W. A value outside comes from a register in another unit or one
// that was never set.
const (
	leastRatedW = 100
	mostRatedW  = 100e6
)

// setRating applies a rating read from the device and reports whether it is new.
func (g *guard) setRating(watts float64) bool {
	if g.ratingFixed || watts == g.ratedW || !(watts >= leastRatedW && watts <= mostRatedW) {
		return false
	}
	g.ratedW = watts
	return true
}

// reset discards everything stored, because another device replies now.
func (g *guard) reset() { g.counters, g.last, g.samePolls = nil, nil, 0 }

// check marks implausible readings with a quality and returns an event for each change. It never alters a
// plausible value or drops a reading.
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

// isNullFrame reports whether every point that the model never shows as 0 is 0 or absent, with at least one
// 0.
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

// markFrozen marks readings as stale after the configured number of polls without any change: the device or a
// gateway before it repeats old values.
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

// powerFlows reports whether power flows. At night all values can legitimately stay the same.
func powerFlows(readings []drivers.Reading) bool {
	return slices.ContainsFunc(readings, func(r drivers.Reading) bool {
		return r.Point == "ac_power" && r.Value.Float() != 0
	})
}

// checkCounter marks a counter value as uncertain if it is below the last one, or further above it than the
// rating allows. Once the counter has continued from there for several polls, the value is accepted as a new
// start. Zero is never accepted as a start: some devices show it until they have read their memory, so the
// counter must first count up from zero. A fall to nearly zero is normal for a daily counter, which restarts
// at midnight by the device's clock.
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
		return []drivers.Event{{Type: eventDoubt,
			Data: map[string]any{"point": r.Point, "value": now, "last": c.good, "why": why}}}
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

// Reasons why a counter value is doubted.
const (
	fell   = "fell"
	leaped = "leapt"
)

// counterFault returns why a counter cannot have gone from one value to another within a time; "" if it can.
// ratedW is 0 if no rating limits it. This check compares two polls of one run, allows the step of the
// coarsest counter, and decides only about the quality of a reading. Package agent/energy decides what is
// accounted, across restarts and with the counter's own step. Both allow the rated power with
// drivers.RatedMargin.
func counterFault(from, to float64, in time.Duration, ratedW float64) string {
	if to < from {
		return fell
	}
	if ratedW > 0 && to-from > ratedW/1000*in.Hours()*drivers.RatedMargin+quantum {
		return leaped
	}
	return ""
}
