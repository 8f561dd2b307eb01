package energy

import (
	"slices"

	"bordo/contract"
)

// Final holds the final readings of a device that was taken out, kWh by point. A counter that was not read is missing.
type Final map[string]float64

// FinalFault says why a final reading cannot be true.
type FinalFault struct {
	Point string  `json:"point"`
	Cause string  `json:"cause"` // RejectedFall, RejectedJump, RejectedRange or UnknownCounter
	Value float64 `json:"value"` // kWh
	Last  float64 `json:"last"`  // kWh, the last that was read
}

// UnknownCounter is the cause of a FinalFault of a counter that the device does not have.
const UnknownCounter = "unknown"

// CounterReading is the last value of a counter that was believed.
type CounterReading struct {
	Point string   `json:"point"`
	KWh   *float64 `json:"kwh"` // nil: none was
}

// Counters are the counters of the device that is known, as they were read last.
func (a *Account) Counters() (out []CounterReading) {
	for _, c := range a.s.Counters {
		r := CounterReading{Point: c.Point}
		if c.Known {
			r.KWh = kwhOf(&c.Last.C)
		}
		out = append(out, r)
	}
	return out
}

// Confirm accepts the device with this serial number: each counter begins a new segment with the first reading under
// that number, and the readings since are booked. The old device's energy up to its final reading, where known, is
// booked between its last reading and the new device's first. Confirm does nothing when the serial number is already
// the known one, and when a final reading is impossible.
func (a *Account) Confirm(serial string, final Final) *FinalFault {
	if serial == "" || serial == a.s.Serial {
		a.Serial(serial)
		return nil
	}
	if serial != a.s.Suspect { // nothing is known of it
		a.Serial(serial)
	}
	if f := a.finalFault(final); f != nil {
		return f
	}
	old := a.s.Serial
	for _, c := range a.s.Counters {
		var end *int64
		if kwh, ok := final[c.Point]; ok {
			r, _ := scale(a.s.Last, kwh)
			end = &r.C
		}
		if c.Ledger.Meter == "" {
			c.Ledger.Meter = old
		}
		c.succeed(a.successor(c.Point), end, serial, a.s.Last)
	}
	for _, o := range a.s.Other {
		if !slices.ContainsFunc(a.s.Counters, func(c *counter) bool { return c.Point == o.Point }) {
			*a.counter(o.Point) = *o
		}
	}
	a.s.Serial, a.s.Suspect, a.s.Other = serial, "", nil
	return nil
}

// successor returns the counter of the device that answers in the place of the known one, nil when it has not delivered
// that counter.
func (a *Account) successor(point string) *counter {
	if i := slices.IndexFunc(a.s.Other, func(o *counter) bool { return o.Point == point }); i >= 0 {
		return a.s.Other[i]
	}
	return nil
}

// finalFault finds the first final reading that cannot be true.
func (a *Account) finalFault(final Final) *FinalFault {
	for point, kwh := range final {
		f := &FinalFault{Point: point, Value: kwh, Cause: UnknownCounter}
		i := slices.IndexFunc(a.s.Counters, func(c *counter) bool { return c.Point == point })
		if i < 0 {
			return f
		}
		c := a.s.Counters[i]
		end, ok := scale(a.s.Last, kwh)
		if f.Cause = RejectedRange; !ok {
			return f
		}
		if !c.Known || c.Lost {
			continue
		}
		f.Last = *kwhOf(&c.Last.C)
		if _, _, f.Cause = c.reach(c.Last, end, c.Level, a.rules(c.Point)); f.Cause != "" {
			return f
		}
	}
	return nil
}

// succeed replaces a counter by that of the new device. end is the final reading of the old one, nil when unknown. now
// is the last poll.
func (c *counter) succeed(o *counter, end *int64, meter string, now moment) {
	if o == nil {
		o = &counter{Point: c.Point, Step: perKWh}
	}
	begin := now
	if len(o.Track) > 0 {
		begin = o.Track[0].moment
	}
	last := c.Base
	if c.Known {
		was := c.Last.C
		last = &was
	}
	if end != nil {
		if c.Known && !c.Lost && *end > c.Last.C {
			c.push(vertex{moment: begin, D: -1, E: *end - c.Last.C, C: *end, Carry: c.Carry})
			c.Carry = 0
		}
		last = end
	}
	next := *o
	next.Track, next.Ledger, next.Carry = c.Track, c.Ledger, o.Carry
	if len(o.Track) == 0 {
		next.Why, next.Known, next.Base, next.Meter, next.Carry = CauseReplaced, false, last, meter, c.Carry
	}
	for i, v := range o.Track {
		if i == 0 {
			v.Meter = meter
			if v.Why != "" {
				v.Why, v.Mod, v.Last, v.Carry = CauseReplaced, 0, last, c.Carry
			}
		}
		if !next.push(v) {
			next.Why = CauseUnusable
		}
	}
	*c = next
}

// waits reports whether a quarter that the known device did not finish is over. It is published as far as it goes,
// because the exchange may be confirmed much later. Energy added then gives it a higher rev.
func (a *Account) waits(c *counter) bool {
	if a.s.Suspect == "" || a.s.Last.Clk == contract.ClockFree || c.due(a.s.Last, a.r) < len(c.Track) {
		return false
	}
	if n := len(c.Track); n > 0 {
		return a.s.Last.T >= quarterOf(c.Track[n-1].T)+quarterMS
	}
	o := c.Ledger.Open
	return o != nil && !o.Told && o.used() && a.s.Last.T >= o.Start+quarterMS
}
