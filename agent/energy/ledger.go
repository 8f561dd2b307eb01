package energy

import (
	"cmp"
	"math"
	"slices"

	"bordo/contract"
)

// ledger books vertices into quarters. T is the time up to which it has booked.
type ledger struct {
	Live bool  `json:"live,omitempty"` // anything was booked
	T    int64 `json:"t,omitempty"`
	C    int64 `json:"c,omitempty"`     // the counter at T, or its last value before
	HasC bool  `json:"has_c,omitempty"` // C is that of T
	Seg  int64 `json:"seg,omitempty"`
	Open *open `json:"open,omitempty"` // the quarter that T lies in

	Meter string `json:"meter,omitempty"` // serial number at T; empty: the account's

	// A quarter that begins at or before MaxStart may have been published already. It then has the revision Base, which
	// is higher than any used when the clock was put back.
	MaxStart int64 `json:"max_start,omitempty"`
	MaxRev   int   `json:"max_rev,omitempty"`
	Base     int   `json:"base,omitempty"`
	Doubt    bool  `json:"doubt,omitempty"` // quarters were published that this ledger does not know

	// Whole are the quarters published with full coverage under a set clock. If they are repeated, nothing less is
	// published of them.
	Whole []run `json:"whole,omitempty"`
}

// run is quarters in a row, by their beginnings.
type run struct {
	First int64 `json:"f"`
	Last  int64 `json:"l"`
}

// maxRuns bounds the runs that are remembered; the oldest goes.
const maxRuns = 64

// open is a quarter that is being filled.
type open struct {
	Start    int64          `json:"s"`
	From     *int64         `json:"f,omitempty"`
	E        int64          `json:"e,omitempty"`
	Cov      int64          `json:"v,omitempty"`
	Len      int64          `json:"l,omitempty"` // ms that were booked
	N        int            `json:"n,omitempty"`
	Clk      contract.Clock `json:"k,omitempty"`
	Counter  bool           `json:"ct,omitempty"`
	Integral bool           `json:"in,omitempty"`

	// Told is set when the quarter was published before it was closed, and Part is what was published of it.
	Told bool  `json:"t,omitempty"`
	Part share `json:"p,omitzero"`
}

// share is how much of a quarter was published.
type share struct {
	E   int64 `json:"e,omitempty"`
	Cov int64 `json:"v,omitempty"`
	N   int   `json:"n,omitempty"`
	Rev int   `json:"r,omitempty"`
}

func (o *open) used() bool { return o.Len > 0 || o.E > 0 }

// doubtRevs is the increment of the revision when it is unknown which ones were used.
const doubtRevs = 16

// doubt records, at the first poll after an older state was restored, up to where quarters may have been published.
func (l *ledger) doubt(t int64) {
	if l.Doubt {
		l.Doubt, l.MaxStart, l.Base = false, max(l.MaxStart, quarterOf(t)-quarterMS), l.MaxRev+doubtRevs
	}
}

// news reports whether a vertex produces something that can be taken.
func (l *ledger) news(v *vertex) bool {
	return v.Why != "" || l.Open == nil || quarterOf(v.T) > l.Open.Start || v.T < l.T-quarterMS
}

// apply books one vertex. step is the resolution of the counter.
func (l *ledger) apply(v vertex, r rules, step int64, out *Taken) {
	if !l.Live {
		l.Live, l.T, v.Carry = true, v.T-max(v.D, 0), 0
		if !v.breaks() {
			l.next(l.T)
		}
	}
	if v.breaks() {
		if v.Carry > 0 {
			carried := vertex{moment: v.moment, D: -1, E: v.Carry, C: l.C + v.Carry}
			if l.unplaceable(&carried, r, step) == "" {
				l.flow(carried, out)
			} else {
				v.Last = l.last()
			}
		}
		l.begin(v, out)
		return
	}
	v.E += v.Carry
	if cause := l.unplaceable(&v, r, step); cause != "" {
		v.Why, v.Mod, v.Last = cause, 0, l.last()
		l.begin(v, out)
		return
	}
	l.flow(v, out)
}

