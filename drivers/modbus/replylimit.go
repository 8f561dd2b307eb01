package modbus

import (
	"errors"
	"time"

	"bordo/drivers"
)

const (
	// sureSilences is how many requests must get no reply, all longer than any answered one, before their
	// length is taken as the cause.
	sureSilences = 3
	// maxSearches limits the searches of one poll for the longest reply that gets through.
	maxSearches = 3
	// limitLifetime is how long a learned limit is used: the gateway may be replaced, and random losses can
	// look like a limit.
	limitLifetime = 24 * time.Hour
)

// expireLimit discards a limit that was learned a day ago. If it still applies, the next poll finds it again.
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

// searchLimit handles a block without a reply although shorter ones get one. A gateway or radio modem can
// lose replies that exceed its buffer: it stays silent, closes the connection, damages the reply, or reports
// that the device did not answer. searchLimit finds the length that gets through, makes it the limit, and
// restarts the poll. It reports whether it found a limit.
func (p *poll) searchLimit(b block, err error) bool {
	if b.Table.Bits() || b.Count <= max(p.longestReply, 1) || !mayBeTooLong(err) || drivers.PortLost(err) ||
		p.searches == maxSearches {
		return false
	}
	// Check once whether the device is there at all; each timeout delays the other devices on the line.
	if p.txn.replyAt.IsZero() || p.longestReply == 0 {
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

// mayBeTooLong reports whether an error can be caused by a reply that was too long for something on its path.
func mayBeTooLong(err error) bool {
	var e Exception
	if errors.As(err, &e) {
		return e.Code == 4 || e.Code == 11
	}
	kind := drivers.KindOf(err)
	return isUnanswered(err) || kind == drivers.Checksum
}

// findLimit searches for the longest reply that gets through. It first tries to end at the boundary between
// two models, then a quarter of the length each time because every timeout is expensive, and finally doubles
// once. The result counts only if the registers behind it are answered too, and the longer span fails again.
// So neither a register that silences the device nor a temporary fault is taken for a limit. It returns 0 if
// it found none.
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

// continuesSearch reports whether the search can continue after an error: the reply's length may be its
// cause, and the line works.
func (p *poll) continuesSearch(err error) bool {
	return err != nil && mayBeTooLong(err) && !drivers.PortLost(err) && p.ctx().Err() == nil
}

// spanAfter returns the span behind the first part of whole, no longer than that part.
func (p *poll) spanAfter(part, whole Span) Span {
	return p.rules.toEven(Span{whole.Table, uint16(part.End()), min(part.Count, whole.End()-part.End())})
}

// withoutLastModel returns a block without its last model, or its first quarter if it has only one model.
func (p *poll) withoutLastModel(b block) Span {
	for i := len(b.items) - 1; i > 0; i-- {
		if b.items[i].header != b.items[i-1].header {
			return p.frontOf(b, b.items[i-1].valueSpan().End()-int(b.First))
		}
	}
	return p.frontOf(b, b.Count/4)
}

// frontOf returns the first part of a block, at most that many registers and ending with a complete value if
// possible.
func (p *poll) frontOf(b block, most int) Span {
	end := 0
	for _, it := range b.items {
		if here := it.valueSpan().End() - int(b.First); here <= most {
			end = max(end, here)
		}
	}
	if end == 0 {
		end = max(most, 1) // ends within a value: only the length of the reply matters
	}
	return p.rules.toEven(Span{b.Table, b.First, end})
}
