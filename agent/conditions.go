package agent

import (
	"time"

	sunrise "github.com/nathan-osman/go-sunrise"

	"bordo/agent/health"
	"bordo/agent/phases"
	"bordo/contract"
	"bordo/drivers"
)

// deviceConditions are what a poll can say of a device; at most one of them at a time.
var deviceConditions = [...]string{contract.DeviceSilent, contract.DevicePartial, contract.DeviceBusy}

// observe takes what a poll says of its device's health.
func (a *Agent) observe(r *drivers.Report, at moment) {
	code, failed := a.board.report(*r, at)
	if 0 < failed && failed < silentAfter {
		for _, c := range deviceConditions {
			if failed > 1 {
				a.conditions.Doubt(c, r.Device)
			}
		}
		return
	}
	asleep := a.sleeps(r.Device, code, at.wall)
	if a.board.sleeping(r.Device, asleep) != asleep {
		a.log.Info("device asleep", "device", r.Device, "asleep", asleep)
	}
	if asleep {
		code = ""
	}
	for _, c := range deviceConditions {
		a.conditions.Set(c, r.Device, c == code, text(r.Err))
	}
}

// tellCondition stores the event of a condition that was raised or cleared, logs it, and has the status told.
func (a *Agent) tellCondition(c health.Change) {
	h := c.Health
	data := map[string]any{"code": h.Code, "severity": h.Severity, "since": h.Since}
	dev := h.Dev
	if dev == "" {
		dev = contract.NodeDevice
	}
	if c.Type == contract.ConditionRaised {
		data["detail"] = h.Detail
		a.log.Warn("condition raised", "code", h.Code, "device", dev, "err", h.Detail)
	} else {
		data["until"] = h.OKSince
		if h.Flaps > 0 {
			data["flaps"] = h.Flaps
		}
		lasted := time.Duration(h.OKSince-h.Since) * time.Millisecond
		a.log.Info("condition cleared", "code", h.Code, "device", dev, "lasted", lasted.Round(time.Second), "flaps", h.Flaps)
	}
	a.event(dev, c.Type, data)
	a.tellNews()
}

// watchPhases raises and clears the conditions of the three phases of a device.
func (a *Agent) watchPhases(r *drivers.Report, at moment) {
	if len(r.Readings) == 0 {
		return
	}
	missing, reversed := a.board.devs[r.Device].phases.Observe(r.Readings, time.Duration(at.mono)*time.Millisecond)
	for code, f := range map[string]*phases.Finding{contract.PhaseMissing: missing, contract.PhaseReversed: reversed} {
		detail := ""
		if f != nil {
			detail = f.Detail
		}
		a.conditions.Set(code, r.Device, f != nil, detail)
	}
}

// dusk is how low the sun stands, in degrees above the horizon, when an inverter may have gone to sleep.
const dusk = 5

// sleeps tells whether a device that is silent (or says that it cannot answer) is only asleep: its model does that without
// sun, and at the site's coordinates the sun is down.
func (a *Agent) sleeps(dev, code string, at time.Time) bool {
	if code != contract.DeviceSilent && code != contract.DeviceBusy {
		return false
	}
	site := a.cfg.Site
	return site.Located && a.board.devs[dev].cfg.Spec.Sleeps && sunrise.Elevation(site.Lat, site.Lon, at.UTC()) < dusk
}
