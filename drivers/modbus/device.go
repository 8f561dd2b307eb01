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

// slowEvery is how often points with the pace "slow" are read.
const slowEvery = time.Minute

// device is the Poller of one device.
type device struct {
	id           string
	profile      *Profile
	unit         int
	bus          *bus
	packager     goburrow.Packager
	channelItems []*item // channels that the configuration maps to points

	items     []*item          // everything that is read from this device; nil until it is known
	chain     *chain           // SunSpec devices only
	walkCache walkCache        // replies of an unfinished walk along the chain
	nextBase  int              // base addresses tried so far without a reply
	rules     rules            // limits for planning requests
	plans     map[Pace][]block // made from items and rules; nil: to be rebuilt

	saved        DriverState
	savedJSON    string        // saved, as last reported
	retryAt      time.Time     // when the next quarantined point is due for a retry; zero: none
	limitSince   time.Time     // since when this process has used the learned register limit
	longestReply int           // registers of the longest reply on this opening of the line
	triedShort   bool          // searchLimit has sent its short probe on this opening
	silentPolls  int           // consecutive polls without any reply
	refusing     bool          // the device refused every request of the last poll
	mute         map[*item]int // by first item of a block: consecutive polls in which only other blocks were answered

	opening   int           // the bus's opening at which the device was last polled
	slowAt    time.Time     // when the slow points were last read
	onceOK    bool          // the once points were read on this opening
	checked   bool          // the device's identity was checked on this opening
	checkedOn int           // the connection on which it was checked
	watch     identityWatch // when the identity must be read again

	identity        map[string]string    // identity as the device reported it, by item key
	fresh           bool                 // the description or saved state may have changed
	lastDescription *drivers.Description // as last reported
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
		dev.channelItems = append(dev.channelItems, it)
	}
	dev.rebuildRules()
	return dev, nil
}

// rebuildRules recomputes the planning rules from the profile and the saved state, and discards the plans.
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

// beginPoll begins a transaction on the port.
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
		rep.At = p.last // later requests (searching a limit, reading the identity) gave no reading
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

// countSilence updates the count of consecutive polls without a reply.
func (d *device) countSilence(p *poll, failed bool) {
	switch {
	case !p.txn.replyAt.IsZero():
		d.silentPolls = 0
	case failed:
		d.silentPolls++
	}
}

// blocksFor returns the requests of a pace: Once reads everything, Slow reads slow and fast points.
// Quarantined items are left out until their retry is due; then each is requested alone.
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

// muteLast moves blocks that recently got no reply to the end: if a timeout costs the connection, only they
// are lost.
func (d *device) muteLast(blocks []block) []block {
	if len(d.mute) == 0 {
		return blocks
	}
	sorted := slices.Clone(blocks)
	slices.SortStableFunc(sorted, func(a, b block) int { return cmp.Compare(d.mute[a.items[0]], d.mute[b.items[0]]) })
	return sorted
}

// channelItem returns the item for a channel that the configuration maps to a point.
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
		it.channelUnit = ch.Unit
	default:
		return nil, fmt.Errorf("point %s is a %v, channel %s is not", tap.Point, is.Type, tap.Channel)
	}
	return it, nil
}
