package buffer

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// refusedOptions returns the options of a store whose directory is refused with err until allow is called. begun
// collects the arguments of Options.First.
func refusedOptions(err error) (o Options, allow func(), begun *[]Opened) {
	var allowed atomic.Bool
	begun = &[]Opened{}
	o.refuse = func() error {
		if allowed.Load() {
			return nil
		}
		return err
	}
	o.First = func(o Opened) []byte {
		*begun = append(*begun, o)
		return []byte("opened " + o.PrevEpoch)
	}
	return o, func() { allowed.Store(true) }, begun
}

// payloads leases the whole backlog of a class and returns the payloads by identity.
func payloads(t *testing.T, s *Store, c Class) map[ID]string {
	t.Helper()
	out := map[ID]string{}
	for recs := range leaseAll(t, s, c, 100) {
		for _, r := range recs {
			out[r.ID] = string(r.Payload)
		}
	}
	return out
}

// TestMemoryRun: a store whose directory is refused runs in its own epoch and learns the backlog on disk from the
// checkpoint. Once the directory is allowed, it seals the unacknowledged records under their identity and begins the
// next epoch.
func TestMemoryRun(t *testing.T) {
	for name, err := range map[string]error{
		"read-only": syscall.EROFS, "broken": syscall.EIO,
		"owner": &fs.PathError{Op: "access", Path: "x", Err: syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { runsFromMemory(t, dir, err) })
		})
	}
}

// runsFromMemory is TestMemoryRun for one error of the directory.
func runsFromMemory(t *testing.T, dir string, refusal error) {
	s := open(t, dir, Options{})
	old := mustAppend(t, s, Event, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	o, allow, begun := refusedOptions(refusal)
	s = open(t, dir, o)
	mem := s.Next().Epoch
	if op := s.Opened(); !op.Memory || op.Epoch != mem || op.PrevEpoch != old.Epoch || !op.Clean || mem <= old.Epoch {
		t.Fatalf("opened %+v after %v", op, old)
	}
	if _, err := s.Fault(); !errors.Is(err, refusal) {
		t.Errorf("fault: %v", err)
	}
	sum := s.Summary()
	if len(sum) != 1 || sum[0] != (Span{old.Epoch, old.Seq, old.Seq, 1}) {
		t.Errorf("backlog on disk: %+v", sum)
	}
	event, err := s.Append(Event, 0, 0, []byte("event"))
	if !errors.Is(err, ErrNotSealed) {
		t.Errorf("event: %v", err)
	}
	settled, leased, kept := mustAppend(t, s, Reading, 2), mustAppend(t, s, Reading, 3), mustAppend(t, s, Reading, 4)
	private, err := s.AppendPrivate(Interval, 1, 2, []byte("private"))
	if err != nil {
		t.Fatal(err)
	}
	if got := idsOf(s.Fresh(3)); !slices.Equal(got, []ID{event, settled, leased}) {
		t.Fatalf("delivered %v", got)
	}
	for _, err := range []error{s.Settle([]ID{settled}), s.Settle([]ID{old})} {
		if err != nil {
			t.Error(err)
		}
	}
	s.Release([]ID{event})
	time.Sleep(time.Minute)
	allow()
	time.Sleep(memoryRetry + time.Second)
	synctest.Wait()

	now := s.Opened()
	if len(*begun) != 1 || now != (*begun)[0] || now.Memory || now.Epoch <= mem ||
		now.PrevEpoch != mem || now.PrevLastSealed != private.Seq {
		t.Fatalf("opened %+v, Options.First received %+v", now, *begun)
	}
	if st := s.Stats(); st.Fault != "" || st.FromMemory || st.Epoch != now.Epoch || st.Next != 2 {
		t.Errorf("%+v", st)
	}
	crashed := crashOf(t, s)
	events := payloads(t, s, Event)
	want := map[ID]string{old: "event 1", event: "event", {now.Epoch, 1}: "opened " + mem}
	for id, p := range want {
		if events[id] != p && (id.Epoch != now.Epoch || string(s.Fresh(1)[0].Payload) != p) {
			t.Errorf("%v: %q, want %q", id, events[id], p)
		}
	}
	if got := payloads(t, s, Reading); len(got) != 1 || got[kept] != "reading 4" {
		t.Errorf("readings %v", got)
	}
	if got := payloads(t, s, Interval); got[private] != "private" {
		t.Errorf("intervals %v", got)
	}
	s.Release([]ID{leased}) // its session ended
	synctest.Wait()
	if got := payloads(t, s, Reading); got[leased] != "reading 3" {
		t.Errorf("released: %v", got)
	}
	reopened(t, crashed, mem, []ID{event, leased, kept, private})
}

// reopened opens a crash copy made after a run from memory. Every sealed record must be there, and no gap may cover it.
func reopened(t *testing.T, dir, mem string, want []ID) {
	t.Helper()
	s := open(t, dir, Options{})
	var got []ID
	for _, c := range []Class{Event, Reading, Interval} {
		got = append(got, allBacklog(t, s, c)...)
	}
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf("sealed record %v is lost", id)
		}
	}
	for _, g := range s.Gaps() {
		if g.Epoch == mem && g.Reason != FromMemory {
			t.Errorf("gap %+v covers sealed records", g)
		}
	}
}

