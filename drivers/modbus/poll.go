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

// suspicious is how many polls in a row a block may stay unanswered, while others are answered, before it is taken for
// refused.
const suspicious = 3

// maxSpread is how far apart the values of a poll may be read once answers got lost in it: they are published with one
// time. A slow line that loses nothing may take longer.
const maxSpread = 5 * time.Second

// poll is the state of one Poll or Do.
type poll struct {
	*device
	client
	now      time.Time
	readings []given
	events   []drivers.Event
	factors  map[Address]uint16 // scale factors that lie too far from their values
	deferred []deferred         // values that wait for them
	accused  []refusal
	texts    map[*Field][]byte // texts that come in pieces, as far as they came
	taken    int               // blocks that were answered
	first    time.Time         // when the first of the readings came
	last     time.Time         // when the last of them came
	lost     bool              // a block was not answered
	again    bool              // the items were placed anew: the poll begins once more
	searches int               // for the size of an answer that gets through
	errs     []error
	extra    int  // requests spent on looking for a culprit
	stop     bool // nothing more is asked in this poll
	missed   bool // something that is read only once is still missing

	said       map[string]string // what the device said of itself in this poll
	identified bool              // that was read, and believed
	unsure     bool              // it was read, and cannot be believed yet
}

// deferred is a value whose scale factor comes in another answer of the poll.
type deferred struct {
	item   *item
	answer Answer
}

func (p *poll) ctx() context.Context { return p.turn.ctx }

// run asks for everything that is due and returns what went wrong, joined.
func (p *poll) run() error {
	if err := p.known(); err != nil {
		return err
	}
	pace := Fast
	switch {
	case !p.onceOK:
		pace = Once
	case p.now.Sub(p.slowAt) >= slowEvery:
		pace = Slow
	}
	blocks := p.planned(pace, p.now)
	if (p.silent > 0 || p.refusing) && !p.probe(blocks) {
		return errors.Join(p.errs...)
	}
	for p.again = true; p.again; blocks = p.planned(pace, p.now) {
		p.again = false
		for _, b := range p.trusted(blocks) {
			if p.fetch(b); p.stop || p.again {
				break
			}
		}
	}
	p.lookBehindCut()
	p.quarantineRefused()
	for _, d := range p.deferred {
		if it := d.item.withFactor(p.factors); it != nil {
			p.give(it, it.decode(d.answer))
		}
	}
	if !p.stop && pace != Fast {
		p.slowAt = p.now
	}
	switch {
	case p.stop:
	case pace != Once:
		p.identify()
	case !p.missed && p.recognise():
		p.onceOK, p.fresh = true, true
	}
	return errors.Join(p.errs...)
}

// known makes sure that it is known what the device is asked for.
func (p *poll) known() error {
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
	_, err := p.read(p.rules.rounded(smallest(p.trusted(blocks))))
	if err == nil || refuses(err) && !p.refusing {
		return true
	}
	p.errs = append(p.errs, err)
	return false
}

