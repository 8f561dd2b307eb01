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
			t.Error("unsealed record is safe")
		}
		if err := s.Settle([]ID{acked}); err != nil {
			t.Fatal(err)
		}
		if !s.Safe([]ID{acked}) || s.Safe([]ID{acked, waits}) {
			t.Error("not safe after an acknowledgement")
		}
		pass(time.Minute)
		if !s.Safe([]ID{acked, waits, mustAppend(t, s, Event, 3), {Epoch: "another", Seq: 9}}) || !s.Safe(nil) {
			t.Error("not safe after sealing")
		}
	})
}

// TestSealedInTime: a record is sealed after Sync even when older sealed records are still unacknowledged.
func TestSealedInTime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{Sync: 5 * time.Second})
		synctest.Wait()
		for i := range 20 {
			id := mustAppend(t, s, Reading, i)
			s.Fresh(1) // leases it
			time.Sleep(5*time.Second + 10*time.Millisecond)
			synctest.Wait()
			if !s.Safe([]ID{id}) {
				t.Errorf("record %d is not sealed after %v", i, 5*time.Second)
			}
		}
	})
}
