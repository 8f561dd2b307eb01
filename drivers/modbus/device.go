package modbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	goburrow "github.com/goburrow/modbus"

	"bordo/drivers"
)

const (
	// slowEvery is how often points of pace "slow" are read.
	slowEvery = time.Minute
	// maxExtra bounds the requests that a poll may spend on finding the register that makes a device refuse a block; the
	// search goes on with the next poll.
	maxExtra = 32
	// suspicious is how many polls in a row a block may stay unanswered, while others are answered, before it is taken for
	// refused.
	suspicious = 3
)

// device is one device of a profile as a Poller.
type device struct {
	id       string
	profile  *Profile
	unit     int
	bus      *bus
	packager goburrow.Packager

	items   []*item // everything this device is asked for; nil until it is known
	rules   rules
	chain   *chain // of a SunSpec device
	plans   map[Pace][]block
	learnt  Learnt
	silent  int           // polls in a row without any answer
	mute    map[*item]int // first item of a block: polls in a row in which it stayed unanswered while others did not
	slowAt  time.Time     // when the slow points were read last
	onceOK  bool          // the once points were read on this port
	self    map[string]string
	said    *drivers.Description
	checked bool // who it is was checked on this port
}

var _ drivers.Poller = (*device)(nil)

func newDevice(p *Profile, d drivers.Device, b *bus) *device {
	unit := d.Unit
	if unit == 0 && p.Unit.Range.Min > 0 {
		unit = p.Unit.Default
	}
	return &device{id: d.ID, profile: p, unit: unit, bus: b, packager: newPackager(b.line, unit), self: map[string]string{}, mute: map[*item]int{}}
}

// begin starts a turn on the port.
func (d *device) begin(ctx context.Context, port drivers.Port) (client, *turn) {
	d.bus.attach(port)
	if d.rules.readable == nil {
		d.rules = rules{Limits: d.profile.Limits, readable: d.profile.Readable, holes: d.profile.Holes, cuts: map[*item]bool{}}
	}
	d.rules.cost = costOn(d.bus, &d.profile.Manners)
	t := d.bus.newTurn(ctx, &d.profile.Manners)
	return newClient(d.packager, t), t
}

// Poll implements drivers.Poller.
func (d *device) Poll(ctx context.Context, port drivers.Port) drivers.Report {
	if d.bus.port != port {
		d.onceOK, d.checked = false, false
	}
	c, t := d.begin(ctx, port)
	defer t.end()
	p := &poll{device: d, client: c, now: time.Now()}
	rep := drivers.Report{Device: d.id}
	rep.Err = p.run()
	rep.Readings, rep.At = p.readings, t.at
	slices.SortStableFunc(rep.Readings, func(a, b drivers.Reading) int {
		return cmp.Compare(drivers.PointOrder(a.Point), drivers.PointOrder(b.Point))
	})
	if rep.At.IsZero() {
		rep.At = time.Now()
	}
	if t.at.IsZero() && ctx.Err() == nil && rep.Err != nil {
		d.silent++
	} else if !t.at.IsZero() {
		d.silent = 0
	}
	rep.Description = p.description()
	return rep
}

// poll is the state of one Poll.
type poll struct {
	*device
	client
	now      time.Time
	readings []drivers.Reading
	errs     []error
	extra    int // requests spent on looking for a culprit
	stop     bool
	onceBad  bool
}

// run asks for everything that is due and returns what went wrong, joined.
func (p *poll) run() error {
	if p.items == nil || p.chain != nil && p.chain.moved {
		if err := p.discover(); err != nil {
			return err
		}
	}
	pace := Fast
	switch {
	case !p.onceOK:
		pace = Once
	case p.now.Sub(p.slowAt) >= slowEvery:
		pace = Slow
	}
	blocks := p.planned(pace)
	if p.silent > 0 {
		if !p.probe(blocks) {
			return errors.Join(p.errs...)
		}
	}
	for _, b := range p.trusted(blocks) {
		p.fetch(b)
		if p.stop {
			break
		}
	}
	if !p.stop {
		if pace != Fast {
			p.slowAt = p.now
		}
		p.onceOK = p.onceOK || pace == Once && !p.onceBad
	}
	return errors.Join(p.errs...)
}

