// On a healthy link the flash is written rarely, not more than so many bytes a day, and the node tells how much that is.

package check

import (
	"time"

	"bordo/contract"
)

// FlashWear claims that a node on a healthy link spares its flash, and that the figure it reports is true: a harness
// that measures from outside supplies the bytes really written.
type FlashWear struct {
	limit  int64 // bytes a day
	counts []wrote
	found  findings
	told   int
}

// wrote is all that was written since the beginning.
type wrote struct {
	at    time.Time
	bytes int64
}

// Minimum frequency of a node's counting and reporting.
const (
	countedEvery = 10 * time.Minute
	cardDay      = 24 * time.Hour
)

// NewFlashWear makes the checker with the bytes that may be written in a day.
func NewFlashWear(bytesPerDay int64) *FlashWear { return &FlashWear{limit: bytesPerDay} }

// Name implements Checker.
func (*FlashWear) Name() string { return "quiet-card" }

// Wrote sets the number of bytes written to the flash since the beginning, which is the first call.
func (c *FlashWear) Wrote(at time.Time, bytes int64) { c.counts = append(c.counts, wrote{at, bytes}) }

// See implements Checker. A reported figure was true at some moment since the node last counted.
func (c *FlashWear) See(m *Message) {
	if m.Status == nil || m.Status.State != contract.Online || m.Status.DiskDay == 0 {
		return
	}
	c.told++
	if m.Status.DiskDay > c.limit {
		c.found.add("the node tells %d bytes a day at %s, the limit is %d", m.Status.DiskDay, m.At.UTC(), c.limit)
	}
	if len(c.counts) == 0 {
		return
	}
	least, most := c.between(m.At.Add(-2*countedEvery)), c.counts[len(c.counts)-1].bytes-c.counts[0].bytes
	if c.counts[len(c.counts)-1].at.Sub(c.counts[0].at) < cardDay &&
		(m.Status.DiskDay < least || m.Status.DiskDay > most+c.counts[0].bytes) {
		c.found.add("the node tells %d bytes at %s, and %d to %d were written", m.Status.DiskDay, m.At.UTC(), least,
			most)
	}
}

// between returns the bytes written from the first count to the last one that is not after a moment.
func (c *FlashWear) between(end time.Time) (bytes int64) {
	for _, w := range c.counts {
		if !w.at.After(end) {
			bytes = w.bytes - c.counts[0].bytes
		}
	}
	return bytes
}

// Judge implements Checker.
func (c *FlashWear) Judge() []string {
	if c.told == 0 {
		c.found.add("the node never told how much was written")
	}
	if n := len(c.counts); n > 1 {
		first, last := c.counts[0], c.counts[n-1]
		during := last.at.Sub(first.at)
		if perDay := float64(last.bytes-first.bytes) / during.Hours() * cardDay.Hours(); perDay > float64(c.limit) {
			c.found.add("%d bytes were written in %s: %.0f a day, the limit is %d", last.bytes-first.bytes, during,
				perDay, c.limit)
		}
	}
	return c.found.all()
}
