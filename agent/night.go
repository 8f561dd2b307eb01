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

// The sun's elevation in degrees below which an inverter may sleep: in the evening below dusk, in the morning below dawn.
// Inverters start at 0° to 3°; up to dawn the agent waits for a horizon of hills, for clouds, and for its own back-off. At
// 45° north dawn is 65 to 80 minutes after sunrise. Where the sun never rises so high, an inverter may sleep all day.
const (
	dusk = 5
	dawn = 10
)

// isNight tells whether an inverter at the site may sleep at a time. It is never night where the site has no coordinates.
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

// mayRest tells whether a device that gives nothing, or not everything, is only asleep: its model sleeps, it is night, and
// the device did not already fail by day.
func (d *deviceHealth) mayRest(dev string, at time.Time) bool {
	return d.devices.sleeper(dev) && isNight(d.site, at) && !d.failedByDay(dev)
}

// failedByDay tells whether a device has not answered since the sun was up: night does not excuse that. In the evening
// between dawn's elevation and dusk's nobody can tell, so such a fault ends at dusk.
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

// lineRests tells whether a device sleeps behind a port that does not open. What stands in the network may be fed by the
// inverter; an adapter that is missing from the box itself is a fault at any time.
func (d *deviceHealth) lineRests(l config.Line, dev string, at time.Time) bool {
	return l.Endpoint.Scheme != line.Serial && d.mayRest(dev, at)
}

// empty tells whether a poll gave values, and none that means something.
func empty(readings []drivers.Reading) bool {
	return len(readings) > 0 && !slices.ContainsFunc(readings, func(r drivers.Reading) bool { return r.Quality != drivers.Bad })
}

// sleeper tells whether a device is one that sleeps at night. A model for any make can be a meter as well; what the device
// delivers tells them apart.
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
