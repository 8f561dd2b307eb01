package modbus

import (
	"strings"

	"bordo/drivers"
)

// Items that are what the device says of itself; no point of the catalogue begins so.
const (
	selfMaker    = "#maker"
	selfModel    = "#model"
	selfSerial   = "#serial"
	selfFirmware = "#firmware"
)

// discover settles what this device is asked for.
func (p *poll) discover() error {
	d := p.device
	var items []*item
	if d.profile.SunSpec != nil {
		c, err := p.walk(d.profile.SunSpec)
		if err != nil {
			return err
		}
		d.chain = c
		d.rules.readable = append(d.profile.Readable, c.spans()...)
		if items, err = p.itemsOf(c, d.profile.SunSpec); err != nil {
			return err
		}
	}
	for i := range d.profile.Points {
		items = append(items, &item{Point: d.profile.Points[i]})
	}
	d.items = append(items, selfItems(d.profile.Identity)...)
	d.replan()
	d.onceOK = false
	return nil
}

// selfItems are the parts of the identity that are read from the device.
func selfItems(id Identity) []*item {
	var items []*item
	for _, part := range []struct {
		key string
		n   *Naming
	}{{selfMaker, id.Maker}, {selfModel, id.Model}, {selfSerial, id.Serial}, {selfFirmware, id.Firmware}} {
		if part.n != nil && part.n.Field != nil {
			items = append(items, selfItem(part.key, *part.n.Field))
		}
	}
	return items
}

func selfItem(key string, f Field) *item {
	return &item{Point: Point{Key: key, Is: drivers.Point{Key: key, Type: drivers.Text}, Field: f, Pace: Once}}
}

// description gives what the device says of itself when that became known or changed.
func (p *poll) description() *drivers.Description {
	d := p.device
	if d.items == nil || !d.onceOK {
		return nil
	}
	id := d.profile.Identity
	now := drivers.Description{
		Maker:    d.told(selfMaker, id.Maker),
		Model:    d.told(selfModel, id.Model),
		Serial:   d.told(selfSerial, id.Serial),
		Firmware: d.told(selfFirmware, id.Firmware),
		Points:   d.points(),
	}
	if d.said != nil && same(*d.said, now) {
		return nil
	}
	d.said = &now
	said := now
	return &said
}

// told is a part of the identity: as the device gives it, or as the profile fixes it.
func (d *device) told(key string, n *Naming) string {
	if text := d.self[key]; text != "" {
		return text
	}
	if n != nil {
		return n.Text
	}
	return ""
}

// points lists what the device can deliver, in the catalogue's order.
func (d *device) points() []string {
	var keys []string
	for _, it := range d.items {
		if _, bad := d.learnt.quarantined(it.Key); !bad && !strings.HasPrefix(it.Key, "#") {
			keys = append(keys, it.Key)
		}
	}
	sortPoints(keys)
	return keys
}

func same(a, b drivers.Description) bool {
	if a.Maker != b.Maker || a.Model != b.Model || a.Serial != b.Serial || a.Firmware != b.Firmware || len(a.Points) != len(b.Points) {
		return false
	}
	for i := range a.Points {
		if a.Points[i] != b.Points[i] {
			return false
		}
	}
	return true
}
