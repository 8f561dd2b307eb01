package plant

import "time"

// The states of a barrier, in the catalogue's words.
const (
	Open        = "open"
	Closed      = "closed"
	Opening     = "opening"
	Closing     = "closing"
	Stopped     = "stopped"
	Partial     = "partial"
	Calibrating = "calibrating"
	Unknown     = "unknown"
)

// Order is an order to a barrier.
type Order string

// The orders.
const (
	OrderOpen    Order = "open"
	OrderClose   Order = "close"
	OrderStop    Order = "stop"
	OrderPartial Order = "partial"
)

const (
	barrierGrain   = 50 * time.Millisecond // a moving arm is followed in steps of this length
	partialPercent = 40.0
	calibration    = 3 * time.Second // at least: the motor pushes against the stop to be sure of it
	overrun        = 0.35            // seconds that the arm takes to stop, from full speed
)

// Barrier is a road barrier with its own controller, which is responsible for safety: it reverses when the photocell is
// interrupted while closing, never closes over an occupied loop, and stops on an obstacle, whatever the source of the
// order.
type Barrier struct {
	Travel    time.Duration // from closed to open, at full speed
	AutoClose time.Duration // closes by itself after so long open; 0: stays open

	PhotocellBroken bool // something is in the way
	LoopOccupied    bool // a vehicle stands on the loop
	Obstacle        bool // the arm pushes against something
	ManualRelease   bool // the key is turned: the motor is unlocked
	Powered         bool

	State       string
	Position    float64 // 0 closed .. 100 open
	Cycles      uint64  // manoeuvres begun, lifetime
	Temperature float64

	speed  float64 // per cent per second, signed
	target float64
	open   time.Duration // how long it has been open
	search time.Duration // how long it has been calibrating
}

// NewBarrier returns a closed barrier with an operating history.
func NewBarrier(travel time.Duration, cycles uint64) *Barrier {
	return &Barrier{Travel: travel, Powered: true, State: Closed, Cycles: cycles, Temperature: 15}
}

// Obey gives an order and reports whether the controller accepted it. It accepts none without power or with the key
// turned, only a stop while calibrating, and does not begin to close while photocell or loop are not free.
func (b *Barrier) Obey(o Order) bool {
	if !b.Powered || b.ManualRelease || b.State == Fault || b.State == Calibrating && o != OrderStop {
		return false
	}
	switch o {
	case OrderOpen:
		b.move(Opening, 100)
	case OrderPartial:
		if b.Position < partialPercent {
			b.move(Opening, partialPercent)
		}
	case OrderClose:
		if b.PhotocellBroken || b.LoopOccupied {
			return false
		}
		b.move(Closing, 0)
	case OrderStop:
		if b.moving() {
			b.State = Stopped
		}
	default:
		return false
	}
	return true
}

// Power switches the supply. A barrier whose supply returns does not know the position of its arm and searches for the
// lower stop.
func (b *Barrier) Power(on bool) {
	if on && !b.Powered {
		b.calibrate()
	}
	if !on {
		b.State = Unknown
	}
	b.Powered = on
}

// Release turns the manual key. Turned back, the barrier calibrates.
func (b *Barrier) Release(on bool) {
	if b.ManualRelease == on {
		return
	}
	b.ManualRelease, b.speed = on, 0
	switch {
	case !b.Powered:
	case on:
		b.State = Unknown
	default:
		b.calibrate()
	}
}

func (b *Barrier) calibrate() { b.State, b.target, b.open, b.search = Calibrating, 0, 0, 0 }

// Step moves the barrier dt forward.
func (b *Barrier) Step(dt time.Duration, airC float64) {
	b.Temperature = lag(b.Temperature, airC+4, dt, 40*time.Minute)
	for dt > 0 {
		grain := min(dt, barrierGrain)
		if b.resting() {
			grain = min(dt, time.Second)
		}
		b.step(grain)
		dt -= grain
	}
}

func (b *Barrier) step(dt time.Duration) {
	if !b.Powered || b.ManualRelease {
		b.speed = 0
		return
	}
	was := b.State
	b.guard()
	b.drive(dt)
	switch {
	case b.State != was: // what the guard began is seen, however short the way is that is left
	case b.State == Opening && b.Position >= b.target:
		b.arrive()
	case b.State == Closing && b.Position <= 0:
		b.arrive()
	case b.State == Calibrating:
		if b.search += dt; b.Position <= 0 && b.search >= calibration {
			b.arrive()
		}
	case b.State == Open && b.AutoClose > 0:
		if b.open += dt; b.open >= b.AutoClose && b.Obey(OrderClose) {
			b.open = 0
		}
	}
}

// guard is the controller's own safety.
func (b *Barrier) guard() {
	switch {
	case b.State == Closing && (b.PhotocellBroken || b.LoopOccupied):
		b.move(Opening, 100)
	case b.Obstacle && b.moving():
		b.State, b.speed = Stopped, 0
	}
}

// drive turns the motor: it gathers speed in half a second and runs on for a moment after a stop.
func (b *Barrier) drive(dt time.Duration) {
	full := 100 / b.Travel.Seconds()
	want := 0.0
	switch b.State {
	case Opening:
		want = full
	case Closing:
		want = -full
	case Calibrating:
		want = -full / 3
	}
	step := full / overrun * dt.Seconds()
	b.speed += clamp(want-b.speed, -step, step)
	b.Position = clamp(b.Position+b.speed*dt.Seconds(), 0, 100)
}

func (b *Barrier) arrive() {
	b.Position, b.speed = b.target, 0
	switch {
	case b.target >= 100:
		b.State, b.open = Open, 0
	case b.target <= 0:
		b.State = Closed
	default:
		b.State = Partial
	}
}

func (b *Barrier) move(state string, target float64) {
	if b.State == state && b.target == target {
		return
	}
	if target == b.Position && b.speed == 0 { // already there
		return
	}
	b.State, b.target = state, target
	b.Cycles++
}

func (b *Barrier) moving() bool {
	return b.State == Opening || b.State == Closing || b.State == Calibrating
}

func (b *Barrier) resting() bool { return !b.moving() && b.speed == 0 }
