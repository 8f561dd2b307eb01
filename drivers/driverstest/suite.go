package driverstest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Suite describes a driver of polled devices to Run. Each check runs in its own synctest bubble, on its own wire.
type Suite struct {
	Driver  drivers.Driver
	Line    drivers.Line
	Devices []drivers.Device
	Char    time.Duration // of a character on the wire

	// Serve plays the devices at the other end of the wire until ctx ends or the wire is closed. Its error fails the
	// test.
	Serve func(ctx context.Context, there *End) error
	// Truth is what a device shows at a point, all the time; false: it is not asked for, or changes.
	Truth func(device, point string) (catalogue.Value, bool)
	// Writes reports whether a frame that the driver sent makes a device do or store something. Frames arrive whole if
	// the driver writes them whole. nil means that a poll may not send anything.
	Writes func(sent []byte) bool
	// Partial is Serve with devices that do not give some of their values; nil: the protocol has no such thing.
	Partial func(ctx context.Context, there *End) error
	// Command is a command that the model allows; its zero value means that there is none.
	Command drivers.Command
	// Late is the maximum delay of the devices' answers.
	Late time.Duration
}

// Run runs all checks.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if lacks := s.lacks(); len(lacks) > 0 {
		t.Fatalf("the suite lacks:\n%s", strings.Join(lacks, "\n"))
	}
	for _, c := range []struct {
		name  string
		check func(*testing.T, *Suite)
	}{
		{"polls", polls},
		{"never writes in a poll", writesNothing},
		{"ends with its context", endsWithContext},
		{"ends with its port", endsWithPort},
		{"survives silence", survivesSilence},
		{"survives rubbish", survivesRubbish},
		{"gives what it got", givesPart},
		{"rejects unknown commands", rejectsUnknown},
		{"does not send expired commands", sendsNothingExpired},
		{"never takes a late answer for another", neverMixesUp},
	} {
		t.Run(c.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { c.check(t, &s) }) })
	}
}

// lacks lists the missing fields without which nothing can be checked.
func (s *Suite) lacks() (lacks []string) {
	for _, field := range []struct {
		missing bool
		what    string
	}{
		{s.Driver == nil, "Driver: what is checked"},
		{len(s.Devices) == 0, "Devices: at least one, of a model of the driver, with Every"},
		{s.Serve == nil, "Serve: the devices' side of the wire"},
		{s.Truth == nil, "Truth: what the devices show"},
		{s.Writes == nil && s.Command.Action != "", "Writes: which frames carry the Command out"},
	} {
		if field.missing {
			lacks = append(lacks, field.what)
		}
	}
	return lacks
}

// tap is the driver's end of a wire that notes what goes out.
type tap struct {
	*End
	sent [][]byte
}

func (p *tap) Write(b []byte) (int, error) {
	p.sent = append(p.sent, slices.Clone(b))
	return p.End.Write(b)
}

// bench is one line under test.
type bench struct {
	t       *testing.T
	s       *Suite
	link    drivers.Link
	reports []drivers.Report
	sent    [][]byte
	in      chan drivers.Request
	held    int                           // readings that Truth knew
	between func(here, there *End) func() // puts something between driver and devices; returns what ends it
}

func newBench(t *testing.T, s *Suite) *bench {
	t.Helper()
	link, err := s.Driver.Link(s.Line, s.Devices)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, s: s, link: link, in: make(chan drivers.Request, 4)}
}

