//go:build e2e

package control

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// parts asks and collects the answer.
func parts(t *testing.T, ctx context.Context, path, what string, question any) ([]string, error) {
	t.Helper()
	var got []string
	err := Ask(ctx, path, what, question, func(p json.RawMessage) error {
		got = append(got, string(p))
		return nil
	})
	return got, err
}

func TestAsk(t *testing.T) {
	path := socketIn(t)
	stop := serveAll(t, path, Answers{Ask: map[string]Stream{
		"count": func(_ context.Context, question []byte, say func(any) error) error {
			var to int
			if err := json.Unmarshal(question, &to); err != nil {
				return err
			}
			for i := range to {
				if err := say(map[string]int{"n": i}); err != nil {
					return err
				}
			}
			if to > 2 {
				return errors.New("that is as far as it goes")
			}
			return nil
		},
	}})
	if got, err := parts(t, t.Context(), path, "count", 2); err != nil ||
		!slices.Equal(got, []string{`{"n":0}`, `{"n":1}`}) {
		t.Errorf("got %q, %v", got, err)
	}
	got, err := parts(t, t.Context(), path, "count", 3)
	if len(got) != 3 || !errors.As(err, new(Refusal)) || err.Error() != "that is as far as it goes" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := parts(t, t.Context(), path, "count", "x"); !errors.As(err, new(Refusal)) {
		t.Errorf("a wrong question: %v", err)
	}
	if _, err := parts(t, t.Context(), path, "count", strings.Repeat("x", maxQuestion)); err == nil ||
		errors.As(err, new(Refusal)) {
		t.Errorf("a question without end: %v", err)
	}
	if _, err := parts(t, t.Context(), path, "sing", 1); err == nil ||
		!strings.Contains(err.Error(), `it does not know "sing"`) {
		t.Errorf("an unknown question: %v", err)
	}
	enough := errors.New("enough")
	if err := Ask(t.Context(), path, "count", 9, func(json.RawMessage) error { return enough }); !errors.Is(err,
		enough) {
		t.Errorf("who listens no more: %v", err)
	}
	stop()
	if _, err := parts(t, t.Context(), path, "count", 2); !errors.Is(err, ErrNotRunning) {
		t.Errorf("nobody there: %v", err)
	}
}

// An answer may take longer than the server's own time-outs, and ends at once when who asked hangs up, or the server stops.
func TestAskTakesItsTimeAndEndsAtOnce(t *testing.T) {
	path := socketIn(t)
	ended := make(chan error, 1)
	stop := serveAll(t, path, Answers{Ask: map[string]Stream{
		"wait": func(ctx context.Context, _ []byte, say func(any) error) error {
			if err := say("began"); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(patience + time.Second):
			}
			ended <- ctx.Err()
			return say("over")
		},
	}})
	if got, err := parts(t, t.Context(), path, "wait", nil); err != nil ||
		!slices.Equal(got, []string{`"began"`, `"over"`}) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the answer's context ended: %v", err)
	}
	for _, how := range []string{"hangs up", "stops"} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := make(chan bool)
		asked := make(chan error, 1)
		begin := sync.OnceFunc(func() { close(began) })
		go func() {
			asked <- Ask(ctx, path, "wait", nil, func(json.RawMessage) error { begin(); return nil })
		}()
		<-began
		at := time.Now()
		if how == "stops" {
			stop()
		} else {
			cancel()
		}
		if err := <-asked; how == "hangs up" && err == nil {
			t.Error("a question that was given up was answered")
		}
		if err := <-ended; !errors.Is(err, context.Canceled) { // and not at its end, of its own accord
			t.Errorf("%s: the answer ended with %v after %v", how, err, time.Since(at))
		}
	}
}

// Who asks and then does not listen holds nobody up: not the others, and not the end of the server.
func TestAskWithoutListening(t *testing.T) {
	var took time.Duration
	for range 10 { // one of them finds the machine idle
		if took = endUnheard(t); took <= patience/2 {
			return
		}
	}
	t.Errorf("the server ended after %v", took)
}

// endUnheard ends a server one of whose clients does not listen, and returns how long that took.
func endUnheard(t *testing.T) time.Duration {
	t.Helper()
	path := socketIn(t)
	began := make(chan bool)
	begin := sync.OnceFunc(func() { close(began) })
	stop := serveAll(t, path, Answers{Status: func() any { return "well" }, Ask: map[string]Stream{
		"talk": func(_ context.Context, _ []byte, say func(any) error) error {
			for {
				if err := say(strings.Repeat("x", 1<<20)); err != nil {
					return err
				}
				begin()
			}
		},
	}})
	listening, leave := context.WithCancel(t.Context())
	defer leave()
	asked := make(chan error, 1)
	go func() {
		asked <- Ask(t.Context(), path, "talk", nil, func(json.RawMessage) error {
			<-listening.Done() // such as somebody before a page of a pager
			return errors.New("enough")
		})
	}()
	<-began
	if got, err := Status(t.Context(), path); err != nil || strings.TrimSpace(string(got)) != `"well"` {
		t.Errorf("meanwhile the status is %q, %v", got, err)
	}
	at := time.Now()
	stop()
	took := time.Since(at)
	leave()
	if err := <-asked; err == nil {
		t.Error("who left was told that all was said")
	}
	return took
}
