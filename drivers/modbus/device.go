package modbus

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	goburrow "github.com/goburrow/modbus"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// slowEvery is how often points of pace "slow" are read.
const slowEvery = time.Minute

// device is one device of a profile as a Poller.
type device struct {
	id       string
	profile  *Profile
	unit     int
	bus      *bus
	packager goburrow.Packager
	taps     []*item // what the configuration hangs on channels

	items     []*item          // everything that this device is asked for; nil until it is known
	chain     *chain           // of a SunSpec device
	walkCache walkCache        // of a walk along it that was not finished
	nextBase  int              // how many bases were asked without any answer
	rules     rules            // what a plan must keep to
	plans     map[Pace][]block // made from items and rules; nil: to be made again

	saved        DriverState
	savedJSON    string        // learnt as it was last reported
	retryAt      time.Time     // when the next quarantined point may be tried again
	limitSince   time.Time     // since when the learnt limit of registers holds in this run
	longestReply int           // registers of the longest answer that came on this opening of the line
	triedShort   bool          // a short question was asked after a long one that was not answered, on this opening
	silentPolls  int           // polls in a row without any answer
	refusing     bool          // it refused everything in the last poll
	mute         map[*item]int // by first item of a block: polls in a row in which only others were answered

	opening   int           // of the line, at which the device was last asked
	slowAt    time.Time     // when the slow points were read last
	onceOK    bool          // the once points were read on this port
	checked   bool          // who the device is was checked on this port
	checkedOn int           // the connection on which it was
	watch     identityWatch // when who the device is has to be read again

	identity        map[string]string    // what it says of itself
	fresh           bool                 // something about the device may have changed
	lastDescription *drivers.Description // as it was last reported
	guard           guard
}

var _ drivers.Poller = (*device)(nil)

func newDevice(p *Profile, d drivers.Device, b *bus) (*device, error) {
	unit := d.Unit
	if unit == 0 && p.Unit.Range.Min > 0 {
		unit = p.Unit.Default
	}
	dev := &device{
		id: d.ID, profile: p, unit: unit, bus: b, packager: newPackager(b.line, unit),
		identity: map[string]string{}, mute: map[*item]int{},
		guard: guard{rules: p.Guards, ratedW: p.Guards.RatedW, inverter: p.Kind == catalogue.Inverter},
	}
	if d.RatedW > 0 {
		dev.guard.ratedW, dev.guard.ratingFixed = d.RatedW, true
	}
	dev.saved = parseDriverState(d.DriverState)
	dev.savedJSON = string(dev.saved.json())
	dev.rules.cuts = map[*item]bool{}
	for _, tap := range d.ChannelMaps {
		it, err := channelItem(p, tap)
		if err != nil {
			return nil, err
		}
		dev.taps = append(dev.taps, it)
	}
	dev.rebuildRules()
	return dev, nil
}

// rebuildRules makes the rules from the profile and from what was learnt.
func (d *device) rebuildRules() {
	p := d.profile
	d.rules.Limits = p.Limits
	if n := d.saved.Registers; n > 0 && n < p.Limits.Registers {
		d.rules.Registers = n
	}
	if n := d.saved.Bits; n > 0 && n < p.Limits.Bits {
		d.rules.Bits = n
	}
	d.rules.readable = slices.Clone(p.Readable)
	if d.chain != nil {
		d.rules.readable = append(d.rules.readable, d.chain.spans()...)
	}
	d.rules.holes = append(slices.Clone(p.Holes), d.saved.unreadable()...)
	d.rules.cost = costOn(d.bus, &p.Timing)
	d.plans, d.fresh = nil, true
}

// beginPoll starts a turn on the port.
func (d *device) beginPoll(ctx context.Context, port drivers.Port) *poll {
	if d.bus.attach(port); d.opening != d.bus.opening {
		d.opening, d.onceOK, d.checked, d.longestReply, d.triedShort = d.bus.opening, false, false, 0, false
	}
	t := d.bus.newTransaction(ctx, &d.profile.Timing)
	return &poll{device: d, client: newClient(d.packager, t), now: time.Now(), readings: d.bus.readingBuf[:0]}
}

