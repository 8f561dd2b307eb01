package agent

import (
	"errors"

	"bordo/agent/archive"
)

// ErrNoStore: the store is not open yet.
var ErrNoStore = errors.New("the store is not open yet")

// Archive is the agent's store to be looked at while it runs. It may be asked for from any goroutine; once the agent has
// stopped, there is nothing in it any more.
func (a *Agent) Archive() (*archive.Archive, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.store == nil {
		return nil, ErrNoStore
	}
	return archive.New(a.store, a.cfg.Tenant, a.cfg.Node), nil
}