// planned gives the blocks of everything that a pace reads: once reads all, slow what is slow and fast.
func (d *device) planned(pace Pace) []block {
	if b, ok := d.plans[pace]; ok {
		return b
	}
	var due []*item
	for _, it := range d.items {
		if _, bad := d.learnt.quarantined(it.Key); bad && !d.learnt.retryDue(it.Key, time.Now()) {
			continue
		}
		if pace == Once || it.Pace == Fast || it.Pace == pace {
			due = append(due, it)
		}
	}
	b := plan(due, d.rules)
	if d.plans == nil {
		d.plans = map[Pace][]block{}
	}
	d.plans[pace] = b
	return b
}

// trusted puts the blocks that did not answer lately last, so that on a line where silence ends the poll they cost only
// themselves.
func (d *device) trusted(blocks []block) []block {
	if len(d.mute) == 0 {
		return blocks
	}
	sorted := slices.Clone(blocks)
	slices.SortStableFunc(sorted, func(a, b block) int { return cmp.Compare(d.mute[a.items[0]], d.mute[b.items[0]]) })
	return sorted
}

// probe asks a device that did not answer for as little as possible.
func (p *poll) probe(blocks []block) bool {
	if len(blocks) == 0 {
		return true
	}
	first := p.trusted(blocks)[0].items[0]
	_, err := p.read(p.rules.rounded(first.Span()))
	if err == nil || refuses(err) {
		return true
	}
	p.errs = append(p.errs, err)
	return false
}

// fetch reads a block and whatever it must be split into. It tells whether the device gave all of it.
func (p *poll) fetch(b block) bool {
	a, err := p.read(b.Span)
	switch {
	case err == nil:
		delete(p.mute, b.items[0])
		return p.take(b, a)
	case refuses(err):
		return p.narrow(b, err)
	case p.ctx().Err() != nil, drivers.Lost(err) && drivers.KindOf(err) != drivers.Timeout:
		p.stop = true
	case drivers.KindOf(err) == drivers.Timeout:
		return p.unanswered(b, err)
	case drivers.KindOf(err) == drivers.Later:
		p.later(err)
	}
	p.errs = append(p.errs, err)
	p.onceBad = true
	return false
}

func (p *poll) ctx() context.Context { return p.turn.ctx }

// later handles "not now". A gateway that cannot reach the device, or a device that is busy, is not asked for more.
func (p *poll) later(err error) {
	var e Exception
	if errors.As(err, &e) && e.Code != 4 && e.Code != 5 {
		p.stop = true
	}
}

// unanswered handles silence: the device is away, unless it answered something else in this poll. A block that alone
// stays unanswered time after time is taken for refused.
func (p *poll) unanswered(b block, err error) bool {
	p.errs = append(p.errs, err)
	p.onceBad = true
	if p.turn.at.IsZero() {
		p.stop = true
		return false
	}
	p.mute[b.items[0]]++
	if drivers.Lost(err) {
		p.stop = true
	}
	if p.mute[b.items[0]] >= suspicious {
		delete(p.mute, b.items[0])
		if p.stop {
			p.split(b) // the halves are asked with the next poll
			return false
		}
		p.errs = p.errs[:len(p.errs)-1]
		return p.narrow(b, err)
	}
	return false
}

// take decodes an answer.
func (p *poll) take(b block, a Answer) bool {
	if h := b.items[0].head; h != nil && !h.holds(a) {
		p.chain.moved = true
		p.stop = true
		p.errs = append(p.errs, &drivers.Error{Op: fmt.Sprintf("read %v", b.Span), Kind: drivers.Protocol, Err: errors.New("the SunSpec models have moved")})
		return false
	}
	for _, it := range b.items {
		if it.Key[0] == '#' {
			v, _ := it.Decode(a, drivers.Text)
			p.self[it.Key] = v.Text()
			continue
		}
		p.readings = append(p.readings, it.decode(a))
	}
	return true
}
