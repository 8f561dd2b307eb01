package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bordo/drivers"
)

// motionPoll is the maximum poll interval while a movement awaits its confirmation.
const motionPoll = 500 * time.Millisecond

// Do has a device execute a command, at most once, and returns the outcome. It is the only way to act on a device.
// Later polls confirm a movement while the line serves others: Do returns Done once the device shows what its model
// expects, and Unknown when it does not in time or ctx ends first. Without a deadline, the command waits for its turn
// as long as a poll would. It is never executed after its deadline or after the end of ctx, whichever comes first. An
// error means that the command did not reach a line at all: ErrUnknownName, ErrLineDown, or too many waiting requests.
func (a *Agent) Do(ctx context.Context, c drivers.Command) (drivers.Result, error) {
	l := a.owner(ownerOf(c.Device))
	if l == nil {
		return drivers.Result{}, fmt.Errorf("do %s on %s: %w", c.Action, c.Device, ErrUnknownName)
	}
	latest := time.Now().Add(turnMax)
	if at, ok := ctx.Deadline(); ok && at.Before(latest) {
		latest = at
	}
	if c.Deadline.IsZero() || c.Deadline.After(latest) {
		c.Deadline = latest
	}
	results := make(chan drivers.Result, 1)
	var w *wait
	err := a.ask(ctx, l, drivers.Request{Device: c.Device, Command: &c, Cancelled: ctx.Done(),
		Answer: func(x drivers.Answer) {
			if x.Result.Outcome == drivers.Accepted { // before the next poll, which may show it already
				w = a.confirmations.expect(c.Device, *x.Result.Expect)
			}
			results <- x.Result
		}})
	if err != nil {
		return drivers.Result{}, fmt.Errorf("do %s on %s: %w", c.Action, c.Device, err)
	}
	var res drivers.Result
	select {
	case res = <-results:
	case <-ctx.Done(): // it may already be executing
		return drivers.Result{Outcome: drivers.Unknown, Code: "no_answer", Detail: ctx.Err().Error()}, nil
	}
	if w == nil {
		return res, nil
	}
	return a.confirm(ctx, l, c.Device, w), nil
}

// confirm waits until polls show what a command promised, and has the device polled often enough until then.
func (a *Agent) confirm(ctx context.Context, l *lineRunner, device string, w *wait) drivers.Result {
	defer a.confirmations.forget(w)
	within := time.NewTimer(w.Within)
	defer within.Stop()
	every := motionPoll
	if w.Interval > 0 {
		every = min(every, w.Interval)
	}
	poll := time.NewTicker(every)
	defer poll.Stop()
	for {
		select {
		case word := <-w.shown:
			return drivers.Result{Outcome: drivers.Done, Code: "confirmed", Detail: w.Point + " is " + word,
				Value: word}
		case <-poll.C:
			a.ask(ctx, l, drivers.Request{Device: device}) //nolint:errcheck // the line may be busy or down: the next tick tries again
		case <-within.C:
			return w.unconfirmed(fmt.Errorf("after %v", w.Within))
		case <-ctx.Done():
			return w.unconfirmed(ctx.Err())
		}
	}
}

// confirmations are the movements that polls have to confirm. It is an observer and holds no port.
type confirmations struct {
	mu   sync.Mutex
	open []*wait
}

// wait is one of them.
type wait struct {
	drivers.Expectation
	device string
	until  time.Time   // after this nothing waits for it
	shown  chan string // cap 1: the word that confirms it

	mu   sync.Mutex
	last string // what the point was
}

func (c *confirmations) expect(device string, e drivers.Expectation) *wait {
	w := &wait{Expectation: e, device: device, until: time.Now().Add(e.Within), shown: make(chan string, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, w)
	return w
}

func (c *confirmations) forget(w *wait) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = slices.DeleteFunc(c.open, func(x *wait) bool { return x == w })
}

// Observe compares the report with what is expected of its device.
func (c *confirmations) Observe(r *drivers.Report, _ moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// the caller left before the answer
	c.open = slices.DeleteFunc(c.open, func(w *wait) bool { return r.At.After(w.until) })
	for _, w := range c.open {
		if w.device != r.Device {
			continue
		}
		for _, x := range r.Readings {
			if x.Point == w.Point && x.Quality == drivers.Good {
				w.see(x.Value.Text())
			}
		}
	}
}

// see notes what the point is.
func (w *wait) see(word string) {
	w.mu.Lock()
	w.last = word
	w.mu.Unlock()
	if !slices.Contains(w.Words, word) {
		return
	}
	select {
	case w.shown <- word:
	default:
	}
}

func (w *wait) unconfirmed(why error) drivers.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := errors.New("nothing was read")
	if w.last != "" {
		said = fmt.Errorf("%s is %s", w.Point, w.last)
	}
	return drivers.Result{Outcome: drivers.Unknown, Code: "not_confirmed", Value: w.last,
		Detail: fmt.Sprintf("accepted, but %v %v instead of %s", why, said, strings.Join(w.Words, " or "))}
}
