package sim

import (
	"testing"
	"testing/synctest"
	"time"
)

// Twenty seeds of a line on which a fifth of the answers is lost, a tenth late and a tenth garbled: no reading that was
// not true comes through, on TCP and on two serial lines at once. The figure stands in drivers/modbus/BENCH.md.
func TestTwentySeedsInventNothing(t *testing.T) {
	readings := 0
	for seed := uint64(1); seed <= 20; seed++ {
		synctest.Test(t, func(t *testing.T) {
			scenario := mustLoad(t, "demo")
			for i := range scenario.Lines {
				scenario.Lines[i].Faults = []Fault{{Kind: Drop, Chance: 0.2}, {Kind: Late, Chance: 0.1},
					{Kind: Garble, Chance: 0.1}}
			}
			s, a := live(t, scenario, seed, 10*time.Minute, nil)
			if lies := invented(s, a, 20*time.Second); len(lies) > 0 {
				t.Errorf("seed %d: %d readings were not true, the first: %s", seed, len(lies), lies[0])
			}
			for _, dev := range []string{"inv-1", "meter-1", "barrier-1"} {
				for _, r := range a.of(dev) {
					readings += len(r.Readings)
				}
			}
		})
	}
	if readings < 20_000 {
		t.Errorf("only %d readings came through", readings)
	}
	t.Logf("%d readings, none invented", readings)
}
