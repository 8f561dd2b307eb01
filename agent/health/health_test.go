package health_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent/health"
	"bordo/contract"
)

// rig is a list of conditions that runs, with what it told.
type rig struct {
	*health.Conditions
	began time.Time
	told  []health.Change
}

// at is when a change was told, since the beginning.
func (r *rig) at(i int) time.Duration { return r.told[i].At.Sub(r.began) }

// ago is what a time in a message means.
func (r *rig) since(ms int64) time.Duration { return time.UnixMilli(ms).Sub(r.began) }

func (r *rig) codes() (out []string) {
	for _, h := range r.List() {
		out = append(out, strings.TrimSpace(h.Code+" "+h.Dev))
	}
	return out
}

func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{began: time.Now()}
		r.Conditions = health.New(time.Now, func(c health.Change) { r.told = append(r.told, c) })
		ctx, cancel := context.WithCancel(t.Context())
		go r.Run(ctx)
		f(t, r)
		cancel()
		synctest.Wait()
	})
}

// A bus that fails and answers in turn, every 10 s, is one condition, and what was suppressed is counted.
func TestFlappingIsOneCondition(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for range 360 {
			r.Set(contract.DeviceSilent, "meter-1", true, "timeout")
			time.Sleep(5 * time.Second)
			r.Set(contract.DeviceSilent, "meter-1", false, "")
			time.Sleep(5 * time.Second)
		}
		if len(r.told) != 1 || !slices.Equal(r.codes(), []string{"device_silent meter-1"}) || r.List()[0].Flaps != 359 {
			t.Fatalf("told %+v, open %+v", r.told, r.List())
		}
		if ok := r.since(r.List()[0].OKSince); ok != time.Hour-5*time.Second {
			t.Errorf("well since %v", ok)
		}
		time.Sleep(54 * time.Second)
		if len(r.told) != 1 {
			t.Errorf("cleared after %v of health", time.Minute-time.Second)
		}
		time.Sleep(2 * time.Second)
		if len(r.told) != 2 || len(r.codes()) != 0 {
			t.Fatalf("told %+v, open %v", r.told, r.codes())
		}
		c := r.told[1]
		if c.Type != contract.ConditionCleared || r.at(1) != time.Hour+55*time.Second || c.Health.Flaps != 359 ||
			r.since(c.Health.Since) != 0 || r.since(c.Health.OKSince) != time.Hour-5*time.Second {
			t.Errorf("cleared: %+v", c)
		}
	})
}

// A condition with a time to be raised ignores a fault that is shorter, and begins when the fault did.
func TestRaisedAfterItsTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.Set(contract.LineDown, "meter-1", true, "busy")
		time.Sleep(9 * time.Second)
		r.Set(contract.LineDown, "meter-1", false, "")
		time.Sleep(20 * time.Minute)
		if len(r.told) != 0 {
			t.Fatalf("told %+v", r.told)
		}
		r.began = time.Now()
		r.Set(contract.LineDown, "meter-1", true, "busy")
		time.Sleep(time.Second)
		r.Set(contract.LineDown, "meter-1", true, "no such device")
		time.Sleep(10 * time.Second)
		if len(r.told) != 1 || r.at(0) != 10*time.Second || r.since(r.told[0].Health.Since) != 0 ||
			r.told[0].Health.Detail != "no such device" {
			t.Errorf("told %+v", r.told)
		}
	})
}

// A fault that never lasts long enough is raised when it comes for the third time within ten minutes.
func TestRaisedByCount(t *testing.T) {
	for _, c := range []struct {
		every time.Duration
		want  int
	}{{4 * time.Minute, 1}, {6 * time.Minute, 0}} {
		bubble(t, func(t *testing.T, r *rig) {
			for range 3 {
				r.Set(contract.LineDown, "meter-1", true, "busy")
				time.Sleep(time.Second)
				r.Set(contract.LineDown, "meter-1", false, "")
				time.Sleep(c.every - time.Second)
			}
			if n := len(slices.DeleteFunc(r.told,
				func(c health.Change) bool { return c.Type != contract.ConditionRaised })); n != c.want {
				t.Errorf("every %v: raised %d times", c.every, n)
			}
		})
	}
}