// TestMemoryRunForetold: from the beginning of a run from memory, gaps cover what would be lost with the process and
// what cannot be read on the disk.
func TestMemoryRunForetold(t *testing.T) {
	o, _, _ := refusedOptions(syscall.EIO)
	s := open(t, t.TempDir(), o)
	gaps := s.Gaps()
	own := slices.ContainsFunc(gaps, func(g Gap) bool {
		return g.Epoch == s.Next().Epoch && g.Class == Any && g.From == 1 && g.To == nil && g.Reason == FromMemory
	})
	blind := slices.ContainsFunc(gaps, func(g Gap) bool { return g.Epoch == "" && g.Reason == FromMemory })
	if !own || !blind || len(gaps) != 2 {
		t.Errorf("gaps %+v", gaps)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed with nothing to lose: %v", err)
	}
	s = open(t, t.TempDir(), o)
	mustAppend(t, s, Reading, 1)
	if err := s.Close(); err == nil ||
		!strings.Contains(err.Error(), "1 records that were held in memory only are lost") {
		t.Errorf("closed: %v", err)
	}
}

// TestMemoryRunUnsealed: a crash after the next epoch has begun, but before the records of the run from memory are
// sealed, leaves a gap for them. Records of both epochs that are sealed together are in separate blocks.
func TestMemoryRunUnsealed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o, allow, begun := refusedOptions(syscall.EROFS)
		o.Reserve = 32 << 20
		var free atomic.Uint64
		free.Store(10 << 20) // room for gaps, none for records
		o.DiskFree = func(string) (uint64, error) { return free.Load(), nil }
		s := open(t, dir, o)
		lost := mustAppend(t, s, Reading, 1)
		allow()
		time.Sleep(memoryRetry + time.Second)
		synctest.Wait()
		if len(*begun) != 1 || (*begun)[0].PrevLastSealed != 0 {
			t.Fatalf("begun: %+v", *begun)
		}
		crashed := crashOf(t, s)
		gaps := open(t, crashed, Options{}).Gaps()
		covers := func(g Gap) bool { return g.Epoch == lost.Epoch && g.Reason == Unclean && g.To == nil }
		if !slices.ContainsFunc(gaps, covers) {
			t.Errorf("%v is under none of %+v", lost, gaps)
		}
		next := mustAppend(t, s, Reading, 2)
		free.Store(1 << 30)
		time.Sleep(2 * retryMax)
		synctest.Wait()
		if got := payloads(t, s, Reading); got[lost] != "reading 1" || got[next] != "reading 2" || len(got) != 2 {
			t.Errorf("of two epochs: %v", got)
		}
	})
}

// TestMemoryRunEpochs: consecutive runs from memory that could write nothing have different epochs, even if the random
// half repeats.
func TestMemoryRunEpochs(t *testing.T) {
	dir := t.TempDir()
	o, _, _ := refusedOptions(syscall.EROFS)
	seen := map[string]bool{}
	rnd := newSeeded(7)
	for range 50 {
		o.Rand = rnd
		s := open(t, dir, o)
		ep := s.Next().Epoch
		if seen[ep] || !isEpoch(ep) {
			t.Fatalf("epoch %q is reused", ep)
		}
		seen[ep] = true
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeniedIsNoDamage: a file without read permission never counts as damaged, however long this lasts.
func TestDeniedIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		for range 3 {
			s.disk.Lock()
			passes := s.isTransient(&fs.PathError{Op: "open", Path: "000001.sst", Err: syscall.EACCES})
			s.disk.Unlock()
			if !passes {
				t.Fatal("counts as damage")
			}
			time.Sleep(2 * transientMax)
		}
	})
}
