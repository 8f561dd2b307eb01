package energy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Accounts holds the energy accounts of all devices of a node. Its methods may be called concurrently.
type Accounts struct {
	flushing sync.Mutex // held over one Flush

	mu       sync.Mutex
	accounts map[string]*Account
}

// States are the states of accounts, by device.
type States map[string]json.RawMessage

// NewAccounts opens an empty account for each device.
func NewAccounts(devices map[string]Options) *Accounts {
	b := &Accounts{accounts: make(map[string]*Account, len(devices))}
	for id, o := range devices {
		b.accounts[id] = New(o)
	}
	return b
}

// Restore restores the states of the accounts; see Account.Restore. A device without a state gets an empty account, and
// a state without a device is dropped. The error joins those of the accounts that cannot be restored.
func (b *Accounts) Restore(states States, older bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var faults []error
	for _, id := range slices.Sorted(maps.Keys(b.accounts)) {
		if st, ok := states[id]; ok {
			if err := b.accounts[id].Restore(st, older); err != nil {
				faults = append(faults, fmt.Errorf("device %s: %w", id, err))
			}
		}
	}
	return errors.Join(faults...)
}

// Observe books a poll of a device. Unknown devices are ignored.
func (b *Accounts) Observe(device string, p Poll) []Rejection {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.accounts[device]; a != nil {
		return a.Observe(p)
	}
	return nil
}

// Rated is Account.Rated.
func (b *Accounts) Rated(device string, kw float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.accounts[device]; a != nil {
		a.Rated(kw)
	}
}

// Believed is Account.Believed.
func (b *Accounts) Believed(device, point string) (kwh float64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.accounts[device]; a != nil {
		return a.Believed(point)
	}
	return 0, false
}

// Serial is Account.Serial.
func (b *Accounts) Serial(device, serial string) (uncertain bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[device]
	return a != nil && a.Serial(serial)
}

// Replaced is Account.Replaced.
func (b *Accounts) Replaced(device string) (known, answers string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.accounts[device]; a != nil {
		return a.Replaced()
	}
	return "", "", false
}

// Confirm is Account.Confirm. It does nothing when there is no such device.
func (b *Accounts) Confirm(device, serial string, final Final) *FinalFault {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.accounts[device]; a != nil {
		return a.Confirm(serial, final)
	}
	return nil
}

// Counters is Account.Counters.
func (b *Accounts) Counters(device string) []CounterReading {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.accounts[device]; a != nil {
		return a.Counters()
	}
	return nil
}

// States are the states of all accounts.
func (b *Accounts) States() States {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.states()
}

// Keep passes the states of all accounts to save, between two calls of Flush, so that what Flush has taken is already
// with its receiver.
func (b *Accounts) Keep(save func(States) error) error {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	return save(b.States())
}

func (b *Accounts) states() States {
	out := make(States, len(b.accounts))
	for id, a := range b.accounts {
		out[id] = a.State()
	}
	return out
}

// Flush passes final records on: it calls save with the states from before, and then give for each device that has
// some, in the order of their ids. After a power cut in between, or before the given records are on disk, the next
// start produces the same records again, with the same keys and content. When nothing is final, it calls neither. It
// returns the error of save after everything was given: an unsaved state holds no energy back.
//
// Flush is meant to be called a few times a minute from one goroutine. A concurrent call waits.
func (b *Accounts) Flush(save func(States) error, give func(device string, t Taken)) error {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	states, taken := b.take()
	if taken == nil {
		return nil
	}
	err := save(states)
	for _, id := range slices.Sorted(maps.Keys(taken)) {
		give(id, taken[id])
	}
	return err
}

// take takes from every account that is ready. It returns nil when none is.
func (b *Accounts) take() (before States, taken map[string]Taken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, a := range b.accounts {
		if !a.Ready() {
			continue
		}
		if taken == nil {
			before, taken = b.states(), map[string]Taken{}
		}
		if t := a.Take(); len(t.Intervals)+len(t.Segments) > 0 {
			taken[id] = t
		}
	}
	return before, taken
}
