package plant

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// passes lists what may come after each state of a barrier: it never skips one.
var passes = map[string][]string{
	Closed:      {Opening, Unknown},
	Opening:     {Open, Partial, Closing, Stopped, Unknown},
	Open:        {Closing, Unknown},
	Closing:     {Closed, Opening, Stopped, Unknown},
	Stopped:     {Opening, Closing, Unknown},
	Partial:     {Opening, Closing, Unknown},
	Unknown:     {Calibrating},
	Calibrating: {Closed, Stopped, Unknown},
}

// Whatever is done to a barrier, its states follow one another as an arm moves, the arm never jumps, and it never moves
// down while the photocell is broken or the loop occupied, but for its inertia.
func TestBarrierNeverSkipsAState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBarrier(4*time.Second, 100)
		b.AutoClose = time.Duration(rapid.IntRange(0, 3).Draw(t, "auto")) * 5 * time.Second
		held := time.Duration(0)
		see := stateWatch(t, b)
		for range rapid.IntRange(1, 60).Draw(t, "acts") {
			act(t, b)
			see()
			for range rapid.IntRange(1, 80).Draw(t, "steps") {
				from, cycles := b.Position, b.Cycles
				b.Step(barrierGrain, 20)
				see()
				if jump := math.Abs(b.Position - from); jump > 100/b.Travel.Seconds()*barrierGrain.Seconds()+1e-9 &&
					!atEnd(b) {
					t.Fatalf("the arm jumped %v per cent in one step", jump)
				}
				if b.Cycles < cycles {
					t.Fatal("the counter went back")
				}
				if held += barrierGrain; !b.PhotocellBroken && !b.LoopOccupied || b.State != Closing {
					held = 0
				}
				if held > barrierGrain {
					t.Fatalf("closing for %s with the way occupied", held)
				}
			}
		}
	})
}

func atEnd(b *Barrier) bool { return b.Position == b.target }

func stateWatch(t *rapid.T, b *Barrier) func() {
	was := b.State
	return func() {
		if b.State != was && !contains(passes[was], b.State) {
			t.Fatalf("%s after %s", b.State, was)
		}
		was = b.State
	}
}

func act(t *rapid.T, b *Barrier) {
	switch rapid.IntRange(0, 9).Draw(t, "act") {
	case 0, 1:
		b.Obey(OrderOpen)
	case 2, 3:
		b.Obey(OrderClose)
	case 4:
		b.Obey(OrderStop)
	case 5:
		b.Obey(OrderPartial)
	case 6:
		b.PhotocellBroken = !b.PhotocellBroken
	case 7:
		b.LoopOccupied = !b.LoopOccupied
	case 8:
		b.Obstacle = !b.Obstacle
	case 9:
		if b.Powered {
			b.Power(false)
		} else {
			b.Power(true)
		}
	}
}

func TestBarrierTravel(t *testing.T) {
	b := NewBarrier(4*time.Second, 41)
	if !b.Obey(OrderOpen) {
		t.Fatal("a closed barrier does not open")
	}
	run(b, 5*time.Second)
	if b.State != Open || b.Position != 100 || b.Cycles != 42 {
		t.Fatalf("after the travel: %s, %v %%, %d cycles", b.State, b.Position, b.Cycles)
	}

	b.Obey(OrderClose)
	run(b, 2*time.Second)
	at := b.Position
	b.PhotocellBroken = true
	run(b, 150*time.Millisecond)
	if b.State != Opening {
		t.Fatalf("photocell broken while closing: %s", b.State)
	}
	run(b, 5*time.Second)
	if b.State != Open || at <= 0 || at >= 100 {
		t.Fatalf("reversed from %v %% into %s", at, b.State)
	}
	if b.Obey(OrderClose) {
		t.Error("began to close with the photocell broken")
	}
	b.PhotocellBroken = false

	b.Obey(OrderClose)
	run(b, 2*time.Second)
	b.Obey(OrderStop)
	stopped := b.Position
	run(b, time.Second)
	if b.State != Stopped || b.Position >= stopped || stopped-b.Position > 10 {
		t.Errorf("stop: %s, from %v to %v %%: want a little inertia", b.State, stopped, b.Position)
	}

	b.Power(false)
	if b.Obey(OrderOpen) {
		t.Error("obeyed without power")
	}
	b.Power(true)
	if b.State != Calibrating {
		t.Errorf("after power came back: %s", b.State)
	}
	run(b, 20*time.Second)
	if b.State != Closed {
		t.Errorf("after calibrating: %s", b.State)
	}
}

// An arm that is told to close shortly before it is up runs on for a moment; turned back then, it is opening before it is open.
func TestBarrierTurnedBackAtTheStop(t *testing.T) {
	b := NewBarrier(4*time.Second, 0)
	b.Obey(OrderOpen)
	run(b, 4050*time.Millisecond)
	b.Obey(OrderClose)
	run(b, 2*barrierGrain)
	if b.State != Closing || b.Position < 99 {
		t.Fatalf("told to close: %s at %v %%", b.State, b.Position)
	}
	b.PhotocellBroken = true
	for _, want := range []string{Opening, Open} {
		run(b, barrierGrain)
		if b.State != want {
			t.Errorf("%s with the photocell broken, want %s", b.State, want)
		}
	}
}

func run(b *Barrier, d time.Duration) { b.Step(d, 20) }
