package sim

import (
	"fmt"
	"time"

	"bordo/drivers"
	"bordo/sim/plant"
)

// step is the longest time by which the physics of a site is moved at once.
const step = time.Second

// nature is all that is physical at a site: it knows no line and no protocol. The caller holds the site's lock.
type nature struct {
	place    plant.Place
	sky      plant.Sky
	grid     plant.Grid
	load     plant.Load
	location *time.Location

	start    time.Time // of the simulation, on package time
	sunStart time.Time // what the sun's clock showed then
	pace     float64   // how fast the sun moves
	speed    float64   // how fast everything moves
	now      time.Time // how far the bodies have been moved, on package time

	inverters []*inverterBody
	meters    []*meterBody
	barriers  []*barrierBody
}

// body is a device's physical side.
type body interface {
	// points gives the value of every point that the body knows.
	points(put func(point string, v drivers.Value))
}

func newNature(s *Scenario, seed uint64, start time.Time, speed float64) (*nature, error) {
	location, err := s.location()
	if err != nil {
		return nil, fmt.Errorf("site.timezone: %w", err)
	}
	n := &nature{
		place: plant.Place{Lat: s.Site.Lat, Lon: s.Site.Lon},
		sky:   plant.NewSky(seed, s.Clouds), grid: plant.NewGrid(seed),
		load:     plant.NewLoad(seed, s.Load.Base, s.Load.Peak),
		location: location, start: start, now: start, sunStart: start, pace: s.Sun.Pace, speed: speed,
	}
	if n.pace == 0 {
		n.pace = 1
	}
	if s.Sun.From != "" {
		if n.sunStart, err = time.ParseInLocation(sunFormat, s.Sun.From, location); err != nil {
			return nil, fmt.Errorf("sun.from: %w", err)
		}
	}
	return n, nil
}

// add makes the physical side of a device.
func (n *nature) add(d Device, seed uint64) body {
	switch {
	case d.Inverter != nil:
		strings := plant.Rated(d.Inverter.Rated, max(1, d.Inverter.Strings), d.Inverter.Shaded...)
		b := &inverterBody{plant.NewInverter(d.Inverter.Rated, strings, d.Inverter.Energy), d.Inverter.Night == "silent"}
		if d.Inverter.SelfTest > 0 {
			b.SelfTest = d.Inverter.SelfTest
		}
		n.inverters = append(n.inverters, b)
		return b
	case d.Meter != nil:
		b := &meterBody{Meter: &plant.Meter{ImportKWh: d.Meter.Import, ExportKWh: d.Meter.Export}, measures: d.Meter.Measures}
		n.meters = append(n.meters, b)
		return b
	default:
		b := newBarrierBody(d, seed)
		n.barriers = append(n.barriers, b)
		return b
	}
}

// advance moves everything to a time, in steps.
func (n *nature) advance(now time.Time) {
	for n.now.Before(now) {
		dt := min(step, now.Sub(n.now))
		n.now = n.now.Add(dt)
		n.move(time.Duration(float64(dt) * n.speed))
	}
}

// settle lets everything take its place at the beginning.
func (n *nature) settle() { n.move(0) }

// move carries out one step of dt that ends at n.now.
func (n *nature) move(dt time.Duration) {
	at := n.sunTime()
	elevation, azimuth := plant.Sun(at, n.place)
	supply := n.grid.At(at)
	produced := 0.0
	for _, v := range n.inverters {
		v.Step(at, dt, elevation, azimuth, n.sky, supply)
		produced += v.PowerW
	}
	active, reactive := n.load.At(at)
	for _, m := range n.meters {
		m.move(dt, active, reactive, produced, supply)
	}
	air := n.sky.Air(at)
	for _, b := range n.barriers {
		b.move(n.elapsed(), dt, air)
	}
}

// elapsed is how much physical time has gone by since the start.
func (n *nature) elapsed() time.Duration {
	return time.Duration(float64(n.now.Sub(n.start)) * n.speed)
}

// sunTime is what the sun's clock shows.
func (n *nature) sunTime() time.Time {
	return n.sunStart.Add(time.Duration(float64(n.elapsed()) * n.pace)).In(n.location)
}

// inverterBody is an inverter with the catalogue's names.
type inverterBody struct {
	*plant.Inverter
	silentAtNight bool
}

// asleep tells whether the device does not answer now.
func (b *inverterBody) asleep() bool {
	return b.silentAtNight && (b.State == plant.Sleeping || b.State == plant.Off)
}

func (b *inverterBody) points(put func(string, drivers.Value)) {
	put("state", drivers.Words(b.State))
	number := func(point string, v float64) { put(point, drivers.Number(v)) }
	number("ac_power", b.PowerW)
	number("apparent_power", b.PowerW)
	number("reactive_power", 0)
	number("power_factor", 1)
	number("frequency", b.Supply.Hz)
	between, total := b.Supply.LineToLine(), 0.0
	for i, l := range phases {
		number("ac_power_"+l, b.PowerW/plant.Phases)
		number("ac_voltage_"+l, b.Supply.Voltage[i])
		number("ac_current_"+l, b.Current(i))
		number("ac_voltage_"+l+"_"+phases[(i+1)%plant.Phases], between[i])
		total += b.Current(i)
	}
	number("ac_current", total)
	number("ac_energy", b.EnergyKWh)
	number("ac_energy_today", b.TodayKWh)
	number("dc_power", b.DCPowerW())
	number("temperature", b.Temperature)
	number("power_limit", b.LimitPct)
	for i, in := range b.Inputs {
		number(fmt.Sprintf("dc%d_voltage", i+1), in.Voltage)
		number(fmt.Sprintf("dc%d_current", i+1), in.Current)
		number(fmt.Sprintf("dc%d_power", i+1), in.PowerW)
	}
}

