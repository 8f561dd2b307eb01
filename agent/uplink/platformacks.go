package uplink

import (
	"sync/atomic"

	"bordo/agent/config"
	"bordo/agent/mqtt"
	"bordo/buffer"
	"bordo/contract"
)

// Bounds of what was sent and awaits the platform's acknowledgement. Beyond the first, the history lane pauses. Beyond
// the second, the oldest return to the store and are sent again once the platform acknowledges.
const (
	awaitingHist = 4096
	awaitingMax  = 16384
)

// platformAcks holds, with "ack: platform", the records that the broker has acknowledged and the platform has not. They
// stay leased. With "ack: broker" it is off and takes nothing.
type platformAcks struct {
	on      bool
	latest  atomic.Pointer[contract.Ack] // as it came last; it is cumulative
	news    chan struct{}                // cap 1
	ok      map[string][]contract.Range
	waiting map[buffer.ID]bool
	order   []buffer.ID // in the order sent, including some that no longer wait
}

func newPlatformAcks(mode config.Ack) *platformAcks {
	return &platformAcks{on: mode == config.AckPlatform, news: make(chan struct{}, 1),
		waiting: make(map[buffer.ID]bool)}
}

// take takes a message with the platform's acknowledgements.
func (p *platformAcks) take(m mqtt.Message) {
	a, err := contract.DecodeAck(m.Payload)
	if err != nil {
		return // not of this contract: nothing is acknowledged by it
	}
	p.latest.Store(&a)
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// stored reports whether the platform has acknowledged a record.
func (p *platformAcks) stored(id buffer.ID) bool {
	for _, r := range p.ok[id.Epoch] {
		if r[0] <= id.Seq && id.Seq <= r[1] {
			return true
		}
	}
	return false
}

// sent takes records that the broker acknowledged and returns those that need no platform acknowledgement.
func (p *platformAcks) sent(ids []buffer.ID) (settled []buffer.ID) {
	if !p.on {
		return ids
	}
	for _, id := range ids {
		if p.stored(id) {
			settled = append(settled, id)
		} else if !p.waiting[id] {
			p.waiting[id] = true
			p.order = append(p.order, id)
		}
	}
	return settled
}

// heard takes the platform's latest acknowledgement and returns what it settles.
func (p *platformAcks) heard() (settled []buffer.ID) {
	if a := p.latest.Load(); a != nil {
		p.ok = a.OK
	}
	for id := range p.waiting {
		if p.stored(id) {
			settled = append(settled, id)
			delete(p.waiting, id)
		}
	}
	return settled
}

// surplus returns the oldest records beyond what may wait.
func (p *platformAcks) surplus() (back []buffer.ID) {
	for len(p.waiting) > awaitingMax && len(p.order) > 0 {
		if id := p.order[0]; p.waiting[id] {
			delete(p.waiting, id)
			back = append(back, id)
		}
		p.order = p.order[1:]
	}
	if len(p.order) > 2*len(p.waiting)+awaitingHist {
		kept := p.order[:0:0]
		for _, id := range p.order {
			if p.waiting[id] {
				kept = append(kept, id)
			}
		}
		p.order = kept
	}
	return back
}

// all returns everything that waits, and forgets it.
func (p *platformAcks) all() []buffer.ID {
	var out []buffer.ID
	for id := range p.waiting {
		out = append(out, id)
	}
	clear(p.waiting)
	p.order = nil
	return out
}
