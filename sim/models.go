package sim

import (
	"fmt"
	"time"

	"bordo/drivers/catalogue"
	"bordo/sim/plant"
)

// model is a device's physical side. The site's lock is held during its calls.
type model interface {
	// move lets a step of time go by.
	move(m *moment)
	// points gives the value of every point that the body knows.
	points(put func(point string, v catalogue.Value))
	// dead reports whether the device's electronics have no power, or sleep so deeply that they hear nothing.
	dead() bool
	// reset lets the counters begin anew, as after a replacement.
	reset()
}

// trouble asks whether a fault of a device is on now.
type trouble func(kind FaultKind) (Fault, bool)

// newModel makes the physical side of a device: what the scenario says, else the usual for its kind of model.
func newModel(d Device, kind catalogue.DeviceKind, seed uint64, has trouble) (model, error) {
	switch {
	case d.Inverter != nil:
		return newInverterModel(*d.Inverter, has), nil
	case d.Meter != nil:
		return newMeterModel(*d.Meter), nil
	case d.Barrier != nil:
		return newBarrierModel(*d.Barrier, plant.NewDice(seed, "traffic "+d.ID), has), nil
	case d.UPS != nil:
		return newUPSModel(*d.UPS), nil
	}
	switch kind {
	case catalogue.Inverter:
		return newInverterModel(Inverter{Rated: 10000, Strings: 2}, has), nil
	case catalogue.Meter:
		return newMeterModel(Meter{}), nil
	case catalogue.Barrier:
		return newBarrierModel(Barrier{}, plant.NewDice(seed, "traffic "+d.ID), has), nil
	case catalogue.UPS:
		return newUPSModel(UPS{}), nil
	case catalogue.IO:
		return newIOBody(d, plant.NewDice(seed, "io "+d.ID), has), nil
	}
	return nil, fmt.Errorf("nothing is known of a model of kind %q", kind)
}

// inverterModel is an inverter with the catalogue's names.
type inverterModel struct {
	*plant.Inverter
	silentAtNight bool
	limitPct      float64 // what a master has written: 100 is no limit
	has           trouble
	alarm         string // the word of the model for an internal fault; empty if it has none
	alarmed       bool   // it was reported
}

func newInverterModel(i Inverter, has trouble) *inverterModel {
	b := &inverterModel{Inverter: plant.NewInverter(i.Rated, plant.Rated(i.Rated, max(1, i.Strings), i.Shaded...),
		i.Energy),
		silentAtNight: i.Night == "silent", limitPct: 100, has: has}
	if i.SelfTest > 0 {
		b.SelfTest = i.SelfTest
	}
	return b
}

func (b *inverterModel) move(m *moment) {
	b.GridLost = !m.mains
	_, b.Broken = b.has(Broken)
	b.LimitPct = b.limitPct
	if f, limited := b.has(Limit); limited {
		b.LimitPct = min(b.LimitPct, float64(f.Code))
	}
	b.Step(m.at, m.dt, m.elevation, m.azimuth, m.sky, m.supply)
}

// dead: without light and without grid nothing feeds it, and some are dead every night.
func (b *inverterModel) dead() bool {
	asleep := b.State == plant.Sleeping || b.State == plant.Off
	return asleep && (b.silentAtNight || b.GridLost)
}

func (b *inverterModel) reset() { b.EnergyKWh, b.TodayKWh = 0, 0 }

