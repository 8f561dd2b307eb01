package roster

import (
	"slices"
	"time"
)

// windowLen is the number of lags that are kept.
const windowLen = 256

// Window holds the last durations of a kind and returns their quantiles. The zero value is empty.
type Window struct {
	ring []time.Duration
	next int
}

// Add keeps a time.
func (w *Window) Add(d time.Duration) {
	if len(w.ring) < windowLen {
		w.ring = append(w.ring, d)
		return
	}
	w.ring[w.next] = d
	w.next = (w.next + 1) % windowLen
}

// Quantiles returns the median and the 99th percentile; false without data.
func (w *Window) Quantiles() (p50, p99 time.Duration, ok bool) {
	n := len(w.ring)
	if n == 0 {
		return 0, 0, false
	}
	sorted := slices.Clone(w.ring)
	slices.Sort(sorted)
	return sorted[n/2], sorted[min(n-1, n*99/100)], true
}

// meterSeconds is the period of a Meter.
const meterSeconds = 60

// Meter counts events and returns how many there were in the last minute.
type Meter struct {
	from    time.Time // since when there was something to count
	buckets [meterSeconds]uint32
	last    int64 // second of the newest bucket
}

// Add counts one.
func (m *Meter) Add(at time.Time) {
	m.forward(at.Unix())
	m.buckets[at.Unix()%meterSeconds]++
}

// forward empties the buckets that are too old.
func (m *Meter) forward(now int64) {
	if now-m.last >= meterSeconds {
		m.buckets, m.last = [meterSeconds]uint32{}, now
		return
	}
	for m.last < now {
		m.last++
		m.buckets[m.last%meterSeconds] = 0
	}
}

// PerSecond is the rate of the last minute, or of the time since counting began.
func (m *Meter) PerSecond(now time.Time) float64 {
	m.forward(now.Unix())
	n := uint32(0)
	for _, b := range m.buckets {
		n += b
	}
	seconds := min(meterSeconds, max(1, now.Sub(m.from).Seconds()))
	return float64(n) / seconds
}
