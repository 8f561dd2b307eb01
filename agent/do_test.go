package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/drivers"
)

// moves lets a device accept every command; after a while its state is a word, "" for never.
func (n *node) moves(word string, after time.Duration) {
	n.faults.mu.Lock()
	defer n.faults.mu.Unlock()
	n.faults.states["dev-2"] = "closed"
	n.faults.do = func(drivers.Command) drivers.Result {
		if word != "" {
			time.AfterFunc(after, func() {
				n.faults.mu.Lock()
				defer n.faults.mu.Unlock()
				n.faults.states["dev-2"] = word
			})
		}
		return drivers.Result{Outcome: drivers.Accepted, Code: "accepted",
			Expect: &drivers.Expectation{Point: "state", Words: []string{"open"}, Within: 15 * time.Second}}
	}
}

// A movement is confirmed from the polls after it, and at most half a second late; the line is free meanwhile.
func TestDoIsConfirmedByLaterPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		n.moves("open", 12*time.Second)
		a := n.start()
		time.Sleep(5500 * time.Millisecond)
		began := time.Now()
		read := make(chan time.Duration, 1)
		time.AfterFunc(3*time.Second+100*time.Millisecond, func() {
			asked := time.Now()
			if _, err := a.Read(t.Context(), "dev-1"); err != nil {
				t.Error(err)
			}
			read <- time.Since(asked)
		})
		res, err := a.Do(t.Context(), drivers.Command{ID: "1", Device: "dev-2", Action: "barrier.open"})
		if took := time.Since(began); err != nil || res.Outcome != drivers.Done || res.Code != "confirmed" ||
			res.Value != "open" || took < 12*time.Second || took > 12600*time.Millisecond {
			t.Errorf("after %v: %+v, %v", took, res, err)
		}
		if waited := <-read; waited > 100*time.Millisecond {
			t.Errorf("another device was read after %v", waited)
		}
		n.stop()
	})
}

func TestDoEnds(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(n *node)
		device  string
		within  time.Duration // of ctx; 0: no limit
		outcome drivers.Outcome
		code    string
		err     error
		took    time.Duration
	}{
		"nothing moves": {prepare: func(n *node) { n.moves("", 0) }, device: "dev-2", outcome: drivers.Unknown,
			code: "not_confirmed", took: 15 * time.Second},
		"the caller leaves": {prepare: func(n *node) { n.moves("open", 12*time.Second) }, device: "dev-2",
			within: 4 * time.Second, outcome: drivers.Unknown, code: "not_confirmed", took: 4 * time.Second},
		"no such device":     {device: "dev-9", err: agent.ErrUnknownName},
		"the line is closed": {prepare: func(n *node) { n.mu.Lock(); n.noPort = errors.New("no such port"); n.mu.Unlock() }, device: "dev-2", err: agent.ErrLineDown},
		"refused":            {device: "dev-2", outcome: drivers.Rejected, code: "unknown_action"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.wall = noon
				if c.prepare != nil {
					c.prepare(n)
				}
				a := n.start()
				time.Sleep(5500 * time.Millisecond)
				ctx := t.Context()
				if c.within > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.within)
					defer cancel()
				}
				began := time.Now()
				res, err := a.Do(ctx, drivers.Command{ID: "1", Device: c.device, Action: "barrier.open"})
				if took := time.Since(began); !errors.Is(err, c.err) || res.Outcome != c.outcome ||
					res.Code != c.code || took != c.took {
					t.Errorf("after %v: %+v, %v", took, res, err)
				}
				n.stop()
			})
		})
	}
}

// Nothing but Do sends a command to a line.
func TestOnlyDoSendsCommands(t *testing.T) {
	senders := []string{}
	for _, pattern := range []string{"*.go", "*/*.go", "../cmd/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), "Command: &") {
				senders = append(senders, file)
			}
		}
	}
	if len(senders) != 1 || senders[0] != "do.go" {
		t.Errorf("commands are sent by %q", senders)
	}
}
