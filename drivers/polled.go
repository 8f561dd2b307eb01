package drivers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The back-off of a device that does not answer: backoffStep for each failure in a row, at most backoffMax.
const (
	backoffStep = 2 * time.Second
	backoffMax  = 5 * time.Minute
)

// maxBorrows is the maximum number of waiting Borrows, maxLater that of waiting requests of all kinds.
const (
	maxBorrows = 4
	maxLater   = 64
)

// Unit is one device of a polled line.
type Unit struct {
	Device string
	Poller Poller
	Every  time.Duration // from poll to poll; polls are due at its multiples on the clock
}

// Polled returns a Link of devices that speak only when polled. It is the one scheduler:
//
//   - Every device is polled immediately, then whenever the wall clock passes a multiple of its interval. Devices
//     due together are polled one after the other in the given order. A poll that the line was too busy for is
//     dropped, not caught up.
//   - A Request goes before the next poll, and a command also between two requests of the current poll, where the
//     Poller calls Yield. A command whose deadline has passed is Expired without touching the device. After any
//     other command that may have reached the device, the device is polled next, to show its new state. A requested
//     poll is reported to both the Request and out.
//   - A stop command (IsStop) ends the current Borrow.
//   - A Borrow waits until nothing is due, or until each device was polled once since it arrived, so that neither
//     starves the other. At most maxBorrows wait; more are refused.
//   - A device whose poll got nothing because of silence, damaged answers or a connection that it closes (Timeout,
//     Checksum, Protocol, Closed) is polled again after 2 s for each consecutive failure, at most 5 min, and never
//     sooner than its interval. The first answer ends that. A refusal (Exception) and Busy do not count, because
//     the device answered.
//   - An error for which PortLost holds ends Run after its report was delivered. One report is not delivered: that
//     of a poll that got nothing because the port was lost (Closed), such as a connection that the device had
//     closed while idle. It says nothing about the device, which is polled again immediately on the next port. If
//     the port breaks under the device again, that is reported, and the device backs off like a silent one, so that
//     it cannot keep the line from the others.
//
// The schedule and the back-off survive from one Run to the next. Polled panics when a unit has no interval, no id or
// no poller, or when an id is repeated: the configuration was checked before.
func Polled(units ...Unit) Link {
	l := &polled{slots: make([]*slot, 0, len(units))}
	for _, u := range units {
		if u.Every <= 0 || u.Device == "" || u.Poller == nil || l.slot(u.Device) != nil {
			panic(fmt.Sprintf("drivers: Polled: incomplete or repeated unit %q, every %v", u.Device, u.Every))
		}
		l.slots = append(l.slots, &slot{Unit: u})
	}
	return l
}

var _ Link = (*polled)(nil)

type polled struct {
	slots []*slot
	later []Request // arrived while the line was busy
}

// slot is a device's place in the schedule.
type slot struct {
	Unit
	due    time.Time // zero: immediately
	failed int       // polls in a row without an answer
	broken int       // polls in a row under which the port broke

	commanded bool // since the current poll began
}

