package modbus

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// muteLimit is how many polls in a row a block may stay unanswered, while others are answered, before it is taken for
// refused.
const muteLimit = 3

// maxSpread is how far apart the values of a poll may be read once answers got lost in it: they are published with one
// time. A slow line that loses nothing may take longer.
const maxSpread = 5 * time.Second

// poll is the state of one Poll or Do.
type poll struct {
	*device
	client
	now           time.Time
	readings      []orderedReading
	events        []drivers.Event
	factors       map[Address]uint16 // scale factors that lie too far from their values
	deferred      []deferred         // values that wait for them
	refusals      []refusal
	texts         map[*Field][]byte // texts that come in pieces, as far as they came
	answered      int               // blocks that were answered
	first         time.Time         // when the first of the readings came
	last          time.Time         // when the last of them came
	lostReply     bool              // a block was not answered
	restart       bool              // the items were placed anew: the poll begins once more
	searches      int               // for the size of an answer that gets through
	errs          []error
	splitRequests int  // requests spent on looking for a culprit
	stop          bool // nothing more is asked in this poll
	incomplete    bool // something that is read only once is still missing

	reported       map[string]string // what the device said of itself in this poll
	identified     bool              // that was read, and believed
	identityUnsure bool              // it was read, and cannot be believed yet
}

// deferred is a value whose scale factor comes in another answer of the poll.
type deferred struct {
	item   *item
	answer Answer
}

func (p *poll) ctx() context.Context { return p.txn.ctx }

// run asks for everything that is due and returns what went wrong, joined.
func (p *poll) run() error {
	if err := p.ensureDiscovered(); err != nil {
		return err
	}
	pace := Fast
	switch {
	case !p.onceOK:
		pace = Once
	case p.now.Sub(p.slowAt) >= slowEvery:
		pace = Slow
	}
	blocks := p.blocksFor(pace, p.now)
	if (p.silentPolls > 0 || p.refusing) && !p.probe(blocks) {
		return errors.Join(p.errs...)
	}
	for p.restart = true; p.restart; blocks = p.blocksFor(pace, p.now) {
		p.restart = false
		for _, b := range p.muteLast(blocks) {
			if p.fetch(b); p.stop || p.restart {
				break
			}
		}
	}
	p.recheckCut()
	p.quarantineRefused()
	for _, d := range p.deferred {
		if it := d.item.withFactor(p.factors); it != nil {
			p.addReading(it, it.decode(d.answer))
		}
	}
	if !p.stop && pace != Fast {
		p.slowAt = p.now
	}
	switch {
	case p.stop:
	case pace != Once:
		p.checkIdentity()
	case !p.incomplete && p.compareIdentity():
		p.onceOK, p.fresh = true, true
	}
	return errors.Join(p.errs...)
}

// ensureDiscovered makes sure that it is known what the device is asked for.
func (p *poll) ensureDiscovered() error {
	if p.items != nil && (p.chain == nil || !p.chain.moved) {
		return nil
	}
	return p.discover()
}

// probe asks a device that did not answer, or refused everything, for as little as possible, and tells whether it is there.
func (p *poll) probe(blocks []block) bool {
	if len(blocks) == 0 {
		return true
	}
	_, err := p.read(p.rules.toEven(smallestValue(p.muteLast(blocks))))
	if err == nil || isRefusal(err) && !p.refusing {
		return true
	}
	p.errs = append(p.errs, err)
	return false
}

// smallestValue is the span of the shortest value that is asked for, without the head of its model.
func smallestValue(blocks []block) Span {
	least := blocks[0].items[0].valueSpan()
	for _, b := range blocks {
		for _, it := range b.items {
			if s := it.valueSpan(); s.Count < least.Count {
				least = s
			}
		}
	}
	return least
}

// read asks for a span and notes how long an answer was that got through.
func (p *poll) read(s Span) (Answer, error) {
	a, err := p.client.read(s)
	if err == nil && !s.Table.Bits() {
		p.longestReply = max(p.longestReply, s.Count)
	}
	return a, err
}

// isTooSpread tells whether waiting for lost answers made the poll so long that nothing more belongs to what it has read.
// The blocks that were not answered come last in the next one, so that the others get their turn.
func (p *poll) isTooSpread() bool {
	return p.lostReply && !p.first.IsZero() && time.Since(p.first) >= maxSpread
}

