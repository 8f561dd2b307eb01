package plant

import (
	"math"
	"time"
)

// Grid is the public network at the site.
type Grid struct{ dice [Phases + 1]Dice }

// NewGrid makes the network that a seed gives.
func NewGrid(seed uint64) Grid {
	return Grid{[Phases + 1]Dice{NewDice(seed, "grid l1"), NewDice(seed, "grid l2"), NewDice(seed, "grid l3"),
		NewDice(seed, "grid hz")}}
}

// Supply is what the network gives at a moment: phase voltages to neutral in V, frequency in Hz.
type Supply struct {
	Voltage [Phases]float64
	Hz      float64
}

// At gives the supply at a time: 230 V within three per cent, 50 Hz within 40 mHz.
func (g Grid) At(at time.Time) Supply {
	var s Supply
	for i := range s.Voltage {
		s.Voltage[i] = 231 + 3.5*g.dice[i].Noise(at, 13*time.Minute) + 0.8*g.dice[i].Noise(at, 7*time.Second)
	}
	s.Hz = 50 + 0.03*g.dice[Phases].Noise(at, 3*time.Minute) + 0.01*g.dice[Phases].Noise(at, 5*time.Second)
	return s
}

// LineToLine gives the voltages L1-L2, L2-L3 and L3-L1 of a star with angles of 120 degrees.
func (s Supply) LineToLine() [Phases]float64 {
	var v [Phases]float64
	for i := range v {
		a, b := s.Voltage[i], s.Voltage[(i+1)%Phases]
		v[i] = math.Sqrt(a*a + b*b + a*b)
	}
	return v
}

// Load is what the building behind the meter uses.
type Load struct {
	BaseW, PeakW float64 // at night and in working hours
	dice         Dice
}

// NewLoad makes the load that a seed gives.
func NewLoad(seed uint64, baseW, peakW float64) Load {
	return Load{BaseW: baseW, PeakW: peakW, dice: NewDice(seed, "load")}
}

// tanPhi is the load's ratio of reactive to active power: a power factor of 0.95.
const tanPhi = 0.3287

// share of each phase in the load: buildings are never even.
var share = [Phases]float64{0.40, 0.35, 0.25}

// At gives the active and reactive power of each phase at a time, in W and var. A day has a broad working-hours hump
// (local clock), and machines that come and go within minutes.
func (l Load) At(at time.Time) (activeW, reactiveVar [Phases]float64) {
	hour := float64(at.Hour()) + float64(at.Minute())/60 + float64(at.Second())/3600
	hump := math.Exp(-math.Pow((hour-11)/4.2, 4)) + 0.45*math.Exp(-math.Pow((hour-19.5)/2, 2))
	total := l.BaseW + (l.PeakW-l.BaseW)*clamp(hump, 0, 1)
	total *= 1 + 0.15*l.dice.Noise(at, 11*time.Minute) + 0.05*l.dice.Noise(at, 9*time.Second)
	for i := range activeW {
		activeW[i] = total * share[i]
		reactiveVar[i] = activeW[i] * tanPhi
	}
	return activeW, reactiveVar
}

// Meter is a bidirectional meter at the exchange point. Power is positive when the site takes energy. Energies are summed
// over the phases before import and export are separated, as the distributor's meters do.
type Meter struct {
	Active, Reactive [Phases]float64 // W, var
	Supply           Supply

	ImportKWh, ExportKWh     float64 // lifetime
	ImportKvarh, ExportKvarh float64

	started bool
}

// Step moves the meter dt forward to a moment at which these powers flow.
func (m *Meter) Step(dt time.Duration, activeW, reactiveVar [Phases]float64, s Supply) {
	if m.started {
		book(&m.ImportKWh, &m.ExportKWh, Sum(m.Active), Sum(activeW), dt)
		book(&m.ImportKvarh, &m.ExportKvarh, Sum(m.Reactive), Sum(reactiveVar), dt)
	}
	m.Active, m.Reactive, m.Supply, m.started = activeW, reactiveVar, s, true
}

// Current gives the current of a phase in A: never negative, as such meters show it.
func (m *Meter) Current(phase int) float64 {
	if m.Supply.Voltage[phase] == 0 {
		return 0
	}
	return math.Hypot(m.Active[phase], m.Reactive[phase]) / m.Supply.Voltage[phase]
}

// Sum adds up the phases.
func Sum(p [Phases]float64) float64 { return p[0] + p[1] + p[2] }

// book adds the energy of a power that went evenly from one value to another to the counter of its sign. When the sign
// changes within the step, each side gets the part of the triangle that is its own.
func book(in, out *float64, from, to float64, dt time.Duration) {
	if (from >= 0) == (to >= 0) {
		add(in, out, kwh(from, to, dt))
		return
	}
	part := time.Duration(float64(dt) * from / (from - to)) // until the power passes through zero
	add(in, out, kwh(from, 0, part))
	add(in, out, kwh(0, to, dt-part))
}

func add(in, out *float64, energy float64) {
	if energy >= 0 {
		*in += energy
	} else {
		*out -= energy
	}
}
