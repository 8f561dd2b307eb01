package driverstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
)

// BarrierSuite describes one barrier to Barrier. The barrier may be a device behind a driver, or an asset made of the inputs
// and outputs of an I/O module: the suite knows only what a person asks for, what is published, and the simulated machine.
type BarrierSuite struct {
	// Start returns a closed barrier at rest: mains on, line connected, agent not running yet. It is called inside a bubble
	// of testing/synctest and releases everything through t.Cleanup.
	Start func(t testing.TB) BarrierRig

	Travel  time.Duration // from one limit to the other; at least 4 s
	Gap     time.Duration // minimum time from the end of a pulse to the start of the next one
	Suspect int           // commands without any change of state after which the state is suspect; 0 means 3

	// OneContact says that a single contact does everything and that no profile gives its sequence. Such a barrier offers
	// only OPEN, and only when it is closed.
	OneContact bool

	// Each of these fields says why the barrier lacks something. Empty means that it has it and that it is checked. What is
	// not checked is logged.
	NoStop      string // no STOP command: it must be refused
	NoClose     string // no CLOSE command: it must be refused
	NoLimits    string // no separate signals for the two limits
	NoPosition  string // the drive reports no position
	NoDirection string // the drive reports no direction of its own
	NoRestart   string // a restart of the drive cannot be noticed
	NoOutput    string // commands are messages: there is no output that could stay on
}

// BarrierRig is one barrier with its agent and its simulated machine. Its methods may be called from several goroutines.
type BarrierRig interface {
	// Do asks for a movement as a person on site would, and returns once the outcome is known. It returns soon after ctx has
	// ended or the agent was killed. A command that does not get as far as a driver is Rejected.
	Do(ctx context.Context, action string, deadline time.Time) drivers.Result
	// States returns every state published since Start, in order. A change of quality alone is published too.
	States() []BarrierState
	// Conditions returns the codes of the conditions that are open now.
	Conditions() []string
	// BootAgent starts the agent and does not wait for it. KillAgent ends it as kill -9 does: files survive, and nothing
	// else is done. StopAgent ends it in the orderly way. Both return when the agent no longer runs.
	BootAgent()
	KillAgent()
	StopAgent()
	Drive() BarrierDrive
}

// BarrierState is one publication of the point "state".
type BarrierState struct {
	At      time.Time
	State   string // a word of catalogue.BarrierStates; "" where Quality is Bad
	Raw     string // the drive's own code, published beside the state; "" where the drive has none
	Quality drivers.Quality
}

// String is the state for an error.
func (s BarrierState) String() string {
	quality := map[drivers.Quality]string{drivers.Good: "good", drivers.Uncertain: "uncertain", drivers.Bad: "bad",
		drivers.Stale: "stale"}
	return fmt.Sprintf("%q (%s)", s.State, quality[s.Quality])
}

// BarrierDrive is the simulated machine: arm, motor, control board and wiring. Everything takes effect at once.
type BarrierDrive interface {
	Place(percent int)            // puts the arm there by hand, at rest: 0 is closed, 100 is open
	Push(action string)           // presses the drive's own button for a directed movement, or for STOP
	PowerCycle(off time.Duration) // cuts the mains for so long and returns at once; the motor stops, the board forgets
	Break(f DriveFaults)          // replaces the faults that the machine has; the zero value repairs it

	Arm() (percent int, motion string) // the truth; motion is opening, closing or ""
	Energised() bool                   // an output of the agent is on, or a coil that it has set
	Pulses() []Pulse                   // what arrived at the drive's terminals since Start, in order
	Written() []string                 // what the agent sent that was not a read, in order and in words
}

// Pulse is one command as the drive sees it.
type Pulse struct {
	Begin, End time.Time // End is zero while the pulse lasts; it is Begin where the command is a message
	Action     string    // barrier.open, barrier.close, barrier.stop; anything else is a step or toggle input
	Local      bool      // from the drive's own button
}

// DriveFaults are the faults that the simulated machine can have.
type DriveFaults struct {
	IgnoreStop        bool // STOP has no effect
	FrozenStatus      bool // all that the drive and the inputs report stays as it was when this began
	BothLimits        bool // both limit signals are on
	ShortPosition     bool // the reported position never falls below 1 %
	ConstantDirection bool // the reported direction is "opening" whenever the arm moves
	FastArm           bool // the arm needs half of Travel
	StuckOutput       bool // an output that is switched on stays on, and reads so
	DeadLine          bool // nothing passes the line in either direction
}

