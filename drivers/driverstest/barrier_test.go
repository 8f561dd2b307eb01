package driverstest

import (
	"testing"
	"testing/synctest"
)

func barrierSuiteOf(fault string) BarrierSuite {
	return BarrierSuite{Start: startSample(fault, false), Travel: sampleTravel, Gap: sampleGap}
}

func oneContactSuiteOf(fault string) BarrierSuite {
	return BarrierSuite{Start: startSample(fault, true), Travel: sampleTravel, Gap: sampleGap, OneContact: true}
}

func TestSampleBarrier(t *testing.T) { Barrier(t, barrierSuiteOf("")) }

func TestSampleBarrierOfOneContact(t *testing.T) { Barrier(t, oneContactSuiteOf("")) }

func TestSampleBarrierThatOnlyOpens(t *testing.T) {
	const why = "the sample leaves it out"
	Barrier(t, BarrierSuite{
		Start: startSample("", false, barrierStop, barrierClose), Travel: sampleTravel, Gap: sampleGap,
		NoStop: why, NoClose: why, NoLimits: why, NoPosition: why, NoDirection: why, NoRestart: why, NoOutput: why,
	})
}

// Each faulty barrier is found by the check of its fault, and by no other.
func TestBarrierSuiteFails(t *testing.T) {
	found := map[string]bool{}
	for _, x := range []struct {
		check, fault string
		suite        func(fault string) BarrierSuite
	}{
		{"already", "pulses though open", barrierSuiteOf},
		{"already", "pulses though open", oneContactSuiteOf},
		{"already", "believes what it published", barrierSuiteOf},
		{"already", "doubts every command", barrierSuiteOf},
		{"restart", "forgets the restart", barrierSuiteOf},
		{"restart", "shows a state after a restart", barrierSuiteOf},
		{"stop not obeyed", "warns of every stop", barrierSuiteOf},
		{"stop not obeyed", "believes the stop", barrierSuiteOf},
		{"stop not obeyed", "repeats the stop", barrierSuiteOf},
		{"one button", "guesses the sequence", oneContactSuiteOf},
		{"one button", "steps", barrierSuiteOf},
		{"frozen", "trusts a frozen state", barrierSuiteOf},
		{"frozen", "calls a suspect state good", barrierSuiteOf},
		{"frozen", "takes silence for consent", barrierSuiteOf},
		{"limits", "lets the position decide", barrierSuiteOf},
		{"limits", "moves for ever", barrierSuiteOf},
		{"limits", "takes both limits for open", barrierSuiteOf},
		{"limits", "moves between two limits", barrierSuiteOf},
		{"first state", "restores what it saved", barrierSuiteOf},
		{"first state", "publishes a default", barrierSuiteOf},
		{"first state", "publishes what it could not read", barrierSuiteOf},
		{"direction", "believes the direction field", barrierSuiteOf},
		{"direction", "keeps the drive's code to itself", barrierSuiteOf},
		{"start-up", "resets its outputs at start", barrierSuiteOf},
		{"start-up", "writes when it stops", barrierSuiteOf},
		{"start-up", "carries on after a restart", barrierSuiteOf},
		{"latched output", "times the pulse itself", barrierSuiteOf},
		{"pulse gap", "hurries", barrierSuiteOf},
		{"pulse gap", "does not read the output back", barrierSuiteOf},
		{"dead line", "queues while the line is dead", barrierSuiteOf},
		{"dead line", "is late", barrierSuiteOf},
		{"dead line", "waits for the line", barrierSuiteOf},
	} {
		t.Run(x.fault, func(t *testing.T) {
			s := x.suite(x.fault)
			for _, c := range barrierChecks {
				synctest.Test(t, func(t *testing.T) {
					switch err := c.check(newBarrierBench(t, &s)); {
					case c.name == x.check && err == nil:
						t.Errorf("the check %q finds nothing", c.name)
					case c.name == x.check:
						found[c.name] = true
						t.Log(err)
					case err != nil:
						t.Errorf("the check %q complains as well: %v", c.name, err)
					}
				})
			}
		})
	}
	for _, c := range barrierChecks {
		if !found[c.name] {
			t.Errorf("no barrier fails the check %q", c.name)
		}
	}
}

// What the suite says is lacking must be refused, and what it needs must be there.
func TestBarrierSuiteIsHonest(t *testing.T) {
	s := barrierSuiteOf("")
	s.NoClose = "so it says"
	synctest.Test(t, func(t *testing.T) {
		if err := offersOnlyWhatItCanDirect(newBarrierBench(t, &s)); err == nil {
			t.Error("a barrier that closes passes for one that lacks CLOSE")
		}
	})
	if missing := (&BarrierSuite{}).missing(); len(missing) != 3 {
		t.Errorf("an empty suite lacks %q", missing)
	}
}
