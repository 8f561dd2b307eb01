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

// muteLimit is how many consecutive polls a block may get no reply, while others do, before it is treated as
// refused.
const muteLimit = 3

// maxSpread is the longest time between the first and the last value of a poll in which replies were lost,
// because all values are published with one timestamp. A slow line without losses may take longer.
const maxSpread = 5 * time.Second

// poll is the state of one Poll or Do.
type poll struct {
	*device
	client
	now           time.Time
	readings      []orderedReading
	events        []drivers.Event
	factors       map[Address]uint16 // scale factors that are read separately from their values
	deferred      []deferred         // values that wait for their scale factor
	refusals      []refusal
	texts         map[*Field][]byte // the parts of long texts received so far
	answered      int               // number of blocks answered
	first         time.Time         // when the first reading arrived
	last          time.Time         // when the last reading arrived
	lostReply     bool              // a block got no reply
	restart       bool              // the items were rebuilt: start the poll again
	searches      int               // searches for the longest reply that gets through
	errs          []error
	splitRequests int  // requests spent on locating a refused register
	stop          bool // send no more requests in this poll
	incomplete    bool // a value that is read only once is still missing

	reported       map[string]string // identity reported by the device in this poll
	identified     bool              // the identity was read and accepted
	identityUnsure bool              // the identity was read but not yet accepted
}

// deferred is a value whose scale factor arrives in another reply of the poll.
type deferred struct {
	item   *item
	answer Answer
}

func (p *poll) ctx() context.Context { return p.txn.ctx }

// run reads everything that is due and returns all errors, joined.
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

// ensureDiscovered determines the device's items unless they are known and its chain has not moved.
func (p *poll) ensureDiscovered() error {
	if p.items != nil && (p.chain == nil || !p.chain.moved) {
		return nil
	}
	return p.discover()
}

// probe sends the smallest possible request to a device that did not answer, or refused everything, in the
// last poll. It reports whether the device is ready.
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

// smallestValue returns the span of the shortest value in the blocks, without its model's header.
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

// read reads a span and stores the length of the longest reply so far.
func (p *poll) read(s Span) (Answer, error) {
	a, err := p.client.read(s)
	if err == nil && !s.Table.Bits() {
		p.longestReply = max(p.longestReply, s.Count)
	}
	return a, err
}

// isTooSpread reports whether waiting for lost replies took so long that further values would not belong with
// those already read. Blocks without a reply come last in the next poll, so that the others are read.
func (p *poll) isTooSpread() bool {
	return p.lostReply && !p.first.IsZero() && time.Since(p.first) >= maxSpread
}

// fetch reads a block, split into smaller ones if necessary. It reports whether the device delivered all of
// it.
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

// noteError adds an error that does not concern the registers of the request.
func (p *poll) noteError(err error) bool {
	p.errs = append(p.errs, err)
	p.incomplete = true
	p.stop = p.stop || drivers.PortLost(err) || p.bus.line.Stream && drivers.KindOf(err) == drivers.Protocol
	return false
}

// handleBusy handles a "not now". It ends the poll unless the device itself reports a failure or a pending
// request (exceptions 4 and 5): a busy device, or a gateway that cannot reach it, gets no more requests.
func (p *poll) handleBusy(err error) {
	var e Exception
	if errors.As(err, &e) && e.Code != 4 && e.Code != 5 {
		p.stop = true
	}
}

// handleTimeout handles a missing reply. If nothing else was answered in this poll, the device is away and
// the poll ends. A block that alone stays unanswered for muteLimit polls is treated as refused and halved.
// The search continues in the next poll, because each timeout delays the other devices on the line.
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

// decodeBlock decodes a reply.
func (p *poll) decodeBlock(b block, a Answer) bool {
	for _, it := range b.items {
		if it.header != nil && !it.header.isIn(a) {
			p.chain.moved = true
			p.stop = true
			return p.noteError(&drivers.Error{Op: fmt.Sprintf("read %v", b.Span), Kind: drivers.Protocol,
				Err: errors.New("the SunSpec models have moved")})
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

// addReading adds a reading. If a point has a fallback, the fallback counts only if the point itself has no
// value.
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

// orderedReading is a reading with its position in the report.
type orderedReading struct {
	drivers.Reading
	order int
}

// sortedReadings returns the readings in catalogue order.
func (p *poll) sortedReadings() []drivers.Reading {
	slices.SortFunc(p.readings, func(a, b orderedReading) int { return cmp.Compare(a.order, b.order) })
	out := make([]drivers.Reading, len(p.readings))
	for i, g := range p.readings {
		out[i] = g.Reading
	}
	p.bus.readingBuf = p.readings
	return out
}