// last is the counter at T, nil when it is not known.
func (l *ledger) last() *int64 {
	if !l.HasC {
		return nil
	}
	c := l.C
	return &c
}

// unplaceable returns why energy cannot be booked between the previous vertex and this one: the cause of a new segment.
func (l *ledger) unplaceable(v *vertex, r rules, step int64) string {
	apart := v.T - l.T
	switch {
	case v.D >= 0:
		if v.D > r.outage+slackMS {
			return CauseOutage
		}
	case v.Clk == contract.ClockFree, apart < -quarterMS:
		return CauseClock
	case apart > r.outage:
		return CauseOutage
	case float64(v.E) > r.perMS*float64(max(apart, 0))+float64(step):
		return CauseJump // seen only now that both ends are placed
	}
	return ""
}

// begin begins a segment at a vertex. What lies between it and the vertex before is not booked.
func (l *ledger) begin(v vertex, out *Taken) {
	if v.T < l.T-quarterMS {
		l.back(v.T, out)
	}
	l.enter(quarterOf(max(v.T, l.T)), out)
	l.T = max(v.T, l.T)
	l.Meter = cmp.Or(v.Meter, l.Meter)
	l.segment(&v, out)
	l.C, l.HasC = v.C, true
	o := l.Open
	o.From = nil
	if !o.used() {
		o.From = &v.C
	}
	o.N += v.N
	o.Clk = worst(o.Clk, v.Clk)
}

// next gives the segment a new number: the second in which it begins, if that is higher than the previous number, so
// that a ledger that has lost its record does not repeat itself.
func (l *ledger) next(t int64) { l.Seg = max(l.Seg+1, t/1000) }

func (l *ledger) segment(v *vertex, out *Taken) {
	l.next(v.T)
	out.Segments = append(out.Segments, Segment{
		Segment: l.Seg, Cause: v.Why, Last: kwhOf(v.Last), First: kwh(v.C), Meter: l.Meter, At: v.T, Clk: v.Clk})
}

// back returns to t: published quarters will be repeated.
func (l *ledger) back(t int64, out *Taken) {
	l.close(out)
	l.Base = l.MaxRev + 1
	l.T = t
}

// flow books the energy of a vertex, evenly over its time.
func (l *ledger) flow(v vertex, out *Taken) {
	s, clk := l.T, v.Clk
	if v.D >= 0 {
		if d := v.T - v.D; d > l.T+slackMS || d < l.T-slackMS {
			s = d
		}
	}
	switch {
	case s > l.T: // the clock was put forward, so it was wrong until then; or the power was not read
		if l.Open != nil && !v.Integral {
			l.Open.Clk = contract.ClockFree
		}
		l.enter(quarterOf(s), out)
	case s < l.T-quarterMS:
		l.back(s, out)
		if l.HasC {
			at := vertex{moment: v.moment, Why: CauseClock, C: l.C, Last: &l.C}
			at.T = s
			l.segment(&at, out)
		} else {
			l.next(s)
		}
	case s < l.T || v.T < l.T: // put back by little: the open quarter lasts until it has caught up
		s, clk = l.T, contract.ClockFree
	}
	t, c0 := max(v.T, s), l.C
	var e, cov, n int64
	for at := s; ; {
		o := l.enter(quarterOf(at), out)
		end := min(o.Start+quarterMS, t)
		share := func(of int64) int64 { return part(of, end-s, t-s) }
		o.E, o.Cov, o.Len, o.Clk = o.E+share(v.E)-e, o.Cov+share(v.Cov)-cov, o.Len+end-at, worst(o.Clk, clk)
		o.Counter, o.Integral = o.Counter || !v.Integral, o.Integral || v.Integral
		if v.N > 1 { // the last of them is that of the vertex itself
			o.N += int(share(int64(v.N)-1) - n)
			n = share(int64(v.N) - 1)
		}
		e, cov, at = share(v.E), share(v.Cov), end
		l.T = end
		l.reach(&v, c0+e, end == t, out)
		if end == t {
			break
		}
	}
	o := l.enter(quarterOf(t), out)
	o.N += v.N - int(n)
	o.Clk = worst(o.Clk, clk)
}

