package driverstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"bordo/drivers"
)

// The sample barrier is the smallest one that passes the suite, and a template for a real one: sampleDrive is the machine,
// sampleBarrier the rig with the files that survive an agent, sampleAgent the logic. The suite has to find its faults.

const (
	samplePoll   = 250 * time.Millisecond
	sampleTravel = 8 * time.Second
	sampleGap    = 3 * time.Second
	samplePulse  = 500 * time.Millisecond

	sampleSuspect = 3
)

// sampleBarrier implements BarrierRig.
type sampleBarrier struct {
	fault      string
	oneContact bool
	without    []string // actions that it does not offer
	drive      *sampleDrive

	mu         sync.Mutex
	states     []BarrierState
	conditions map[string]bool
	savedWork  string       // a file of the agent, which only a faulty one reads
	agent      *sampleAgent // nil: it does not run
}

func (b *sampleBarrier) Drive() BarrierDrive { return b.drive }

func (b *sampleBarrier) States() []BarrierState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.states)
}

func (b *sampleBarrier) Conditions() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.conditions))
}

func (b *sampleBarrier) BootAgent() {
	ctx, cancel := context.WithCancel(context.Background())
	a := &sampleAgent{b: b, ctx: ctx, cancel: cancel, done: make(chan struct{})}
	b.mu.Lock()
	b.agent, b.conditions = a, map[string]bool{}
	b.mu.Unlock()
	go a.run()
}

func (b *sampleBarrier) KillAgent() {
	b.mu.Lock()
	a := b.agent
	b.agent = nil
	b.mu.Unlock()
	if a != nil {
		a.cancel()
		<-a.done
	}
}

func (b *sampleBarrier) StopAgent() {
	b.KillAgent()
	if b.fault == "writes when it stops" {
		b.drive.output("off", 0) //nolint:errcheck // a fault
	}
}

func (b *sampleBarrier) Do(ctx context.Context, action string, deadline time.Time) drivers.Result {
	b.mu.Lock()
	a := b.agent
	b.mu.Unlock()
	if a == nil {
		return drivers.Result{Outcome: drivers.Rejected, Code: "not_running"}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.ctx, cancel)()
	return a.do(ctx, action, deadline)
}

// save writes a file of the agent, and work returns it.
func (b *sampleBarrier) save(action string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.savedWork = action
}

func (b *sampleBarrier) work() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.savedWork
}

func (b *sampleBarrier) raise(code string, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if open {
		b.conditions[code] = true
	} else {
		delete(b.conditions, code)
	}
}

// sampleAgent is one life of the agent.
type sampleAgent struct {
	b      *sampleBarrier
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	mu          sync.Mutex
	shown       BarrierState // published last in this life; At is zero before
	known       bool         // last and state hold
	last        sampleInputs
	state       string
	way         int       // +1 the arm opens, -1 it closes, 0 not known
	since       time.Time // of the movement
	restarted   bool
	unconfirmed int // commands since the state changed
	pulseEnd    time.Time
	queue       string // of a faulty agent
}

func (a *sampleAgent) run() {
	defer close(a.done)
	b := a.b
	switch {
	case b.fault == "resets its outputs at start":
		b.drive.output("off", 0) //nolint:errcheck // a fault
	case b.fault == "carries on after a restart" && b.work() != "":
		b.drive.output(b.work(), samplePulse) //nolint:errcheck // a fault
	case b.fault == "restores what it saved" && len(b.States()) > 0:
		a.publish(b.States()[len(b.States())-1])
	case b.fault == "publishes a default":
		a.publish(BarrierState{State: "closed", Raw: "stopped"})
	}
	for {
		_, err := a.read()
		a.mu.Lock()
		if err == nil && a.queue != "" {
			b.drive.output(a.queue, samplePulse) //nolint:errcheck // a fault
			a.queue = ""
		}
		a.mu.Unlock()
		if !pause(a.ctx, samplePoll) {
			return
		}
	}
}

// publish publishes a state that differs from the one before. The caller holds mu, or is alone.
func (a *sampleAgent) publish(s BarrierState) {
	s.At = a.shown.At
	if s == a.shown && !s.At.IsZero() {
		return
	}
	s.At = time.Now()
	a.shown = s
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.b.states = append(a.b.states, s)
}