// run runs the link for a while, and again on a new wire each time its port is lost. It returns how Run ended last.
func (b *bench) run(d time.Duration, serve func(context.Context, *End) error) (err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	for ctx.Err() == nil {
		here, far := Wire(b.s.Char)
		there, end := far, func() {}
		if b.between != nil {
			var devices *End
			there, devices = Wire(b.s.Char)
			end = b.between(far, there)
			there = devices
		}
		served := make(chan error, 1)
		go func() { served <- serve(ctx, there) }()
		port := &tap{End: here}
		err = b.link.Run(ctx, port, b.in, func(r drivers.Report) { b.reports = append(b.reports, r) })
		b.sent = append(b.sent, port.sent...)
		here.Close()
		far.Close()
		there.Close()
		end()
		if e := <-served; e != nil {
			b.t.Errorf("the devices: %v", e)
		}
		if ctx.Err() == nil && !drivers.PortLost(err) {
			b.t.Fatalf("Run returned %v: neither its context nor its port ended", err)
		}
	}
	return err
}

// polls checks the readings of devices that are well.
func polls(t *testing.T, s *Suite) {
	b := newBench(t, s)
	longest := time.Minute
	for _, d := range s.Devices {
		longest = max(longest, 3*d.Every)
	}
	if err := b.run(longest, s.Serve); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run returned %v", err)
	}
	for _, d := range s.Devices {
		n, described := 0, false
		for _, r := range b.reports {
			if r.Device != d.ID {
				continue
			}
			n++
			if r.Err != nil {
				t.Fatalf("%s is well, and its poll ended with: %v", d.ID, r.Err)
			}
			if r.At.IsZero() || r.At.After(time.Now()) {
				t.Errorf("%s: report at %v", d.ID, r.At)
			}
			if r.Description != nil {
				described = true
				wantKnown(t, d.ID, r.Description.Points)
			}
			b.wantTrue(r)
		}
		if n < 2 || !described {
			t.Errorf("%s: %d reports (want at least 2), one with a Description: %v (want true)", d.ID, n, described)
		}
	}
	if b.held == 0 {
		t.Error("no reading could be held against Truth: it knows nothing of what was read")
	}
}

func wantKnown(t *testing.T, device string, points []string) {
	t.Helper()
	order := -1
	for _, k := range points {
		if _, ok := catalogue.PointOf(k); !ok {
			t.Errorf("%s: %s is not in the catalogue", device, k)
		}
		if o := catalogue.PointOrder(k); o <= order {
			t.Errorf("%s: %s is out of the catalogue's order", device, k)
		} else {
			order = o
		}
	}
}

// wantTrue checks the readings of a report against the catalogue and the truth, and returns their number.
func (b *bench) wantTrue(r drivers.Report) int {
	b.t.Helper()
	seen := map[string]bool{}
	for _, rd := range r.Readings {
		p, ok := catalogue.PointOf(rd.Point)
		switch {
		case !ok:
			b.t.Errorf("%s: %s is not in the catalogue", r.Device, rd.Point)
		case seen[rd.Point]:
			b.t.Errorf("%s: %s comes twice", r.Device, rd.Point)
		case (rd.Quality == drivers.Bad) != (rd.Value.Type() == catalogue.None):
			b.t.Errorf("%s: %s is %v with quality %d", r.Device, rd.Point, rd.Value, rd.Quality)
		case rd.Value.Type() != catalogue.None && rd.Value.Type() != p.Type:
			b.t.Errorf("%s: %s is a %v, the catalogue says %v", r.Device, rd.Point, rd.Value.Type(), p.Type)
		}
		seen[rd.Point] = true
		if want, ok := b.s.Truth(r.Device, rd.Point); ok && rd.Quality == drivers.Good {
			if b.held++; rd.Value != want {
				b.t.Errorf("%s: %s is %v, the device shows %v", r.Device, rd.Point, rd.Value, want)
			}
		}
	}
	return len(r.Readings)
}

func writesNothing(t *testing.T, s *Suite) {
	b := newBench(t, s)
	b.run(10*time.Minute, s.Serve) //nolint:errcheck // other checks look at it
	for _, frame := range b.sent {
		if s.Writes == nil || s.Writes(frame) {
			t.Fatalf("a poll sent % X", frame)
		}
	}
}

