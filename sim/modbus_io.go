package sim

import (
	"time"

	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
)

// wire writes the signals at the channels into the registers, and records the resulting value of each configured point.
func (d *modbusDevice) wire(now time.Time) {
	b, ok := d.body.(*ioBody)
	if !ok {
		return
	}
	for i := range d.profile.Channels {
		ch := &d.profile.Channels[i]
		for _, c := range b.channels {
			if c.At != ch.Name {
				continue
			}
			values, err := ch.Encode(b.signal(c), 0)
			if err != nil {
				d.site.log.Debug("signal does not fit", "device", d.spec.ID, "point", c.Point, "err", err)
				continue
			}
			d.image.SetRegisters(ch.At, values...)
			d.truth.note(c.Point, d.tapped(ch, c), now)
		}
	}
}

// tapped is what an agent makes of a channel as its registers are.
func (d *modbusDevice) tapped(ch *modbus.Channel, c Channel) catalogue.Value {
	as := catalogue.Float
	if ch.Unit == "" {
		as = catalogue.Bool
	}
	v := d.decode(&ch.Field, as, false)
	if c.Is == "level" && v.Type() == catalogue.Float {
		return catalogue.Number((v.Float() - emptyMA) / (fullMA - emptyMA) * 100)
	}
	return v
}
