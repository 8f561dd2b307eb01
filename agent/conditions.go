package agent

import (
	"slices"
	"time"

	"bordo/contract"
	"bordo/drivers"
)

// health lists the open conditions, oldest first.
func (b *board) health() []contract.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []contract.Health
	for _, l := range b.lines {
		if !l.open {
			for _, d := range l.cfg.Devices {
				out = append(out, condition("line_down", d.ID, l.since, l.err))
			}
			continue
		}
		for _, d := range l.cfg.Devices {
			s := b.devs[d.ID]
			if s.failingSince.IsZero() {
				continue
			}
			code := "device_partial"
			switch {
			case drivers.KindOf(s.err) == drivers.Later:
				code = "device_busy"
			case s.lastAnswer.Before(s.failingSince):
				code = "device_silent"
			}
			out = append(out, condition(code, d.ID, s.failingSince, s.err))
		}
	}
	slices.SortStableFunc(out, func(a, b contract.Health) int { return int(a.Since - b.Since) })
	return out
}

func condition(code, dev string, since time.Time, err error) contract.Health {
	return contract.Health{Code: code, Dev: dev, Severity: contract.Fault, Since: since.UnixMilli(), Detail: text(err)}
}