// Poll implements drivers.Poller.
func (d *device) Poll(ctx context.Context, port drivers.Port) drivers.Report {
	p := d.beginPoll(ctx, port)
	defer p.txn.end()
	d.expireLimit(p.now)
	rep := drivers.Report{Device: d.id}
	rep.Err = p.run()
	rep.Identified = p.identified || d.watch.hasNoIdentity(d)
	switch rep.At = p.txn.replyAt; {
	case !p.last.IsZero():
		rep.At = p.last // what was asked later, in search of a limit or of who the device is, gave no value
	case rep.At.IsZero():
		rep.At = time.Now()
	}
	d.countSilence(p, rep.Err != nil && ctx.Err() == nil)
	rep.Readings, rep.Events = d.guard.check(p.sortedReadings(), rep.At)
	if p.identityUnsure {
		for i := range rep.Readings {
			if rep.Readings[i].Quality == drivers.Good {
				rep.Readings[i].Quality = drivers.Uncertain
			}
		}
	}
	d.watch.notePoll(p, rep.Events)
	rep.Events = append(p.events, rep.Events...)
	if d.fresh {
		d.fresh = false
		rep.Description = d.describe()
		if now := string(d.saved.json()); now != d.savedJSON {
			d.savedJSON = now
			rep.DriverState = []byte(now)
		}
	}
	return rep
}

// countSilence notes whether the device answered at all.
func (d *device) countSilence(p *poll, failed bool) {
	switch {
	case !p.txn.replyAt.IsZero():
		d.silentPolls = 0
	case failed:
		d.silentPolls++
	}
}

// blocksFor gives the blocks of everything that a pace reads: once reads all, slow what is slow and fast. What is in
// quarantine is left out; when its time has come it is asked for alone.
func (d *device) blocksFor(pace Pace, now time.Time) []block {
	if !d.retryAt.IsZero() && !now.Before(d.retryAt) {
		d.plans = nil
	}
	if b, ok := d.plans[pace]; ok {
		return b
	}
	var due []*item
	var again []block
	d.retryAt = time.Time{}
	for _, it := range d.items {
		if pace != Once && it.Pace != Fast && it.Pace != pace {
			continue
		}
		q, bad := d.saved.quarantined(it)
		switch {
		case !bad:
			due = append(due, it)
		case !now.Before(q.Retry):
			again = append(again, d.rules.blockOf([]*item{it}))
		case d.retryAt.IsZero() || q.Retry.Before(d.retryAt):
			d.retryAt = q.Retry
		}
	}
	b := append(plan(due, d.rules), again...)
	if d.plans == nil {
		d.plans = map[Pace][]block{}
	}
	d.plans[pace] = b
	return b
}

// muteLast puts the blocks that did not answer lately last: where silence costs the connection, they cost only themselves.
func (d *device) muteLast(blocks []block) []block {
	if len(d.mute) == 0 {
		return blocks
	}
	sorted := slices.Clone(blocks)
	slices.SortStableFunc(sorted, func(a, b block) int { return cmp.Compare(d.mute[a.items[0]], d.mute[b.items[0]]) })
	return sorted
}

// channelItem makes an item of a channel and what the configuration hangs on it.
func channelItem(p *Profile, tap drivers.ChannelMap) (*item, error) {
	i := slices.IndexFunc(p.Channels, func(c Channel) bool { return c.Name == tap.Channel })
	if i < 0 {
		return nil, fmt.Errorf("point %s: %s has no channel %q", tap.Point, p.Title, tap.Channel)
	}
	is, ok := catalogue.PointOf(tap.Point)
	if !ok {
		return nil, fmt.Errorf("point %q is not in the catalogue", tap.Point)
	}
	ch := p.Channels[i]
	it := &item{Point: &Point{Key: tap.Point, Is: is, Field: ch.Field, Pace: Fast}}
	switch {
	case ch.Type == Bool && is.Type == catalogue.Bool:
		it.Invert = ch.Invert != tap.Invert
	case ch.Type != Bool && is.Type == catalogue.Float:
		if tap.From != tap.To {
			it.channelMap = &tap
		}
		it.unit = ch.Unit
	default:
		return nil, fmt.Errorf("point %s is a %v, channel %s is not", tap.Point, is.Type, tap.Channel)
	}
	return it, nil
}
