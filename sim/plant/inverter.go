package plant

import (
	"math"
	"time"
)

// The states of an inverter, in the catalogue's words.
const (
	Off       = "off"
	Sleeping  = "sleeping"
	Starting  = "starting"
	Producing = "producing"
	Throttled = "throttled"
	Stopping  = "stopping"
	Fault     = "fault"
	Standby   = "standby"
)

// PVString is a row of modules on its own input.
type PVString struct {
	PeakW   float64 // under 1000 W/m2 at 25 degrees
	Surface Surface
	// Shade is what a chimney or a tree takes away: this share of the light while the sun's azimuth is in the window.
	Shade, ShadeFrom, ShadeTo float64
}

// The electrical habits of a string of about twenty modules.
const (
	stringVmp     = 640.0 // V at 25 degrees, at the point of highest power
	openRatio     = 1.22  // open-circuit voltage to that
	powerPerK     = -0.0038
	voltagePerK   = -0.0029
	heatPerSun    = 0.031 // K over the air for each W/m2 (NOCT about 45 degrees)
	wakeW         = 0.004 // share of the rated power that wakes the inverter
	sleepW        = 0.002 // below which it goes to sleep
	sleepAfter    = 2 * time.Minute
	stoppingTakes = 10 * time.Second
)

// Input is what one string delivers.
type Input struct{ Voltage, Current, PowerW float64 }

// Inverter is a three-phase photovoltaic inverter with its strings.
type Inverter struct {
	RatedW   float64
	Strings  []PVString
	SelfTest time.Duration // of the interface protection, at each start (Italian rule): 0 means one minute

	LimitPct float64 // what a command left: 100 is no limit
	GridLost bool    // the interface protection is open
	Broken   bool    // an internal fault, until it is cleared

	State       string
	Inputs      []Input
	PowerW      float64 // AC, all phases
	Supply      Supply
	Temperature float64 // heat sink, degrees
	EnergyKWh   float64 // lifetime
	TodayKWh    float64

	since   time.Duration // in this state
	dark    time.Duration // how long there was too little light
	day     int           // of the year, local: for TodayKWh
	started bool
}

// NewInverter returns a sleeping inverter with an operating history.
func NewInverter(ratedW float64, strings []PVString, energyKWh float64) *Inverter {
	return &Inverter{RatedW: ratedW, Strings: strings, LimitPct: 100, State: Sleeping, EnergyKWh: energyKWh,
		Inputs: make([]Input, len(strings)), SelfTest: time.Minute}
}

// Step moves the inverter dt forward, to the time at, under a sun, a sky and a supply.
func (v *Inverter) Step(at time.Time, dt time.Duration, elevation, azimuth float64, sky Sky, s Supply) {
	air := sky.Air(at)
	if !v.started {
		v.Temperature, v.day, v.started = air, at.YearDay(), true
		v.wake(elevation, azimuth, sky.Clearness(at), air)
	}
	available := v.look(elevation, azimuth, sky.Clearness(at), air)
	v.Supply = s
	v.change(dt, available)

	before := v.PowerW
	v.PowerW = 0
	if v.State == Producing || v.State == Throttled {
		v.PowerW = v.deliver(available)
	}
	v.load(available)
	v.Temperature = lag(v.Temperature, air+38*v.PowerW/v.RatedW, dt, 20*time.Minute)

	energy := kwh(before, v.PowerW, dt)
	v.EnergyKWh += energy
	if day := at.YearDay(); day != v.day {
		v.day, v.TodayKWh = day, 0
	}
	v.TodayKWh += energy
}

// wake puts an inverter that is first used by day into the state that it would have reached, which skips its self-test.
func (v *Inverter) wake(elevation, azimuth, clearness, air float64) {
	if available := v.look(elevation, azimuth, clearness, air); available > wakeW*v.RatedW {
		v.State = Producing
		v.PowerW = v.deliver(available)
	}
}

