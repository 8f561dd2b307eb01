// What must stay within a limit stays within it: memory of queues, disk, goroutines.

package check

import (
	"maps"
	"slices"
	"sync"
)

// Bounded claims that measured values stay within their limits. The harness measures.
type Bounded struct {
	mu     sync.Mutex
	limits map[string]float64
	worst  map[string]float64
	n      map[string]int
}

// NewBounded makes the checker with the limits by name.
func NewBounded(limits map[string]float64) *Bounded {
	return &Bounded{limits: limits, worst: map[string]float64{}, n: map[string]int{}}
}

// Name implements Checker.
func (*Bounded) Name() string { return "bounded" }

// See implements Checker: nothing of this is published.
func (*Bounded) See(*Message) {}

// Measure gives a value of something that has a limit. It may be called from any goroutine.
func (c *Bounded) Measure(name string, value float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.n[name]; n == 0 || value > c.worst[name] {
		c.worst[name] = value
	}
	c.n[name]++
}

// Judge implements Checker. A limit that was never measured against is a violation: it would never fail.
func (c *Bounded) Judge() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found findings
	for _, name := range slices.Sorted(maps.Keys(c.limits)) {
		switch limit := c.limits[name]; {
		case c.n[name] == 0:
			found.add("%s was never measured", name)
		case c.worst[name] > limit:
			found.add("%s reached %v, the limit is %v (%d measurements)", name, c.worst[name], limit, c.n[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.worst)) {
		if _, ok := c.limits[name]; !ok {
			found.add("%s is measured and has no limit", name)
		}
	}
	return found.all()
}