// fetch reads a block and whatever it must be split into. It tells whether the device gave all of it.
func (p *poll) fetch(b block) bool {
	if p.isTooSpread() {
		p.incomplete, p.stop = true, true
		return false
	}
	if p.txn.requests > 0 {
		drivers.Yield(p.ctx())
	}
	a, err := p.read(b.Span)
	var e Exception
	p.lostReply = p.lostReply || err != nil && !errors.As(err, &e)
	switch {
	case err == nil:
		delete(p.mute, b.items[0])
		return p.decodeBlock(b, a)
	case isRefusal(err):
		delete(p.mute, b.items[0])
		return p.narrowDown(b, err)
	case p.ctx().Err() != nil:
		p.stop = true
	case p.searchLimit(b, err):
		return false
	case isUnanswered(err):
		return p.handleTimeout(b, err)
	case drivers.KindOf(err) == drivers.Busy:
		p.handleBusy(err)
	}
	return p.noteError(err)
}

// noteError notes an error that says nothing about the registers.
func (p *poll) noteError(err error) bool {
	p.errs = append(p.errs, err)
	p.incomplete = true
	p.stop = p.stop || drivers.PortLost(err) || p.bus.line.Stream && drivers.KindOf(err) == drivers.Protocol
	return false
}

// handleBusy handles "not now". A gateway that cannot reach the device, or a device that is busy, is not asked for more.
func (p *poll) handleBusy(err error) {
	var e Exception
	if errors.As(err, &e) && e.Code != 4 && e.Code != 5 {
		p.stop = true
	}
}

// handleTimeout handles silence: the device is away, unless it answered something else in this poll. A block that alone stays
// unanswered poll after poll is taken for refused and halved. That goes on with the next poll, because each silent half
// costs a time-out that the neighbours on the line must wait for.
func (p *poll) handleTimeout(b block, err error) bool {
	p.noteError(err)
	if p.txn.replyAt.IsZero() {
		p.stop = true
		return false
	}
	first := b.items[0]
	p.mute[first]++
	switch searching := len(p.rules.cuts) > 0; {
	case len(b.items) == 1 && p.mute[first] >= muteLimit:
		delete(p.mute, first)
		clear(p.rules.cuts)
		p.noteRefusal(first, err)
	case len(b.items) > 1 && (searching || p.mute[first] >= muteLimit):
		delete(p.mute, first)
		p.split(b)
	}
	return false
}

// decodeBlock decodes an answer.
func (p *poll) decodeBlock(b block, a Answer) bool {
	for _, it := range b.items {
		if it.header != nil && !it.header.isIn(a) {
			p.chain.moved = true
			p.stop = true
			return p.noteError(&drivers.Error{Op: fmt.Sprintf("read %v", b.Span), Kind: drivers.Protocol, Err: errors.New("the SunSpec models have moved")})
		}
	}
	p.answered++
	for _, it := range b.items {
		if p.saved.release(it) {
			p.rebuildRules()
		}
		switch it.role {
		case isReading:
			if p.last = p.txn.replyAt; p.first.IsZero() {
				p.first = p.last
			}
			if it.factorApart {
				p.deferred = append(p.deferred, deferred{it, a.part(it.valueSpan())})
				continue
			}
			p.addReading(it, it.decode(a))
		case isIdentity:
			p.decodeIdentity(it, a)
		case isFactor:
			if p.factors == nil {
				p.factors = map[Address]uint16{}
			}
			p.factors[it.At] = binary.BigEndian.Uint16(a.register(it.At.Number, 1))
		case isRating:
			if v, q := it.Decode(a, catalogue.Float); q == drivers.Good && p.guard.setRating(v.Float()) {
				p.fresh = true
			}
		}
	}
	return true
}

// addReading adds a reading. Of a point and its fallback only one counts: the point itself where it has a value.
func (p *poll) addReading(it *item, rd drivers.Reading) {
	i := -1
	if it.hasAlternative {
		i = slices.IndexFunc(p.readings, func(g orderedReading) bool { return g.Point == rd.Point })
	}
	switch {
	case i < 0:
		p.readings = append(p.readings, orderedReading{rd, it.order})
	case rd.Quality == drivers.Good && (!it.Fallback || p.readings[i].Quality != drivers.Good):
		p.readings[i].Reading = rd
	}
}

// orderedReading is a reading and its place in a report.
type orderedReading struct {
	drivers.Reading
	order int
}

// sortedReadings gives the readings in the catalogue's order.
func (p *poll) sortedReadings() []drivers.Reading {
	slices.SortFunc(p.readings, func(a, b orderedReading) int { return cmp.Compare(a.order, b.order) })
	out := make([]drivers.Reading, len(p.readings))
	for i, g := range p.readings {
		out[i] = g.Reading
	}
	p.bus.readingBuf = p.readings
	return out
}
