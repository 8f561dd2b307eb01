package uplink

import "time"

// bucket is a token bucket that lets a message pass as soon as it holds anything and then goes into debt for the
// message's size. A message larger than the bucket therefore passes too, later.
type bucket struct {
	rate, burst float64 // tokens a second, and at most
	tokens      float64
	last        time.Time
}

func newBucket(rate, burst float64, now time.Time) bucket {
	return bucket{rate: rate, burst: burst, tokens: burst, last: now}
}

// wait returns the time until the bucket holds something, 0 when it does now. slow, above 0 and up to 1, stretches the
// rate.
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

// Costs in the bucket that counts messages: a whole token from wholeMessage bytes on, below that the proportional
// share, but at least leastCost. Events and quarter hours are sent one per message of some 450 bytes, ahead of all old
// readings. With a whole token each they would delay these by 5 s for every quarter hour of an outage at a site of 100
// counters. At the default rate this allows 80 of them a second, 36 KB/s.
const (
	wholeMessage = 4 << 10
	leastCost    = 1.0 / 4
)

func costOf(size int) float64 { return min(1, max(leastCost, float64(size)/wholeMessage)) }
