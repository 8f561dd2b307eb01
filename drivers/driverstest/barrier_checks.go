package driverstest

import (
	"fmt"
	"slices"
	"time"

	"bordo/drivers"
)

// barrierChecks are the checks by name. Each returns what is wrong. The comment of each names the public report of the fault.
var barrierChecks = []struct {
	name  string
	check func(b *barrierBench) error
}{
	{"already", sendsNothingAtTheTarget},
	{"restart", staysStillAfterRestart},
	{"stop not obeyed", noticesDisobeyedStop},
	{"one button", offersOnlyWhatItCanDirect},
	{"frozen", suspectsFrozenState},
	{"limits", believesLimits},
	{"first state", startsFromInputs},
	{"direction", derivesDirection},
	{"start-up", writesNothingAtStart},
	{"latched output", endsEveryPulse},
	{"pulse gap", separatesPulses},
	{"dead line", refusesOnDeadLine},
}

// sendsNothingAtTheTarget: OPEN for a door that is open already was passed on as a toggle, and the door closed
// (Tysonpower/HCPBridgeMqtt_tynet #26). The state is read again before each movement; a barrier that is at its target
// answers done/already and receives nothing.
func sendsNothingAtTheTarget(b *barrierBench) error {
	if err := b.bootAndOpen(); err != nil {
		return err
	}
	already := func(action, when string) error {
		quiet := b.silence()
		if r := b.do(action); r.Outcome != drivers.Done || r.Code != "already" {
			return fmt.Errorf("%s, %s ended as %s, want done already; %s", when, action, words(r), b.seen())
		}
		b.rest()
		return quiet(fmt.Sprintf("%s, and after %s", when, action))
	}
	for range b.s.suspect() + 1 { // a command that moves nothing raises no doubt about the state
		if err := already(barrierOpen, "with the arm open"); err != nil {
			return err
		}
	}
	if b.hasCondition(stateSuspect) {
		return fmt.Errorf("commands that were not necessary made the state suspect; %s", b.seen())
	}
	// Moved by hand since the last poll: what was published last does not count.
	b.place(0)
	b.drive.Place(100)
	if err := already(barrierOpen, "with the arm opened by hand since the last poll"); err != nil {
		return err
	}
	if b.s.offers(barrierClose) {
		b.drive.Place(0)
		if err := already(barrierClose, "with the arm closed by hand since the last poll"); err != nil {
			return err
		}
	}
	b.place(100)
	b.drive.Place(0)
	return b.opens()
}

// staysStillAfterRestart: after a power cut CLOSE opened a garage door in the night, because the drive had forgotten its
// last direction (ratgdo/esphome-ratgdo #342; the reporter supposes this cause). After a restart of the drive the state is
// unknown and nothing moves the arm from remote until a limit was seen.
func staysStillAfterRestart(b *barrierBench) error {
	if b.s.NoRestart != "" {
		return nil
	}
	if err := b.boot(); err != nil {
		return err
	}
	b.place(50)
	b.drive.PowerCycle(10 * time.Second)
	b.wait(10 * time.Second)
	if err := b.await(recovery, "the condition "+barrierRestarted,
		func() bool { return b.hasCondition(barrierRestarted) }); err != nil {
		return err
	}
	b.wait(settle)
	if s, ok := b.state(); !ok || s.State != "unknown" && s.State != "calibrating" && s.Quality != drivers.Bad {
		return fmt.Errorf("the state is not unknown after a restart of the drive between the limits; %s", b.seen())
	}
	codes := []string{"restarted"}
	if b.s.OneContact {
		codes = append(codes, "no_sequence") // true as well: the arm is not closed
	}
	for _, action := range []string{barrierClose, barrierOpen} {
		if !b.s.offers(action) {
			continue
		}
		if err := b.refuses(action, "after a restart of the drive between the limits", codes...); err != nil {
			return err
		}
	}
	b.drive.Push(barrierClose)
	b.rest()
	if b.hasCondition(barrierRestarted) {
		return fmt.Errorf("the condition %s is still open at a limit; %s", barrierRestarted, b.seen())
	}
	return b.opens()
}