// pause waits and tells whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// read reads all inputs and publishes the state that follows from them.
func (a *sampleAgent) read() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in, err := a.b.drive.read()
	if err != nil {
		switch {
		case a.known:
			a.publish(BarrierState{State: a.state, Raw: a.last.code, Quality: drivers.Stale})
		case a.b.fault == "publishes what it could not read":
			a.publish(BarrierState{State: "closed", Raw: "stopped"})
		}
		return "", err
	}
	if a.known && in.uptime < a.last.uptime && a.b.fault != "forgets the restart" {
		a.restarted = true
	}
	if in.closed != in.opened {
		a.restarted = false
	}
	state := a.derive(in)
	if state != a.state {
		a.unconfirmed = 0
	}
	a.known, a.last, a.state = true, in, state
	a.b.raise(barrierRestarted, a.restarted)
	a.b.raise(outputStuck, in.output && time.Since(a.pulseEnd) > time.Second)
	next, suspect := BarrierState{State: state, Raw: in.code}, a.unconfirmed >= sampleSuspect &&
		a.b.fault != "trusts a frozen state"
	if suspect && a.b.fault != "calls a suspect state good" {
		next.Quality = drivers.Uncertain
	}
	a.b.raise(stateSuspect, suspect)
	if a.b.fault == "keeps the drive's code to itself" {
		next.Raw = ""
	}
	a.publish(next)
	return state, nil
}

// derive makes a state of inputs: a limit counts most, then how long the arm has moved and where to.
func (a *sampleAgent) derive(in sampleInputs) string {
	if a.known && in.position != a.last.position {
		a.way = sign(in.position - a.last.position)
	}
	if a.b.fault == "lets the position decide" {
		in.closed, in.opened = in.position == 0, in.position == 100
	}
	switch {
	case in.closed && in.opened && a.b.fault == "takes both limits for open":
		return "open"
	case in.closed && in.opened:
		return "fault"
	case in.closed:
		a.way, a.since = +1, time.Time{} // of the next movement
		return "closed"
	case in.opened:
		a.way, a.since = -1, time.Time{}
		return "open"
	case a.restarted && a.b.fault != "shows a state after a restart":
		return "unknown"
	case in.code == "stopped":
		a.way, a.since = 0, time.Time{}
		return "partial"
	}
	if a.since.IsZero() {
		a.since = time.Now()
	}
	switch {
	case time.Since(a.since) > sampleTravel*3/2 && a.b.fault != "moves for ever":
		return "unknown"
	case a.b.fault == "believes the direction field":
		return in.code
	case a.way > 0:
		return "opening"
	case a.way < 0:
		return "closing"
	}
	return "unknown"
}

func sign(n int) int { return min(max(n, -1), 1) }

func refused(code, detail string) drivers.Result {
	return drivers.Result{Outcome: drivers.Rejected, Code: code, Detail: detail}
}

// do carries one command out. The order of its refusals is that of the suite's rules.
func (a *sampleAgent) do(ctx context.Context, action string, deadline time.Time) drivers.Result {
	b := a.b
	if slices.Contains(b.without, action) {
		return refused("unknown_action", "not offered")
	}
	if b.oneContact && action != barrierOpen {
		return refused("no_sequence", "one contact")
	}
	a.mu.Lock()
	before, known := a.state, a.known
	a.mu.Unlock()
	state, err := a.read()
	for b.fault == "waits for the line" && err != nil && time.Now().Before(deadline) && pause(ctx, samplePoll) {
		state, err = a.read()
	}
	if err != nil {
		if b.fault == "queues while the line is dead" {
			a.mu.Lock()
			a.queue = action
			a.mu.Unlock()
		}
		return refused("line_down", err.Error())
	}
	if b.fault == "believes what it published" && known {
		state = before
	}
	a.mu.Lock()
	in, restarted, next := a.last, a.restarted, a.pulseEnd.Add(sampleGap)
	a.mu.Unlock()
	target := map[string]string{barrierOpen: "open", barrierClose: "closed"}[action]
	switch {
	case state == target && b.fault != "pulses though open":
		if b.fault == "doubts every command" {
			a.mu.Lock()
			a.unconfirmed++
			a.mu.Unlock()
		}
		return drivers.Result{Outcome: drivers.Done, Code: "already", Value: state}
	case action == barrierStop: // never waits for anything
	case state == "fault" && b.fault != "moves between two limits":
		return refused("fault", "both limits are on")
	case restarted:
		return refused("restarted", "the drive restarted, no limit was seen since")
	case b.oneContact && state != "closed" && b.fault != "guesses the sequence":
		return refused("no_sequence", "one contact, and the barrier is "+state)
	case in.output && b.fault != "does not read the output back":
		return refused("output_on", "the output of the last pulse is still on")
	case time.Now().Before(next) && b.fault != "hurries":
		return refused("too_soon", "the last pulse is too near")
	}
	if !time.Now().Before(deadline) && b.fault != "is late" {
		return drivers.Result{Outcome: drivers.Expired, Code: "expired"}
	}
	if err := a.pulse(action); err != nil {
		return refused("line_down", err.Error())
	}
	if action == barrierStop {
		return a.confirmStop(ctx)
	}
	return a.confirm(ctx, target, map[string]string{barrierOpen: "opening", barrierClose: "closing"}[action])
}

