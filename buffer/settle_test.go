package buffer

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSafe: a record is safe once it is sealed or acknowledged, and not before.
func TestSafe(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		acked, waits := mustAppend(t, s, Reading, 1), mustAppend(t, s, Interval, 2)
		if both := []ID{acked, waits}; s.Safe(both) {
			t.Error("safe in memory alone")
		}
		if err := s.Settle([]ID{acked}); err != nil {
			t.Fatal(err)
		}
		if !s.Safe([]ID{acked}) || s.Safe([]ID{acked, waits}) {
			t.Error("after one was acknowledged")
		}
		pass(time.Minute)
		if !s.Safe([]ID{acked, waits, mustAppend(t, s, Event, 3), {Epoch: "another", Seq: 9}}) || !s.Safe(nil) {
			t.Error("after they were sealed")
		}
	})
}

// TestSealedInTime: a record is sealed after Sync also when others are there that were sealed before it and are not
// acknowledged.
func TestSealedInTime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{Sync: 5 * time.Second})
		synctest.Wait()
		for i := range 20 {
			id := mustAppend(t, s, Reading, i)
			s.Fresh(1) // is under way
			time.Sleep(5*time.Second + 10*time.Millisecond)
			synctest.Wait()
			if !s.Safe([]ID{id}) {
				t.Errorf("record %d is in memory alone after %v", i, 5*time.Second)
			}
		}
	})
}
