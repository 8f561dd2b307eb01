package agent

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