// endsWithContext cancels at every stage of a poll.
func endsWithContext(t *testing.T, s *Suite) {
	for d := time.Duration(0); d < 4*time.Second; d += 37 * time.Millisecond {
		b := newBench(t, s)
		start := time.Now()
		err := b.run(d, s.Serve)
		if took := time.Since(start) - d; took > time.Second || !errors.Is(err, context.DeadlineExceeded) && d > 0 {
			t.Fatalf("cancelled after %v, Run returned %v later with %v", d, took, err)
		}
		for _, r := range b.reports {
			if errors.Is(r.Err, context.DeadlineExceeded) {
				t.Fatalf("cancelled after %v, %s was reported as %v", d, r.Device, r.Err)
			}
		}
	}
}

func endsWithPort(t *testing.T, s *Suite) {
	b := newBench(t, s)
	hung := 0
	b.run(time.Minute, func(ctx context.Context, there *End) error { //nolint:errcheck // run checks it
		hung++
		ctx, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
		defer cancel()
		err := s.Serve(ctx, there)
		there.Close()
		return err
	})
	if hung < 2 {
		t.Errorf("the wire broke %d times in a minute: Run must notice, and return an error for which drivers.PortLost holds", hung)
	}
	for _, r := range b.reports {
		b.wantTrue(r)
	}
}

func survivesSilence(t *testing.T, s *Suite) {
	b := newBench(t, s)
	b.run(5*time.Minute, func(ctx context.Context, there *End) error { //nolint:errcheck // run checks it
		return swallow(ctx, there)
	})
	for _, r := range b.reports {
		if len(r.Readings) > 0 || drivers.KindOf(r.Err) != drivers.Timeout {
			t.Fatalf("of %s, which is silent, came the readings %v and the error %q (want none, and a drivers.Error of kind %s)",
				r.Device, r.Readings, r.Err, drivers.Timeout)
		}
	}
	if s.Writes != nil && len(b.reports) == 0 {
		t.Error("nobody told that the devices are silent")
	}
}

// swallow reads and says nothing.
func swallow(ctx context.Context, there *End) error {
	stop := context.AfterFunc(ctx, func() { there.Close() })
	defer stop()
	buf := make([]byte, 256)
	for {
		if _, err := there.Read(buf); err != nil {
			return nil
		}
	}
}

// survivesRubbish answers everything with rubbish, and talks unasked.
func survivesRubbish(t *testing.T, s *Suite) {
	dice := rand.New(rand.NewPCG(1, 2))
	b := newBench(t, s)
	b.run(10*time.Minute, func(ctx context.Context, there *End) error { //nolint:errcheck // run checks it
		for ctx.Err() == nil {
			rubbish := make([]byte, dice.IntN(300))
			for i := range rubbish {
				rubbish[i] = byte(dice.UintN(256))
				if dice.IntN(3) == 0 {
					rubbish[i] = byte(dice.UintN(8)) // what frames are made of
				}
			}
			if _, err := there.Write(rubbish); err != nil {
				return nil
			}
			there.SetDeadline(time.Now().Add(time.Duration(dice.IntN(2000)) * time.Millisecond)) //nolint:errcheck // a wire has one
			there.Read(make([]byte, 256))                                                        //nolint:errcheck // whatever it is
		}
		return nil
	})
	for _, r := range b.reports {
		b.wantTrue(r)
	}
}

func givesPart(t *testing.T, s *Suite) {
	if s.Partial == nil {
		return
	}
	b := newBench(t, s)
	b.run(time.Minute, s.Partial) //nolint:errcheck // run checks it
	part, failed := 0, false
	for _, r := range b.reports {
		part += b.wantTrue(r)
		failed = failed || r.Err != nil
	}
	if part == 0 || !failed {
		t.Errorf("from devices that give a part came %d readings, an error %v", part, failed)
	}
}

