package modbus

import (
	"errors"
	"time"

	"bordo/drivers"
)

const (
	// sureSilences is how many questions must stay unanswered, all longer than any that was answered, before their
	// length is taken for the reason.
	sureSilences = 3
	// maxSearches bounds the searches of one poll for the length of an answer that gets through.
	maxSearches = 3
	// limitLifetime is how often a limit that was learnt is put to the test: the gateway may have been replaced, and chance losses
	// can look like a limit.
	limitLifetime = 24 * time.Hour
)

// expireLimit forgets a limit that was learnt a day ago. Where it still holds, the next poll finds it again.
func (d *device) expireLimit(now time.Time) {
	switch {
	case d.saved.Registers == 0:
		d.limitSince = time.Time{}
	case d.limitSince.IsZero():
		d.limitSince = now
	case now.Sub(d.limitSince) >= limitLifetime:
		d.saved.Registers, d.limitSince = 0, time.Time{}
		d.rebuildRules()
	}
}

// searchLimit handles a block that was not answered although shorter ones are: a gateway or radio modem may lose what is
// longer than its buffer, by silence, by closing the connection, by damage, or by telling that the device did not
// answer. It looks for the length that gets through within this poll, and lets the poll begin once more with that as
// the limit. It tells whether it found one.
func (p *poll) searchLimit(b block, err error) bool {
	if b.Table.Bits() || b.Count <= max(p.longestReply, 1) || !mayBeTooLong(err) || drivers.PortLost(err) || p.searches == maxSearches {
		return false
	}
	if p.txn.replyAt.IsZero() || p.longestReply == 0 { // is it there at all? That is asked once: silence costs the others on the line time
		least := smallestValue([]block{b})
		if p.triedShort || least.Count >= b.Count || !p.bus.line.Stream && !p.bus.line.Tunnel {
			return false
		}
		p.triedShort = true
		if _, err := p.read(p.rules.toEven(least)); err != nil {
			return false
		}
	}
	p.searches++
	limit := p.findLimit(b)
	if limit == 0 {
		return false
	}
	p.saved.Registers = limit
	p.rebuildRules()
	if err := p.rebuildItems(); err != nil {
		p.noteError(err)
		return true
	}
	p.readings, p.deferred, p.factors, p.texts, p.refusals, p.answered = p.readings[:0], nil, nil, nil, nil, 0
	p.first, p.last, p.lostReply = time.Time{}, time.Time{}, false
	p.restart = true
	return true
}

// mayBeTooLong tells whether an error can come from an answer that was too long for something on its way.
func mayBeTooLong(err error) bool {
	var e Exception
	if errors.As(err, &e) {
		return e.Code == 4 || e.Code == 11
	}
	kind := drivers.KindOf(err)
	return isUnanswered(err) || kind == drivers.Checksum
}

// findLimit looks for the longest answer that gets through: at the boundary of two models first, then by quarters, because
// each silence takes its time, and once upwards from there. It counts only when what lies behind it is answered as
// well, and the longer span is lost again; so neither a register that silences the device nor a passing fault is taken
// for a limit. 0: none was found.
func (p *poll) findLimit(b block) int {
	lost, silences := b.Span, 1
	part := p.withoutLastModel(b)
	for ; ; part = p.frontOf(b, lost.Count/4) {
		if part.Count <= p.longestReply || part.Count >= lost.Count {
			return 0
		}
		_, err := p.read(part)
		if err == nil {
			break
		}
		if !p.continuesSearch(err) {
			return 0
		}
		lost = part
		silences++
	}
	again := false
	if more := p.frontOf(b, 2*part.Count); more.Count > part.Count && more.Count < lost.Count {
		switch _, err := p.read(more); {
		case err == nil:
			part = more
		case !p.continuesSearch(err):
			return 0
		default:
			lost, again = more, true
			silences++
		}
	}
	if rest := p.spanAfter(part, lost); rest.Count > 0 && rest.Count <= part.Count {
		if _, err := p.read(rest); err != nil && !isRefusal(err) {
			return 0
		}
	}
	for ; !again || silences < sureSilences; again = true {
		if _, err := p.read(lost); !p.continuesSearch(err) {
			return 0
		}
		silences++
	}
	return part.Count
}

// continuesSearch tells whether a search goes on after an error: it can come from the length of the answer, and the line is
// there.
func (p *poll) continuesSearch(err error) bool {
	return err != nil && mayBeTooLong(err) && !drivers.PortLost(err) && p.ctx().Err() == nil
}

// spanAfter is what lies behind the first part of a span, as long as that part at most.
func (p *poll) spanAfter(part, whole Span) Span {
	return p.rules.toEven(Span{whole.Table, uint16(part.End()), min(part.Count, whole.End()-part.End())})
}

// withoutLastModel is a block without the last of its models, or its first quarter when it has only one.
func (p *poll) withoutLastModel(b block) Span {
	for i := len(b.items) - 1; i > 0; i-- {
		if b.items[i].header != b.items[i-1].header {
			return p.frontOf(b, b.items[i-1].valueSpan().End()-int(b.First))
		}
	}
	return p.frontOf(b, b.Count/4)
}

// frontOf is the first part of a block that is no longer than most registers and ends with a value, where there is one.
func (p *poll) frontOf(b block, most int) Span {
	end := 0
	for _, it := range b.items {
		if here := it.valueSpan().End() - int(b.First); here <= most {
			end = max(end, here)
		}
	}
	if end == 0 {
		end = max(most, 1) // in the middle of a value: only how long the answer is counts
	}
	return p.rules.toEven(Span{b.Table, b.First, end})
}
