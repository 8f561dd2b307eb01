package agent_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/contract"
	"bordo/drivers"
)

// A reading that was asked for is one like any other: it is stored and sent, and none is missing around it.
func TestRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a := n.start()
		time.Sleep(3300 * time.Millisecond)
		r, err := a.Read(t.Context(), "dev-2")
		if err != nil || r.Device != "dev-2" || len(r.Readings) != 4 || r.Err != nil {
			t.Errorf("got %+v, %v", r, err)
		}
		asked := int(r.Readings[0].Value.Float())
		time.Sleep(10 * time.Second)
		n.stop()
		n.whole("dev-2", asked+4)
		n.whole("dev-1", 13)
		s := n.samples("dev-2")
		if d := s[asked].ts - s[asked-1].ts; d <= 0 || d >= 2000 {
			t.Errorf("the sample that was asked for came %d ms after the one before", d)
		}
		if _, err := a.Read(t.Context(), "nobody"); !errors.Is(err, agent.ErrUnknownName) {
			t.Errorf("a device that is not configured: %v", err)
		}
	})
}

func TestAskALineThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.noPort = errors.New("no such port")
		a := n.start()
		time.Sleep(time.Second)
		_, err := a.Read(t.Context(), "dev-1")
		if !errors.Is(err, agent.ErrLineDown) || !strings.Contains(err.Error(), "no such port") {
			t.Errorf("read: %v", err)
		}
		err = a.Borrow(t.Context(), "one",
			func(context.Context, drivers.Port) error { t.Error("the port was lent"); return nil })
		if !errors.Is(err, agent.ErrLineDown) {
			t.Errorf("borrow: %v", err)
		}
		n.stop()
	})
}

func TestBorrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a := n.start()
		time.Sleep(1500 * time.Millisecond)
		for range 20 { // more often than any device is polled, and each time for longer than an interval
			err := a.Borrow(t.Context(), "one", func(ctx context.Context, port drivers.Port) error {
				if port == nil {
					t.Error("no port")
				}
				select {
				case <-time.After(1200 * time.Millisecond):
				case <-ctx.Done():
				}
				return ctx.Err()
			})
			if err != nil {
				t.Errorf("borrow: %v", err)
			}
		}
		n.stop()
		n.whole("dev-1", 16) // between any two borrowings what is due is polled
		n.whole("dev-2", 8)
		if err := a.Borrow(t.Context(), "two", nil); !errors.Is(err, agent.ErrUnknownName) {
			t.Errorf("a line that is not configured: %v", err)
		}
	})
}

// Who borrows is bound: by his own context, by the limit, and by the end of the agent.
func TestBorrowEnds(t *testing.T) {
	wait := func(ctx context.Context, _ drivers.Port) error { <-ctx.Done(); return ctx.Err() }
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a := n.start()
		time.Sleep(1500 * time.Millisecond)

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := a.Borrow(ctx, "one", wait); !errors.Is(err, context.Canceled) || time.Since(began) != 3*time.Second {
			t.Errorf("cancelled: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if err := a.Borrow(t.Context(), "one", wait); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(began) > 31*time.Second {
			t.Errorf("without an end: %v after %v", err, time.Since(began))
		}

		busy := make(chan bool)
		ended := make(chan error, 2)
		go func() {
			ended <- a.Borrow(t.Context(), "one",
				func(ctx context.Context, p drivers.Port) error { close(busy); return wait(ctx, p) })
		}()
		<-busy
		impatient, cancel2 := context.WithTimeout(t.Context(), time.Second)
		defer cancel2()
		began = time.Now()
		err := a.Borrow(impatient, "one",
			func(context.Context, drivers.Port) error { t.Error("lent to who had gone"); return nil })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("who did not wait for his turn: %v after %v", err, time.Since(began))
		}
		go func() { ended <- a.Borrow(t.Context(), "one", wait) }()
		synctest.Wait()
		if took := n.stop(); took > 10*time.Second {
			t.Errorf("the agent stopped after %v", took)
		}
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("borrowed from an agent that had ended")
			}
		}
	})
}

// A borrower that loses the port costs the line a new connection, and nothing else.
func TestBorrowThatLosesThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a := n.start()
		time.Sleep(1500 * time.Millisecond)
		gone := &drivers.Error{Op: "read", Kind: drivers.Closed, Lost: true}
		if err := a.Borrow(t.Context(), "one",
			func(context.Context, drivers.Port) error { return gone }); !errors.Is(err, gone) {
			t.Errorf("borrow: %v", err)
		}
		time.Sleep(5 * time.Second)
		if r, err := a.Read(t.Context(), "dev-1"); err != nil || r.Err != nil {
			t.Errorf("read after that: %+v, %v", r, err)
		}
		n.stop()
		n.whole("dev-1", 6)
		if i := slices.IndexFunc(n.statuses[len(n.statuses)-1].Health,
			func(h contract.Health) bool { return h.Severity != "" }); i >= 0 {
			t.Errorf("health %+v", n.statuses[len(n.statuses)-1].Health[i])
		}
	})
}
