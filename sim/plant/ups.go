package plant

import (
	"math"
	"time"
)

// UPS is an uninterruptible supply with its battery and what hangs on it.
type UPS struct {
	CapacityWh float64
	LoadW      float64

	Mains     bool
	ChargePct float64
	Celsius   float64 // of the battery
}

// NewUPS makes a supply with a full battery, on the mains.
func NewUPS(capacityWh, loadW float64) *UPS {
	return &UPS{CapacityWh: capacityWh, LoadW: loadW, Mains: true, ChargePct: 100, Celsius: 20}
}

// chargeW is the power of the charger, as a share of the capacity: ten hours from empty to full.
const chargeW = 0.1

// Step moves the supply dt forward with or without mains.
func (u *UPS) Step(dt time.Duration, mains bool, airC float64) {
	u.Mains = mains
	powerW := -u.LoadW
	warm := airC + 8
	if mains {
		powerW, warm = chargeW*u.CapacityWh, airC+3
	}
	u.ChargePct = clamp(u.ChargePct+100*powerW*dt.Hours()/u.CapacityWh, 0, 100)
	u.Celsius = lag(u.Celsius, warm, dt, 30*time.Minute)
}

// Dead reports whether the output is off.
func (u *UPS) Dead() bool { return !u.Mains && u.ChargePct <= 0 }

// Voltage is that of a 24 V lead battery: floating on the mains; else a slow fall, steep at the end.
func (u *UPS) Voltage() float64 {
	if u.Mains {
		return 26 + 1.3*u.ChargePct/100
	}
	c := u.ChargePct / 100
	return 22.4 + 2.8*c - 1.4*math.Exp(-c/0.06)
}

// Runtime returns how long the battery lasts from now on.
func (u *UPS) Runtime() time.Duration {
	if u.LoadW <= 0 {
		return 99 * time.Hour
	}
	return time.Duration(u.ChargePct / 100 * u.CapacityWh / u.LoadW * float64(time.Hour))
}

// Tank is a container that fills slowly and is emptied when it is nearly full.
type Tank struct {
	LevelPct float64
	Fills    time.Duration // from empty to full

	emptying bool
}

// Step moves the tank dt forward. It is emptied, in twenty minutes, from 92 per cent on.
func (t *Tank) Step(dt time.Duration) {
	switch {
	case t.LevelPct >= 92:
		t.emptying = true
	case t.LevelPct <= 3:
		t.emptying = false
	}
	rate := 100 / t.Fills.Seconds()
	if t.emptying {
		rate = -100 / (20 * time.Minute).Seconds()
	}
	t.LevelPct = clamp(t.LevelPct+rate*dt.Seconds(), 0, 100)
}
