package agent

import (
	"time"

	"bordo/agent/health"
	"bordo/contract"
)

// publishCondition stores the event of a raised or cleared condition, logs it, and requests a status update.
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
		a.log.Info("condition cleared", "code", h.Code, "device", dev, "lasted", lasted.Round(time.Second), "flaps",
			h.Flaps)
	}
	a.records.event(dev, c.Type, data)
	a.publishStatus()
}