// ask sends a command after the first polls and returns its result and how many frames were written because of it.
func (b *bench) ask(c drivers.Command) (res drivers.Result, written int) {
	b.t.Helper()
	answered := false
	settle := 30 * time.Second
	time.AfterFunc(settle, func() {
		if c.Deadline.IsZero() {
			c.Deadline = time.Now().Add(time.Minute)
		}
		b.in <- drivers.Request{Device: c.Device, Command: &c,
			Answer: func(a drivers.Answer) { res, answered = a.Result, true }}
	})
	b.run(2*time.Minute, b.s.Serve) //nolint:errcheck // run checks it
	if !answered {
		b.t.Fatalf("%s was never answered", c.Action)
	}
	for _, f := range b.sent {
		if b.s.Writes != nil && b.s.Writes(f) {
			written++
		}
	}
	return res, written
}

func rejectsUnknown(t *testing.T, s *Suite) {
	c := drivers.Command{ID: "1", Device: s.Devices[0].ID, Action: "kettle.boil"}
	if res, n := newBench(t, s).ask(c); res.Outcome != drivers.Rejected || res.Code == "" || n != 0 {
		t.Errorf("an unknown command gave %+v and %d writes (want state %s, a code, and none)", res, n,
			drivers.Rejected)
	}
	if s.Command.Action == "" {
		return
	}
	c = s.Command
	c.Args = map[string]any{"nonsense": "yes"}
	if res, n := newBench(t, s).ask(c); res.Outcome != drivers.Rejected || n != 0 {
		t.Errorf("a command with a nonsensical argument gave %+v and %d writes", res, n)
	}
}

func sendsNothingExpired(t *testing.T, s *Suite) {
	if s.Command.Action == "" {
		return
	}
	c := s.Command
	c.Deadline = time.Now() // long past when it is asked for
	if res, n := newBench(t, s).ask(c); res.Outcome != drivers.Expired || n != 0 {
		t.Errorf("an expired command gave %+v and %d writes", res, n)
	}
	if res, n := newBench(t, s).ask(s.Command); res.Outcome == drivers.Expired || res.Outcome == drivers.Rejected ||
		n == 0 {
		t.Errorf("a good command gave %+v and %d writes", res, n)
	}
}

// neverMixesUp lets answers come late, damaged or not at all, in every order.
func neverMixesUp(t *testing.T, s *Suite) {
	dice := rand.New(rand.NewPCG(3, 4))
	b := newBench(t, s)
	b.between = func(here, there *End) func() { return relay(here, there, s, dice) }
	b.run(30*time.Minute, s.Serve) //nolint:errcheck // run checks it
	readings := 0
	for _, r := range b.reports {
		readings += b.wantTrue(r)
	}
	if readings == 0 {
		t.Error("nothing was read at all")
	}
}

// relay passes bytes between two ends and damages what comes from the devices: it delays a third of the pieces, loses
// some, and alters some where the line can do that (TCP cannot). The returned function waits until it has ended.
func relay(here, there *End, s *Suite, dice *rand.Rand) func() {
	over := make(chan struct{}, 2)
	go func() {
		defer func() { over <- struct{}{} }()
		pass(here, there, func(b []byte) { there.Write(b) }) //nolint:errcheck // a wire that is closed ends the loop
	}()
	go func() {
		defer func() { over <- struct{}{} }()
		pass(there, here, func(b []byte) {
			b = slices.Clone(b)
			switch n := dice.IntN(12); {
			case n == 0:
				return
			case n == 1 && !s.Line.Stream:
				b[dice.IntN(len(b))] ^= 1 << dice.IntN(8)
			case n < 6:
				time.Sleep(time.Duration(dice.Int64N(int64(s.Late) + 1)))
			}
			here.Write(b) //nolint:errcheck // a wire that is closed ends the loop
		})
	}()
	return func() {
		here.Close()
		there.Close()
		<-over
		<-over
	}
}

func pass(from, to *End, hand func([]byte)) {
	buf := make([]byte, 1024)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			hand(buf[:n])
		}
		if err != nil {
			to.Close()
			return
		}
	}
}
