// Package inflight draws conclusions from what was in flight when a session with a broker died: how large a message may
// be, how many bytes may be unacknowledged at a time, and on which topic the broker ends sessions.
//
// It only computes on its inputs: no I/O, no clock, no lock. The goroutine that runs the sessions owns each value.
package inflight

import "time"

// Small is the maximum size of a small message in bytes: it fits one packet of any path, including the headers of TLS,
// TCP and IP, and is below the limit of any broker.
const Small = 1100

// retryMore is the factor by which the wait for another attempt grows after each failure.
const retryMore = 4

// Ceiling finds the largest size that passes. It doubles what has passed, so that nothing large is risked before half
// of it was proved, and stops below what failed until another attempt is due.
type Ceiling struct {
	FirstWait, LastWait time.Duration // for another attempt above what failed: the shortest and the longest

	Passed  int // the largest that was proved; 0: nothing yet
	Failed  int // the smallest that failed; 0: nothing is known to fail
	Strikes int // failures in a row

	retry time.Time // of the next attempt
	wait  time.Duration
}

// Allowed returns the largest size to send now, at most most. Before anything has passed or failed that is start.
func (c *Ceiling) Allowed(now time.Time, start, most int) int {
	n := max(start, 2*c.Passed)
	if c.Failed > 0 && now.Before(c.retry) {
		n = c.below(n)
	}
	return min(n, most)
}

// below keeps n away from what failed.
func (c *Ceiling) below(n int) int {
	if 3*c.Passed >= c.Failed {
		return c.Passed
	}
	return min(n, c.Failed/2)
}

// MayTry reports whether something of size n that cannot be made smaller may be sent: it is well below what has failed,
// or another attempt is due.
func (c *Ceiling) MayTry(n int, now time.Time) bool {
	return c.Failed == 0 || n <= c.Passed || 4*n <= 3*c.Failed || !now.Before(c.retry)
}

// Pass records that size n passed. If n is as large as what is known to fail, that knowledge is dropped.
func (c *Ceiling) Pass(n int) {
	c.Passed = max(c.Passed, n)
	if c.Failed > 0 && n >= c.Failed {
		c.Failed, c.Strikes, c.wait = 0, 0, 0
	}
}

// Fail notes that n failed. What had passed counts no longer from there on.
func (c *Ceiling) Fail(n int, now time.Time) {
	if n <= c.Passed {
		c.Passed = n / 2
	}
	if c.Failed == 0 || n < c.Failed {
		c.Failed = n
	}
	c.Strikes++
	c.wait = min(max(c.FirstWait, retryMore*c.wait), c.LastWait)
	c.retry = now.Add(c.wait)
}

// Restore sets what an earlier run of the program found out.
func (c *Ceiling) Restore(passed, failed int, now time.Time) {
	c.Passed, c.Failed, c.Strikes, c.wait = passed, failed, 0, 0
	if failed > 0 {
		c.Strikes, c.wait = 2, time.Hour
		c.retry = now.Add(c.wait)
	}
}

// Forget drops a size that failed only once, if the time for another attempt passed longer than idle ago: nothing of
// that size has been sent since, and the failure may have been accidental.
func (c *Ceiling) Forget(now time.Time, idle time.Duration) {
	if c.Strikes == 1 && now.After(c.retry.Add(idle)) {
		c.Failed, c.Strikes, c.wait = 0, 0, 0
	}
}
