package agent

import (
	"time"

	"bordo/agent/health"
	"bordo/agent/phases"
	"bordo/contract"
	"bordo/drivers"
)

// deviceConditions are what a poll can say of a device; at most one of them at a time.
var deviceConditions = [...]string{contract.DeviceSilent, contract.DevicePartial, contract.DeviceBusy}

// observe takes what a poll says of its device's health.
func (a *Agent) observe(r *drivers.Report, at moment) {
	code, failed := a.devices.report(*r, at)
	if 0 < failed && failed < silentAfter {
		for _, c := range deviceConditions {
			if failed > 1 {
				a.conditions.Doubt(c, r.Device)
			}
		}
		return
	}
	if a.rest(r.Device, (code != "" || empty(r.Readings)) && a.mayRest(r.Device, at.wall)) {
		code = ""
	}
	for _, c := range deviceConditions {
		a.conditions.Set(c, r.Device, c == code, text(r.Err))
	}
}

// publishCondition stores the event of a condition that was raised or cleared, logs it, and has the status told.
func (a *Agent) publishCondition(c health.Change) {
	h := c.Health
	data := map[string]any{"code": h.Code, "severity": h.Severity, "since": h.Since}
	dev := h.Dev
	if dev == "" {
		dev = contract.NodeDevice
	}
	if c.Type == contract.ConditionRaised {
		data["detail"] = h.Detail
		if h = a.explain(h); h.Cause != "" {
			data["cause"] = h.Cause
		}
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
	a.publishStatus()
}

// watchPhases raises and clears the conditions of the three phases of a device.
func (a *Agent) watchPhases(r *drivers.Report, at moment) {
	if len(r.Readings) == 0 {
		return
	}
	missing, reversed := a.devices.devs[r.Device].phases.Observe(r.Readings, time.Duration(at.mono)*time.Millisecond)
	a.setPhase(contract.PhaseMissing, r.Device, missing)
	a.setPhase(contract.PhaseReversed, r.Device, reversed)
}

func (a *Agent) setPhase(code, device string, f *phases.Finding) {
	detail := ""
	if f != nil {
		detail = f.Detail
	}
	a.conditions.Set(code, device, f != nil, detail)
}
