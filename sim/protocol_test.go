package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/line"
)

// gateReader is a device that is not Modbus: it sends a line of text unasked every readerEvery, and hears nothing.
type gateReader struct{ hardware }

const readerEvery = 2 * time.Second

func (*gateReader) points() []string { return nil }
func (*gateReader) moving() []string { return nil }

// readerBody is fed by the mains.
type readerBody struct{ mains bool }

func (b *readerBody) move(m *moment)                     { b.mains = m.mains }
func (*readerBody) points(func(string, catalogue.Value)) {}
func (b *readerBody) dead() bool                         { return !b.mains }
func (*readerBody) reset()                               {}

// readerLine is the protocol of gate readers.
type readerLine struct{ readers []device }

func readers() []family {
	return []family{{
		knows: func(model string) bool { return model == "gate-reader" },
		line: func(s *Site, b *bus, specs []Device) (protocol, error) {
			l := &readerLine{}
			for _, spec := range specs {
				r := &gateReader{newHardware(s, b, spec, "reader")}
				r.body = &readerBody{}
				s.nature.add(r.body)
				l.readers = append(l.readers, r)
			}
			return l, nil
		},
	}}
}

func (l *readerLine) devices() []device { return l.readers }

func (l *readerLine) serve(ctx context.Context, w *wire) error {
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, w)
		ended <- err
	}()
	stop := func() {
		w.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // a port that is closed has ended Read already
		<-ended
	}
	tick := time.NewTicker(readerEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			stop()
			return nil
		case err := <-ended:
			return err
		case <-tick.C:
		}
		for _, d := range l.readers {
			if err := d.(*gateReader).speak(w, fmt.Sprintf("CARD %d\n", n)); err != nil {
				stop()
				return err
			}
		}
	}
}

func (r *gateReader) speak(w *wire, text string) error {
	r.site.mu.Lock()
	hears := r.attend(time.Now())
	r.site.mu.Unlock()
	if !hears {
		return nil
	}
	x, ok := w.exchange()
	if !ok {
		return nil
	}
	return w.send(x, message{from: r, data: []byte(text)})
}

// gate is a site with a reader on a serial line, another one behind TCP, and a meter.
func gate() *Scenario {
	reader := func(id string) []Device { return []Device{{ID: id, Model: "gate-reader", Unit: 1}} }
	return &Scenario{Version: 1, Name: "gate", Lines: []Line{
		{ID: "entrance", Port: "serial:///dev/sim/entrance?baud=9600", Devices: reader("reader-1")},
		{ID: "exit", Port: "tcp://exit:4001", Devices: reader("reader-2")},
		{ID: "meters", Port: "serial:///dev/sim/meters?baud=9600",
			Devices: []Device{{ID: "meter-1", Model: "eastron-sdm630", Unit: 3}}},
	}}
}