// reach records the counter's value at T, where x is c0 plus the energy since. last means that T is the time of the
// vertex.
func (l *ledger) reach(v *vertex, x int64, last bool, out *Taken) {
	switch {
	case v.Integral:
		l.HasC = false
	case v.Mod > 0 && (x >= v.Mod || last):
		if v.Why != "" {
			l.segment(v, out)
			v.Why = ""
			l.Open.From = nil
		}
		l.C, l.HasC = max(x-v.Mod, 0), true
	case last:
		l.C, l.HasC = v.C, true
	default:
		l.C, l.HasC = x, true
	}
}

// enter makes the quarter that begins at start the open one, and closes the one before.
func (l *ledger) enter(start int64, out *Taken) *open {
	if l.Open == nil || l.Open.Start != start {
		l.close(out)
		l.Open = &open{Start: start}
		l.Open.From = l.last()
	}
	return l.Open
}

// close publishes the open quarter, if anything was booked in it.
func (l *ledger) close(out *Taken) {
	l.tell(out)
	l.Open = nil
}

// tell publishes the open quarter as far as it goes, if anything was booked in it since it was last published.
func (l *ledger) tell(out *Taken) {
	o := l.Open
	if o == nil || !o.used() || o.Told && o.Part == (share{o.E, o.Cov, o.N, o.Part.Rev}) {
		return
	}
	iv := Interval{
		Start: o.Start, KWh: kwh(o.E), From: kwhOf(o.From), Segment: l.Seg, Meter: l.Meter,
		Coverage: math.Floor(float64(min(o.Cov, quarterMS))*1e4/quarterMS) / 1e4,
		Samples:  o.N, Method: MethodCounter, Clk: o.Clk,
	}
	iv.To = kwhOf(l.last())
	switch {
	case o.Counter && o.Integral:
		iv.Method = MethodMixed
	case o.Integral:
		iv.Method = MethodIntegral
	}
	whole := iv.Coverage == 1 && iv.Method == MethodCounter && iv.Clk != contract.ClockFree
	switch {
	case o.Told:
		iv.Rev = o.Part.Rev + 1
	case o.Start <= l.MaxStart:
		iv.Rev = l.Base
	}
	o.Told, o.Part = true, share{o.E, o.Cov, o.N, iv.Rev}
	if o.Start <= l.MaxStart && !whole && l.toldWhole(o.Start) {
		l.forgo(o, out)
		return
	}
	if whole {
		l.tellWhole(o.Start)
	}
	l.MaxStart, l.MaxRev = max(l.MaxStart, o.Start), max(l.MaxRev, iv.Rev)
	out.Intervals = append(out.Intervals, iv)
}

// forgo does not publish a quarter that would replace a better one. Its energy is in no interval, and a segment says
// so, also where a segment began within the quarter and no single value of the counter represents its beginning.
func (l *ledger) forgo(o *open, out *Taken) {
	l.next(l.T)
	before := l.C - o.E
	out.Segments = append(out.Segments, Segment{Segment: l.Seg, Cause: CauseClock, Last: kwhOf(&before),
		First: kwh(l.C), At: l.T, Clk: o.Clk})
}

func (l *ledger) toldWhole(start int64) bool {
	return slices.ContainsFunc(l.Whole, func(r run) bool { return r.First <= start && start <= r.Last })
}

// tellWhole records that a quarter was published with full coverage.
func (l *ledger) tellWhole(start int64) {
	if n := len(l.Whole); n > 0 && l.Whole[n-1].Last+quarterMS == start {
		l.Whole[n-1].Last = start
		return
	}
	if l.toldWhole(start) {
		return
	}
	if len(l.Whole) == maxRuns {
		l.Whole = slices.Delete(l.Whole, 0, 1)
	}
	l.Whole = append(l.Whole, run{start, start})
}
