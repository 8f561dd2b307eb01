package plant

import (
	"math"
	"testing"
	"time"
)

func TestUPSDischargesAndCharges(t *testing.T) {
	u := NewUPS(240, 60) // four hours
	if u.Runtime() != 4*time.Hour {
		t.Errorf("runtime %s, want 4h", u.Runtime())
	}
	floating := u.Voltage()
	u.Step(time.Second, false, 20)
	if u.Voltage() >= floating-0.5 {
		t.Errorf("from %.2f V on the mains to %.2f V on the battery: want a step down", floating, u.Voltage())
	}
	last, volts, taken := u.ChargePct, u.Voltage(), 0*time.Second
	for !u.Dead() {
		u.Step(time.Minute, false, 20)
		taken += time.Minute
		if u.ChargePct > last || u.Voltage() > volts {
			t.Fatalf("after %s: %.2f %%, %.3f V went up", taken, u.ChargePct, u.Voltage())
		}
		last, volts = u.ChargePct, u.Voltage()
		if taken > 5*time.Hour {
			t.Fatal("never empty")
		}
	}
	if d := (taken - 4*time.Hour).Abs(); d > 2*time.Minute || volts > 22 {
		t.Errorf("empty after %s at %.2f V, want 4h and less than 22", taken, volts)
	}
	u.Step(10*time.Hour, true, 20)
	if math.Abs(u.ChargePct-100) > 0.01 || u.Dead() {
		t.Errorf("after ten hours on the mains: %.2f %%", u.ChargePct)
	}
}

func TestTankFillsAndIsEmptied(t *testing.T) {
	k := &Tank{LevelPct: 50, Fills: 10 * time.Hour}
	lo, hi := 100.0, 0.0
	for range 48 * 60 {
		was := k.LevelPct
		k.Step(time.Minute)
		lo, hi = min(lo, k.LevelPct), max(hi, k.LevelPct)
		if d := math.Abs(k.LevelPct - was); d > 5.01 {
			t.Fatalf("the level jumped %.2f %% in a minute", d)
		}
	}
	if lo > 3.5 || hi < 92 || hi > 93 {
		t.Errorf("level from %.1f to %.1f %% in two days", lo, hi)
	}
}