// heard collects what a port says in a span, from now on.
func heard(t *testing.T, p interface {
	io.Reader
	SetDeadline(time.Time) error
}, span time.Duration) string {
	t.Helper()
	if err := p.SetDeadline(time.Now().Add(span)); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	b := make([]byte, 64)
	for {
		n, err := p.Read(b)
		all.Write(b[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all.String()
		}
		if err != nil {
			return all.String() + err.Error()
		}
	}
}

// A device that speaks unasked, in a protocol of its own: in memory, on a serial line and behind TCP, and every fault of the
// wire acts on what it says.
func TestProtocolOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(gate(), Options{Seed: 1, families: readers()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- s.Run(ctx) }()
		e, err := line.Parse("serial:///dev/sim/entrance?baud=9600")
		if err != nil {
			t.Fatal(err)
		}
		serial, err := s.OpenPort(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := s.Dial(ctx, "tcp", "exit:4001")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4500 * time.Millisecond)
		if got := heard(t, tcp, time.Second); got != "CARD 1\nCARD 2\n" {
			t.Errorf("behind TCP: %q", got)
		}
		if got := heard(t, serial, time.Second); got != "CARD 1\nCARD 2\nCARD 3\n" {
			t.Errorf("on a serial line: %q", got)
		}
		during := func(f Fault, span time.Duration) string {
			t.Helper()
			id, err := s.Raise("entrance", f)
			if err != nil {
				t.Fatalf("%s: %v", f.Kind, err)
			}
			got := heard(t, serial, span)
			if n, err := s.Clear("entrance", id); n != 1 || err != nil {
				t.Errorf("%s: cleared %d, %v", f.Kind, n, err)
			}
			return got
		}
		// The fourth line is due in a second and a half.
		for _, c := range []struct {
			fault Fault
			is    func(string) bool
		}{
			{Fault{Kind: Drop}, func(s string) bool { return s == "" }},
			{Fault{Kind: Silent, Device: "reader-1"}, func(s string) bool { return s == "" }},
			{Fault{Kind: Echo}, func(s string) bool { return strings.HasPrefix(s, "CARD ") }},
			{Fault{Kind: Garble}, func(s string) bool { return len(s) == len("CARD 7\n") && s != "CARD 7\n" }},
			{Fault{Kind: Truncate}, func(s string) bool {
				return len(s) > 0 && len(s) < len("CARD 8\n") &&
					strings.HasPrefix("CARD 8\n", s)
			}},
			{Fault{Kind: Noise}, func(s string) bool {
				return strings.HasSuffix(s, "CARD 9\n") &&
					len(s) > len("CARD 9\n")
			}},
			{Fault{Kind: Late, By: 1500 * time.Millisecond}, func(s string) bool { return s == "" }},
		} {
			if got := during(c.fault, 2*time.Second); !c.is(got) {
				t.Errorf("%s: %q", c.fault.Kind, got)
			}
		}
		if got := heard(t, serial, 1200*time.Millisecond); got != "CARD 10\n" {
			t.Errorf("what was late: %q", got)
		}
		cut, err := s.Raise("mains", Fault{Kind: MainsCut})
		if err != nil {
			t.Fatal(err)
		}
		if got := heard(t, serial, 4*time.Second); got != "" {
			t.Errorf("without mains: %q", got)
		}
		s.Clear("mains", cut) //nolint:errcheck // seen below

		gone, err := s.Raise("entrance", Fault{Kind: Gone})
		if err != nil {
			t.Fatal(err)
		}
		if got := heard(t, serial, 4*time.Second); !strings.Contains(got, "hung up") {
			t.Errorf("gone: %q", got)
		}
		if _, err := s.OpenPort(ctx, e); !drivers.PortLost(err) {
			t.Errorf("opened while it is gone: %v", err)
		}
		s.Clear("entrance", gone) //nolint:errcheck // seen below
		synctest.Wait()           // the loop has let go of the line
		wrong := e
		wrong.Baud = 19200
		for _, endpoint := range []line.Endpoint{wrong, e} {
			p, err := s.OpenPort(ctx, endpoint)
			if err != nil {
				t.Fatal(err)
			}
			if got := heard(t, p, 3*time.Second); (got == "CARD 1\n") != (endpoint == e) {
				t.Errorf("at %d baud: %q", endpoint.Baud, got)
			}
			p.Close() //nolint:errcheck // the loop notices
			synctest.Wait()
		}
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// A fault that another protocol would have to make, or that lies in registers, is refused.
func TestFaultsOfModbusAreItsOwn(t *testing.T) {
	s, err := New(gate(), Options{Seed: 1, families: readers()})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []FaultKind{Exception, Busy, WrongUnit, Stuck, Null, Obstacle} {
		want := fmt.Sprintf("raise: reader-1 is a reader: %s cannot happen to it; what can: drop, echo, garble, late, noise, reset, silent, truncate; ", kind)
		if _, err := s.Raise("entrance", Fault{Kind: kind, Device: "reader-1"}); err == nil ||
			!strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := s.Raise("exit", Fault{Kind: kind}); err == nil ||
			!strings.HasPrefix(err.Error(), fmt.Sprintf("raise: %s cannot happen to any device on line exit", kind)) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := s.Raise("meters", Fault{Kind: Exception}); err != nil {
		t.Errorf("beside other protocols: %v", err)
	}
}
