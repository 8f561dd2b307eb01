package agent

import (
	"cmp"
	"slices"
	"sync"
	"time"

	sunrise "github.com/nathan-osman/go-sunrise"

	"bordo/agent/phases"
	"bordo/contract"
	"bordo/drivers"
)

// conditions is the list of what is wrong now. It tells each beginning and each end once.
type conditions struct {
	wall func() time.Time
	tell func(typ string, h contract.Health, now time.Time) // stores the event and wakes the status

	mu   sync.Mutex
	open map[conditionKey]*contract.Health
}

type conditionKey struct{ code, dev string }

// set opens or closes a condition of a device ("" for the node). detail is what the machine says; it may change while the
// condition lasts without being told again. It returns whether the condition began or ended.
func (c *conditions) set(code, dev string, on bool, detail string) bool {
	key := conditionKey{code, dev}
	if !c.changes(key, on, detail) {
		return false
	}
	now := c.wall()
	c.mu.Lock()
	h := c.open[key]
	if (h != nil) == on {
		c.mu.Unlock()
		return false
	}
	typ := contract.ConditionCleared
	if on {
		typ = contract.ConditionRaised
		kind, ok := contract.ConditionOf(code)
		if !ok {
			panic("agent: condition " + code + " is not in the table")
		}
		h = &contract.Health{Code: code, Dev: dev, Severity: kind.Severity, Since: now.UnixMilli(), Text: kind.Text, Detail: detail}
		if c.open == nil {
			c.open = make(map[conditionKey]*contract.Health)
		}
		c.open[key] = h
	} else {
		delete(c.open, key)
	}
	told := *h
	c.mu.Unlock()
	c.tell(typ, told, now)
	return true
}

// changes tells whether a condition is about to begin or to end; of one that lasts it notes the detail.
func (c *conditions) changes(key conditionKey, on bool, detail string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.open[key]
	if h != nil && on {
		h.Detail = detail
	}
	return (h != nil) != on
}

// list returns what is open, oldest first.
func (c *conditions) list() []contract.Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]contract.Health, 0, len(c.open))
	for _, h := range c.open {
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b contract.Health) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Dev, b.Dev))
	})
	return out
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
		a.conditions.set(code, r.Device, f != nil, detail)
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