// phases are the suffixes of the three phases.
var phases = [plant.Phases]string{"l1", "l2", "l3"}

// meterBody is a meter with the catalogue's names.
type meterBody struct {
	*plant.Meter
	measures string
}

// move lets the meter see what it measures.
func (b *meterBody) move(dt time.Duration, loadW, loadVar [plant.Phases]float64, producedW float64, s plant.Supply) {
	var active, reactive [plant.Phases]float64
	for i := range active {
		switch b.measures {
		case "production":
			active[i] = producedW / plant.Phases
		case "load":
			active[i], reactive[i] = loadW[i], loadVar[i]
		default:
			active[i], reactive[i] = loadW[i]-producedW/plant.Phases, loadVar[i]
		}
	}
	b.Step(dt, active, reactive, s)
}

func (b *meterBody) points(put func(string, drivers.Value)) {
	number := func(point string, v float64) { put(point, drivers.Number(v)) }
	active, reactive := plant.Sum(b.Active), plant.Sum(b.Reactive)
	apparent, between, total := 0.0, b.Supply.LineToLine(), 0.0
	for i, l := range phases {
		number("ac_power_"+l, b.Active[i])
		number("ac_voltage_"+l, b.Supply.Voltage[i])
		number("ac_current_"+l, b.Current(i))
		number("ac_voltage_"+l+"_"+phases[(i+1)%plant.Phases], between[i])
		apparent += b.Current(i) * b.Supply.Voltage[i]
		total += b.Current(i)
	}
	number("ac_power", active)
	number("reactive_power", reactive)
	number("apparent_power", apparent)
	number("ac_current", total)
	factor := 1.0
	if apparent > 0 {
		factor = active / apparent
	}
	number("power_factor", factor)
	number("frequency", b.Supply.Hz)
	number("import_energy", b.ImportKWh)
	number("export_energy", b.ExportKWh)
	number("reactive_import_energy", b.ImportKvarh)
	number("reactive_export_energy", b.ExportKvarh)
}

// barrierBody is a barrier, the vehicles that come to it, and the catalogue's names.
type barrierBody struct {
	*plant.Barrier
	traffic time.Duration
	dice    plant.Dice
	vehicle uint64        // how many have come
	next    time.Duration // when the next one comes
}

func newBarrierBody(d Device, seed uint64) *barrierBody {
	b := &barrierBody{Barrier: plant.NewBarrier(orDefault(d.Barrier.Travel, 4*time.Second), d.Barrier.Cycles),
		traffic: d.Barrier.Traffic, dice: plant.NewDice(seed, "traffic "+d.ID)}
	b.AutoClose = d.Barrier.AutoClose
	b.next = b.wait() / 4 // nobody waits long for the first one
	return b
}

// wait draws the time until the next vehicle: within a quarter of the mean.
func (b *barrierBody) wait() time.Duration {
	return time.Duration(b.dice.Between(b.vehicle, 0.75, 1.25) * float64(b.traffic))
}

// A vehicle's passage, from its coming: the gate is opened for it, it drives over the loop and through the photocell, and
// the gate is closed behind it.
const (
	vehicleIn   = 5 * time.Second
	vehicleOut  = 9 * time.Second
	vehicleGone = 11 * time.Second
)

func (b *barrierBody) move(elapsed, dt time.Duration, air float64) {
	if b.traffic > 0 {
		b.drive(elapsed)
	}
	b.Step(dt, air)
}

func (b *barrierBody) drive(elapsed time.Duration) {
	if elapsed < b.next {
		return
	}
	here := elapsed - b.next
	driving := here >= vehicleIn && here < vehicleOut && (b.State == plant.Open || b.LoopOccupied)
	b.LoopOccupied, b.PhotocellBroken = driving, driving && here < vehicleOut-time.Second
	switch {
	case here < vehicleIn:
		b.Obey(plant.OrderOpen)
	case here >= vehicleGone:
		b.Obey(plant.OrderClose)
		b.vehicle++
		b.next = elapsed + max(0, b.wait()-vehicleGone)
	}
}

func (b *barrierBody) points(put func(string, drivers.Value)) {
	put("state", drivers.Words(b.State))
	put("position", drivers.Number(b.Position))
	put("cycles", drivers.Number(float64(b.Cycles)))
	put("photocell_clear", drivers.Truth(!b.PhotocellBroken))
	put("loop_occupied", drivers.Truth(b.LoopOccupied))
	put("temperature", drivers.Number(b.Temperature))
}

// reset lets the counters begin anew, as after a replacement.
func (b *inverterBody) reset() { b.EnergyKWh, b.TodayKWh = 0, 0 }

func (b *meterBody) reset() { b.ImportKWh, b.ExportKWh, b.ImportKvarh, b.ExportKvarh = 0, 0, 0, 0 }

func (b *barrierBody) reset() { b.Cycles = 0 }