// smallest is the span of the shortest value that is asked for, without the head of its model.
func smallest(blocks []block) Span {
	least := blocks[0].items[0].place()
	for _, b := range blocks {
		for _, it := range b.items {
			if s := it.place(); s.Count < least.Count {
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
		p.proved = max(p.proved, s.Count)
	}
	return a, err
}

// drawnOut tells whether waiting for lost answers made the poll so long that nothing more belongs to what it has read.
// The blocks that were not answered come last in the next one, so that the others get their turn.
func (p *poll) drawnOut() bool {
	return p.lost && !p.first.IsZero() && time.Since(p.first) >= maxSpread
}

// fetch reads a block and whatever it must be split into. It tells whether the device gave all of it.
func (p *poll) fetch(b block) bool {
	if p.drawnOut() {
		p.missed, p.stop = true, true
		return false
	}
	if p.turn.asked > 0 {
		drivers.Yield(p.ctx())
	}
	a, err := p.read(b.Span)
	var e Exception
	p.lost = p.lost || err != nil && !errors.As(err, &e)
	switch {
	case err == nil:
		delete(p.mute, b.items[0])
		return p.take(b, a)
	case refuses(err):
		delete(p.mute, b.items[0])
		return p.narrow(b, err)
	case p.ctx().Err() != nil:
		p.stop = true
	case p.tooLong(b, err):
		return false
	case unanswered(err):
		return p.unanswered(b, err)
	case drivers.KindOf(err) == drivers.Busy:
		p.later(err)
	}
	return p.failed(err)
}

// failed notes an error that says nothing about the registers.
func (p *poll) failed(err error) bool {
	p.errs = append(p.errs, err)
	p.missed = true
	p.stop = p.stop || drivers.PortLost(err) || p.bus.line.Stream && drivers.KindOf(err) == drivers.Protocol
	return false
}

// later handles "not now". A gateway that cannot reach the device, or a device that is busy, is not asked for more.
func (p *poll) later(err error) {
	var e Exception
	if errors.As(err, &e) && e.Code != 4 && e.Code != 5 {
		p.stop = true
	}
}

// unanswered handles silence: the device is away, unless it answered something else in this poll. A block that alone stays
// unanswered poll after poll is taken for refused and halved. That goes on with the next poll, because each silent half
// costs a time-out that the neighbours on the line must wait for.
func (p *poll) unanswered(b block, err error) bool {
	p.failed(err)
	if p.turn.at.IsZero() {
		p.stop = true
		return false
	}
	first := b.items[0]
	p.mute[first]++
	switch searching := len(p.rules.cuts) > 0; {
	case len(b.items) == 1 && p.mute[first] >= suspicious:
		delete(p.mute, first)
		clear(p.rules.cuts)
		p.quarantine(first, err)
	case len(b.items) > 1 && (searching || p.mute[first] >= suspicious):
		delete(p.mute, first)
		p.split(b)
	}
	return false
}

// take decodes an answer.
func (p *poll) take(b block, a Answer) bool {
	for _, it := range b.items {
		if it.head != nil && !it.head.holds(a) {
			p.chain.moved = true
			p.stop = true
			return p.failed(&drivers.Error{Op: fmt.Sprintf("read %v", b.Span), Kind: drivers.Protocol, Err: errors.New("the SunSpec models have moved")})
		}
	}
	p.taken++
	for _, it := range b.items {
		if p.saved.release(it) {
			p.apply()
		}
		switch it.role {
		case isReading:
			if p.last = p.turn.at; p.first.IsZero() {
				p.first = p.last
			}
			if it.apart {
				p.deferred = append(p.deferred, deferred{it, a.part(it.place())})
				continue
			}
			p.give(it, it.decode(a))
		case isSelf:
			p.tell(it, a)
		case isFactor:
			if p.factors == nil {
				p.factors = map[Address]uint16{}
			}
			p.factors[it.At] = binary.BigEndian.Uint16(a.register(it.At.Number, 1))
		case isRating:
			if v, q := it.Decode(a, catalogue.Float); q == drivers.Good && p.guard.rate(v.Float()) {
				p.fresh = true
			}
		}
	}
	return true
}

// give adds a reading. Of a point and its fallback only one counts: the point itself where it has a value.
func (p *poll) give(it *item, rd drivers.Reading) {
	i := -1
	if it.twice {
		i = slices.IndexFunc(p.readings, func(g given) bool { return g.Point == rd.Point })
	}
	switch {
	case i < 0:
		p.readings = append(p.readings, given{rd, it.order})
	case rd.Quality == drivers.Good && (!it.Fallback || p.readings[i].Quality != drivers.Good):
		p.readings[i].Reading = rd
	}
}

// given is a reading and its place in a report.
type given struct {
	drivers.Reading
	order int
}

// ordered gives the readings in the catalogue's order.
func (p *poll) ordered() []drivers.Reading {
	slices.SortFunc(p.readings, func(a, b given) int { return cmp.Compare(a.order, b.order) })
	out := make([]drivers.Reading, len(p.readings))
	for i, g := range p.readings {
		out[i] = g.Reading
	}
	p.bus.given = p.readings
	return out
}
