package energy

import (
	"math"
	"slices"

	"bordo/contract"
)

// reading is a value of a counter.
type reading struct {
	moment
	C   int64 `json:"c"`           // mWh
	N   int   `json:"n"`           // number of readings that it represents
	Cov int64 `json:"v,omitempty"` // how much of the time since the previous reading in the queue is covered, ms

	Step   int64 `json:"s,omitempty"` // the largest power of ten of a mWh, up to 1 kWh, that divides it; 0: none does
	Double bool  `json:"x,omitempty"` // no float32 has this value
}

// counter is one counter of a device: a guard that decides which readings to believe, followed by track and ledger.
type counter struct {
	Point string `json:"point"`

	// Why is the cause of the segment that the next reading begins, empty while the segment continues. Last is the last
	// accepted reading. Level is how far the counter is ahead of the rated power, mWh.
	Why   string  `json:"why,omitempty"`
	Known bool    `json:"known,omitempty"` // Last is a reading
	Base  *int64  `json:"base,omitempty"`  // if not: where the segment before ended, mWh
	Last  reading `json:"last,omitzero"`
	Level float64 `json:"level,omitempty"`

	// Pend waits for acceptance. Rival holds readings that disagree with Pend. Bad counts the implausible readings
	// since the last accepted one.
	Pend  queue `json:"pend,omitzero"`
	Rival queue `json:"rival,omitzero"`
	Bad   int   `json:"bad,omitempty"`

	// Step is the resolution in decimals, mWh. As long as Double is not set, every value was one of a float32, whose
	// resolution falls as it grows.
	Step   int64 `json:"step"`
	Double bool  `json:"double,omitempty"`

	// Lost is set when the counter has been unusable for so long that the power is integrated instead. Until then
	// Shadow holds the integral as a precaution. Frac is its remainder below a whole mWh.
	Lost   bool     `json:"lost,omitempty"`
	Shadow []vertex `json:"shadow,omitempty"`
	Frac   float64  `json:"frac,omitempty"`

	Meter  string   `json:"meter,omitempty"` // serial number from the next reading on, when Why is CauseReplaced
	Track  []vertex `json:"track,omitempty"`
	Carry  int64    `json:"carry,omitempty"` // energy of vertices that can no longer be placed, mWh
	Ledger ledger   `json:"ledger"`
}

// take processes a reading and returns a Rejection if it is the one to report as rejected.
func (c *counter) take(at moment, value float64, r rules) *Rejection {
	in, ok := scale(at, value)
	if !ok {
		return c.reject(RejectedRange, value)
	}
	fault := ""
	switch {
	case c.Known && c.Why == "" && !c.Lost:
		_, _, fault = c.reach(c.Last, in, c.Level, r)
	case len(c.Pend.Readings) > 0:
		_, _, fault = c.reach(*c.Pend.tail(), in, 0, r)
	}
	if c.queueUp(&c.Pend, in, r) {
		c.Rival = queue{}
	} else if !c.queueUp(&c.Rival, in, r) {
		c.Rival = queue{Readings: []reading{in}, N: 1}
	}
	c.settle(r)
	if fault == "" {
		return nil
	}
	return c.reject(fault, value)
}

func (c *counter) reject(cause string, value float64) *Rejection {
	if c.Bad = min(c.Bad+1, rejectedAt+1); c.Bad != rejectedAt {
		return nil
	}
	rej := &Rejection{Point: c.Point, Cause: cause, Value: value, N: rejectedAt}
	if c.Known {
		rej.Last = kwhOf(&c.Last.C)
	}
	return rej
}

// raise compensates a small step back. The resolution that such a reading shows is ignored.
func (in *reading) raise(to int64) {
	if in.C < to {
		in.C, in.Step, in.Double = to, 0, false
	}
}

// scale turns a value into whole mWh.
func scale(at moment, value float64) (in reading, ok bool) {
	if !(value >= 0 && value <= maxKWh) {
		return reading{}, false
	}
	x := value * perKWh
	in = reading{moment: at, C: int64(math.Round(x)), N: 1, Double: float64(float32(value)) != value}
	if math.Abs(x-float64(in.C)) > max(1e-3, x*4e-16) {
		return in, true // more digits than the decimals of a meter have
	}
	for in.Step = perKWh; in.C%in.Step != 0; {
		in.Step /= 10
	}
	return in, true
}

// step is the counter's resolution at a value: it may be this much ahead of the truth, or fall back by this much
// without meaning it.
func (c *counter) step(mwh int64) int64 {
	if c.Double {
		return c.Step
	}
	v := float32(kwh(mwh))
	return max(c.Step, int64(math.Ceil(float64(math.Nextafter32(v, math.MaxFloat32)-v)*perKWh)))
}