// Run implements Link.
func (l *polled) Run(ctx context.Context, port Port, in <-chan Request, out func(Report)) (err error) {
	timer := time.NewTimer(backoffMax)
	defer timer.Stop()
	var gone <-chan struct{}
	if w, ok := port.(Closer); ok {
		gone = w.Done()
	}
	var waiting []*borrow
	defer func() {
		for _, b := range waiting {
			b.answer(Answer{Err: &Error{Op: "borrow the line", Kind: Closed, Err: err}})
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(l.later) > 0 {
			r := l.later[0]
			l.later = l.later[1:]
			if waiting, err = l.serve(ctx, port, in, r, out, waiting); err != nil {
				return err
			}
			continue
		}
		select {
		case r, ok := <-in:
			if !ok {
				in = nil // no more requests can come; the schedule continues
			} else if waiting, err = l.serve(ctx, port, in, r, out, waiting); err != nil {
				return err
			}
			continue
		default:
		}
		s, wait := l.next(time.Now())
		if len(waiting) > 0 && (wait > 0 || waiting[0].polls >= len(l.slots)) {
			b := waiting[0]
			waiting = waiting[1:]
			if err := l.lend(ctx, port, in, b); err != nil {
				return err
			}
			continue
		}
		if s != nil && wait <= 0 {
			for _, b := range waiting {
				b.polls++
			}
			if _, err := l.poll(ctx, port, in, s, out); err != nil {
				return err
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-gone:
			return &Error{Op: "wait for the next poll", Kind: Closed, Lost: true, Err: errors.New("the port is gone")}
		case r, ok := <-in:
			if !ok {
				in = nil
			} else if waiting, err = l.serve(ctx, port, in, r, out, waiting); err != nil {
				return err
			}
		}
	}
}

// borrow is a waiting Borrow.
type borrow struct {
	use    func(context.Context, Port) error
	answer func(Answer)
	polls  int // since it came
}

// errStopCommand ends a Borrow.
var errStopCommand = errors.New("a stop command needed the line")

// lend gives the port to a borrower and takes it back when a stop command arrives, which is then executed. Its error
// ends Run.
func (l *polled) lend(ctx context.Context, port Port, in <-chan Request, b *borrow) error {
	using, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() { ended <- b.use(using, port) }()
	var stop *Request
	var err error
	for using := true; using; {
		select {
		case err = <-ended:
			using = false
		case r, ok := <-in:
			switch {
			case !ok:
				in = nil
			case stop == nil && r.Command != nil && IsStop(r.Command.Action):
				stop = &r
				in = nil // what follows waits
				cancel(errStopCommand)
			default:
				l.postpone(r)
			}
		}
	}
	if stop != nil && err != nil {
		err = &Error{Op: "borrow the line", Kind: Busy, Lost: PortLost(err),
			Err: fmt.Errorf("%w: %w", errStopCommand, err)}
	}
	b.answer(Answer{Err: err})
	if stop != nil && !PortLost(err) {
		l.do(ctx, port, *stop)
	} else if stop != nil {
		l.later = append([]Request{*stop}, l.later...)
	}
	if PortLost(err) {
		return err
	}
	return nil
}

// next returns the device that has been due for longest, and the time until it is due.
func (l *polled) next(now time.Time) (*slot, time.Duration) {
	var first *slot
	for _, s := range l.slots {
		if first == nil || s.due.Before(first.due) {
			first = s
		}
	}
	if first == nil {
		return nil, backoffMax
	}
	if first.due.IsZero() {
		return first, 0
	}
	return first, first.due.Sub(now)
}

func (l *polled) slot(device string) *slot {
	for _, s := range l.slots {
		if s.Device == device {
			return s
		}
	}
	return nil
}

// serve carries out one request, or lets it wait. Its error ends Run.
func (l *polled) serve(ctx context.Context, port Port, in <-chan Request, r Request, out func(Report),
	waiting []*borrow) ([]*borrow, error) {
	answer := r.Answer
	if answer == nil {
		answer = func(Answer) {}
	}
	if r.Borrow != nil {
		if len(waiting) == maxBorrows {
			answer(Answer{Err: &Error{Op: "borrow the line", Kind: Busy,
				Err: fmt.Errorf("%d others wait for it", maxBorrows)}})
			return waiting, nil
		}
		return append(waiting, &borrow{use: r.Borrow, answer: answer}), nil
	}
	s := l.slot(r.Device)
	if s == nil {
		what := fmt.Errorf("no device %q on this line", r.Device)
		answer(Answer{
			Report: &Report{Device: r.Device, At: time.Now(), Err: &Error{Op: "poll", Kind: Protocol, Err: what}},
			Result: Result{Outcome: Rejected, Code: "unknown_device", Detail: what.Error()},
		})
		return waiting, nil
	}
	if r.Command == nil {
		if x, ok := s.Poller.(Identifier); ok && r.Identify {
			x.Identify()
		}
		rep, err := l.poll(ctx, port, in, s, out)
		answer(Answer{Report: &rep})
		return waiting, err
	}
	l.do(ctx, port, r)
	return waiting, nil
}

// do carries out a command, at most once and before its deadline.
func (l *polled) do(ctx context.Context, port Port, r Request) {
	answer := r.Answer
	if answer == nil {
		answer = func(Answer) {}
	}
	s := l.slot(r.Device)
	if s == nil {
		answer(Answer{Result: Result{Outcome: Rejected, Code: "unknown_device",
			Detail: fmt.Sprintf("no device %q on this line", r.Device)}})
		return
	}
	if c := *r.Command; !c.Deadline.IsZero() && !time.Now().Before(c.Deadline) {
		answer(Answer{Result: Result{Outcome: Expired, Code: "expired",
			Detail: "its time had passed when its turn came"}})
		return
	}
	select {
	case <-r.Cancelled:
		answer(Answer{Result: Result{Outcome: Expired, Code: "cancelled",
			Detail: "it was cancelled before its turn came"}})
		return
	default:
	}
	res := s.Poller.Do(ctx, port, *r.Command)
	if res.Outcome != Rejected && res.Outcome != Expired {
		s.due, s.commanded = time.Time{}, true
	}
	answer(Answer{Result: res})
}

// postpone keeps a request until the line is free.
func (l *polled) postpone(r Request) {
	if len(l.later) < maxLater {
		l.later = append(l.later, r)
		return
	}
	if r.Answer != nil {
		busy := &Error{Op: "wait for the line", Kind: Busy, Err: fmt.Errorf("%d others wait for it", maxLater)}
		r.Answer(Answer{Report: &Report{Device: r.Device, At: time.Now(), Err: busy},
			Result: Result{Outcome: Rejected, Code: "busy", Detail: busy.Error()}, Err: busy})
	}
}

// IsStop reports whether a command stops a movement: it goes before everything else.
func IsStop(action string) bool { return strings.HasSuffix(action, ".stop") }

type yieldKey struct{}

// Yield lets commands run between two requests of a poll. A Poller calls it with the context of Poll, while no
// transaction is running on the port. Do may be called meanwhile, also for the same device.
func Yield(ctx context.Context) {
	if f, ok := ctx.Value(yieldKey{}).(func()); ok {
		f()
	}
}

// yield carries out the commands that have come, and keeps other requests for later.
func (l *polled) yield(ctx context.Context, port Port, in <-chan Request) {
	for {
		select {
		case r, ok := <-in:
			switch {
			case !ok:
				return // Run sees it too
			case r.Command != nil && r.Borrow == nil:
				l.do(ctx, port, r)
			default:
				l.postpone(r)
			}
		default:
			return
		}
	}
}

// poll polls the device once, delivers the report and schedules the device again. Its error ends Run.
func (l *polled) poll(ctx context.Context, port Port, in <-chan Request, s *slot, out func(Report)) (Report, error) {
	started := time.Now()
	s.commanded = false
	rep := s.Poller.Poll(context.WithValue(ctx, yieldKey{}, func() { l.yield(ctx, port, in) }), port)
	rep.Device = s.Device
	if rep.At.IsZero() {
		rep.At = time.Now()
	}
	if err := ctx.Err(); err != nil {
		// The scheduler cut the poll short. What was read until then is true; the missing rest says nothing.
		if len(rep.Readings)+len(rep.Events) > 0 {
			rep.Err = nil
			out(rep)
		}
		return rep, err
	}
	if s.schedule(started, time.Now(), rep) {
		out(rep)
	}
	if s.commanded {
		s.due = time.Time{}
	}
	if PortLost(rep.Err) {
		return rep, rep.Err
	}
	return rep, nil
}

// schedule sets when the device is due again, based on the result of its poll, and reports whether the poll says
// anything about the device.
func (s *slot) schedule(started, now time.Time, rep Report) bool {
	answered := len(rep.Readings) > 0
	if PortLost(rep.Err) && KindOf(rep.Err) == Closed && !answered {
		if s.broken++; s.broken == 1 {
			s.due = time.Time{}
			return false
		}
		s.failed++
	} else {
		s.broken = 0
		switch KindOf(rep.Err) {
		case Timeout, Checksum, Protocol, Closed:
			if answered {
				s.failed = 0
			} else {
				s.failed++
			}
		default:
			s.failed = 0
		}
	}
	s.due = aligned(started, now, s.Every)
	if wait := min(time.Duration(s.failed)*backoffStep, backoffMax); wait > s.Every {
		s.due = now.Add(wait)
	}
	return true
}

// aligned returns the next multiple of every on the wall clock that is after now and at least half an interval after
// the poll that began at started, so that a clock adjustment does not cause two polls instead of one.
func aligned(started, now time.Time, every time.Duration) time.Time {
	past := time.Duration(now.UnixNano() % int64(every))
	due := now.Add(every - past)
	if due.Sub(started) < every/2 {
		due = due.Add(every)
	}
	return due
}