// Each raise within an hour doubles the time of health that ends the condition; an hour later it is as before.
func TestRepeatedRaisesNeedMoreHealth(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var took []time.Duration
		for range 4 {
			r.Set(contract.StoreFull, "", true, "full")
			r.Set(contract.StoreFull, "", false, "")
			began := time.Now()
			for len(r.codes()) > 0 {
				time.Sleep(time.Second)
			}
			took = append(took, time.Since(began))
		}
		time.Sleep(2 * time.Hour)
		r.Set(contract.StoreFull, "", true, "full")
		r.Set(contract.StoreFull, "", false, "")
		time.Sleep(61 * time.Second)
		want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute}
		for i := range want {
			if took[i].Round(5*time.Second) != want[i] {
				t.Errorf("took %v, want %v", took, want)
			}
		}
		if len(r.codes()) != 0 {
			t.Error("two quiet hours later a minute is not enough")
		}
	})
}

// Whatever a fault does, its events are bounded, alternate, and in the end the list says how it is.
func TestEventsAreBounded(t *testing.T) {
	for seed := range uint64(20) {
		bubble(t, func(t *testing.T, r *rig) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			codes := []string{contract.DeviceSilent, contract.LineDown, contract.StatusOverwritten}
			for end := time.Now().Add(8 * time.Hour); time.Now().Before(end); {
				r.Set(codes[rnd.IntN(3)], fmt.Sprint("dev-", rnd.IntN(2)), rnd.IntN(2) == 0, "fault")
				time.Sleep(time.Duration(rnd.ExpFloat64() * float64(time.Second<<rnd.IntN(10))))
			}
			for _, c := range codes {
				r.Set(c, "dev-0", true, "fault")
				r.Set(c, "dev-1", false, "")
			}
			time.Sleep(contract.MaxClear + time.Second)
			if got, want := r.codes(), []string{"device_silent dev-0", "line_down dev-0",
				"status_overwritten dev-0"}; !slices.Equal(slices.Sorted(slices.Values(got)), want) {
				t.Errorf("seed %d: open in the end: %v", seed, got)
			}
			events := map[string][]health.Change{}
			for _, c := range r.told {
				k := c.Health.Code + c.Health.Dev
				if l := events[k]; (len(l)%2 == 0) != (c.Type == contract.ConditionRaised) {
					t.Fatalf("seed %d: %s told twice: %v", seed, k, c)
				}
				events[k] = append(events[k], c)
				l := events[k]
				if i := len(l) - 1 - contract.MaxConditionEvents; i >= 0 && c.At.Sub(l[i].At) < time.Hour {
					t.Errorf("seed %d: %s: more than %d events in the hour to %v", seed, k, contract.MaxConditionEvents,
						c.At)
				}
			}
			if len(events) != 6 {
				t.Errorf("seed %d: %d conditions", seed, len(events))
			}
		})
	}
}

// A doubt puts the end off and begins nothing; what a person has dealt with ends at once.
func TestDoubtAndClear(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.Doubt(contract.DeviceSilent, "meter-1")
		r.Set(contract.DeviceSilent, "meter-1", true, "timeout")
		r.Set(contract.DeviceSilent, "meter-1", false, "")
		time.Sleep(50 * time.Second)
		r.Doubt(contract.DeviceSilent, "meter-1")
		time.Sleep(50 * time.Second)
		if len(r.told) != 1 {
			t.Errorf("told %+v", r.told)
		}
		time.Sleep(11 * time.Second)
		if len(r.told) != 2 {
			t.Errorf("told %+v", r.told)
		}
		r.Set(contract.DeviceExchanged, "meter-1", true, "another")
		r.Clear(contract.DeviceExchanged, "meter-1")
		r.Clear(contract.DeviceExchanged, "meter-2")
		if len(r.told) != 4 || len(r.codes()) != 0 {
			t.Errorf("told %+v", r.told)
		}
	})
}

// A code that the contract does not have is a defect of the program.
func TestUnknownCode(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("nobody objected")
		}
	}()
	health.New(time.Now, nil).Set("sunny", "", true, "")
}
