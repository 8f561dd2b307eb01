// On a healthy link the flash is written rarely: not more than so many bytes a day.

package check

import (
	"time"

	"bordo/contract"
)

// QuietCard claims that a node on a healthy link spares its flash. The node's own figure is read from its status; a
// harness that knows better gives the bytes itself.
type QuietCard struct {
	limit int64 // bytes a day
	found findings
	n     int
}

// NewQuietCard makes the checker with the bytes that may be written in a day.
func NewQuietCard(bytesPerDay int64) *QuietCard { return &QuietCard{limit: bytesPerDay} }

// Name implements Checker.
func (*QuietCard) Name() string { return "quiet-card" }

// Wrote tells how many bytes were written to the flash in a while.
func (c *QuietCard) Wrote(bytes int64, during time.Duration) {
	c.n++
	if perDay := float64(bytes) / during.Hours() * 24; perDay > float64(c.limit) {
		c.found.add("%d bytes were written in %s: %.0f a day, the limit is %d", bytes, during, perDay, c.limit)
	}
}

// See implements Checker.
func (c *QuietCard) See(m *Message) {
	if m.Status == nil || m.Status.State != contract.Online || m.Status.DiskDay == 0 {
		return
	}
	c.n++
	if m.Status.DiskDay > c.limit {
		c.found.add("the node tells %d bytes a day at %s, the limit is %d", m.Status.DiskDay, m.At.UTC(), c.limit)
	}
}

// Judge implements Checker.
func (c *QuietCard) Judge() []string {
	if c.n == 0 {
		c.found.add("nobody told how much was written")
	}
	return c.found.all()
}
