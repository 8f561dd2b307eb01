// Package health keeps the conditions of a node: the faults that are open now.
//
// An observer reports a fault at every observation. This package debounces: it raises a condition when the fault is
// certain, clears it after a time without the fault, and counts what it suppresses, by the table of package contract.
// It promises at most contract.MaxConditionEvents events per condition and hour. The caller decides what an event or a
// status contains, and what counts as one observation.
package health

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"bordo/contract"
)

// Change is a condition that was raised or cleared.
type Change struct {
	Type   string          // contract.ConditionRaised or ConditionCleared
	Health contract.Health // as in the status; when it ends, OKSince is when the fault was last absent
	At     time.Time       // by the wall clock
}

// Conditions are those of one node. Its methods may be called concurrently.
type Conditions struct {
	wall func() time.Time
	tell func(Change)
	wake chan struct{} // cap 1: a deadline may have moved

	telling sync.Mutex // one change is reported at a time, so that events keep their order

	mu      sync.Mutex
	entries map[key]*entry
}

type key struct{ code, dev string }

// entry is a condition that is open or was observed before.
type entry struct {
	debounce contract.Debounce
	health   contract.Health
	open     bool
	faulty   bool        // as last observed
	changed  time.Time   // since when it is so
	begins   []time.Time // of the fault, while the condition is not open; within contract.RaiseWindow
	raises   []time.Time // of the condition, within the last hour
}

// New returns an empty list. tell is called for each change, one at a time and from the goroutine that caused it. It
// may block.
func New(wall func() time.Time, tell func(Change)) *Conditions {
	return &Conditions{wall: wall, tell: tell, wake: make(chan struct{}, 1), entries: make(map[key]*entry)}
}

// Set records whether the fault of a device ("" for the node) is present. detail is the machine's message, kept up to
// date while the fault lasts. Set returns whether it raised or cleared the condition. It panics on a code that the
// contract does not have.
func (c *Conditions) Set(code, dev string, faulty bool, detail string) bool {
	k := key{code, dev}
	if !c.observe(k, faulty, detail) {
		return false
	}
	return c.settle(k, false)
}

// Doubt notes that a device is not well although its fault is not certain: an open condition waits anew to be cleared.
func (c *Conditions) Doubt(code, dev string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key{code, dev}]; e != nil && e.open && !e.faulty {
		e.changed = time.Now()
	}
}

// Clear ends a condition without waiting, because a person has dealt with its cause.
func (c *Conditions) Clear(code, dev string) {
	k := key{code, dev}
	c.observe(k, false, "")
	c.settle(k, true)
}

// List returns the open conditions, oldest first.
func (c *Conditions) List() []contract.Health {
	wall, now := c.wall(), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]contract.Health, 0, len(c.entries))
	for _, e := range c.entries {
		if e.open {
			out = append(out, e.told(wall, now))
		}
	}
	slices.SortFunc(out, func(a, b contract.Health) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Dev, b.Dev))
	})
	return out
}

// Run raises and clears what becomes due with time, until ctx ends.
func (c *Conditions) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		due, next := c.due()
		for _, k := range due {
			c.settle(k, false)
		}
		timer.Reset(next)
	}
}

// idle is how long Run sleeps when nothing is pending.
const idle = time.Hour

// due lists the conditions that are to be raised or cleared now, and says when to look again.
func (c *Conditions) due() (due []key, next time.Duration) {
	now := time.Now()
	next = idle
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		at, pending := e.deadline(now)
		switch {
		case !pending:
		case !at.After(now):
			due = append(due, k)
		default:
			next = min(next, at.Sub(now))
		}
	}
	slices.SortFunc(due, func(a, b key) int { return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.dev, b.dev)) })
	return due, next
}

// observe records an observation and reports whether a change is due because of it.
func (c *Conditions) observe(k key, faulty bool, detail string) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		if !faulty {
			return false
		}
		e = newEntry(k)
		c.entries[k] = e
	}
	if faulty {
		e.health.Detail = detail
	}
	if e.faulty == faulty {
		return e.isDue(now)
	}
	e.faulty, e.changed = faulty, now
	switch {
	case !faulty:
	case e.open:
		e.health.Flaps++
	default:
		e.begins = append(recent(e.begins, now, contract.RaiseWindow), now)
	}
	if e.isDue(now) {
		return true
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return false
}

func newEntry(k key) *entry {
	kind, ok := contract.ConditionOf(k.code)
	if !ok {
		panic("health: condition " + k.code + " is not in the table")
	}
	return &entry{
		debounce: contract.DebounceOf(k.code),
		health:   contract.Health{Code: k.code, Dev: k.dev, Severity: kind.Severity, Text: kind.Text},
	}
}

// deadline is when the condition is to be raised or cleared, if nothing changes until then.
func (e *entry) deadline(now time.Time) (at time.Time, pending bool) {
	if e.open == e.faulty {
		return time.Time{}, false
	}
	if e.open {
		return e.changed.Add(e.debounce.ClearAfter(len(recent(e.raises, now, time.Hour)))), true
	}
	if len(recent(e.begins, now, contract.RaiseWindow)) >= contract.RaiseCount {
		return e.changed, true
	}
	return e.changed.Add(e.debounce.Raise), true
}

func (e *entry) isDue(now time.Time) bool {
	at, pending := e.deadline(now)
	return pending && !at.After(now)
}

// settle raises or clears a condition for which that is due, and reports it. force clears it in any case.
func (c *Conditions) settle(k key, force bool) bool {
	c.telling.Lock()
	defer c.telling.Unlock()
	wall, now := c.wall(), time.Now()
	c.mu.Lock()
	e := c.entries[k]
	if e == nil || !e.isDue(now) && !(force && e.open) {
		c.mu.Unlock()
		return false
	}
	ch := Change{Type: contract.ConditionRaised, At: wall}
	if e.open {
		ch.Type, ch.Health = contract.ConditionCleared, e.told(wall, now)
		e.open, e.health.Flaps, e.begins = false, 0, nil
	} else {
		began := e.changed
		if b := recent(e.begins, now, contract.RaiseWindow); len(b) > 0 {
			began = b[0]
		}
		e.open, e.health.Since = true, wall.Add(began.Sub(now)).UnixMilli()
		e.raises = append(recent(e.raises, now, time.Hour), now)
		ch.Health = e.told(wall, now)
	}
	c.mu.Unlock()
	c.tell(ch)
	return true
}

// told returns the condition as it is reported at a given time.
func (e *entry) told(wall, now time.Time) contract.Health {
	h := e.health
	if !e.faulty {
		h.OKSince = max(wall.Add(e.changed.Sub(now)).UnixMilli(), h.Since)
	}
	return h
}

// recent are the times of a list that are younger than some age.
func recent(list []time.Time, now time.Time, age time.Duration) []time.Time {
	i := slices.IndexFunc(list, func(t time.Time) bool { return now.Sub(t) < age })
	if i < 0 {
		return nil
	}
	return list[i:]
}
