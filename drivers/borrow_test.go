package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
)

// lender runs units and notes in what order the line is used: "a", "b" for polls, the names of borrowers.
type lender struct {
	t      *testing.T
	order  []string
	link   drivers.Link
	in     chan drivers.Request
	cancel context.CancelFunc
	ended  chan error
}

func newLender(t *testing.T, takes time.Duration, every ...time.Duration) *lender {
	l := &lender{t: t, in: make(chan drivers.Request, 16), ended: make(chan error, 1)}
	var units []drivers.Unit
	for i, e := range every {
		name := string(rune('a' + i))
		units = append(units, drivers.Unit{Device: name, Every: e,
			Poller: &script{takes: takes, poll: func(int) drivers.Report {
				l.order = append(l.order, name)
				return good()
			}}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	l.link = drivers.Polled(units...)
	go func() { l.ended <- l.link.Run(ctx, nil, l.in, func(drivers.Report) {}) }()
	return l
}

// borrow asks for the line and returns where its answer comes.
func (l *lender) borrow(name string, use func(context.Context) error) <-chan error {
	answer := make(chan error, 1)
	l.in <- drivers.Request{
		Borrow: func(ctx context.Context, _ drivers.Port) error { l.order = append(l.order, name); return use(ctx) },
		Answer: func(a drivers.Answer) { answer <- a.Err },
	}
	return answer
}

func (l *lender) stop() error {
	l.cancel()
	return <-l.ended
}

func nothing(context.Context) error { return nil }

func TestBorrowWaitsForWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLender(t, 100*time.Millisecond, 10*time.Second, 10*time.Second)
		first := l.borrow("early", nothing) // both devices are due when the line begins
		if err := <-first; err != nil {
			t.Errorf("early: %v", err)
		}
		if err := <-l.borrow("idle", nothing); err != nil {
			t.Errorf("idle: %v", err)
		}
		if want := []string{"a", "b", "early", "idle"}; !slices.Equal(l.order, want) {
			t.Errorf("the line was used by %v, want %v", l.order, want)
		}
		l.stop() //nolint:errcheck // how it ends is another test's
	})
}

// A line that is always busy is lent all the same, and borrowing without end does not keep a device from its polls.
func TestBorrowSharesABusyLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLender(t, 2*time.Second, time.Second, time.Second)
		for i := range 5 {
			if err := <-l.borrow(fmt.Sprint(i), nothing); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		l.stop() //nolint:errcheck // how it ends is another test's
		text := strings.Join(l.order, "")
		for i := range 5 {
			before, _, _ := strings.Cut(text, fmt.Sprint(i))
			_, before, _ = strings.Cut(before, fmt.Sprint(i-1))
			if i > 0 && (!strings.Contains(before, "a") || !strings.Contains(before, "b") || len(before) > 3) {
				t.Errorf("before borrower %d: %q in %q, want each device once", i, before, text)
			}
		}
	})
}

func TestACommandGoesBeforeABorrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLender(t, 0, time.Hour)
		synctest.Wait()
		l.order = nil
		busy, free := make(chan bool), make(chan bool)
		first := l.borrow("first", func(context.Context) error { close(busy); <-free; return nil })
		<-busy
		second := l.borrow("second", nothing)
		l.in <- drivers.Request{Device: "a", Command: &drivers.Command{Action: "x"},
			Answer: func(drivers.Answer) { l.order = append(l.order, "command") }}
		close(free)
		<-first
		<-second
		if want := []string{"first", "command", "a", "second"}; !slices.Equal(l.order, want) {
			t.Errorf("the line was used by %v, want %v", l.order, want)
		}
		l.stop() //nolint:errcheck // how it ends is another test's
	})
}

func TestBorrowThatLosesThePortEndsTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLender(t, time.Second, time.Hour)
		gone := &drivers.Error{Op: "read", Kind: drivers.Closed, Lost: true}
		first := l.borrow("first", func(context.Context) error { return fmt.Errorf("scan: %w", gone) })
		second := l.borrow("second", nothing)
		if err := <-first; !errors.Is(err, gone) {
			t.Errorf("answer %v", err)
		}
		if err := <-second; drivers.KindOf(err) != drivers.Closed || slices.Contains(l.order, "second") {
			t.Errorf("who waited got %v, and the line was used by %v", err, l.order)
		}
		if err := <-l.ended; !errors.Is(err, gone) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestBorrowersAreBoundedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLender(t, 0, time.Hour)
		synctest.Wait()
		began := make(chan bool)
		under := l.borrow("first", func(ctx context.Context) error { close(began); <-ctx.Done(); return ctx.Err() })
		<-began
		var waiting []<-chan error
		for i := range 5 {
			waiting = append(waiting, l.borrow(fmt.Sprint(i), nothing))
		}
		if err := l.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
		if err := <-under; !errors.Is(err, context.Canceled) {
			t.Errorf("the borrower got %v", err)
		}
		// What was still waiting when the line ended is served by the next Run.
		ctx, cancel := context.WithCancel(t.Context())
		go func() { l.ended <- l.link.Run(ctx, nil, l.in, func(drivers.Report) {}) }()
		refused := 0
		for i, w := range waiting {
			if err := <-w; drivers.KindOf(err) == drivers.Busy {
				refused++
			} else if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if refused != 1 {
			t.Errorf("%d of 5 were refused, want the one beyond four", refused)
		}
		cancel()
		<-l.ended
	})
}

// A command that nobody wants any more when its turn comes is not carried out.
func TestCancelledCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		did := false
		gate := &script{do: func(drivers.Command) drivers.Result { did = true; return drivers.Result{Outcome: drivers.Done} }}
		cancelled := make(chan struct{})
		close(cancelled)
		in := make(chan drivers.Request, 1)
		var got drivers.Result
		in <- drivers.Request{Device: "gate", Command: &drivers.Command{Device: "gate", Action: "barrier.open"},
			Cancelled: cancelled,
			Answer:    func(a drivers.Answer) { got = a.Result }}
		run(t, time.Second, in, drivers.Unit{Device: "gate", Poller: gate, Every: time.Minute})
		if did || got.Outcome != drivers.Expired || got.Code != "cancelled" {
			t.Errorf("carried out %v: %+v", did, got)
		}
	})
}
