// Once everything is well again the backlog is gone within a bounded time, and the node says that it is online.

package check

import (
	"time"

	"bordo/contract"
)

// Drains claims that a node converges after everything has healed.
type Drains struct {
	within time.Duration
	healed time.Time
	empty  time.Time // when the status first reported an empty backlog after that, if it stayed empty
	last   *contract.Status
	lastAt time.Time
}

// NewDrains makes the checker with the time that a node has.
func NewDrains(within time.Duration) *Drains { return &Drains{within: within} }

// Name implements Checker.
func (*Drains) Name() string { return "drains" }

// Healed declares that nothing goes wrong from now on.
func (c *Drains) Healed(at time.Time) { c.healed, c.empty = at, time.Time{} }

// Drained reports whether the node has reported an empty backlog since Healed: a harness may stop then.
func (c *Drains) Drained() bool { return !c.empty.IsZero() }

// See implements Checker.
func (c *Drains) See(m *Message) {
	if m.Status == nil {
		return
	}
	c.last, c.lastAt = m.Status, m.At
	if c.healed.IsZero() || m.At.Before(c.healed) {
		return
	}
	switch n := waiting(m.Status); {
	case n > 0 || m.Status.State == contract.Lost:
		c.empty = time.Time{}
	case c.empty.IsZero() && m.Status.State == contract.Online: // a goodbye does not undo it
		c.empty = m.At
	}
}

// waiting returns the number of records that a status reports as held back.
func waiting(s *contract.Status) (n uint64) {
	for _, b := range s.Backlog {
		n += b.N
	}
	return n
}

// Judge implements Checker.
func (c *Drains) Judge() []string {
	var found findings
	switch {
	case c.healed.IsZero():
		found.add("nobody told that everything is well again")
	case c.last == nil:
		found.add("the node never told its status")
	case c.empty.IsZero():
		found.add("since %s the node never told an empty backlog; the last status (%s) is %s with %d records waiting",
			c.healed.UTC(), c.lastAt.UTC(), c.last.State, waiting(c.last))
	case c.empty.Sub(c.healed) > c.within:
		found.add("the backlog was gone %s after everything was well again, the limit is %s", c.empty.Sub(c.healed),
			c.within)
	}
	return found.all()
}
