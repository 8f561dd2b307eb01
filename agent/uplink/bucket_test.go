package uplink

import (
	"testing"
	"time"
)

// Small messages pass faster than large ones, but never faster than four to a token, and nothing passes faster than the
// rate over any longer time.
func TestBucketChargesBySize(t *testing.T) {
	for _, c := range []struct {
		name       string
		size       int
		perSecond  float64 // at a rate of 20
		afterBurst int     // messages that pass at once
	}{
		{"an event", 450, 80, 80},
		{"a kibibyte", 1 << 10, 80, 80},
		{"half of it counts half", 2 << 10, 40, 40},
		{"a whole one", 4 << 10, 20, 20},
		{"the largest", 60 << 10, 20, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(0, 0)
			b := newBucket(20, 20, now)
			passed := 0
			for ; b.wait(now, 1) == 0; passed++ {
				b.take(costOf(c.size))
			}
			if passed != c.afterBurst {
				t.Errorf("%d at once, want %d", passed, c.afterBurst)
			}
			const during = 10 * time.Minute
			n := 0
			for end := now.Add(during); now.Before(end); {
				if d := b.wait(now, 1); d > 0 {
					now = now.Add(d)
					continue
				}
				b.take(costOf(c.size))
				n++
			}
			if got := float64(n) / during.Seconds(); got > c.perSecond*1.01 || got < c.perSecond*0.97 {
				t.Errorf("%.2f a second, want %.0f", got, c.perSecond)
			}
		})
	}
}
