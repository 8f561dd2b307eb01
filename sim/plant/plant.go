// Package plant is the physics of a simulated site: the sun over it, its clouds, inverters, loads, meters and barriers.
//
// Everything here is a value that moves forward by explicit time steps: there is no clock, no goroutine and no I/O, and
// chance comes from Dice, so that a site is the same for the same seed and the same steps. The models are simple but
// consistent: energy is the integral of power, a meter balances, and nothing jumps that cannot jump. The package knows
// no protocol: registers are assigned elsewhere.
package plant

import (
	"math"
	"time"
)

// Phases is the number of phases of every site: they are all three-phase.
const Phases = 3

// Dice is a source of chance without a state: its n-th number depends on seed, actor and n alone, so that asking in
// another order, or not at all, changes nothing for anybody else.
type Dice uint64

// NewDice makes the dice of one actor: a device, a line, a cloud.
func NewDice(seed uint64, actor string) Dice {
	h := uint64(14695981039346656037) // FNV-1a, 64 bits
	for i := range len(actor) {
		h = (h ^ uint64(actor[i])) * 1099511628211
	}
	return Dice(mix(h ^ mix(seed)))
}

// Word gives the n-th number as 64 bits.
func (d Dice) Word(n uint64) uint64 { return mix(uint64(d) + mix(n)) }

// Float gives the n-th number in [0, 1).
func (d Dice) Float(n uint64) float64 { return float64(d.Word(n)>>11) / (1 << 53) }

// Between gives the n-th number in [lo, hi).
func (d Dice) Between(n uint64, lo, hi float64) float64 { return lo + (hi-lo)*d.Float(n) }

// Noise is a smooth curve in [-1, 1] that is renewed every period: drawn at the knots, eased between them.
func (d Dice) Noise(at time.Time, period time.Duration) float64 {
	x := float64(at.UnixMilli()) / float64(period.Milliseconds())
	knot := math.Floor(x)
	f := x - knot
	f = f * f * (3 - 2*f)
	n := uint64(int64(knot))
	return 2*((1-f)*d.Float(n)+f*d.Float(n+1)) - 1
}

// mix is the finaliser of SplitMix64: every bit of the result depends on every bit of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// lag moves value towards target as a first-order lag with time constant tau does in dt.
func lag(value, target float64, dt, tau time.Duration) float64 {
	return target + (value-target)*math.Exp(-dt.Seconds()/tau.Seconds())
}

// kwh is the energy of a power that went evenly from one value to another within dt, in kWh.
func kwh(fromW, toW float64, dt time.Duration) float64 {
	return (fromW + toW) / 2 * dt.Hours() / 1000
}

func clamp(x, lo, hi float64) float64 { return math.Max(lo, math.Min(hi, x)) }
