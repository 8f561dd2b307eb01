package energy

import (
	"math/bits"

	"bordo/contract"
)

// Units: energy is whole milliwatt-hours, time milliseconds. A counter of 10⁹ kWh, the largest believed value, is 10¹⁵
// mWh: a float64 represents both exactly.
const (
	perKWh    = 1_000_000
	maxKWh    = 1e9
	quarterMS = 15 * 60 * 1000
)

// Interval is the energy of a quarter of an hour: the data of contract.EnergyInterval. Its key is (node, device, point,
// start), and the highest rev counts. A quarter of which nothing is known has no interval.
//
// The intervals of a segment add up to the difference of its counter. When From and To are both there, KWh is their
// difference, and To is the From of the next interval of the segment. From is missing when something else was booked in
// the quarter before the counter, To when something else was booked after it.
type Interval struct {
	Start   int64    `json:"start"` // ms UTC
	Point   string   `json:"point"`
	KWh     float64  `json:"kwh"`
	From    *float64 `json:"from"` // kWh, where the segment's part of the quarter begins
	To      *float64 `json:"to"`   // and where it ends
	Meter   string   `json:"meter,omitempty"`
	Segment int64    `json:"segment"` // rises; of the end of the quarter
	// share of the quarter in which readings were close to each other; less than 1: estimated
	Coverage float64        `json:"coverage"`
	Samples  int            `json:"samples"` // readings in the quarter
	Method   string         `json:"method"`
	Clk      contract.Clock `json:"clk"` // the worst in the quarter
	Rev      int            `json:"rev"`
	POD      string         `json:"pod,omitempty"`
	Role     string         `json:"role,omitempty"`
}

// The methods.
const (
	MethodCounter  = "counter"
	MethodIntegral = "integral" // of the power, because the counter could not be used
	MethodMixed    = "mixed"
)

// Segment reports that a counter began anew: the data of contract.EnergySegment. The energy between Last and First is
// in no interval, unless the cause is a rollover, or the clock, where both are equal.
type Segment struct {
	Point   string   `json:"point"`
	Segment int64    `json:"segment"`
	Cause   string   `json:"cause"`
	Last    *float64 `json:"last"` // kWh; null when nothing was known before
	First   float64  `json:"first"`
	Meter   string   `json:"meter,omitempty"`

	At  int64          `json:"-"` // ms UTC, of First
	Clk contract.Clock `json:"-"`
}

// The causes of a segment.
const (
	CauseRestart  = "restart"  // no record of this counter was there
	CauseReset    = "reset"    // it fell back
	CauseRollover = "rollover" // it passed its largest value
	CauseReplaced = "replaced" // Confirm
	CauseJump     = "jump"     // it went up further than the rated power allows
	CauseOutage   = "outage"   // it was not read for longer than MaxOutage
	CauseUnusable = "unusable" // it could not be used, and the power was integrated instead, or not even that
	CauseClock    = "clock"    // the clock was put back, or was never set: what went before cannot be placed
)

// Rejection reports that a counter's readings are not believed: the data of contract.EnergyRejected. It is reported
// once, until a reading is believed again.
type Rejection struct {
	Point string   `json:"point"`
	Cause string   `json:"cause"`
	Value float64  `json:"value"` // kWh, the last that was rejected
	Last  *float64 `json:"last"`  // kWh, the last that was believed; null when none was
	N     int      `json:"n"`     // since then
}

// The causes of a rejection.
const (
	RejectedFall  = "fall"
	RejectedJump  = "jump"
	RejectedRange = "range" // negative, or more than 10⁹ kWh
)

func kwh(mwh int64) float64 { return float64(mwh) / perKWh }

func kwhOf(mwh *int64) *float64 {
	if mwh == nil {
		return nil
	}
	v := kwh(*mwh)
	return &v
}

// part is what has flown of e after num of den, if it flows evenly, rounded down; all of it when nothing divides it.
// 0 ≤ num ≤ den and 0 ≤ e.
func part(e, num, den int64) int64 {
	if den <= 0 {
		return e
	}
	hi, lo := bits.Mul64(uint64(e), uint64(num))
	q, _ := bits.Div64(hi, lo, uint64(den)) // hi < den, because e×num/den ≤ e
	return int64(q)
}

// quarterOf is the beginning of the quarter of an hour that t lies in.
func quarterOf(t int64) int64 {
	past := t % quarterMS
	if past < 0 {
		past += quarterMS
	}
	return t - past
}

// worst is the lower of two qualities of time.
func worst(a, b contract.Clock) contract.Clock {
	switch {
	case a == contract.ClockFree || b == contract.ClockFree:
		return contract.ClockFree
	case a == contract.ClockEst || b == contract.ClockEst:
		return contract.ClockEst
	}
	return contract.ClockSync
}