// noticesDisobeyedStop: a drive stopped while opening and ignored STOP while closing (ratgdo/esphome-ratgdo #490, #58). The
// movement has to end within a second of STOP; otherwise the operator is warned, and nothing more is sent: another pulse
// could reverse the arm.
func noticesDisobeyedStop(b *barrierBench) error {
	if !b.s.offers(barrierStop) {
		return nil // the check "one button" wants it refused
	}
	if err := b.boot(); err != nil {
		return err
	}
	b.drive.Push(barrierOpen)
	b.wait(b.s.Travel / 4)
	stopped := b.begin(barrierStop)
	// The command takes its time to the drive as well: hence twice.
	if err := b.await(2*stopMax, "the arm stands still after STOP",
		func() bool { _, motion := b.drive.Arm(); return motion == "" }); err != nil {
		return err
	}
	if r := <-stopped; r.Outcome != drivers.Done {
		return fmt.Errorf("STOP of an obedient drive ended as %s; %s", words(r), b.seen())
	}
	b.rest()
	if b.hasCondition(stopNotObeyed) {
		return fmt.Errorf("the drive obeyed STOP; %s", b.seen())
	}

	b.place(100)
	b.drive.Break(DriveFaults{IgnoreStop: true})
	b.drive.Push(barrierClose)
	b.wait(b.s.Travel / 4)
	n := len(b.sent())
	stopped = b.begin(barrierStop)
	if err := b.await(noticeMax, "the condition "+stopNotObeyed,
		func() bool { return b.hasCondition(stopNotObeyed) }); err != nil {
		return err
	}
	if r := <-stopped; r.Outcome == drivers.Done {
		return fmt.Errorf("STOP that the drive ignored ended as %s; %s", words(r), b.seen())
	}
	b.rest()
	if sent := b.sent()[n:]; len(sent) != 1 || sent[0].Action != barrierStop {
		return fmt.Errorf("around a STOP that the drive ignored it received %s, want one STOP", actions(sent))
	}
	return nil
}

// offersOnlyWhatItCanDirect: the same pulse stops, reverses or restarts an arm, depending on the make and on the last
// direction (tronikos/esphome-gdo #19; RavenSystem/esp-homekit-devices #436, #151). With one contact and no profile of its
// sequence only OPEN of the closed barrier is safe. Where there are directed commands, no toggle is used. What the barrier
// lacks is refused.
func offersOnlyWhatItCanDirect(b *barrierBench) error {
	if err := b.bootAndOpen(); err != nil {
		return err
	}
	if !b.s.OneContact {
		return directsEverything(b)
	}
	const code = "no_sequence"
	for _, x := range []struct {
		when    string
		prepare func()
		actions []string
	}{
		{"with the arm open", func() {}, []string{barrierClose}},
		{"with the arm stopped half-way", func() { b.place(50) }, []string{barrierOpen, barrierClose, barrierStop}},
		{"with the arm opening", func() { b.place(0); b.drive.Push(barrierOpen); b.wait(b.s.Travel / 4) },
			[]string{barrierOpen}},
		{"with the arm opening", func() { b.place(0); b.drive.Push(barrierOpen); b.wait(b.s.Travel / 4) },
			[]string{barrierStop}},
		{"with the arm closing", func() { b.place(100); b.drive.Push(barrierClose); b.wait(b.s.Travel / 4) },
			[]string{barrierOpen}},
	} {
		x.prepare()
		for _, action := range x.actions {
			if err := b.refuses(action, x.when, code); err != nil {
				return err
			}
		}
	}
	return nil
}

// directsEverything is the check of a barrier with directed commands, whose arm is open.
func directsEverything(b *barrierBench) error {
	for _, action := range []string{barrierClose, barrierStop} {
		if b.s.offers(action) {
			if r := b.do(action); action == barrierClose && r.Outcome != drivers.Done {
				return fmt.Errorf("with the arm open, %s ended as %s; %s", action, words(r), b.seen())
			}
			b.rest()
			continue
		}
		if err := b.refuses(action, "without "+action); err != nil {
			return err
		}
	}
	directed := []string{barrierOpen, barrierClose, barrierStop}
	for _, p := range b.sent() {
		if !slices.Contains(directed, p.Action) {
			return fmt.Errorf("the drive received %s, though it has directed commands", actions(b.sent()))
		}
	}
	return nil
}

// actions lists what pulses stand for.
func actions(pulses []Pulse) string {
	out := []string{}
	for _, p := range pulses {
		out = append(out, p.Action)
	}
	return fmt.Sprintf("%q", out)
}
