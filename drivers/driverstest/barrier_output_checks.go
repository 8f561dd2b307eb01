package driverstest

import (
	"fmt"
	"time"

	"bordo/drivers"
)

// writesNothingAtStart: doors opened when the box got power (andrewshilliday/garage-door-controller #67, #25;
// johnboiles/esp-garage-opener #3; krlaframboise/Hubitat #4). Nothing is written at start, at the end, nor when the drive
// gets power, and a command does not survive its agent.
func writesNothingAtStart(b *barrierBench) error {
	quiet := b.silence()
	for i := range 10 {
		b.drive.PowerCycle(time.Second)
		b.wait(time.Second)
		b.BootAgent()
		b.wait(2 * settle)
		if i%2 == 0 {
			b.KillAgent()
		} else {
			b.StopAgent()
		}
		b.wait(settle)
		if err := quiet(fmt.Sprintf("during start and end number %d", i+1)); err != nil {
			return err
		}
	}
	if err := b.bootAndOpen(); err != nil {
		return err
	}
	b.place(0)
	n := len(b.sent())
	asked := b.begin(barrierOpen)
	if err := b.await(settle, "the drive receives OPEN", func() bool { return len(b.sent()) > n }); err != nil {
		return err
	}
	quiet = b.silence()
	b.KillAgent()
	<-asked
	b.wait(settle)
	b.drive.Place(0)
	b.BootAgent()
	b.rest()
	return quiet("after the agent was killed in the middle of OPEN")
}

// endsEveryPulse: a relay stayed on through an outage, and the button on the wall was dead (RavenSystem/esp-homekit-devices
// #1296; krlaframboise/Hubitat #4). The module ends a pulse by itself, whatever becomes of agent and line.
func endsEveryPulse(b *barrierBench) error {
	if b.s.NoOutput != "" {
		return nil
	}
	if err := b.boot(); err != nil {
		return err
	}
	endsAfter := func(what string, cut func()) error {
		asked := b.begin(barrierOpen)
		if err := b.await(settle, "OPEN switches an output on", b.drive.Energised); err != nil {
			return err
		}
		cut()
		err := b.await(pulseMax, "the output is off after "+what, func() bool { return !b.drive.Energised() })
		<-asked
		return err
	}
	if err := endsAfter("the line was cut", func() { b.drive.Break(DriveFaults{DeadLine: true}) }); err != nil {
		return err
	}
	b.drive.Break(DriveFaults{})
	b.drive.Place(0)
	b.wait(recovery)
	return endsAfter("the agent was killed", b.KillAgent)
}

// separatesPulses: a reversal was lost because the relay was still on or the motor had not settled (Sese-Schneider/
// ha-cover-time-based #153; the reporter supposes this cause). The second of two commands waits for the gap or is refused,
// and no pulse begins before the contact was read as open.
func separatesPulses(b *barrierBench) error {
	if err := b.boot(); err != nil {
		return err
	}
	for _, late := range []bool{false, true} {
		if err := separatesFromOpen(b, barrierOpen, 100, late); err != nil {
			return err
		}
		if b.s.offers(barrierClose) {
			if err := separatesFromOpen(b, barrierClose, 0, late); err != nil {
				return err
			}
		}
	}
	if b.s.NoOutput != "" {
		return nil
	}

	b.drive.Break(DriveFaults{StuckOutput: true})
	b.do(barrierOpen)
	if err := b.await(2*settle, "the condition "+outputStuck,
		func() bool { return b.hasCondition(outputStuck) }); err != nil {
		return err
	}
	b.place(0)
	return b.refuses(barrierOpen, "with the output still on")
}

// separatesFromOpen sends a second command 200 ms after the pulse of OPEN has begun or, when it is late, in the middle of the
// gap behind it. Where the second command is done, the arm ends at a percentage.
func separatesFromOpen(b *barrierBench, action string, ends int, late bool) error {
	n := len(b.sent())
	first := b.begin(barrierOpen)
	if err := b.await(settle, "the drive receives OPEN", func() bool { return len(b.sent()) > n }); err != nil {
		return err
	}
	when := "200 ms after OPEN"
	b.wait(200 * time.Millisecond)
	if late {
		when = "in the gap after OPEN"
		if err := b.await(pulseMax, "the pulse of OPEN has ended",
			func() bool { return !b.sent()[n].End.IsZero() }); err != nil {
			return err
		}
		b.wait(b.s.Gap / 2)
	}
	if action == barrierOpen {
		b.drive.Push(barrierStop) // otherwise the second OPEN has nothing to do
	}
	r := b.do(action)
	<-first
	b.rest()
	sent := b.sent()[n:]
	if r.Outcome == drivers.Done && (len(sent) != 2 || !b.armAt(ends)) {
		return fmt.Errorf("%s %s ended as %s, and the drive received %s; %s", action, when, words(r), actions(sent),
			b.seen())
	}
	if err := gaps(sent, b.s.Gap); err != nil {
		return fmt.Errorf("%s %s: %w", action, when, err)
	}
	b.place(0)
	return nil
}

// gaps complains of pulses that are too long or too close to the one before.
func gaps(pulses []Pulse, least time.Duration) error {
	for i, p := range pulses {
		if p.End.IsZero() || p.End.Sub(p.Begin) > pulseMax {
			return fmt.Errorf("the pulse of %s lasts longer than %v", p.Action, pulseMax)
		}
		if i > 0 && p.Begin.Sub(pulses[i-1].End) < least {
			return fmt.Errorf("%s begins %v after the pulse before, want at least %v", p.Action,
				p.Begin.Sub(pulses[i-1].End), least)
		}
	}
	return nil
}

// refusesOnDeadLine: a command was queued while the bus was dead and carried out when somebody had given up
// (14yannick/hoermann_door #10; Tysonpower/HCPBridgeMqtt_tynet #76). A dead line refuses at once, nothing is sent when it
// returns, and a command that is too old is not sent at all.
func refusesOnDeadLine(b *barrierBench) error {
	if err := b.boot(); err != nil {
		return err
	}
	quiet := b.silence()
	if r := b.Do(b.ctx, barrierOpen, time.Now().Add(-time.Millisecond)); r.Outcome != drivers.Expired {
		return fmt.Errorf("OPEN after its deadline ended as %s, want expired", words(r))
	}
	b.rest()
	if err := quiet("after a command that had expired"); err != nil {
		return err
	}

	b.drive.Break(DriveFaults{DeadLine: true})
	for _, when := range []string{"at the moment when the line dies", "while the line is known to be dead"} {
		for _, action := range []string{barrierOpen, barrierClose, barrierStop} {
			if !b.s.offers(action) {
				continue
			}
			asked := time.Now()
			r := b.do(action)
			if took := time.Since(asked); r.Outcome != drivers.Rejected || r.Code != "line_down" || took > refuseMax {
				return fmt.Errorf("%s, %s ended after %v as %s, want rejected line_down within %v", when, action, took,
					words(r), refuseMax)
			}
		}
		b.rest()
	}
	b.drive.Break(DriveFaults{})
	b.wait(recovery)
	if err := quiet("after the line returned"); err != nil {
		return err
	}
	if !b.shows("closed") {
		return fmt.Errorf("the barrier was not read again after the line returned; %s", b.seen())
	}
	return b.opens()
}