// The actions, the conditions and the codes that the suite expects.
const (
	barrierOpen  = "barrier.open"
	barrierClose = "barrier.close"
	barrierStop  = "barrier.stop"

	stopNotObeyed    = "stop_not_obeyed"
	barrierRestarted = "barrier_restarted"
	stateSuspect     = "state_suspect"
	outputStuck      = "output_stuck"
)

const (
	settle     = 5 * time.Second  // a healthy barrier has published a change by then
	recovery   = 10 * time.Minute // a barrier whose line or drive was away has been read again by then
	pulseMax   = 2 * time.Second  // the longest pulse
	stopMax    = time.Second      // from STOP to standstill
	noticeMax  = 3 * time.Second  // a STOP without effect is a condition by then
	refuseMax  = 3 * time.Second  // a dead line has refused a command by then
	commandAge = 15 * time.Second // the life of a command
)

// Barrier runs the conformance suite for barriers. Each check is a fault that operators of gates reported in public and runs
// in a bubble of testing/synctest, on a barrier of its own.
func Barrier(t *testing.T, s BarrierSuite) {
	t.Helper()
	if missing := s.missing(); len(missing) > 0 {
		t.Fatalf("the suite lacks:\n%s", strings.Join(missing, "\n"))
	}
	for _, why := range s.unchecked() {
		t.Log("not checked: " + why)
	}
	for _, c := range barrierChecks {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := c.check(newBarrierBench(t, &s)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// missing returns what must be set before anything can be checked.
func (s *BarrierSuite) missing() (missing []string) {
	if s.Start == nil {
		missing = append(missing, "Start: the barrier that is checked")
	}
	if s.Travel < 4*time.Second {
		missing = append(missing, "Travel: at least 4 s, or the movement is over before it is seen")
	}
	if s.Gap <= 0 {
		missing = append(missing, "Gap: the minimum time between two pulses")
	}
	return missing
}

// unchecked returns what the barrier lacks and why.
func (s *BarrierSuite) unchecked() (out []string) {
	for _, f := range []struct{ what, why string }{
		{"STOP", s.NoStop}, {"CLOSE", s.NoClose}, {"limit signals", s.NoLimits}, {"reported position", s.NoPosition},
		{"reported direction", s.NoDirection}, {"restart of the drive", s.NoRestart}, {"outputs", s.NoOutput},
	} {
		if f.why != "" {
			out = append(out, f.what+": "+f.why)
		}
	}
	if s.OneContact {
		out = append(out, "STOP and CLOSE: one contact without a sequence profile")
	}
	return out
}

func (s *BarrierSuite) suspect() int {
	if s.Suspect > 0 {
		return s.Suspect
	}
	return 3
}

// offers reports whether the barrier executes the action in at least one state.
func (s *BarrierSuite) offers(action string) bool {
	switch action {
	case barrierStop:
		return s.NoStop == "" && !s.OneContact
	case barrierClose:
		return s.NoClose == "" && !s.OneContact
	}
	return true
}

// barrierBench is one barrier under one check.
type barrierBench struct {
	BarrierRig
	ctx   context.Context
	s     *BarrierSuite
	drive BarrierDrive
}

func newBarrierBench(t testing.TB, s *BarrierSuite) *barrierBench {
	rig := s.Start(t)
	return &barrierBench{BarrierRig: rig, ctx: t.Context(), s: s, drive: rig.Drive()}
}

// wait lets time pass.
func (b *barrierBench) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// rest waits until every movement has ended and another command is welcome.
func (b *barrierBench) rest() { b.wait(2*b.s.Travel + b.s.Gap + settle) }

// place puts the arm somewhere and waits until that is published and another command is welcome.
func (b *barrierBench) place(percent int) {
	b.drive.Place(percent)
	b.rest()
}

// await waits until something holds and complains when it does not within the limit.
func (b *barrierBench) await(limit time.Duration, what string, holds func() bool) error {
	for until := time.Now().Add(limit); ; b.wait(10 * time.Millisecond) {
		synctest.Wait()
		if holds() {
			return nil
		}
		if !time.Now().Before(until) {
			return fmt.Errorf("%v have passed without this: %s; %s", limit, what, b.seen())
		}
	}
}

// seen describes the barrier for an error.
func (b *barrierBench) seen() string {
	percent, motion := b.drive.Arm()
	if motion != "" {
		motion = " and " + motion
	}
	state := "nothing is published"
	if s, ok := b.state(); ok {
		state = fmt.Sprintf("the last published state is %v", s)
	}
	return fmt.Sprintf("%s, the conditions are %q, the arm is at %d %%%s", state, b.Conditions(), percent, motion)
}

// state returns the last published state.
func (b *barrierBench) state() (BarrierState, bool) {
	all := b.States()
	if len(all) == 0 {
		return BarrierState{}, false
	}
	return all[len(all)-1], true
}

// shows reports whether the last published state is one of the given ones, and good.
func (b *barrierBench) shows(words ...string) bool {
	s, ok := b.state()
	return ok && s.Quality == drivers.Good && slices.Contains(words, s.State)
}

func (b *barrierBench) hasCondition(code string) bool { return slices.Contains(b.Conditions(), code) }

// armAt reports whether the arm stands still at a position.
func (b *barrierBench) armAt(percent int) bool {
	p, motion := b.drive.Arm()
	return p == percent && motion == ""
}

// boot starts the agent on a closed barrier and waits for its first reading.
func (b *barrierBench) boot() error {
	b.drive.Place(0)
	since := len(b.States())
	b.BootAgent()
	return b.await(settle, "the closed barrier is published as closed",
		func() bool { return len(b.States()) > since && b.shows("closed") })
}

// begin asks for a movement and does not wait for the outcome.
func (b *barrierBench) begin(action string) <-chan drivers.Result {
	out := make(chan drivers.Result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(b.ctx, 4*commandAge)
		defer cancel()
		out <- b.Do(ctx, action, time.Now().Add(commandAge))
	}()
	return out
}

// do asks for a movement and waits for the outcome.
func (b *barrierBench) do(action string) drivers.Result {
	r := <-b.begin(action)
	synctest.Wait()
	return r
}

// opens opens the closed barrier and complains when the arm or the published state does not follow.
func (b *barrierBench) opens() error {
	n := len(b.sent())
	if r := b.do(barrierOpen); r.Outcome != drivers.Done {
		return fmt.Errorf("OPEN of the closed barrier ended as %s; %s", words(r), b.seen())
	}
	if len(b.sent()) == n {
		return fmt.Errorf("OPEN of the closed barrier is done, and the drive received nothing; %s", b.seen())
	}
	err := b.await(2*b.s.Travel, "the arm is open and published as open",
		func() bool { return b.armAt(100) && b.shows("open") })
	b.rest()
	return err
}

// bootAndOpen starts the agent on a closed barrier and opens it.
func (b *barrierBench) bootAndOpen() error {
	if err := b.boot(); err != nil {
		return err
	}
	return b.opens()
}

// sent returns the pulses that came from the agent.
func (b *barrierBench) sent() []Pulse {
	return slices.DeleteFunc(slices.Clone(b.drive.Pulses()), func(p Pulse) bool { return p.Local })
}

// silence notes what the agent has sent so far. The function that it returns complains of anything more.
func (b *barrierBench) silence() func(when string) error {
	written, sent := len(b.drive.Written()), len(b.sent())
	return func(when string) error {
		if w, p := b.drive.Written(), b.sent(); len(w) > written || len(p) > sent {
			return fmt.Errorf("%s, the agent wrote %q, and the drive received %d pulses", when, w[written:],
				len(p)-sent)
		}
		return nil
	}
}

// refuses wants an action to be rejected, with one of some codes where any is given, and nothing to be written.
func (b *barrierBench) refuses(action, when string, codes ...string) error {
	quiet := b.silence()
	r := b.do(action)
	if r.Outcome != drivers.Rejected || len(codes) > 0 && !slices.Contains(codes, r.Code) {
		want := strings.TrimSpace("rejected " + strings.Join(codes, " or "))
		return fmt.Errorf("%s, %s ended as %s, want %s; %s", when, action, words(r), want, b.seen())
	}
	b.rest()
	return quiet(fmt.Sprintf("%s, and after %s was rejected", when, action))
}

// words is a result for an error.
func words(r drivers.Result) string {
	if r.Detail == "" {
		return fmt.Sprintf("%s %s", r.Outcome, r.Code)
	}
	return fmt.Sprintf("%s %s (%s)", r.Outcome, r.Code, r.Detail)
}
