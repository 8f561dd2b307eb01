package buffer

import (
	"math/rand/v2"
	"testing"
)

// TestEvictCounts: records of a block that were acknowledged before its eviction are neither reported as lost nor
// subtracted twice from the pending count.
func TestEvictCounts(t *testing.T) {
	dir := t.TempDir()
	o := Options{MaxSize: 16 << 20}
	s := open(t, dir, o)
	rnd := rand.New(rand.NewPCG(1, 1))
	payload := make([]byte, 30_000)
	const records = 60
	for range records {
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		if _, err := s.Append(Reading, 1, 2, payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, o)
	acked := 0
	for recs := range leaseAll(t, s, Reading, 10) {
		if err := s.Settle([]ID{recs[0].ID, recs[len(recs)-1].ID}); err != nil {
			t.Fatal(err)
		}
		acked += 2
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, o)
	first := mustAppend(t, s, Event, 0).Epoch
	count := func() (evicted, left uint64) {
		for _, g := range s.Gaps() {
			evicted += g.Count
		}
		for _, e := range s.Summary() {
			if e.Epoch != first {
				left += e.N
			}
		}
		return evicted, left
	}
	for round := range 2 {
		s.disk.Lock()
		list, err := s.evict()
		if err == nil {
			if evicted, left := count(); evicted+left != uint64(records-acked) || evicted == 0 || left == 0 {
				t.Errorf("round %d: %d evicted and %d left of %d", round, evicted, left, records-acked)
			}
			err = s.drop(list)
		}
		s.disk.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	evicted, left := count()
	if evicted+left != uint64(records-acked) {
		t.Errorf("%d evicted and %d left of %d", evicted, left, records-acked)
	}
	s.disk.Lock()
	low, orphans := s.lanes[Reading].low, 0
	err := s.scanAcks(Reading, 0, low, func([]byte, uint64, []byte) { orphans++ })
	s.disk.Unlock()
	if err != nil || low == 1 || orphans > 0 {
		t.Errorf("below block %d: %d orphaned acknowledgements, %v", low, orphans, err)
	}
	if got := allBacklog(t, s, Reading); uint64(len(got)) != left {
		t.Errorf("%d readings are left, but the summary counts %d", len(got), left)
	}
}