// look measures what the strings could deliver, in W, and their voltages without load.
func (v *Inverter) look(elevation, azimuth, clearness, air float64) (availableW float64) {
	for i, st := range v.Strings {
		light := ClearSky(elevation, azimuth, st.Surface) * clearness
		if st.Shade > 0 && azimuth >= st.ShadeFrom && azimuth <= st.ShadeTo {
			light *= 1 - st.Shade
		}
		heat := air + heatPerSun*light - 25
		power := st.PeakW * light / 1000 * (1 + powerPerK*heat)
		voltage := stringVmp * (1 + voltagePerK*heat) * openRatio
		if light < 20 { // the open-circuit voltage falls away only in the last light
			voltage *= math.Sqrt(math.Max(0, light) / 20)
		}
		v.Inputs[i] = Input{Voltage: voltage, PowerW: power}
		availableW += power
	}
	return availableW
}

// deliver gives the AC power that is made of so much DC power: losses, then rating and limit.
func (v *Inverter) deliver(availableW float64) float64 {
	ac := availableW*0.985 - 0.0025*v.RatedW
	return clamp(ac, 0, v.RatedW*v.LimitPct/100)
}

// load shares the DC power that is really drawn among the inputs, each at its point of highest power.
func (v *Inverter) load(availableW float64) {
	drawn := 0.0
	if v.PowerW > 0 && availableW > 0 {
		drawn = math.Min(1, (v.PowerW+0.0025*v.RatedW)/0.985/availableW)
	}
	for i := range v.Inputs {
		in := &v.Inputs[i]
		in.PowerW *= drawn
		if in.PowerW <= 0 {
			in.PowerW, in.Current = 0, 0
			continue
		}
		in.Voltage *= 1 - drawn*(1-1/openRatio)
		in.Current = in.PowerW / in.Voltage
	}
}

// change moves the state machine. One step makes one change at most, so that no state is passed over unseen.
func (v *Inverter) change(dt time.Duration, availableW float64) {
	v.since += dt
	if availableW < sleepW*v.RatedW {
		v.dark += dt
	} else {
		v.dark = 0
	}
	next := v.calm(availableW)
	switch {
	case v.Broken:
		next = Fault
	case v.GridLost && v.State != Sleeping:
		next = Standby
	}
	if next != v.State {
		v.State, v.since = next, 0
	}
}

// calm is the day of an inverter that nothing happens to.
func (v *Inverter) calm(availableW float64) string {
	switch v.State {
	case Sleeping, Off:
		if availableW > wakeW*v.RatedW && !v.GridLost {
			return Starting
		}
	case Fault, Standby:
		if v.dark > 0 {
			return Sleeping
		}
		return Starting
	case Starting:
		if v.dark >= sleepAfter {
			return Sleeping
		}
		if v.since >= v.SelfTest {
			return Producing
		}
	case Producing, Throttled:
		if v.dark >= sleepAfter {
			return Stopping
		}
		if full := availableW*0.985 - 0.0025*v.RatedW; full > v.RatedW*v.LimitPct/100 {
			return Throttled
		}
		return Producing
	case Stopping:
		if v.since >= stoppingTakes {
			return Sleeping
		}
	}
	return v.State
}

// Current gives the AC current of each phase in A: the phases are loaded evenly.
func (v *Inverter) Current(phase int) float64 {
	if v.Supply.Voltage[phase] == 0 {
		return 0
	}
	return v.PowerW / Phases / v.Supply.Voltage[phase]
}

// DCPowerW adds up the inputs.
func (v *Inverter) DCPowerW() float64 {
	sum := 0.0
	for _, in := range v.Inputs {
		sum += in.PowerW
	}
	return sum
}

// Rated gives n strings that share a rated power 1.15 times over, facing south at 20 degrees, the shaded ones (counted
// from 1) behind a chimney in the afternoon.
func Rated(ratedW float64, n int, shaded ...int) []PVString {
	out := make([]PVString, n)
	for i := range out {
		out[i] = PVString{PeakW: 1.15 * ratedW / float64(n), Surface: Surface{Tilt: 20, Azimuth: 180}}
	}
	for _, i := range shaded {
		if i >= 1 && i <= n {
			out[i-1].Shade, out[i-1].ShadeFrom, out[i-1].ShadeTo = 0.6, 200, 260
		}
	}
	return out
}