// resolution is the step that two readings show, which may be finer than that of the accepted ones.
func (c *counter) resolution(from, to reading) int64 {
	with := counter{Step: c.Step, Double: c.Double || from.Double || to.Double}
	for _, in := range [...]reading{from, to} {
		if in.Step > 0 {
			with.Step = min(with.Step, in.Step)
		}
	}
	return with.step(to.C)
}

// reach returns the energy between two readings, and the fault if it is implausible. level is how far the first is
// ahead of the rated power: over any time, the counter may rise by the rated power times the time plus one step.
func (c *counter) reach(from, to reading, level float64, r rules) (rise int64, next float64, fault string) {
	step := c.resolution(from, to)
	if rise = to.C - from.C; rise < 0 {
		if -rise > step || to.C == 0 { // devices show zero when the value is unknown
			return 0, 0, RejectedFall
		}
		rise = 0
	}
	ms, known := from.elapsed(to.moment)
	if !known {
		ms = r.outage
	}
	if next = max(0, level+float64(rise)-r.perMS*float64(ms)); next > float64(step) {
		return 0, 0, RejectedJump
	}
	return rise, next, ""
}

// queue is a number of readings that wait for others to agree with them, each agreeing with the one before.
type queue struct {
	Readings []reading `json:"r,omitempty"`
	N        int       `json:"n,omitempty"` // number of readings that they represent
}

// queueMax bounds a queue. Beyond it, the last reading represents several.
const queueMax = 8

func (q *queue) tail() *reading { return &q.Readings[len(q.Readings)-1] }

// queueUp adds a reading to a queue, false if it does not agree with the last one there.
func (c *counter) queueUp(q *queue, in reading, r rules) bool {
	if len(q.Readings) == 0 {
		q.Readings, q.N = append(q.Readings, in), 1
		return true
	}
	tail := q.tail()
	if _, _, fault := c.reach(*tail, in, 0, r); fault != "" {
		return false
	}
	in.raise(tail.C)
	if ms, known := tail.elapsed(in.moment); known && ms <= r.gap {
		in.Cov = ms
	}
	switch {
	case in.C == 0: // a counter that was never above zero begins with its last zero
		in.N += tail.N
		in.Cov = 0
		*tail = in
	case len(q.Readings) == queueMax:
		in.N += tail.N
		in.Cov += tail.Cov
		*tail = in
	default:
		q.Readings = append(q.Readings, in)
	}
	q.N++
	return true
}

// terms returns how many agreeing readings over what span it takes to believe the first waiting reading, and the cause
// of the segment that it then begins.
func (c *counter) terms(first reading, r rules) (n int, span int64, cause string) {
	if c.Why == CauseReplaced || !c.Known && !c.Lost {
		return 2, 0, c.Why
	}
	if !c.Known {
		return confirm, confirmSpan.Milliseconds(), c.Why
	}
	ms, known := c.Last.elapsed(first.moment)
	_, _, fault := c.reach(c.Last, first, c.Level, r)
	switch {
	case c.Why != "" && fault == "":
		cause = c.Why
	case fault == RejectedFall && !c.Lost && c.rolledOver(first, r) > 0:
		cause = CauseRollover
	case fault == RejectedFall:
		cause = CauseReset
	case fault == RejectedJump:
		cause = CauseJump
	case c.Lost:
		cause = CauseUnusable
	case known && ms > r.outage:
		return after, 0, CauseOutage
	case !known || ms > r.gap:
		return after, 0, ""
	default:
		return 2, 0, ""
	}
	return confirm, confirmSpan.Milliseconds(), cause
}

// ready reports whether enough readings of a queue agree, and the cause of the segment that they begin.
func (c *counter) ready(q *queue, r rules) (cause string, ok bool) {
	if len(q.Readings) < 2 { // the last one always waits for the next, and so do zeros, which are one
		return "", false
	}
	first, tail := q.Readings[0], q.tail()
	n, span, cause := c.terms(first, r)
	return cause, q.N >= n && (tail.M-first.M >= span || tail.Boot != first.Boot)
}

// settle accepts readings that enough others confirm. When the rival queue is the first to have so many, the readings
// that waited before were wrong, unless a new segment explains both.
func (c *counter) settle(r rules) {
	c.letIn(r)
	cause, ok := c.ready(&c.Rival, r)
	if !ok {
		return
	}
	if cause != "" && c.Known && c.Why == "" && !c.Lost {
		for _, in := range c.Pend.Readings {
			if _, _, fault := c.reach(c.Last, in, c.Level, r); fault != "" {
				break
			}
			c.accept(in, "", r)
		}
	}
	c.Pend, c.Rival = c.Rival, queue{}
	c.letIn(r)
}

