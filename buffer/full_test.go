package buffer

import (
	"testing"

	"pgregory.net/rapid"
)

// TestModelFull: a store that overflows evicts the oldest records and reports them as gaps.
func TestModelFull(t *testing.T) {
	small := func(t *rapid.T) Options {
		o := plainOptions(t)
		o.MaxSize = 16 << 20
		return o
	}
	runModel(t, small, func(m *model, a map[string]func(*rapid.T)) {
		a["flood"] = func(t *rapid.T) {
			m.T = t
			c := rapid.SampledFrom([]Class{Interval, Reading, Reading}).Draw(t, "class")
			for range rapid.IntRange(50, 150).Draw(t, "n") {
				m.append(c, 30_000)
			}
		}
		a["crash"] = func(t *rapid.T) { m.T = t; m.crash(); m.open() }
	})
}
