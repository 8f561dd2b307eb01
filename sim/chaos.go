package sim

import (
	"fmt"
	"time"

	"bordo/sim/plant"
)

// Chaos generates a scenario from a seed: a site with a healthy line and lines on which everything goes wrong, and a
// broker and a box that fail. The devices of line "calm" have no faults, and the faults of the others must not affect
// them.
//
// It omits faults that could not be noticed: a broker that acknowledges and discards ("denied").
func Chaos(seed uint64) *Scenario {
	c := chaos{dice: plant.NewDice(seed, "chaos")}
	s := &Scenario{
		Version: 1, Name: fmt.Sprintf("chaos-%d", seed), About: "whatever a seed gives",
		Site:   Place{Name: "Chaos", Lat: 45.36, Lon: 9.69, Timezone: "Europe/Rome"},
		Sun:    Sun{From: fmt.Sprintf("2026-%02d-21T%02d:00", 1+c.below(12), c.below(24))},
		Clouds: c.float(),
		Load:   Load{Base: 500, Peak: 8000},
	}
	s.Lines = []Line{
		{ID: "calm", Port: "tcp://10.0.0.1:502", Devices: []Device{
			{ID: "inv-1", Model: "sunspec", Unit: 1, Every: 10 * time.Second,
				Inverter: &Inverter{Rated: 20000, Strings: 2, Energy: 80000}},
		}},
		{ID: "roof", Port: "tcp://10.0.0.2:502", Faults: c.lineFaults(true), Devices: []Device{
			{ID: "inv-2", Model: "sunspec", Unit: 1, Every: 10 * time.Second,
				Inverter: &Inverter{Rated: 10000, Strings: 1, Energy: 30000, Night: c.oneOf("sleep", "silent")}},
			{ID: "inv-3", Model: "sunspec", Unit: 2, Every: 10 * time.Second,
				Inverter: &Inverter{Rated: 6000, Strings: 2, Energy: 1000}},
		}},
		{ID: "bus", Port: "serial:///dev/sim/bus?baud=9600", Faults: c.lineFaults(false), Devices: []Device{
			{ID: "meter-1", Model: "eastron-sdm630", Unit: 1, Every: 10 * time.Second,
				Meter: &Meter{Import: 5000, Export: 20000}},
			{ID: "meter-2", Model: "eastron-sdm630", Unit: 2, Every: 10 * time.Second,
				Meter: &Meter{Measures: "production"}},
		}},
		{ID: "arm", Port: "serial:///dev/sim/arm?baud=38400&parity=even", Faults: c.lineFaults(false),
			Devices: []Device{
				{ID: "barrier-1", Model: "came-gard-ptx", Unit: 1, Every: 5 * time.Second,
					Barrier: &Barrier{Traffic: 3 * time.Minute, Cycles: 8000}},
			}},
	}
	s.Broker.Faults = c.brokerFaults()
	s.Host.Faults = c.boxFaults()
	return s
}

// chaos draws one number after the other.
type chaos struct {
	dice plant.Dice
	n    uint64
}

func (c *chaos) float() float64 { c.n++; return c.dice.Float(c.n) }

func (c *chaos) below(n int) int { return int(c.float() * float64(n)) }

func (c *chaos) oneOf(words ...string) string { return words[c.below(len(words))] }

// between draws a time.
func (c *chaos) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(c.float()*float64(hi-lo))
}

// sometimes returns a fault that occurs in windows, about once in every.
func (c *chaos) sometimes(kind FaultKind, every, shortest, longest time.Duration) Fault {
	return Fault{Kind: kind, Every: every, Odds: 0.2 + 0.7*c.float(), For: c.between(shortest, longest)}
}

// lineFaults draws what goes wrong on a line: each kind of damage with some chance, from harmless to harsh.
func (c *chaos) lineFaults(stream bool) []Fault {
	var out []Fault
	for _, k := range []struct {
		kind FaultKind
		most float64
	}{{Drop, 0.3}, {Late, 0.1}, {Garble, 0.2}, {Truncate, 0.05}, {Noise, 0.1}, {Echo, 0.03}, {WrongUnit, 0.03},
		{Exception, 0.03}, {Busy, 0.05}} {
		if c.float() < 0.6 {
			chance := c.float()
			out = append(out, Fault{Kind: k.kind, Chance: k.most * chance * chance})
		}
	}
	if c.float() < 0.7 {
		out = append(out, c.sometimes(Gone, 20*time.Minute, time.Second, 10*time.Minute))
	}
	if c.float() < 0.5 {
		out = append(out, c.sometimes(Silent, 30*time.Minute, time.Second, 20*time.Minute))
	}
	if c.float() < 0.3 {
		out = append(out, c.sometimes(Stuck, time.Hour, time.Minute, 20*time.Minute))
	}
	if c.float() < 0.3 {
		out = append(out, c.sometimes(Null, time.Hour, 10*time.Second, 5*time.Minute))
	}
	if !stream && c.float() < 0.3 {
		out = append(out, c.sometimes(Reset, 2*time.Hour, time.Second, 2*time.Second))
	}
	return out
}

func (c *chaos) brokerFaults() []Fault {
	out := []Fault{c.sometimes(BrokerGone, 30*time.Minute, time.Second, 25*time.Minute)}
	for _, f := range []Fault{
		{Kind: AckEaten, Chance: 0.03 * c.float()},
		{Kind: AckLate, Chance: 0.05 * c.float(), By: c.between(time.Second, 30*time.Second)},
		c.sometimes(Slow, 15*time.Minute, 10*time.Second, 5*time.Minute),
		c.sometimes(Stalled, 10*time.Minute, time.Second, 90*time.Second),
		c.sometimes(Stolen, time.Hour, time.Second, 2*time.Second),
		c.sometimes(Refused, time.Hour, time.Second, 2*time.Minute),
	} {
		if f.Kind == Slow {
			f.By = c.between(100*time.Millisecond, 5*time.Second)
		}
		if c.float() < 0.6 {
			out = append(out, f)
		}
	}
	return out
}

func (c *chaos) boxFaults() []Fault {
	var out []Fault
	if c.float() < 0.7 {
		out = append(out, c.sometimes(Kill, time.Hour, time.Second, 2*time.Second))
	}
	if c.float() < 0.5 {
		f := c.sometimes(ClockJump, 2*time.Hour, time.Second, 2*time.Second)
		f.By = c.between(-2*time.Hour, 2*time.Hour)
		out = append(out, f)
	}
	if c.float() < 0.3 {
		out = append(out, c.sometimes(ClockFree, time.Hour, time.Second, 10*time.Minute))
	}
	if c.float() < 0.4 {
		out = append(out, c.sometimes(DiskFull, time.Hour, time.Second, 20*time.Minute))
	}
	return out
}
