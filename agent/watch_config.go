package agent

import (
	"context"
	"strings"
	"time"

	"bordo/agent/clock"
	"bordo/contract"
)

// configEvery is the interval at which the configuration file is compared with the one that the agent started with.
const configEvery = 15 * time.Second

// watchConfig raises a condition while the configuration on the disk differs from the one in use, which only a restart
// replaces. Two looks in a row must agree, so that a file that is being written does not count.
func (a *Agent) watchConfig(ctx context.Context) {
	before := ""
	for more := true; more; more = clock.Sleep(ctx, configEvery) {
		s := a.configStatus()
		now := strings.Join(append(s.Changed, s.Error), " ")
		now = strings.TrimSpace(now)
		if now == before {
			a.conditions.Set(contract.ConfigChanged, "", now != "", now)
		}
		before = now
	}
}

// configStatus compares the configuration in use with the disk.
func (a *Agent) configStatus() ConfigStatus {
	s := ConfigStatus{File: a.cfg.Path(), Sum: a.cfg.Sum}
	changed, err := a.cfg.Changed()
	s.Changed = changed
	if err != nil {
		s.Error = err.Error()
	}
	return s
}
