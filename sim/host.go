package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"bordo/contract"
)

// Host is the small computer at a site, as far as it can fail: its wall clock, its disk, its life. Its methods have the
// signatures of the agent's System and may be called from any goroutine.
type Host struct {
	faults *faults
	wake   chan struct{}

	mu     sync.Mutex
	offset time.Duration // of the wall clock to package time
	jumps  []clockJump   // in their order
	jumped map[uint64]bool
	killed map[uint64]bool
	onKill func()
}

// clockJump is a moment from which the wall clock is off by offset.
type clockJump struct {
	at     time.Time // package time
	offset time.Duration
}

// plentyOfDisk is the free space while there is no fault.
const plentyOfDisk = 8 << 30

func newHost(seed uint64, start time.Time, list []Fault) *Host {
	b := &Host{faults: newFaults(seed, "box", start, list), wake: make(chan struct{}, 1),
		jumps: []clockJump{{at: start}}, jumped: map[uint64]bool{}, killed: map[uint64]bool{}}
	b.faults.change = func() {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return b
}

// Wall returns the wall clock of the box and how far it can be trusted.
func (b *Host) Wall() (time.Time, contract.Clock) {
	now := time.Now()
	quality := contract.ClockSync
	if _, _, free := b.faults.on(ClockFree, "", now); free {
		quality = contract.ClockFree
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jump(now)
	return now.Add(b.offset), quality
}

// jump carries out a jump that has come due. The caller holds the lock.
func (b *Host) jump(now time.Time) {
	f, n, on := b.faults.on(ClockJump, "", now)
	if !on || b.jumped[n] {
		return
	}
	b.jumped[n] = true
	b.offset += f.By
	b.jumps = append(b.jumps, clockJump{now, b.offset})
}

// JumpClock moves the wall clock by d, now.
func (b *Host) JumpClock(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offset += d
	b.jumps = append(b.jumps, clockJump{time.Now(), b.offset})
}

// Offsets lists by how much the wall clock was ahead of package time at any moment up to a time, each value once: a
// stamp of the wall clock made until then has one of these offsets.
func (b *Host) Offsets(until time.Time) []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []time.Duration
	for _, j := range b.jumps {
		if !j.at.After(until) && !slices.Contains(out, j.offset) {
			out = append(out, j.offset)
		}
	}
	return out
}

// DiskFree returns how much a file can still grow.
func (b *Host) DiskFree(string) (uint64, error) {
	if _, _, full := b.faults.on(DiskFull, "", time.Now()); full {
		return 0, nil
	}
	return plentyOfDisk, nil
}

// OnKill lets f be called, from Run's goroutine, each time when the box dies without a word.
func (b *Host) OnKill(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onKill = f
}

// Raise lets something go wrong from now on and returns the number by which Clear ends it.
func (b *Host) Raise(f Fault) (int, error) {
	if err := f.check("box"); err != nil {
		return 0, fmt.Errorf("raise: %w", err)
	}
	return b.faults.raise(f, time.Now()), nil
}

// Clear ends the fault with a number, or all for 0. A clock that has jumped stays where it is.
func (b *Host) Clear(id int) { b.faults.clear(id) }

// run carries out kills and jumps when they are due.
func (b *Host) run(ctx context.Context) {
	for {
		now := time.Now()
		b.mu.Lock()
		b.jump(now)
		kill := func() {}
		if _, n, on := b.faults.on(Kill, "", now); on && !b.killed[n] {
			b.killed[n] = true
			if b.onKill != nil {
				kill = b.onKill
			}
		}
		b.mu.Unlock()
		kill()
		var timer <-chan time.Time
		if next := b.faults.next(now); !next.IsZero() {
			timer = time.After(max(0, next.Sub(now)))
		}
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		case <-timer:
		}
	}
}
