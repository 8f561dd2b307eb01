package driverstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
)

// ListenerSuite is a driver of devices that speak unasked, with one device and its side of the wire.
type ListenerSuite struct {
	Driver drivers.Driver
	Line   drivers.Line
	Char   time.Duration // of one byte on the wire
	Device drivers.Device

	IDs    [2]string              // two things that the device can tell of, such as cards
	Frame  func(id string) []byte // what it sends for one of them
	Event  string                 // the type of the event that a frame gives
	Pause  time.Duration          // after which the same thing again is another event
	Secret bool                   // the IDs are personal: they appear in no event and no error
	Writes bool                   // the driver may write to the port, such as to acknowledge
}

// Listener runs the conformance suite for drivers whose devices speak unasked. Each check runs in a bubble of
// testing/synctest, so a goroutine that Run leaves behind fails it.
func Listener(t *testing.T, s ListenerSuite) {
	for _, c := range listenerChecks {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := c.check(t.Context(), &s); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// listenerChecks are the checks by name. Each returns what is wrong.
var listenerChecks = []struct {
	name  string
	check func(ctx context.Context, s *ListenerSuite) error
}{
	{"frame", hearsAFrame},
	{"split", hearsSplitFrames},
	{"merged", hearsMergedFrames},
	{"noise", hearsBehindNoise},
	{"silence", bearsSilence},
	{"port", noticesALostPort},
	{"context", endsSoonWithContext},
}

// listening is a driver that runs on one end of a wire.
type listening struct {
	s       *ListenerSuite
	link    drivers.Link
	far     *End
	port    *tap
	reports []drivers.Report
	cancel  context.CancelFunc
	ended   chan error
}

func listen(ctx context.Context, s *ListenerSuite) (*listening, error) {
	link, err := s.Driver.Link(s.Line, []drivers.Device{s.Device})
	if err != nil {
		return nil, err
	}
	l := &listening{s: s, link: link}
	l.plug(ctx)
	return l, nil
}

// plug runs the link on a new wire.
func (l *listening) plug(ctx context.Context) {
	here, far := Wire(l.s.Char)
	ctx, cancel := context.WithCancel(ctx)
	l.far, l.port, l.cancel, l.ended = far, &tap{End: here}, cancel, make(chan error, 1)
	port, ended := l.port, l.ended
	go func() {
		ended <- l.link.Run(ctx, port, nil, func(r drivers.Report) { l.reports = append(l.reports, r) })
	}()
	synctest.Wait()
}

// say sends bytes, and waits until they are through and another presentation would count.
func (l *listening) say(b []byte) {
	l.far.Write(b) //nolint:errcheck // a driver that does not read fails the check by what it does not report
	time.Sleep(time.Duration(len(b))*l.s.Char + l.s.Pause + time.Second)
	synctest.Wait()
}

// stop ends the link and returns what is wrong with how it ended, or with what it did.
func (l *listening) stop() error {
	l.cancel()
	began := time.Now()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	var err error
	select {
	case err = <-l.ended:
	case <-timer.C:
		l.port.Close()
		<-l.ended
		return errors.New("Run had not returned a minute after its context ended")
	}
	l.port.Close()
	l.far.Close()
	switch {
	case time.Since(began) > time.Second:
		return fmt.Errorf("Run returned %v after its context ended", time.Since(began))
	case !errors.Is(err, context.Canceled) && !drivers.PortLost(err):
		return fmt.Errorf("Run returned %v, want the error of its context", err)
	}
	return errors.Join(l.leaks(err), l.wrote())
}

// wrote complains of bytes that the driver sent.
func (l *listening) wrote() error {
	if len(l.port.sent) > 0 && !l.s.Writes {
		return fmt.Errorf("the driver wrote % X", l.port.sent)
	}
	return nil
}

// leaks complains of an identifier in an event or error.
func (l *listening) leaks(ended error) error {
	if !l.s.Secret {
		return nil
	}
	texts := []string{fmt.Sprint(ended)}
	for _, r := range l.reports {
		texts = append(texts, fmt.Sprint(r.Err))
		for _, e := range r.Events {
			data, err := json.Marshal(e.Data)
			if err != nil {
				return err
			}
			texts = append(texts, string(data))
		}
	}
	for _, text := range texts {
		for _, id := range l.s.IDs {
			if strings.Contains(text, id) {
				return fmt.Errorf("an identifier is in %.20q…", text)
			}
		}
	}
	return nil
}

// events checks the reports so far and returns how many events they have.
func (l *listening) events() (n int, err error) {
	for _, r := range l.reports {
		switch {
		case r.Err != nil:
			return n, fmt.Errorf("a report has the error %v", r.Err)
		case r.Device != l.s.Device.ID:
			return n, fmt.Errorf("a report is of %q, want %q", r.Device, l.s.Device.ID)
		case r.At.IsZero() || time.Since(r.At) < 0:
			return n, fmt.Errorf("a report is of %v", r.At)
		}
		for _, e := range r.Events {
			if e.Type != l.s.Event {
				return n, fmt.Errorf("an event is %q, want %q", e.Type, l.s.Event)
			}
			n++
		}
	}
	return n, nil
}

// after says something to a new listener and wants so many events in the end.
func after(ctx context.Context, s *ListenerSuite, least, most int, say func(l *listening)) error {
	l, err := listen(ctx, s)
	if err != nil {
		return err
	}
	say(l)
	n, err := l.events()
	if err == nil && (n < least || n > most) {
		err = fmt.Errorf("%d events, want %d to %d", n, least, most)
	}
	return errors.Join(err, l.stop())
}

func hearsAFrame(ctx context.Context, s *ListenerSuite) error {
	return after(ctx, s, 2, 2, func(l *listening) {
		l.say(s.Frame(s.IDs[0]))
		l.say(s.Frame(s.IDs[0]))
	})
}

func hearsSplitFrames(ctx context.Context, s *ListenerSuite) error {
	frame := s.Frame(s.IDs[0])
	return after(ctx, s, len(frame)-1, len(frame)-1, func(l *listening) {
		for i := 1; i < len(frame); i++ {
			l.far.Write(frame[:i]) //nolint:errcheck // as in say
			time.Sleep(time.Duration(i)*s.Char + 5*time.Millisecond)
			l.say(frame[i:])
		}
	})
}

// hearsMergedFrames: what waited in the operating system comes in one read.
func hearsMergedFrames(ctx context.Context, s *ListenerSuite) error {
	atOnce := *s
	atOnce.Char = 0
	return after(ctx, &atOnce, 2, 2, func(l *listening) { l.say(append(s.Frame(s.IDs[0]), s.Frame(s.IDs[1])...)) })
}

// hearsBehindNoise: noise may cost the frame that it touches, and none behind it; it is no event.
func hearsBehindNoise(ctx context.Context, s *ListenerSuite) error {
	const rounds = 20
	dice := rand.New(rand.NewPCG(1, 2))
	return after(ctx, s, rounds, 2*rounds, func(l *listening) {
		for range rounds {
			noise := make([]byte, 1+dice.IntN(200))
			for i := range noise {
				noise[i] = byte(dice.Uint32())
			}
			l.say(append(noise, s.Frame(s.IDs[0])...))
			l.say(s.Frame(s.IDs[0]))
		}
	})
}

func bearsSilence(ctx context.Context, s *ListenerSuite) error {
	return after(ctx, s, 1, 1, func(l *listening) {
		time.Sleep(24 * time.Hour)
		l.say(s.Frame(s.IDs[0]))
	})
}

func noticesALostPort(ctx context.Context, s *ListenerSuite) error {
	l, err := listen(ctx, s)
	if err != nil {
		return err
	}
	l.far.Write(s.Frame(s.IDs[0])[:1]) //nolint:errcheck // the beginning of a frame must not reach the next port
	time.Sleep(time.Second)
	l.far.Close()
	time.Sleep(time.Second)
	select {
	case err := <-l.ended:
		if !drivers.PortLost(err) {
			return fmt.Errorf("Run returned %v when the port was lost", err)
		}
		if err := l.leaks(err); err != nil {
			return err
		}
	default:
		return errors.Join(errors.New("Run did not notice within a second that the port was lost"), l.stop())
	}
	l.plug(ctx)
	l.say(s.Frame(s.IDs[1]))
	n, err := l.events()
	if err == nil && n != 1 {
		err = fmt.Errorf("%d events on the next port, want 1", n)
	}
	return errors.Join(err, l.stop())
}

// endsSoonWithContext: also in the middle of a frame.
func endsSoonWithContext(ctx context.Context, s *ListenerSuite) error {
	return after(ctx, s, 0, 0, func(l *listening) {
		l.far.Write(s.Frame(s.IDs[0])[:1]) //nolint:errcheck // as in say
		time.Sleep(time.Second)
	})
}