// pulse has the module switch an output on for a while.
func (a *sampleAgent) pulse(action string) error {
	a.mu.Lock()
	a.pulseEnd = time.Now().Add(samplePulse)
	a.mu.Unlock()
	a.b.save(action)
	length := samplePulse
	if a.b.fault == "times the pulse itself" {
		length = 24 * time.Hour
		go func() {
			if pause(a.ctx, samplePulse) {
				a.b.drive.output("off", 0) //nolint:errcheck // a fault
			}
		}()
	}
	if a.b.oneContact || a.b.fault == "steps" && action != barrierStop {
		action = "step"
	}
	return a.b.drive.output(action, length)
}

// confirm waits until the arm moves the right way. A command without any effect on the state makes it doubtful.
func (a *sampleAgent) confirm(ctx context.Context, words ...string) drivers.Result {
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until) && pause(ctx, samplePoll/2); {
		if state, err := a.read(); err == nil && slices.Contains(words, state) {
			return drivers.Result{Outcome: drivers.Done, Code: "confirmed", Value: state}
		}
	}
	a.mu.Lock()
	a.unconfirmed++
	a.mu.Unlock()
	if a.b.fault == "takes silence for consent" {
		return drivers.Result{Outcome: drivers.Done, Code: "confirmed"}
	}
	return drivers.Result{Outcome: drivers.Unknown, Code: "not_confirmed"}
}

// confirmStop gives the drive a second to stand still and never repeats the pulse.
func (a *sampleAgent) confirmStop(ctx context.Context) drivers.Result {
	if a.b.fault == "believes the stop" {
		return drivers.Result{Outcome: drivers.Done, Code: "accepted"}
	}
	for until := time.Now().Add(stopMax); time.Now().Before(until) && pause(ctx, samplePoll/2); {
		if state, err := a.read(); err == nil && state != "opening" && state != "closing" {
			a.b.raise(stopNotObeyed, a.b.fault == "warns of every stop")
			return drivers.Result{Outcome: drivers.Done, Code: "confirmed", Value: state}
		}
	}
	a.b.raise(stopNotObeyed, true)
	if a.b.fault == "repeats the stop" {
		a.b.drive.output(barrierStop, samplePulse) //nolint:errcheck // a fault
	}
	return drivers.Result{Outcome: drivers.Failed, Code: stopNotObeyed, Detail: "use the local means"}
}

// startSample makes a closed barrier for the suite.
func startSample(fault string, oneContact bool, without ...string) func(t testing.TB) BarrierRig {
	return func(t testing.TB) BarrierRig {
		b := &sampleBarrier{fault: fault, oneContact: oneContact, without: without, conditions: map[string]bool{},
			drive: &sampleDrive{boot: time.Now(), since: time.Now()}}
		t.Cleanup(b.KillAgent)
		return b
	}
}

var errSampleLine = errors.New("the line is dead")

func describe(action string) string {
	return fmt.Sprintf("%v %s", time.Now().Format(time.TimeOnly), action)
}
