package modbus

import (
	"errors"
	"slices"
	"time"

	"bordo/drivers"
)

// narrow looks for what makes the device refuse a block, by halving it. Everything else of the block is still read in
// this poll.
func (p *poll) narrow(b block, err error) bool {
	if len(b.items) == 1 {
		p.errs = append(p.errs, err)
		p.quarantine(b.items[0], err)
		return false
	}
	left, right := p.split(b)
	if p.extra += 2; p.extra > maxExtra {
		p.errs = append(p.errs, err)
		p.onceBad = true
		return false // the cut stays, so the next poll goes on from here
	}
	l := p.fetch(left)
	if p.stop {
		return false
	}
	r := p.fetch(right)
	if p.stop {
		return false
	}
	if l && r {
		p.blame(b, left, right)
	}
	delete(p.rules.cuts, right.items[0])
	p.replan()
	return l && r
}

// split cuts a block in two for this poll and the next ones.
func (p *poll) split(b block) (left, right block) {
	left, right = b.halves(p.rules)
	p.rules.cuts[right.items[0]] = true
	p.replan()
	return left, right
}

// blame says why two halves that are answered were refused together: the gap between them cannot be read, or the block
// was too large.
func (p *poll) blame(b, left, right block) {
	if n := int(right.First) - left.End(); n > 0 {
		hole := Span{b.Table, uint16(left.End()), n}
		p.rules.holes = append(slices.Clip(p.rules.holes), hole)
		p.learnt.Holes = append(p.learnt.Holes, hole.String())
		return
	}
	if b.Table.Bits() {
		p.rules.Bits = max(left.Count, right.Count)
		p.learnt.Bits = p.rules.Bits
		return
	}
	p.rules.Registers = max(left.Count, right.Count)
	p.learnt.Registers = p.rules.Registers
}

func (d *device) replan() { d.plans = nil }

// quarantine stops asking for an item, and from reading over its registers.
func (p *poll) quarantine(it *item, err error) {
	why := drivers.KindOf(err).String()
	var e Exception
	if errors.As(err, &e) {
		why = e.Error()
	}
	p.learnt.put(it.Key, it.At.String(), why, time.Now())
	p.rules.holes = append(slices.Clip(p.rules.holes), Span{it.At.Table, it.At.Number, it.Length})
	p.replan()
}
