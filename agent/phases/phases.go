// Package phases judges the three phases of a meter or an inverter: it detects a current transformer that is mounted
// the wrong way round, and a phase without voltage. Both make all energies of the device wrong, and neither shows in a
// total.
//
// It prefers few false alarms to quick ones. A single-phase generator behind an exchange meter exports on its phase
// while the others import, so an opposite sign alone proves nothing there. It counts when the three powers are equally
// large, which loads and such a generator are not for long, or when it lasts a day and a night without exception. Where
// only a generator is measured, it counts after a minute. A phase without current is no fault. The package is a pure
// state machine: no clock, no log, no text for people.
package phases

import (
	"fmt"
	"math"
	"slices"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Limits of the rules.
const (
	live   = 100.0 // V: the largest phase has at least this, or nothing is judged
	gone   = 0.4   // of the largest: what a blown fuse leaves, including feedback through three-phase loads
	strong = 0.7   // of the largest: a phase that is there

	small    = 30.0  // W: less says nothing of the direction
	balanced = 500.0 // W: from here on, phases that are equal are so by design
	// maximum deviation of equal phases from their mean: a generator on one phase passes through this within minutes
	apart = 0.05

	missingFor  = 30 * time.Second // and three polls
	alikeFor    = time.Minute      // and five polls: the phases of a generator have one direction
	equalFor    = 10 * time.Minute // and five polls
	oppositeFor = 24 * time.Hour   // and a hundred polls, so that a night is among them

	equalGap    = 5 * time.Minute // between two polls that count for alikeFor and equalFor
	oppositeGap = time.Hour       // and for oppositeFor

	recovered = 3 // polls in a row that end a finding
)

// Finding describes what is wrong with one phase.
type Finding struct {
	Phase  int    // 1 to 3
	Detail string // the numbers, as the device gave them
}

// Device watches one device. The zero value is ready. It is used by one goroutine.
type Device struct {
	Generator bool // only a generator is behind it: a production meter

	missing, alike, equal, opposite run
	noVoltage, reversed             state
}

// run is a row of polls that say the same of one phase.
type run struct {
	phase      int
	n          int
	since, now time.Duration
}

// add counts a poll in; one of another phase, or too long after the one before, begins a new row.
func (r *run) add(phase int, at, gap time.Duration) {
	if r.n == 0 || r.phase != phase || at-r.now > gap || at < r.now {
		*r = run{phase: phase, since: at}
	}
	r.n++
	r.now = at
}

func (r *run) lasts(d time.Duration, polls int) bool { return r.n >= polls && r.now-r.since >= d }

// state is a finding that lasts.
type state struct {
	open *Finding
	well int // polls in a row that contradict it
}

func (s *state) begin(f Finding) { s.open, s.well = &f, 0 }

// contradict takes a poll that says otherwise.
func (s *state) contradict() {
	if s.well++; s.well >= recovered {
		*s = state{}
	}
}

// Observe processes a poll at a monotonic time and returns the faults: a phase without voltage, and one whose power has
// the wrong sign; nil if there is none. What cannot be judged changes nothing.
func (d *Device) Observe(readings []drivers.Reading, at time.Duration) (noVoltage, reversed *Finding) {
	if v, ok := three(readings, voltagePoints); ok {
		d.voltages(v, at)
	}
	if p, ok := three(readings, powerPoints); ok {
		d.powers(p, at)
	}
	return d.noVoltage.open, d.reversed.open
}

func (d *Device) voltages(v [3]float64, at time.Duration) {
	phase, judged := missing(v)
	switch {
	case !judged:
	case phase == 0:
		d.missing = run{}
		d.noVoltage.contradict()
	default:
		if d.missing.add(phase, at, oppositeGap); d.missing.lasts(missingFor, recovered) || d.noVoltage.open != nil {
			d.noVoltage.begin(voltageFinding(phase, v))
		}
	}
}

func (d *Device) powers(p [3]float64, at time.Duration) {
	phase, judged := odd(p)
	if !judged {
		return
	}
	if phase == 0 || d.reversed.open != nil && d.reversed.open.Phase != phase {
		d.alike, d.equal, d.opposite = run{}, run{}, run{}
		d.reversed.contradict()
		return
	}
	d.alike.add(phase, at, equalGap)
	if d.opposite.add(phase, at, oppositeGap); equals(p) {
		d.equal.add(phase, at, equalGap)
	} else {
		d.equal = run{}
	}
	if d.Generator && d.alike.lasts(alikeFor, 5) || d.equal.lasts(equalFor, 5) || d.opposite.lasts(oppositeFor, 100) ||
		d.reversed.open != nil {
		d.reversed.begin(powerFinding(phase, p))
	}
}

// Look judges a single poll, for a person in front of the device: what deserves a look, but may have a good reason.
func Look(readings []drivers.Reading) (noVoltage, reversed *Finding) {
	if v, ok := three(readings, voltagePoints); ok {
		if phase, _ := missing(v); phase != 0 {
			f := voltageFinding(phase, v)
			noVoltage = &f
		}
	}
	if p, ok := three(readings, powerPoints); ok {
		if phase, _ := odd(p); phase != 0 {
			f := powerFinding(phase, p)
			reversed = &f
		}
	}
	return noVoltage, reversed
}

// The points of a quantity of each phase.
var (
	voltagePoints = [3]string{"ac_voltage_l1", "ac_voltage_l2", "ac_voltage_l3"}
	powerPoints   = [3]string{"ac_power_l1", "ac_power_l2", "ac_power_l3"}
)

// three gives a quantity of all three phases; false when one of them has no good value.
func three(readings []drivers.Reading, points [3]string) (out [3]float64, ok bool) {
	found := 0
	for _, r := range readings {
		if r.Quality != drivers.Good || r.Value.Type() != catalogue.Float {
			continue
		}
		if i := slices.Index(points[:], r.Point); i >= 0 {
			out[i] = r.Value.Float()
			found |= 1 << i
		}
	}
	return out, found == 7
}

// missing returns the one phase without voltage next to two with voltage; 0 when all have it. Two phases without
// voltage mean a single-phase device, and three a sleeping one: neither is judged.
func missing(v [3]float64) (phase int, judged bool) {
	most := max(v[0], v[1], v[2])
	if most < live {
		return 0, false
	}
	low, there := 0, 0
	for i, x := range v {
		switch {
		case x < gone*most:
			phase, low = i+1, low+1
		case x >= strong*most:
			there++
		}
	}
	switch {
	case there == 3:
		return 0, true
	case there == 2 && low == 1:
		return phase, true
	}
	return 0, false
}

// odd finds the phase whose power has the sign opposite to that of the two others; 0 when all have the same.
func odd(p [3]float64) (phase int, judged bool) {
	most := max(math.Abs(p[0]), math.Abs(p[1]), math.Abs(p[2]))
	up := 0
	for _, x := range p {
		if math.Abs(x) < max(small, most/20) {
			return 0, false
		}
		if x > 0 {
			up++
		}
	}
	if up == 0 || up == 3 {
		return 0, true
	}
	for i, x := range p {
		if (x > 0) == (up == 1) {
			phase = i + 1
		}
	}
	return phase, true
}

// equals reports whether the three powers are equally large.
func equals(p [3]float64) bool {
	mean := (math.Abs(p[0]) + math.Abs(p[1]) + math.Abs(p[2])) / 3
	for _, x := range p {
		if math.Abs(math.Abs(x)-mean) > apart*mean {
			return false
		}
	}
	return mean >= balanced
}

func voltageFinding(phase int, v [3]float64) Finding {
	return Finding{phase, fmt.Sprintf("L%d: L1 %.1f V, L2 %.1f V, L3 %.1f V", phase, v[0], v[1], v[2])}
}

func powerFinding(phase int, p [3]float64) Finding {
	return Finding{phase, fmt.Sprintf("L%d: L1 %.0f W, L2 %.0f W, L3 %.0f W", phase, p[0], p[1], p[2])}
}
