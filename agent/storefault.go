package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"bordo/agent/clock"
	"bordo/agent/owner"
	"bordo/buffer"
	"bordo/contract"
)

const (
	// storeEvery is the interval at which the store's state is checked.
	storeEvery = 2 * time.Second
	// unsavedEvery is the interval at which failed saves are retried.
	unsavedEvery = 10 * time.Second
)

// storeFaults are the conditions of which at most one holds at a time.
var storeFaults = [...]string{contract.StoreFull, contract.StoreReadOnly, contract.StoreDenied, contract.StoreMissing}

// watchStore turns faults of the store and of the saved state into conditions. Files that were set aside are a
// condition until a person removes them. The store removes them when it needs the space.
func (a *Agent) watchStore(ctx context.Context) {
	dir := a.cfg.Buffer.Dir
	retried := time.Now()
	for more := true; more; more = clock.Sleep(ctx, storeEvery) {
		full, err := a.store.Fault()
		code := storeFault(err, full, dir)
		for _, c := range storeFaults {
			a.conditions.Set(c, "", c == code, owner.Explain(err, dir))
		}
		if aside := a.store.Opened().SetAside; aside != "" {
			_, err := os.Stat(aside)
			a.conditions.Set(contract.StoreDamaged, "", !errors.Is(err, fs.ErrNotExist), aside)
		}
		if a.sys.RootWarning != nil {
			text := a.sys.RootWarning()
			a.conditions.Set(contract.RunsAsRoot, "", text != "", text)
		}
		if time.Since(retried) >= unsavedEvery {
			a.state.retry()
			retried = time.Now()
		}
		err = a.state.unsaved()
		a.conditions.Set(contract.StateUnsaved, "", err != nil, owner.ExplainState(err, a.cfg.StateDir))
	}
}

// storeFault is the code of the condition that a fault of the store is, "" for none.
func storeFault(err error, full bool, dir string) string {
	switch {
	case err == nil:
		return ""
	case full:
		return contract.StoreFull
	case errors.Is(err, syscall.EROFS):
		return contract.StoreReadOnly
	case owner.Missing(err, dir):
		return contract.StoreMissing
	case errors.Is(err, fs.ErrPermission), errors.Is(err, buffer.ErrInUse):
		return contract.StoreDenied
	}
	return contract.StoreReadOnly
}
