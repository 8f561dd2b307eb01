package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// script is a Poller that follows a script and notes when it was called.
type script struct {
	began time.Time
	calls []time.Duration // since began
	takes time.Duration
	poll  func(n int) drivers.Report // n counts from 1
	do    func(drivers.Command) drivers.Result
	acts  []string
}

func (s *script) Poll(ctx context.Context, _ drivers.Port) drivers.Report {
	s.calls = append(s.calls, time.Since(s.began))
	if s.takes > 0 {
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return drivers.Report{Err: ctx.Err(), Readings: []drivers.Reading{{Point: "ac_power"}}}
		}
	}
	if s.poll == nil {
		return good()
	}
	return s.poll(len(s.calls))
}

func (s *script) Do(_ context.Context, _ drivers.Port, c drivers.Command) drivers.Result {
	s.acts = append(s.acts, c.Action)
	if s.do == nil {
		return drivers.Result{Outcome: drivers.Done}
	}
	return s.do(c)
}

func good() drivers.Report {
	return drivers.Report{Readings: []drivers.Reading{{Point: "ac_power", Value: catalogue.Number(1)}}}
}

func bad(k drivers.ErrorKind) drivers.Report {
	return drivers.Report{Err: &drivers.Error{Op: "read", Kind: k}}
}

func lost(k drivers.ErrorKind) drivers.Report {
	return drivers.Report{Err: &drivers.Error{Op: "read", Kind: k, Lost: true}}
}

// run runs the units for a while from a start that lies 300 ms after a full minute, and returns what came out.
func run(t *testing.T, d time.Duration, in <-chan drivers.Request, units ...drivers.Unit) (reports []drivers.Report,
	err error) {
	t.Helper()
	time.Sleep(300 * time.Millisecond) // synctest's clock begins at midnight UTC
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for _, u := range units {
		u.Poller.(*script).began = time.Now()
	}
	err = drivers.Polled(units...).Run(ctx, nil, in, func(r drivers.Report) { reports = append(reports, r) })
	return reports, err
}

func TestPolledAlignsToTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &script{takes: 100 * time.Millisecond}, &script{takes: 50 * time.Millisecond}
		reports, err := run(t, 10*time.Second, nil, drivers.Unit{Device: "a", Poller: a, Every: 2 * time.Second},
			drivers.Unit{Device: "b", Poller: b, Every: 4 * time.Second})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		// The start is 0.3 s past the minute: both at once, then at 2.0 and 4.0 on the clock, a before b.
		wantTimes(t, "a", a.calls, "0s 1.7s 3.7s 5.7s 7.7s 9.7s")
		wantTimes(t, "b", b.calls, "100ms 3.8s 7.8s")
		if reports[0].Device != "a" || reports[1].Device != "b" || reports[0].At.IsZero() {
			t.Errorf("the first reports were %v", reports[:2])
		}
	})
}

func wantTimes(t *testing.T, who string, got []time.Duration, want string) {
	t.Helper()
	if s := strings.Trim(fmt.Sprint(got), "[]"); s != want {
		t.Errorf("%s was polled at %s, want %s", who, s, want)
	}
}

func TestPolledDropsWhatTheLineIsTooSlowFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &script{takes: 700 * time.Millisecond}, &script{takes: 700 * time.Millisecond}
		run(t, 20*time.Second, nil, drivers.Unit{Device: "a", Poller: a, Every: time.Second},
			drivers.Unit{Device: "b", Poller: b, Every: time.Second})
		if n, m := len(a.calls), len(b.calls); n < 13 || m < 13 {
			t.Errorf("on a line with room for 28 polls in 20 s, a got %d and b %d", n, m)
		}
	})
}

func TestPolledAnswersRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &script{takes: 500 * time.Millisecond}
		gate := &script{}
		gate.do = func(c drivers.Command) drivers.Result {
			if c.Action == "no" {
				return drivers.Result{Outcome: drivers.Rejected}
			}
			return drivers.Result{Outcome: drivers.Done}
		}
		in := make(chan drivers.Request, 8)
		var got []string
		ask := func(device, action string, within time.Duration) {
			r := drivers.Request{Device: device, Answer: func(a drivers.Answer) {
				got = append(got, fmt.Sprintf("%s %s %s@%v", action, a.Result.Outcome, a.Result.Code,
					time.Since(slow.began)))
			}}
			if action != "" {
				r.Command = &drivers.Command{Device: device, Action: action, Deadline: time.Now().Add(within)}
			}
			in <- r
		}
		go func() {
			time.Sleep(350 * time.Millisecond) // 50 ms into the first poll of slow
			ask("gate", "open", 10*time.Second)
			ask("gate", "late", 100*time.Millisecond)
			ask("nobody", "open", time.Second)
			ask("gate", "no", 10*time.Second)
			ask("slow", "", 0)
			close(in)
		}()
		reports, _ := run(t, 3*time.Second, in, drivers.Unit{Device: "slow", Poller: slow, Every: 10 * time.Second},
			drivers.Unit{Device: "gate", Poller: gate, Every: 10 * time.Second})
		want := []string{"open done @500ms", "late expired expired@500ms", "open rejected unknown_device@500ms",
			"no rejected @500ms", "  @1s"}
		if !slices.Equal(got, want) {
			t.Errorf("answers %q, want %q", got, want)
		}
		if !slices.Equal(gate.acts, []string{"open", "no"}) {
			t.Errorf("the device saw %v: an expired command must not reach it", gate.acts)
		}
		// The poll that was asked for went out as well; then gate had its first poll.
		if len(reports) != 3 || reports[1].Device != "slow" || reports[2].Device != "gate" {
			t.Errorf("reports %v", reports)
		}
	})
}

func TestPolledPollsAgainAfterACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := &script{}
		in := make(chan drivers.Request, 1)
		go func() {
			time.Sleep(1300 * time.Millisecond)
			in <- drivers.Request{Device: "gate", Command: &drivers.Command{Action: "open"}}
		}()
		run(t, 30*time.Second, in, drivers.Unit{Device: "gate", Poller: gate, Every: time.Minute})
		wantTimes(t, "gate", gate.calls, "0s 1s")
	})
}

func TestPolledBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &script{poll: func(n int) drivers.Report {
			if n == 5 {
				return good()
			}
			return bad([]drivers.ErrorKind{drivers.Timeout, drivers.Checksum, drivers.Protocol}[n%3])
		}}
		run(t, 40*time.Second, nil, drivers.Unit{Device: "dead", Poller: dead, Every: time.Second})
		// 2, 4, 6, 8 s after the failures; aligned again after the answer at 20 s; then from the beginning.
		wantTimes(t, "dead", dead.calls, "0s 2s 6s 12s 20s 20.7s 22.7s 26.7s 32.7s")
	})
}

func TestPolledBackOffIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := &script{poll: func(int) drivers.Report { return bad(drivers.Timeout) }}
		run(t, 24*time.Hour, nil, drivers.Unit{Device: "dead", Poller: dead, Every: time.Second})
		longest := time.Duration(0)
		for i := 1; i < len(dead.calls); i++ {
			longest = max(longest, dead.calls[i]-dead.calls[i-1])
		}
		if longest != 5*time.Minute {
			t.Errorf("the longest pause was %v", longest)
		}
		seldom := &script{poll: func(int) drivers.Report { return bad(drivers.Timeout) }}
		run(t, time.Hour, nil, drivers.Unit{Device: "seldom", Poller: seldom, Every: 10 * time.Minute})
		if len(seldom.calls) != 7 {
			t.Errorf("a device with an interval of 10 min was polled %d times in an hour", len(seldom.calls))
		}
	})
}

func TestPolledRefusalIsNotSilence(t *testing.T) {
	for _, k := range []drivers.ErrorKind{drivers.Exception, drivers.Busy} {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{poll: func(int) drivers.Report { return bad(k) }}
				run(t, 10*time.Second, nil, drivers.Unit{Device: "s", Poller: s, Every: time.Second})
				if len(s.calls) != 11 {
					t.Errorf("polled %d times in 10 s, want 11", len(s.calls))
				}
			})
		})
	}
	t.Run("part of the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{poll: func(int) drivers.Report {
				r := good()
				r.Err = &drivers.Error{Op: "read", Kind: drivers.Timeout}
				return r
			}}
			run(t, 10*time.Second, nil, drivers.Unit{Device: "s", Poller: s, Every: time.Second})
			if len(s.calls) != 11 {
				t.Errorf("polled %d times in 10 s, want 11", len(s.calls))
			}
		})
	})
}

