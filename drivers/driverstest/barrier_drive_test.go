package driverstest

import (
	"slices"
	"sync"
	"time"
)

// sampleDrive implements BarrierDrive: an arm that moves at constant speed, a board with an input for each action and one to
// step through them, and a module with one output that times its pulses.
type sampleDrive struct {
	mu      sync.Mutex
	faults  DriveFaults
	frozen  sampleInputs // what is reported while the status is frozen
	from    float64      // where the arm was, in percent, at since
	motion  int          // +1 it opens, -1 it closes
	since   time.Time
	lastWay int       // for the step input; forgotten without mains
	boot    time.Time // mains are on from then on
	onUntil time.Time // the output
	pulses  []Pulse
	written []string
}

// sampleInputs are all that the agent can read.
type sampleInputs struct {
	closed, opened bool
	position       int
	code           string // the drive's own: stopped, opening, closing
	uptime         time.Duration
	output         bool
}

// settle moves the arm to where it is now.
func (d *sampleDrive) settle() {
	travel := sampleTravel
	if d.faults.FastArm {
		travel /= 2
	}
	d.from += float64(d.motion) * 100 * float64(time.Since(d.since)) / float64(travel)
	if d.from <= 0 && d.motion < 0 || d.from >= 100 && d.motion > 0 {
		d.motion = 0
	}
	d.from, d.since = min(max(d.from, 0), 100), time.Now()
}

func (d *sampleDrive) Place(percent int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.from, d.motion, d.since = float64(percent), 0, time.Now()
}

func (d *sampleDrive) Push(action string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.receive(Pulse{Begin: time.Now(), End: time.Now(), Action: action, Local: true})
}

// receive lets the board act on a pulse.
func (d *sampleDrive) receive(p Pulse) {
	d.settle()
	d.pulses = append(d.pulses, p)
	if time.Now().Before(d.boot) {
		return
	}
	switch {
	case p.Action == barrierStop && d.faults.IgnoreStop:
	case p.Action == barrierStop || p.Action == "step" && d.motion != 0:
		d.motion = 0
	case p.Action == barrierOpen || p.Action == "step" && d.lastWay <= 0:
		d.motion, d.lastWay = 1, 1
	default:
		d.motion, d.lastWay = -1, -1
	}
	if p.Action == "step" && d.from == 100 { // at a limit there is one way
		d.motion, d.lastWay = -1, -1
	} else if p.Action == "step" && d.from == 0 {
		d.motion, d.lastWay = 1, 1
	}
}

func (d *sampleDrive) PowerCycle(off time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	d.motion, d.lastWay, d.boot = 0, 0, time.Now().Add(off)
}

func (d *sampleDrive) Break(f DriveFaults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	if f.FrozenStatus && !d.faults.FrozenStatus {
		d.frozen = d.inputs()
	}
	if d.faults.StuckOutput && !f.StuckOutput {
		d.onUntil = time.Now()
	}
	d.faults = f
}

func (d *sampleDrive) Arm() (percent int, motion string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	return int(d.from), [...]string{"closing", "", "opening"}[d.motion+1]
}

func (d *sampleDrive) Energised() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.onUntil)
}

func (d *sampleDrive) Pulses() []Pulse {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := slices.Clone(d.pulses)
	for i := range out {
		if out[i].End.After(time.Now()) {
			out[i].End = time.Time{}
		}
	}
	return out
}

func (d *sampleDrive) Written() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.written)
}

// read is the agent's way to the inputs.
func (d *sampleDrive) read() (sampleInputs, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.faults.DeadLine || time.Now().Before(d.boot):
		return sampleInputs{}, errSampleLine
	case d.faults.FrozenStatus:
		return d.frozen, nil
	}
	return d.inputs(), nil
}

func (d *sampleDrive) inputs() sampleInputs {
	d.settle()
	in := sampleInputs{closed: d.from == 0, opened: d.from == 100, position: int(d.from), uptime: time.Since(d.boot),
		code: [...]string{"closing", "stopped", "opening"}[d.motion+1], output: time.Now().Before(d.onUntil)}
	if d.faults.ShortPosition {
		in.position = max(in.position, 1)
	}
	if d.faults.ConstantDirection && d.motion != 0 {
		in.code = "opening"
	}
	if d.faults.BothLimits {
		in.closed, in.opened = true, true
	}
	return in
}

// output is the agent's way to the module: it switches the output of an action on for so long, or all of them off.
func (d *sampleDrive) output(action string, length time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.faults.DeadLine || time.Now().Before(d.boot) {
		return errSampleLine
	}
	d.written = append(d.written, describe(action))
	now := time.Now()
	if action == "off" {
		if d.faults.StuckOutput {
			return nil
		}
		for i := range d.pulses {
			if d.pulses[i].End.After(now) {
				d.pulses[i].End = now
			}
		}
		d.onUntil = now
		return nil
	}
	wasOn := now.Before(d.onUntil)
	if d.faults.StuckOutput {
		length = 1000 * time.Hour
	}
	d.onUntil = now.Add(length)
	if !wasOn { // the board acts on the edge
		d.receive(Pulse{Begin: now, End: d.onUntil, Action: action})
	}
	return nil
}
