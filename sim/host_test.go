package sim

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bordo/contract"
)

func TestBoxGoesWrongByItsTimeTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := newHost(1, start, []Fault{
			{Kind: ClockJump, By: time.Hour, At: time.Minute, For: time.Second, Every: 10 * time.Minute},
			{Kind: ClockFree, For: 30 * time.Second},
			{Kind: DiskFull, At: 2 * time.Minute, For: time.Minute},
			{Kind: Kill, At: 3 * time.Minute, For: time.Second},
		})
		var kills []time.Duration
		b.OnKill(func() { kills = append(kills, time.Since(start)) })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { b.run(ctx) })

		at := func(d time.Duration) (offset time.Duration, clk contract.Clock, free uint64) {
			time.Sleep(time.Until(start.Add(d)))
			synctest.Wait()
			wall, clk := b.Wall()
			free, _ = b.DiskFree("/")
			return time.Until(wall), clk, free
		}
		if off, clk, free := at(0); off != 0 || clk != contract.ClockFree || free == 0 {
			t.Errorf("at the start: %s, %s, %d", off, clk, free)
		}
		if off, clk, _ := at(90 * time.Second); off != time.Hour || clk != contract.ClockSync {
			t.Errorf("after the first jump: %s, %s", off, clk)
		}
		if _, _, free := at(150 * time.Second); free != 0 {
			t.Errorf("%d bytes free on a full disk", free)
		}
		if off, _, free := at(15 * time.Minute); off != 2*time.Hour || free == 0 {
			t.Errorf("after the second jump: %s, %d bytes", off, free)
		}
		if !slices.Equal(kills, []time.Duration{3 * time.Minute}) {
			t.Errorf("killed at %v, want 3m", kills)
		}

		// A stamp is one of the offsets off that the clock had until it was made.
		for d, want := range map[time.Duration][]time.Duration{
			30 * time.Second: {0}, 5 * time.Minute: {0, time.Hour}, 14 * time.Minute: {0, time.Hour, 2 * time.Hour},
		} {
			if got := b.Offsets(start.Add(d)); !slices.Equal(got, want) {
				t.Errorf("offsets until %s: %v, want %v", d, got, want)
			}
		}
		cancel()
		wg.Wait()
	})
}