// letIn accepts what is ready in the queue.
func (c *counter) letIn(r rules) {
	q := &c.Pend
	for {
		cause, ok := c.ready(q, r)
		if !ok {
			return
		}
		if c.Lost { // up to here the integral has it
			begin := *q.tail()
			begin.N = 0
			c.accept(begin, cause, r)
			c.Pend, c.Rival = queue{}, queue{}
			return
		}
		first := q.Readings[0]
		c.accept(first, cause, r)
		q.Readings = append(q.Readings[:0], q.Readings[1:]...)
		q.N -= first.N
	}
}

// accept hands a reading on to the track.
func (c *counter) accept(in reading, cause string, r rules) {
	v := vertex{moment: in.moment, D: -1, C: in.C, N: in.N, Why: cause, Carry: c.Carry}
	if v.Last = c.Base; c.Known {
		before := c.Last.C
		v.Last = &before
	}
	if cause == CauseRollover {
		v.Mod = c.rolledOver(in, r)
		v.E = v.Mod - c.Last.C + in.C
	} else if cause == "" {
		v.E, c.Level, _ = c.reach(c.Last, in, c.Level, r)
		in.raise(c.Last.C)
		v.C = in.C
	}
	if cause != "" {
		v.Meter, c.Meter = c.Meter, ""
		c.Level = 0
		v.N = min(v.N, 1) // of many zeros, one
	}
	if !v.breaks() && c.Last.Boot == in.Boot && in.M >= c.Last.M {
		v.D = in.M - c.Last.M
		if d := in.T - c.Last.T; d >= 0 && max(d-v.D, v.D-d) <= slackMS {
			v.D = d
		}
		if in.N > 1 {
			v.Cov = min(in.Cov, v.D)
		} else if v.D <= r.gap {
			v.Cov = v.D
		}
	}
	if in.Step > 0 {
		c.Step = min(c.Step, in.Step)
	}
	c.Double = c.Double || in.Double
	c.Level = min(c.Level, float64(c.step(in.C))) // what a coarser step had allowed is forgiven
	c.Carry, c.Shadow, c.Base = 0, nil, nil
	c.Last, c.Known, c.Why, c.Lost, c.Bad = in, true, "", false, 0
	if !c.push(v) {
		c.Why = CauseUnusable // the track is full: nothing takes its content, or the counter is erratic
	}
}

// rolledOver returns the largest value, in mWh, that a counter has passed before it fell back, or 0. The counter must
// have been so near to it that the rated power explains the difference, and must have been read not much longer than a
// quarter of an hour before. Such largest values are those of 32 bits of 0.1 Wh, Wh, 10 Wh or 100 Wh, and of displays
// with five to eight digits.
func (c *counter) rolledOver(in reading, r rules) int64 {
	const w32 = int64(1) << 32
	if ms, known := c.Last.elapsed(in.moment); !known || ms > max(r.gap, quarterMS) {
		return 0
	}
	for _, mod := range [...]int64{
		w32 * 1e2, w32 * 1e3, w32 * 1e4, w32 * 1e5, // and 2³² kWh is more than is believed
		1e5 * perKWh, 1e6 * perKWh, 1e7 * perKWh, 1e8 * perKWh,
	} {
		if c.Last.C > mod || in.C > c.Last.C {
			continue
		}
		ahead := in
		ahead.C = mod + in.C
		if _, _, fault := c.reach(c.Last, ahead, c.Level, r); fault == "" {
			return mod
		}
	}
	return 0
}

// forget gives up placing readings of an earlier start of the machine whose clock was never set. Their energy goes to
// the next reading that can be placed; their details are lost. If a segment began there, its energy cannot be separated
// and is lost too: the next reading begins a segment after the rest.
func (c *counter) forget(boot string) {
	lost := func(m moment) bool { return m.Clk == contract.ClockFree && m.Boot != boot }
	keep, energy, cause := c.Track[:0], int64(0), ""
	for _, v := range c.Track {
		if !lost(v.moment) {
			keep = append(keep, v)
			continue
		}
		energy += v.E + v.Carry
		if v.Why != "" {
			cause = v.Why
		}
	}
	c.Track = keep
	c.Carry += energy
	if cause != "" {
		c.Carry, c.Why, c.Known, c.Base = 0, cause, false, c.Ledger.last()
		for _, v := range keep {
			if end := v.C; !v.Integral {
				c.Base = &end
			}
		}
	}
	for _, q := range []*queue{&c.Pend, &c.Rival} {
		if slices.ContainsFunc(q.Readings, func(in reading) bool { return lost(in.moment) }) {
			*q = queue{}
		}
	}
	c.Shadow = nil
}
