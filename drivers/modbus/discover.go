package modbus

import (
	"slices"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Keys of items that are not points: parts of the device's identity, its rating, and a liveness probe.
// Catalogue keys never begin with #.
const (
	selfMaker    = "#maker"
	selfModel    = "#model"
	selfSerial   = "#serial"
	selfFirmware = "#firmware"
	selfRating   = "#rating"
	selfAlive    = "#alive"
)

// discover determines which items this device has.
func (p *poll) discover() error {
	d := p.device
	s := d.profile.SunSpec
	if s == nil {
		return p.setItems(nil)
	}
	c, err := p.walk(s)
	if err != nil {
		return err
	}
	items, err := p.chainItems(c, s)
	if err != nil {
		return err
	}
	if c.cut != nil && !slices.ContainsFunc(items, func(it *item) bool { return it.role == isReading }) {
		return p.chainFault(c.cut.at, c.cut.reason) // nothing remains to be read
	}
	if d.chain != nil { // the chain has moved, so what was learned about addresses no longer holds
		d.saved = DriverState{Serial: d.saved.Serial, Firmware: d.saved.Firmware, Registers: d.saved.Registers}
	}
	if d.saved.Base = nil; c.base != s.Bases[0] {
		d.saved.Base = &c.base
	}
	d.chain, d.walkCache = c, walkCache{}
	return p.setItems(items)
}

// rebuildItems builds the items again after the request limit has changed.
func (p *poll) rebuildItems() error {
	d := p.device
	if d.chain == nil {
		return p.setItems(nil)
	}
	items, err := p.chainItems(d.chain, d.profile.SunSpec)
	d.walkCache = walkCache{}
	if err != nil {
		return err
	}
	return p.setItems(items)
}

// setItems adds the profile's items to those of the chain and stores them all.
func (p *poll) setItems(items []*item) error {
	d := p.device
	for i := range d.profile.Points {
		items = append(items, &item{Point: &d.profile.Points[i]})
	}
	items = append(items, d.channelItems...)
	for _, it := range identityItems(d.profile.Identity) {
		items = append(items, pieces(it, d.rules.Registers)...)
	}
	if f := d.profile.Guards.Rated; f != nil {
		items = append(items, ratingItem(*f))
	}
	if !slices.ContainsFunc(items, func(it *item) bool { return it.role == isReading }) && len(d.profile.Channels) > 0 {
		// No point uses the channel; it is only read to see whether the device answers.
		it := identityItem(selfAlive, d.profile.Channels[0].Field)
		it.Pace = Fast
		items = append(items, it)
	}
	markAlternatives(items)
	for _, it := range items {
		it.order = catalogue.PointOrder(it.Key)
	}
	d.items = items
	d.rules.cuts = map[*item]bool{}
	clear(d.mute)
	d.onceOK = false
	d.rebuildRules()
	return nil
}

// markAlternatives marks points that have a fallback, and the fallbacks.
func markAlternatives(items []*item) {
	for _, f := range items {
		for _, it := range items {
			if f.Fallback && it.Key == f.Key {
				it.hasAlternative = true
			}
		}
	}
}

// identityItems returns the parts of the identity that are read from the device.
func identityItems(id Identity) []*item {
	var items []*item
	for _, part := range []struct {
		key string
		n   *Naming
	}{{selfMaker, id.Maker}, {selfModel, id.Model}, {selfSerial, id.Serial}, {selfFirmware, id.Firmware}} {
		if part.n != nil && part.n.Field != nil {
			items = append(items, identityItem(part.key, *part.n.Field))
		}
	}
	return items
}

func identityItem(key string, f Field) *item {
	return &item{role: isIdentity, Point: &Point{Key: key, Is: catalogue.Point{Key: key, Type: catalogue.Text},
		Field: f, Pace: Once}}
}

func ratingItem(f Field) *item {
	return &item{role: isRating, Point: &Point{Key: selfRating,
		Is: catalogue.Point{Key: selfRating, Type: catalogue.Float}, Field: f, Pace: Once}}
}

// describe returns the device's description if it is complete and differs from the last one; otherwise nil.
func (d *device) describe() *drivers.Description {
	if d.items == nil || !d.onceOK {
		return nil
	}
	id := d.profile.Identity
	now := drivers.Description{
		Maker:    d.identityText(selfMaker, id.Maker),
		Model:    d.identityText(selfModel, id.Model),
		Serial:   d.identityText(selfSerial, id.Serial),
		Firmware: d.identityText(selfFirmware, id.Firmware),
	}
	now.Points, now.Quarantined = d.points()
	now.RatedW, now.Warning = d.guard.ratedW, d.chain.warning()
	if d.lastDescription != nil && sameDescription(*d.lastDescription, now) {
		return nil
	}
	d.lastDescription = &now
	out := now
	return &out
}

// identityText returns a part of the identity: what the device reported, or the profile's fixed text.
func (d *device) identityText(key string, n *Naming) string {
	if text := d.identity[key]; text != "" {
		return text
	}
	if n != nil {
		return n.Text
	}
	return ""
}

// points lists the points that the device delivers and those in quarantine, both in catalogue order.
func (d *device) points() (can, cannot []string) {
	for _, it := range d.items {
		if it.role != isReading {
			continue
		}
		if _, bad := d.saved.quarantined(it); bad {
			cannot = append(cannot, it.Key)
		} else {
			can = append(can, it.Key)
		}
	}
	sortPoints(can)
	sortPoints(cannot)
	can = slices.Compact(can)
	cannot = slices.DeleteFunc(slices.Compact(cannot), func(k string) bool { return slices.Contains(can, k) })
	return can, cannot
}

func sameDescription(a, b drivers.Description) bool {
	return a.Maker == b.Maker && a.Model == b.Model && a.Serial == b.Serial && a.Firmware == b.Firmware &&
		a.RatedW == b.RatedW && a.Warning == b.Warning &&
		slices.Equal(a.Points, b.Points) && slices.Equal(a.Quarantined, b.Quarantined)
}
