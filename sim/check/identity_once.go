// An identity (node, ep, seq) never carries two payloads, on whatever topic and however often it is sent.

package check

import (
	"bytes"
	"fmt"

	"bordo/contract"
)

// IdentityOnce claims that an identity never carries two payloads.
type IdentityOnce struct {
	first map[id][]byte
	found findings
}

// NewIdentityOnce makes the checker.
func NewIdentityOnce() *IdentityOnce { return &IdentityOnce{first: map[id][]byte{}} }

// Name implements Checker.
func (*IdentityOnce) Name() string { return "identity-once" }

// See implements Checker. The clock quality and the device belong to what must stay the same; hist and sent do not.
func (c *IdentityOnce) See(m *Message) {
	m.each(func(i id, payload []byte) {
		prefix := m.Kind
		if m.Kind == contract.KindTele || m.Kind == contract.KindHist {
			prefix = fmt.Sprintf("%s %s", m.Batch.Dev, m.Batch.Clk)
		}
		payload = append([]byte(prefix+" "), payload...)
		switch before, seen := c.first[i]; {
		case !seen:
			c.first[i] = payload
		case !bytes.Equal(before, payload):
			c.found.add("%s was\n    %s\n  and became\n    %s", i, before, payload)
		}
	})
}

// Judge implements Checker.
func (c *IdentityOnce) Judge() []string { return c.found.all() }
