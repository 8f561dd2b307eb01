// A store that has room evicts nothing.

package check

import (
	"sync"

	"bordo/contract"
)

// Room claims that records are evicted only by a store that is full. The harness measures the size of the store.
type Room struct {
	full    int64 // bytes from which a store may evict
	mu      sync.Mutex
	largest int64 // bytes
	evicted []string
}

// NewRoom makes the checker for stores that may evict from a size of full bytes on.
func NewRoom(full int64) *Room { return &Room{full: full} }

// Name implements Checker.
func (*Room) Name() string { return "evicts-only-when-full" }

// Measure gives the size of the store in bytes. It may be called from any goroutine.
func (c *Room) Measure(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.largest = max(c.largest, bytes)
}

// See implements Checker.
func (c *Room) See(m *Message) {
	if m.Event == nil || m.Event.Type != contract.StoreGap {
		return
	}
	if _, g, err := readGap(m); err == nil && g.why == "evicted" { // AtLeastOnce reports an unreadable message
		c.mu.Lock()
		defer c.mu.Unlock()
		c.evicted = append(c.evicted, string(m.Event.Data))
	}
}

// Largest is the largest size that was measured, and whether anything was evicted.
func (c *Room) Largest() (bytes int64, evicted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.largest, len(c.evicted) > 0
}

// Judge implements Checker.
func (c *Room) Judge() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found findings
	switch {
	case c.largest == 0:
		found.add("the size of the store was never measured")
	case c.largest < c.full:
		for _, g := range c.evicted {
			found.add("records were evicted from a store of %d bytes, which is full at %d: %s", c.largest, c.full, g)
		}
	}
	return found.all()
}
