package modbus

import (
	"errors"

	"bordo/drivers"
)

// maxSplitRequests bounds the requests that a poll may spend on finding the register that makes a device refuse a block; the
// search goes on with the next poll.
const maxSplitRequests = 32

// narrowDown looks for what makes the device refuse a block, by halving it. Everything else of the block is still read in
// this poll.
func (p *poll) narrowDown(b block, err error) bool {
	if len(b.items) == 1 {
		if it := b.items[0]; it.header != nil {
			it.header = nil // what lies between the model's head and the value may be to blame
			p.plans = nil
			return p.fetch(p.rules.blockOf(b.items))
		}
		p.errs = append(p.errs, err)
		p.noteRefusal(b.items[0], err)
		return false
	}
	left, right := p.split(b)
	if p.splitRequests += 2; p.splitRequests > maxSplitRequests {
		p.noteError(err)
		return false // the cut stays, so the next poll goes on from here
	}
	l := p.fetch(left)
	if p.stop {
		return false
	}
	r := p.fetch(right)
	if p.stop || p.splitRequests > maxSplitRequests {
		return false
	}
	if l && r && p.isStillRefused(b) {
		p.learnCause(b, left, right)
	}
	delete(p.rules.cuts, right.items[0])
	p.plans = nil
	return l && r
}

// isStillRefused asks for a block once more: a device that was only starting has its reasons elsewhere.
func (p *poll) isStillRefused(b block) bool {
	_, err := p.read(b.Span)
	return isRefusal(err)
}

// split cuts a block in two for this poll and the next ones.
func (p *poll) split(b block) (left, right block) {
	left, right = b.halves(p.rules)
	p.rules.cuts[right.items[0]] = true
	p.plans = nil
	return left, right
}

// learnCause says why two halves that are answered were refused together: the gap between them cannot be read, or the block
// was too large.
func (p *poll) learnCause(b, left, right block) {
	switch n := int(right.First) - left.End(); {
	case n > 0:
		p.saved.addHole(Span{b.Table, uint16(left.End()), n})
	case b.Table.Bits():
		p.saved.Bits = max(left.Count, right.Count)
	default:
		p.saved.Registers = max(left.Count, right.Count)
	}
	p.rebuildRules()
}

// noteRefusal stops asking for an item, and from reading over its registers.
func (p *poll) noteRefusal(it *item, err error) {
	why := drivers.KindOf(err).String()
	var e Exception
	if errors.As(err, &e) {
		why = e.Error()
	}
	p.refusals = append(p.refusals, refusal{it, why})
}

// refusal is a point that was refused alone.
type refusal struct {
	item *item
	why  string
}

// quarantineRefused ends a poll: what was refused alone goes into quarantine, unless the device refused everything. Then it is the
// device that is not ready, and it is asked for one point only until that is over.
func (p *poll) quarantineRefused() {
	p.refusing = p.answered == 0 && len(p.refusals) > 0
	if p.refusing {
		p.incomplete = true
		clear(p.rules.cuts)
		p.plans = nil
		return
	}
	for _, a := range p.refusals {
		p.saved.quarantine(a.item, a.why, p.now)
	}
	if len(p.refusals) > 0 {
		p.rebuildRules()
	}
}
