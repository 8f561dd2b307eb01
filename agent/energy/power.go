package energy

import (
	"math"
	"slices"

	"bordo/contract"
	"bordo/drivers"
)

// powerPoint is the power to integrate when a counter is unusable. It is positive when an inverter delivers, and when a
// meter takes energy from the grid.
const powerPoint = "ac_power"

// power is a reading of the power.
type power struct {
	At    moment  `json:"at,omitzero"`
	W     float64 `json:"w,omitempty"`
	Known bool    `json:"known,omitempty"`
}

// sign returns the sign of the power that a counter counts; 0: it cannot be derived from the power.
func sign(point string) float64 {
	switch point {
	case "ac_energy", "import_energy":
		return 1
	case "export_energy":
		return -1
	}
	return 0
}

// area returns the energy between two power readings, in W·ms, by the trapezoidal rule, counting only its positive
// part.
func area(w0, w1 float64, ms int64) float64 {
	switch t := float64(ms); {
	case w0 <= 0 && w1 <= 0:
		return 0
	case w0 >= 0 && w1 >= 0:
		return (w0 + w1) / 2 * t
	case w0 > 0:
		return w0 / 2 * t * w0 / (w0 - w1) // up to where it passes zero
	default:
		return w1 / 2 * t * w1 / (w1 - w0)
	}
}

// flow is the power between two polls that are near each other.
type flow struct {
	from, to moment
	ms       int64
	w0, w1   float64
}

// power processes a power reading and returns the flow since the previous one, nil when there is none.
func (a *Account) power(at moment, readings []drivers.Reading) *flow {
	i := slices.IndexFunc(readings, func(r drivers.Reading) bool { return r.Point == powerPoint })
	if i < 0 {
		return nil
	}
	watts, ok := number(readings[i])
	if !ok || math.Abs(watts) > a.m.watts {
		return nil
	}
	was := a.s.Power
	a.s.Power = power{at, watts, true}
	ms, near := was.At.elapsed(at)
	if !was.Known || !near || was.At.Boot != at.Boot || ms == 0 || ms > a.r.gap {
		return nil
	}
	return &flow{was.At, at, ms, was.W, watts}
}

// integrate adds the energy of a flow, cut where quarters end.
func (c *counter) integrate(f flow, r rules) {
	s := sign(c.Point)
	if s == 0 {
		return
	}
	d := f.ms
	if apart := f.to.T - f.from.T; apart >= 0 && max(apart-d, d-apart) <= slackMS {
		d = apart
	}
	start := f.to.T - d
	at := func(t int64) float64 { return s * (f.w0 + (f.w1-f.w0)*float64(t)/float64(d)) }
	for done := int64(0); done < d; {
		end := d
		if f.to.Clk != contract.ClockFree {
			end = min(d, quarterOf(start+done)+quarterMS-start)
		}
		c.Frac += area(at(done), at(end), end-done) / 3600 // a W·ms is 1/3600 mWh
		e := math.Floor(c.Frac)
		c.Frac -= e
		v := vertex{moment: f.to, D: end - done, E: int64(e), Cov: end - done, Integral: true}
		v.T, v.M = start+end, f.to.M-d+end
		if end == d {
			v.N = 1
		}
		if c.Lost {
			c.push(v)
		} else if c.Shadow = join(c.Shadow, v); len(c.Shadow) > trackMax {
			c.Shadow = thin(c.Shadow)
		}
		done = end
	}
	c.giveUp(r)
}

// giveUp replaces the counter by the integral when the counter has been missing for long enough while the device was
// seen.
func (c *counter) giveUp(r rules) {
	if c.Lost {
		return
	}
	seen := int64(0)
	for i := range c.Shadow {
		seen += c.Shadow[i].Cov
	}
	if seen < r.silent {
		return
	}
	for _, v := range c.Shadow {
		c.push(v)
	}
	c.Lost, c.Shadow, c.Pend, c.Rival = true, nil, queue{}, queue{}
}
