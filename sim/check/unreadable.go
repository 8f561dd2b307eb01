// Every publication can be read with the contract alone.

package check

import (
	"bordo/sim"
)

// unreadable claims that every publication can be read.
type unreadable struct{ found findings }

func (*unreadable) Name() string { return "readable" }
func (*unreadable) See(*Message) {}

func (c *unreadable) add(p sim.Publication, err error) {
	c.found.add("%s on %s: %v", p.At.Format("15:04:05"), p.Topic, err)
}

func (c *unreadable) Judge() []string { return c.found.all() }