func TestPolledDeadNeighboursCostOneTimeoutEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var units []drivers.Unit
		alive := &script{takes: 20 * time.Millisecond}
		for i := range 9 {
			units = append(units, drivers.Unit{Device: fmt.Sprint("dead", i), Every: time.Second, Poller: &script{
				takes: 500 * time.Millisecond, poll: func(int) drivers.Report { return bad(drivers.Timeout) },
			}})
		}
		units = append(units, drivers.Unit{Device: "alive", Poller: alive, Every: time.Second})
		run(t, time.Hour, nil, units...)
		if n := len(alive.calls); n < 3500*95/100 {
			t.Errorf("with nine dead neighbours a device got %d of 3600 polls in an hour", n)
		}
	})
}

func TestPolledEndsWhenThePortIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 59*time.Second)
		defer cancel()
		broken := &script{began: time.Now(), poll: func(n int) drivers.Report {
			switch n {
			case 2, 5, 6:
				return lost(drivers.Closed)
			case 9:
				return lost(drivers.Timeout)
			}
			return good()
		}}
		other := &script{began: time.Now()}
		link := drivers.Polled(drivers.Unit{Device: "broken", Poller: broken, Every: 10 * time.Second},
			drivers.Unit{Device: "other", Poller: other, Every: 10 * time.Second})
		var told []string
		for ctx.Err() == nil {
			err := link.Run(ctx, nil, nil, func(r drivers.Report) {
				if r.Err != nil {
					told = append(told, fmt.Sprintf("%s %v@%v", r.Device, drivers.KindOf(r.Err),
						time.Since(broken.began)))
				}
			})
			if ctx.Err() == nil && !drivers.PortLost(err) {
				t.Fatalf("Run returned %v", err)
			}
		}
		// A first break is repeated at once and not told; a second one in a row is, and waits for the next due time.
		wantTimes(t, "broken", broken.calls, "0s 10s 10s 20s 30s 30s 40s 50s")
		wantTimes(t, "other", other.calls, "0s 10s 20s 30s 40s 50s")
		if want := []string{"broken closed@30s"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

func TestPolledSilenceThatCostsThePortBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 29*time.Second)
		defer cancel()
		dead := &script{began: time.Now(), poll: func(int) drivers.Report { return lost(drivers.Timeout) }}
		link := drivers.Polled(drivers.Unit{Device: "dead", Poller: dead, Every: time.Second})
		told := 0
		for ctx.Err() == nil {
			link.Run(ctx, nil, nil, func(drivers.Report) { told++ }) //nolint:errcheck // seen in ctx
		}
		wantTimes(t, "dead", dead.calls, "0s 2s 6s 12s 20s")
		if told != 5 {
			t.Errorf("told %d of 5 failures", told)
		}
	})
}

func TestPolledKeepsWhatACancelledPollGot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{takes: time.Hour}
		reports, err := run(t, time.Second, nil, drivers.Unit{Device: "s", Poller: s, Every: time.Minute})
		if !errors.Is(err, context.DeadlineExceeded) || len(reports) != 1 || reports[0].Err != nil ||
			len(reports[0].Readings) != 1 {
			t.Errorf("Run returned %v and reported %v", err, reports)
		}
	})
}

// watched is a port that is unplugged after a while.
type watched struct {
	drivers.Port
	gone chan struct{}
}

func (w watched) Done() <-chan struct{} { return w.gone }

func TestPolledNoticesAnUnpluggedPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{began: time.Now()}
		port := watched{gone: make(chan struct{})}
		time.AfterFunc(90*time.Second, func() { close(port.gone) })
		err := drivers.Polled(drivers.Unit{Device: "s", Poller: s, Every: time.Hour}).Run(t.Context(), port, nil,
			func(drivers.Report) {})
		if !drivers.PortLost(err) || drivers.KindOf(err) != drivers.Closed || time.Since(s.began) != 90*time.Second {
			t.Errorf("Run returned %v after %v", err, time.Since(s.began))
		}
	})
}

func TestPolledWithoutUnitsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := run(t, time.Hour, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestPolledRefusesWhatCannotBe(t *testing.T) {
	ok := drivers.Unit{Device: "a", Poller: &script{}, Every: time.Second}
	for name, units := range map[string][]drivers.Unit{
		"no interval": {{Device: "a", Poller: &script{}}},
		"no poller":   {{Device: "a", Every: time.Second}},
		"no id":       {{Poller: &script{}, Every: time.Second}},
		"id twice":    {ok, ok},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			drivers.Polled(units...)
		})
	}
}
