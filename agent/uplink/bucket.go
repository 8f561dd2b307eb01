package uplink

import "time"

// bucket is a token bucket that lets a message pass as soon as it holds anything, and then goes into debt for its size: a
// message larger than the bucket passes too, later.
type bucket struct {
	rate, burst float64 // tokens a second, and at most
	tokens      float64
	last        time.Time
}

func newBucket(rate, burst float64, now time.Time) bucket {
	return bucket{rate: rate, burst: burst, tokens: burst, last: now}
}

// wait returns how long it takes until the bucket holds something; 0: it does now. slow (0 to 1] stretches the rate.
func (b *bucket) wait(now time.Time, slow float64) time.Duration {
	rate := b.rate * slow
	b.tokens = min(b.burst, b.tokens+rate*now.Sub(b.last).Seconds())
	b.last = now
	if b.tokens > 0 {
		return 0
	}
	return time.Duration((1-b.tokens)/rate*float64(time.Second)) + 1
}

func (b *bucket) take(n float64) { b.tokens -= n }

// What a message takes from the bucket that counts messages: a whole token from wholeMessage on, below that the share that
// its size is, but at least leastCost. Events and quarter hours come one to a message of some 450 bytes, and stand before
// all old readings: with a token each they would hold these up for 5 s for every quarter hour of an outage at a site of 100
// counters. At the default rate that makes 80 of them a second, 36 KB/s.
const (
	wholeMessage = 4 << 10
	leastCost    = 1.0 / 4
)

func costOf(size int) float64 { return min(1, max(leastCost, float64(size)/wholeMessage)) }
