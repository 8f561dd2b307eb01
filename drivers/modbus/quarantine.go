package modbus

import (
	"errors"

	"bordo/drivers"
)

// maxSplitRequests limits the requests that a poll spends on finding the register that makes a device refuse
// a block. The next poll continues the search.
const maxSplitRequests = 32

// narrowDown finds the item that makes the device refuse a block, by halving the block. The rest of the block
// is still read in this poll.
func (p *poll) narrowDown(b block, err error) bool {
	if len(b.items) == 1 {
		if it := b.items[0]; it.header != nil {
			it.header = nil // the registers between the header and the value may be the cause
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
		return false // the cut is kept, so the next poll continues here
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

// isStillRefused repeats a refused block. A device that was only starting up accepts it now.
func (p *poll) isStillRefused(b block) bool {
	_, err := p.read(b.Span)
	return isRefusal(err)
}

// split cuts a block in two for this and the next polls.
func (p *poll) split(b block) (left, right block) {
	left, right = b.halves(p.rules)
	p.rules.cuts[right.items[0]] = true
	p.plans = nil
	return left, right
}

// learnCause stores why a block was refused although both halves are accepted: the gap between them cannot be
// read, or the block was too large.
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

// noteRefusal marks an item for quarantine at the end of the poll.
func (p *poll) noteRefusal(it *item, err error) {
	why := drivers.KindOf(err).String()
	var e Exception
	if errors.As(err, &e) {
		why = e.Error()
	}
	p.refusals = append(p.refusals, refusal{it, why})
}

// refusal is an item that was refused when requested alone.
type refusal struct {
	item   *item
	reason string
}

// quarantineRefused runs at the end of a poll and quarantines the items that were refused alone. If the
// device refused every request, it is not ready: nothing is quarantined, and the following polls request only
// one value until it is.
func (p *poll) quarantineRefused() {
	p.refusing = p.answered == 0 && len(p.refusals) > 0
	if p.refusing {
		p.incomplete = true
		clear(p.rules.cuts)
		p.plans = nil
		return
	}
	for _, a := range p.refusals {
		p.saved.quarantine(a.item, a.reason, p.now)
	}
	if len(p.refusals) > 0 {
		p.rebuildRules()
	}
}
