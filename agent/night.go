package agent

import (
	"slices"
	"time"

	sunrise "github.com/nathan-osman/go-sunrise"

	"bordo/agent/config"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/line"
)

// Elevations of the sun in degrees below which an inverter may sleep: below dusk in the evening, below dawn in the
// morning. Inverters start at 0° to 3°. Up to dawn the agent allows for hills on the horizon, for clouds and for its
// own back-off. At 45° north, dawn is 65 to 80 minutes after sunrise. Where the sun never rises so high, an inverter
// may sleep all day.
const (
	dusk = 5
	dawn = 10
)

// isNight reports whether an inverter at the site may sleep at a time. It is always false where the site has no
// coordinates.
func isNight(site config.Site, at time.Time) bool {
	if !site.Located {
		return false
	}
	now, soon := elevation(site, at), elevation(site, at.Add(10*time.Minute))
	return now < dusk || now < dawn && soon > now
}

func elevation(site config.Site, at time.Time) float64 {
	return sunrise.Elevation(site.Lat, site.Lon, at.UTC())
}

// silences are the conditions that night excuses.
func silences() []string {
	return []string{contract.LineDown, contract.DeviceSilent, contract.DevicePartial, contract.DeviceBusy}
}

// mayRest reports whether a device that answers nothing, or not everything, is only asleep: its model sleeps, it is
// night, and the device did not already fail by day.
func (d *deviceHealth) mayRest(dev string, at time.Time) bool {
	return d.devices.sleeper(dev) && isNight(d.site, at) && !d.failedByDay(dev)
}

// failedByDay reports whether a device has not answered since the sun was up, which night does not excuse. In the
// evening, between dawn's elevation and dusk's, this is undecidable, so such a fault ends at dusk.
func (d *deviceHealth) failedByDay(dev string) bool {
	return slices.ContainsFunc(d.conditions.List(), func(h contract.Health) bool {
		return h.Dev == dev && h.OKSince == 0 && (h.Code == contract.LineDown || h.Code == contract.DeviceSilent) &&
			elevation(d.site, time.UnixMilli(h.Since)) >= dawn
	})
}

// rest notes whether a device sleeps, and returns that. A device that sleeps has no fault.
func (d *deviceHealth) rest(dev string, asleep bool) bool {
	changed, publish := d.devices.sleeping(dev, asleep)
	if changed {
		d.log.Info("device asleep", "device", dev, "asleep", asleep)
	}
	if publish {
		d.publishStatus()
	}
	return asleep
}

// lineRests reports whether a device sleeps behind a port that does not open. Network equipment may be powered by the
// inverter. An adapter that is missing from the box itself is always a fault.
func (d *deviceHealth) lineRests(l config.Line, dev string, at time.Time) bool {
	return l.Endpoint.Scheme != line.Serial && d.mayRest(dev, at)
}

// empty reports whether a poll returned values of which none is meaningful.
func empty(readings []drivers.Reading) bool {
	return len(readings) > 0 && !slices.ContainsFunc(readings,
		func(r drivers.Reading) bool { return r.Quality != drivers.Bad })
}

// sleeper reports whether a device sleeps at night. A generic model can also be a meter: the device's points tell the
// two apart.
func (b *deviceTable) sleeper(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.devs[id]
	has := func(point string) bool { return slices.Contains(d.about.Points, point) }
	isMeter := (has("import_energy") || has("export_energy")) && !has("ac_energy") && !has("dc_power")
	return d.cfg.Spec.Sleeps && !isMeter
}

// asleep lists the devices that sleep, in the configuration's order.
func (b *deviceTable) asleep() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, l := range b.lines {
		for _, d := range l.cfg.Devices {
			if b.devs[d.ID].asleep {
				out = append(out, d.ID)
			}
		}
	}
	return out
}
