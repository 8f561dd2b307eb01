package agent

import (
	"errors"

	"bordo/agent/archive"
)

// ErrNoStore: the store is not open yet.
var ErrNoStore = errors.New("the store is not open yet")

// Archive returns the agent's store for reading while it runs. It may be called from any goroutine. Once the agent has
// stopped, the archive is empty.
func (a *Agent) Archive() (*archive.Archive, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.store == nil {
		return nil, ErrNoStore
	}
	return archive.New(a.store, a.cfg.Tenant, a.cfg.Node), nil
}