func (b *inverterModel) points(put func(string, catalogue.Value)) {
	put("state", catalogue.Words(b.State))
	if fault := b.State == plant.Fault; b.alarm != "" && (fault || b.alarmed) {
		text := ""
		if b.alarmed = fault; fault {
			text = b.alarm
		}
		put("alarm", catalogue.Words(text))
	}
	number := func(point string, v float64) { put(point, catalogue.Number(v)) }
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

// meterModel is a meter with the catalogue's names.
type meterModel struct {
	*plant.Meter
	measures string
	mains    bool
}

func newMeterModel(m Meter) *meterModel {
	return &meterModel{Meter: &plant.Meter{ImportKWh: m.Import, ExportKWh: m.Export}, measures: m.Measures, mains: true}
}

// move updates what the meter measures.
func (b *meterModel) move(m *moment) {
	var active, reactive [plant.Phases]float64
	for i := range active {
		switch b.measures {
		case "production":
			active[i] = m.producedW / plant.Phases
		case "load":
			active[i], reactive[i] = m.loadW[i], m.loadVar[i]
		default:
			active[i], reactive[i] = m.loadW[i]-m.producedW/plant.Phases, m.loadVar[i]
		}
	}
	b.mains = m.mains
	b.Step(m.dt, active, reactive, m.supply)
}

// dead: a meter is powered by what it measures.
func (b *meterModel) dead() bool { return !b.mains }

func (b *meterModel) reset() { b.ImportKWh, b.ExportKWh, b.ImportKvarh, b.ExportKvarh = 0, 0, 0, 0 }

func (b *meterModel) points(put func(string, catalogue.Value)) {
	number := func(point string, v float64) { put(point, catalogue.Number(v)) }
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

// barrierModel is a barrier, the vehicles that come to it, and the catalogue's names.
type barrierModel struct {
	*plant.Barrier
	traffic time.Duration
	dice    plant.Dice
	vehicle uint64        // number of vehicles so far
	next    time.Duration // when the next one arrives
	passing bool          // the present vehicle blocks the photocell
	has     trouble
}

func newBarrierModel(s Barrier, dice plant.Dice, has trouble) *barrierModel {
	b := &barrierModel{Barrier: plant.NewBarrier(orDefault(s.Travel, 4*time.Second), s.Cycles), traffic: s.Traffic,
		dice: dice, has: has}
	b.AutoClose = s.AutoClose
	b.next = b.wait() / 4 // the first one arrives soon
	return b
}

// wait draws the time until the next vehicle: within a quarter of the mean.
func (b *barrierModel) wait() time.Duration {
	return time.Duration(b.dice.Between(b.vehicle, 0.75, 1.25) * float64(b.traffic))
}

// The passage of a vehicle, from its arrival: the gate opens, the vehicle drives over the loop and through the
// photocell, and the gate closes behind it.
const (
	vehicleIn   = 5 * time.Second
	vehicleOut  = 9 * time.Second
	vehicleGone = 11 * time.Second
)

func (b *barrierModel) move(m *moment) {
	if m.mains != b.Powered {
		b.Power(m.mains)
	}
	_, key := b.has(Key)
	b.Release(key)
	if b.traffic > 0 {
		b.drive(m.elapsed)
	}
	_, photocell := b.has(Photocell)
	_, loop := b.has(Loop)
	_, b.Obstacle = b.has(Obstacle)
	b.PhotocellBroken, b.LoopOccupied = b.passing || photocell, b.passing || loop
	b.Step(m.dt, m.air)
}

// drive lets the vehicles come and go.
func (b *barrierModel) drive(elapsed time.Duration) {
	if elapsed < b.next {
		return
	}
	here := elapsed - b.next
	b.passing = here >= vehicleIn && here < vehicleOut && (b.State == plant.Open || b.passing)
	switch {
	case here < vehicleIn:
		b.Obey(plant.OrderOpen)
	case here >= vehicleGone:
		b.Obey(plant.OrderClose)
		b.vehicle++
		b.next = elapsed + max(0, b.wait()-vehicleGone)
	}
}

func (b *barrierModel) dead() bool { return !b.Powered }

func (b *barrierModel) reset() { b.Cycles = 0 }

func (b *barrierModel) points(put func(string, catalogue.Value)) {
	put("state", catalogue.Words(b.State))
	put("position", catalogue.Number(b.Position))
	put("cycles", catalogue.Number(float64(b.Cycles)))
	put("photocell_clear", catalogue.Truth(!b.PhotocellBroken))
	put("loop_occupied", catalogue.Truth(b.LoopOccupied))
	put("temperature", catalogue.Number(b.Temperature))
}

// upsModel is an uninterruptible supply with the catalogue's names.
type upsModel struct{ *plant.UPS }

func newUPSModel(u UPS) *upsModel {
	capacity, load := u.Capacity, u.Load
	if capacity == 0 {
		capacity = 240
	}
	if load == 0 {
		load = 40
	}
	return &upsModel{plant.NewUPS(capacity, load)}
}

func (b *upsModel) move(m *moment) { b.Step(m.dt, m.mains, m.air) }

func (b *upsModel) points(put func(string, catalogue.Value)) {
	put("mains_ok", catalogue.Truth(b.Mains))
	put("on_battery", catalogue.Truth(!b.Mains))
	put("battery_charge", catalogue.Number(b.ChargePct))
	put("battery_voltage", catalogue.Number(b.Voltage()))
	put("runtime", catalogue.Number(b.Runtime().Minutes()))
	put("load_power", catalogue.Number(b.LoadW))
	put("temperature", catalogue.Number(b.Celsius))
}

func (b *upsModel) dead() bool { return b.Dead() }

func (b *upsModel) reset() {}
