//go:build soak

package buffer

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const (
	// largeOver is the amount by which the test exceeds the store's size limit.
	largeOver = 96 << 20
	// largePayload is the size of one reading. Two of them fill a block.
	largePayload = 40_000
)

// large is a store filled beyond its default size limit, and every record ever appended to it.
type large struct {
	dir, crashed string // the closed store, and a copy made while it was open
	epoch        string
	class        map[uint64]Class // by sequence
	readings     uint64
}

// largeBytes returns the payload of record seq. It is incompressible and unique.
func largeBytes(seq uint64, c Class) []byte {
	size := largePayload
	if c != Reading {
		size = 300
	}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], seq)
	b := make([]byte, size)
	rand.NewChaCha8(seed).Read(b) //nolint:errcheck // it never fails
	return b
}

// fill appends more than the store can keep, with events and intervals between the readings. It copies the files as a
// crash would leave them, then closes the store.
func (l *large) fill(t *testing.T) {
	s := open(t, l.dir, Options{})
	l.epoch = s.Opened().Epoch
	for seq := uint64(1); l.readings*largePayload < DefaultMaxSize+largeOver; seq++ {
		c := Reading
		switch seq % 50 {
		case 20:
			c = Event
		case 40:
			c = Interval
		}
		id, err := s.Append(c, int64(seq), int64(seq)+1, largeBytes(seq, c))
		if err != nil || id != (ID{l.epoch, seq}) {
			t.Fatalf("record %d: %v, %v", seq, id, err)
		}
		l.class[seq] = c
		if c == Reading {
			l.readings++
		}
		if seq%25 != 0 {
			continue
		}
		pass(s.opt.Sync + time.Second)
		if size := filesSize(s.dir); size > DefaultMaxSize {
			t.Fatalf("files take %d of %d", size, DefaultMaxSize)
		}
	}
	pass(2 * s.opt.Sync) // seals the last records
	copyDir(t, l.dir, l.crashed)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// evicted checks that the gaps cover the oldest readings and nothing else, and returns the last evicted sequence.
func (l *large) evicted(t *testing.T, s *Store, clean bool) (last uint64) {
	t.Helper()
	gaps := slices.DeleteFunc(s.Gaps(), func(g Gap) bool {
		// The gap of a crash begins after the last sealed record, so no record is missing.
		return !clean && g.Reason == Unclean && g.Epoch == l.epoch && g.To == nil && g.From == uint64(len(l.class))+1
	})
	if len(gaps) != 1 {
		t.Fatalf("gaps %+v", s.Gaps())
	}
	g := gaps[0]
	if g.Reason != Evicted || g.Class != Reading || g.Epoch != l.epoch || g.From != 1 || g.To == nil {
		t.Fatalf("gap %+v", g)
	}
	n := uint64(0)
	for seq := range *g.To {
		if l.class[seq+1] == Reading {
			n++
		}
	}
	if g.Count != n || n*largePayload < largeOver {
		t.Fatalf("the gap counts %d of %d readings up to %d", g.Count, n, *g.To)
	}
	return *g.To
}

// same checks that a delivered record equals the appended one.
func (l *large) same(t *testing.T, r Record) {
	t.Helper()
	c := l.class[r.Seq]
	if r.Epoch != l.epoch || r.Class != c || r.From != int64(r.Seq) || r.To != int64(r.Seq)+1 ||
		!bytes.Equal(r.Payload, largeBytes(r.Seq, c)) {
		t.Fatalf("%s was delivered as %s from %d to %d, with %d bytes", r.ID, r.Class, r.From, r.To, len(r.Payload))
	}
}

// reopen opens the store with its hundreds of mapped tables and checks that it contains every record except the evicted
// ones.
func (l *large) reopen(t *testing.T, dir string, clean bool) (s *Store, gone uint64) {
	t.Helper()
	size, start := filesSize(dir), time.Now()
	s = open(t, dir, Options{})
	took := time.Since(start)
	o := s.Opened()
	if o.Clean != clean || o.PrevEpoch != l.epoch || o.PrevLastSealed != uint64(len(l.class)) ||
		o.SetAside != "" || o.Damage != "" {
		t.Fatalf("opened %+v", o)
	}
	if fault := s.Stats().Fault; fault != "" {
		t.Fatal(fault)
	}
	if size > DefaultMaxSize || size < DefaultMaxSize-s.slack()-20<<20 {
		t.Errorf("the full store takes %d of %d bytes", size, DefaultMaxSize)
	}
	gone = l.evicted(t, s, clean)
	left := 0
	for seq, c := range l.class {
		if c != Reading || seq > gone {
			left++
		}
	}
	start = time.Now()
	r, err := s.Verify()
	if err != nil || len(r.Faults) != 0 || r.Records != left {
		t.Fatalf("verified %+v instead of %d records, %v", r, left, err)
	}
	t.Logf("clean=%v: %d MiB opened in %v, %d tables with %d records verified in %v",
		clean, size>>20, took, r.Tables, left, time.Since(start))
	return s, gone
}

// settle delivers the wanted records of a class, which are its oldest, and acknowledges them.
func (l *large) settle(t *testing.T, s *Store, c Class, want []uint64) {
	t.Helper()
	for len(want) > 0 {
		recs, err := s.Backlog(c, min(len(want), 100))
		if err != nil || len(recs) == 0 {
			t.Fatalf("%s %d was not delivered: %v", c, want[0], err)
		}
		var ids []ID
		for i, r := range recs {
			if r.Seq != want[i] {
				t.Fatalf("%s %d was delivered instead of %d", c, r.Seq, want[i])
			}
			l.same(t, r)
			ids = append(ids, r.ID)
		}
		if err := s.Settle(ids); err != nil {
			t.Fatal(err)
		}
		want = want[len(ids):]
	}
}

// drain acknowledges all events and intervals and the older half of the readings, which frees their space. It then
// checks that the remaining records are there after the next opening.
func (l *large) drain(t *testing.T, s *Store, gone uint64) {
	t.Helper()
	before := filesSize(s.dir)
	left := map[Class][]uint64{}
	for seq := uint64(1); seq <= uint64(len(l.class)); seq++ {
		if c := l.class[seq]; c != Reading || seq > gone {
			left[c] = append(left[c], seq)
		}
	}
	rest := left[Reading]
	l.settle(t, s, Event, left[Event])
	l.settle(t, s, Interval, left[Interval])
	l.settle(t, s, Reading, rest[:len(rest)/2])
	rest = rest[len(rest)/2:]
	if err := s.writeDue(true); err != nil {
		t.Fatal(err)
	}
	after := filesSize(s.dir)
	// The remaining readings, one partly acknowledged segment, and the files beside the database.
	if most := int64(len(rest))*largePayload*101/100 + 48<<20; after > most {
		t.Errorf("files take %d bytes of %d, more than %d", after, before, most)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir, Options{})
	sum := s.Summary()
	if len(sum) != 1 || sum[0].Epoch != l.epoch || sum[0].N != uint64(len(rest)) || !s.Opened().Clean {
		t.Fatalf("reopened: %+v, %+v instead of %d readings", s.Opened(), sum, len(rest))
	}
	l.settle(t, s, Reading, rest[:100])
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("half of the readings settled: %d MiB", after>>20)
}

// TestLarge: a store of the default size that is full and evicting opens after a crash and after a clean close. It
// contains everything that no gap covers, and frees space again. The test is meant for 32-bit machines, where each
// table takes address space, so it keeps at most one store open. It needs 1.2 GiB under /dev/shm.
func TestLarge(t *testing.T) {
	base := memDir(t)
	l := &large{dir: filepath.Join(base, "store"), crashed: filepath.Join(base, "crashed"), class: map[uint64]Class{}}
	start := time.Now()
	synctest.Test(t, l.fill)
	t.Logf("%d records, %d MiB of readings written in %v", len(l.class), l.readings*largePayload>>20, time.Since(start))
	for _, dir := range []string{l.crashed, l.dir} {
		s, gone := l.reopen(t, dir, dir == l.dir)
		l.drain(t, s, gone)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}
