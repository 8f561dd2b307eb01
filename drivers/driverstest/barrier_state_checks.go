package driverstest

import (
	"fmt"
	"slices"

	"bordo/drivers"
)

// suspectsFrozenState: the status of a model without sensors is always "closed", and OPEN was swallowed or believed
// (esphome/esphome #13201, #18286). A state that does not change over a number of commands is suspect: that is a condition,
// and the state is published as uncertain.
func suspectsFrozenState(b *barrierBench) error {
	if err := b.boot(); err != nil {
		return err
	}
	b.drive.Break(DriveFaults{FrozenStatus: true})
	for i := range b.s.suspect() {
		if r := b.do(barrierOpen); r.Outcome == drivers.Done {
			return fmt.Errorf("OPEN number %d ended as %s, though the reported state never changed; %s", i+1, words(r),
				b.seen())
		}
		b.rest()
	}
	if !b.hasCondition(stateSuspect) {
		return fmt.Errorf("%d commands without any change of state did not raise %s; %s", b.s.suspect(), stateSuspect,
			b.seen())
	}
	if s, _ := b.state(); s.Quality == drivers.Good {
		return fmt.Errorf("the suspect state is published as good; %s", b.seen())
	}
	return nil
}

// believesLimits: a cover was "closing" for ever at 1 %, though its closed switch was on (esphome/issues #6959). A limit
// beats the position, a movement ends after the travel time, and both limits at once are a fault.
func believesLimits(b *barrierBench) error {
	if err := b.boot(); err != nil {
		return err
	}
	published := func(state string) func() bool { return func() bool { return b.shows(state) } }
	closes := func(f DriveFaults, what string) error {
		b.place(100)
		b.drive.Break(f)
		b.drive.Push(barrierClose)
		if err := b.await(b.s.Travel+settle, "the arm is published as closed", published("closed")); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		b.rest()
		if !b.shows("closed") {
			return fmt.Errorf("%s: the arm did not stay closed; %s", what, b.seen())
		}
		b.drive.Break(DriveFaults{})
		return nil
	}
	if err := closes(DriveFaults{FastArm: true}, "an arm that is faster than its travel time"); err != nil {
		return err
	}
	if b.s.NoPosition == "" {
		if err := closes(DriveFaults{ShortPosition: true}, "a position that ends at 1 %"); err != nil {
			return err
		}
	}

	b.drive.Push(barrierOpen)
	if err := b.await(b.s.Travel, "the moving arm is published as opening", published("opening")); err != nil {
		return err
	}
	b.drive.Break(DriveFaults{FrozenStatus: true})
	if err := b.await(2*b.s.Travel+settle, "the movement that was never reported as ended is over", func() bool {
		return !b.shows("opening", "closing")
	}); err != nil {
		return err
	}

	if b.s.NoLimits != "" {
		return nil
	}
	b.drive.Break(DriveFaults{})
	b.place(100)
	b.drive.Break(DriveFaults{BothLimits: true})
	if err := b.await(settle, "both limits at once are published as fault", published("fault")); err != nil {
		return err
	}
	return b.refuses(barrierOpen, "with both limits on")
}

// startsFromInputs: a gate was "half open" after each restart though its limit switch was active (juaigl/
// esphome-garage-cover-single-control #15; esphome/issues #967; that a default was published is supposed). Before the inputs
// were read there is no state, and what an earlier run saved is not one either.
func startsFromInputs(b *barrierBench) error {
	// first returns the first state that counts since a moment.
	first := func(since int) (BarrierState, bool) {
		for _, s := range b.States()[since:] {
			if s.Quality == drivers.Good || s.State != "" && s.State != "unknown" {
				return s, true
			}
		}
		return BarrierState{}, false
	}
	starts := func(percent int, words ...string) error {
		b.drive.Place(percent)
		since := len(b.States())
		b.BootAgent()
		b.wait(settle)
		s, ok := first(since)
		good := s.Quality == drivers.Good && slices.Contains(words, s.State)
		if ok && !good || !ok && !slices.Contains(words, "unknown") {
			return fmt.Errorf("with the arm at %d %% the first published state is %v, want %q", percent, s, words)
		}
		b.KillAgent()
		return nil
	}
	for _, x := range []struct {
		percent int
		words   []string
	}{{100, []string{"open"}}, {0, []string{"closed"}}, {50, []string{"partial", "stopped", "unknown"}},
		{100, []string{"open"}}} {
		if err := starts(x.percent, x.words...); err != nil {
			return err
		}
	}

	b.drive.Place(0)
	b.drive.Break(DriveFaults{DeadLine: true})
	since := len(b.States())
	b.BootAgent()
	b.rest()
	if s, ok := first(since); ok {
		return fmt.Errorf("nothing could be read since the start, and %v is published", s)
	}
	b.drive.Break(DriveFaults{})
	if err := b.await(recovery, "a state is published", func() bool { _, ok := first(since); return ok }); err != nil {
		return err
	}
	if s, _ := first(since); s.State != "closed" {
		return fmt.Errorf("with the arm closed the first state after the line returned is %q", s.State)
	}
	return nil
}

// derivesDirection: a drive reported "opening" in both directions (pruwait/Nice_BusT4 #19). The direction comes from the
// limit that was left or from the position; the drive's own code is published beside it.
func derivesDirection(b *barrierBench) error {
	if err := b.boot(); err != nil {
		return err
	}
	type move struct {
		from                int
		action, want, never string
	}
	moves := []move{{0, barrierOpen, "opening", "closing"}, {100, barrierClose, "closing", "opening"}}
	if b.s.NoPosition == "" {
		moves = append(moves, move{50, barrierClose, "closing", "opening"}, move{50, barrierOpen, "opening", "closing"})
	}
	faults := []DriveFaults{{}}
	if b.s.NoDirection == "" {
		faults = append(faults, DriveFaults{ConstantDirection: true})
	}
	for _, f := range faults {
		for _, m := range moves {
			b.drive.Break(DriveFaults{})
			b.place(m.from)
			b.drive.Break(f)
			since := len(b.States())
			b.drive.Push(m.action)
			b.rest()
			wanted := false
			for _, s := range b.States()[since:] {
				wanted = wanted || s.State == m.want
				if s.State == m.never {
					return fmt.Errorf("%s from %d %% was published as %q (constant direction of the drive: %v)",
						m.action, m.from, s.State, f.ConstantDirection)
				}
				if b.s.NoDirection == "" && s.Raw == "" && s.Quality == drivers.Good {
					return fmt.Errorf("the state %q is published without the drive's own code", s.State)
				}
			}
			if !wanted {
				return fmt.Errorf("%s from %d %% was never published as %q (constant direction of the drive: %v)",
					m.action, m.from, m.want, f.ConstantDirection)
			}
		}
	}
	return nil
}
