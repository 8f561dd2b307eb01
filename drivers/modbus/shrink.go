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
	// limitAgain is how often a limit that was learnt is put to the test: the gateway may have been replaced, and chance losses
	// can look like a limit.
	limitAgain = 24 * time.Hour
)

// questionLimit forgets a limit that was learnt a day ago. Where it still holds, the next poll finds it again.
func (d *device) questionLimit(now time.Time) {
	switch {
	case d.saved.Registers == 0:
		d.limitAt = time.Time{}
	case d.limitAt.IsZero():
		d.limitAt = now
	case now.Sub(d.limitAt) >= limitAgain:
		d.saved.Registers, d.limitAt = 0, time.Time{}
		d.apply()
	}
}

// tooLong handles a block that was not answered although shorter ones are: a gateway or radio modem may lose what is
// longer than its buffer, by silence, by closing the connection, by damage, or by telling that the device did not
// answer. It looks for the length that gets through within this poll, and lets the poll begin once more with that as
// the limit. It tells whether it found one.
func (p *poll) tooLong(b block, err error) bool {
	if b.Table.Bits() || b.Count <= max(p.proved, 1) || !losesAnswer(err) || drivers.PortLost(err) || p.searches == maxSearches {
		return false
	}
	if p.turn.at.IsZero() || p.proved == 0 { // is it there at all? That is asked once: silence costs the others on the line time
		least := smallest([]block{b})
		if p.tried || least.Count >= b.Count || !p.bus.line.Stream && !p.bus.line.Tunnel {
			return false
		}
		p.tried = true
		if _, err := p.read(p.rules.rounded(least)); err != nil {
			return false
		}
	}
	p.searches++
	limit := p.limit(b)
	if limit == 0 {
		return false
	}
	p.saved.Registers = limit
	p.apply()
	if err := p.resettle(); err != nil {
		p.failed(err)
		return true
	}
	p.readings, p.deferred, p.factors, p.texts, p.accused, p.taken = p.readings[:0], nil, nil, nil, nil, 0
	p.first, p.last, p.lost = time.Time{}, time.Time{}, false
	p.again = true
	return true
}

// losesAnswer tells whether an error can come from an answer that was too long for something on its way.
func losesAnswer(err error) bool {
	var e Exception
	if errors.As(err, &e) {
		return e.Code == 4 || e.Code == 11
	}
	kind := drivers.KindOf(err)
	return unanswered(err) || kind == drivers.Checksum
}

// limit looks for the longest answer that gets through: at the boundary of two models first, then by quarters, because
// each silence takes its time, and once upwards from there. It counts only when what lies behind it is answered as
// well, and the longer span is lost again; so neither a register that silences the device nor a passing fault is taken
// for a limit. 0: none was found.
func (p *poll) limit(b block) int {
	lost, silences := b.Span, 1
	part := p.models(b)
	for ; ; part = p.front(b, lost.Count/4) {
		if part.Count <= p.proved || part.Count >= lost.Count {
			return 0
		}
		_, err := p.read(part)
		if err == nil {
			break
		}
		if !p.goesOn(err) {
			return 0
		}
		lost = part
		silences++
	}
	again := false
	if more := p.front(b, 2*part.Count); more.Count > part.Count && more.Count < lost.Count {
		switch _, err := p.read(more); {
		case err == nil:
			part = more
		case !p.goesOn(err):
			return 0
		default:
			lost, again = more, true
			silences++
		}
	}
	if rest := p.behindOf(part, lost); rest.Count > 0 && rest.Count <= part.Count {
		if _, err := p.read(rest); err != nil && !refuses(err) {
			return 0
		}
	}
	for ; !again || silences < sureSilences; again = true {
		if _, err := p.read(lost); !p.goesOn(err) {
			return 0
		}
		silences++
	}
	return part.Count
}

// goesOn tells whether a search goes on after an error: it can come from the length of the answer, and the line is
// there.
func (p *poll) goesOn(err error) bool {
	return err != nil && losesAnswer(err) && !drivers.PortLost(err) && p.ctx().Err() == nil
}

// behindOf is what lies behind the first part of a span, as long as that part at most.
func (p *poll) behindOf(part, whole Span) Span {
	return p.rules.rounded(Span{whole.Table, uint16(part.End()), min(part.Count, whole.End()-part.End())})
}

// models is a block without the last of its models, or its first quarter when it has only one.
func (p *poll) models(b block) Span {
	for i := len(b.items) - 1; i > 0; i-- {
		if b.items[i].head != b.items[i-1].head {
			return p.front(b, b.items[i-1].place().End()-int(b.First))
		}
	}
	return p.front(b, b.Count/4)
}

// front is the first part of a block that is no longer than most registers and ends with a value, where there is one.
func (p *poll) front(b block, most int) Span {
	end := 0
	for _, it := range b.items {
		if here := it.place().End() - int(b.First); here <= most {
			end = max(end, here)
		}
	}
	if end == 0 {
		end = max(most, 1) // in the middle of a value: only how long the answer is counts
	}
	return p.rules.rounded(Span{b.Table, b.First, end})
}
