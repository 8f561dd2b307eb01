package buffer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// wallClock is a trusted clock that tests can set.
type wallClock struct {
	at    atomic.Int64 // seconds since 1970
	wrong atomic.Bool  // not trusted
}

func (c *wallClock) now() (time.Time, bool) { return time.Unix(c.at.Load(), 0), !c.wrong.Load() }

const (
	hourSeconds = 3600
	year        = 365 * 24 * hourSeconds
	today       = 1_800_000_000
)

// pass advances the fake clock by d and waits until the store is idle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestCardAge: personal data is discarded after a week of running time. Clock jumps by years change nothing for it or
// other records.
func TestCardAge(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		var clock wallClock
		clock.at.Store(today)
		s := open(t, dir, Options{History: 1 << 20, EnergyHistory: 1 << 20, Trusted: clock.now})
		card := mustAppend(t, s, Card, 0)
		for i, c := range []Class{Reading, Interval, Event} {
			mustAppend(t, s, c, i)
		}
		for _, jump := range []int64{30 * year, -50 * year, 20 * year} {
			clock.at.Add(jump)
			pass(50 * time.Hour)
			clock.wrong.Store(jump < 0)
			if sum := s.Summary(); len(sum) != 1 || sum[0].N != 4 || len(s.Gaps()) > 0 {
				t.Fatalf("after a jump by %d years: %+v, gaps %+v", jump/year, sum, s.Gaps())
			}
		}
		pass(17 * time.Hour)
		if len(s.Gaps()) > 0 {
			t.Fatalf("discarded after 167 hours: %+v", s.Gaps())
		}
		pass(2 * time.Hour)
		gaps := s.Gaps()
		if len(gaps) != 1 || gaps[0].Class != Card || gaps[0].Reason != Retention || gaps[0].Count != 1 ||
			gaps[0].From != card.Seq || *gaps[0].To != card.Seq {
			t.Fatalf("after a week: %+v", gaps)
		}
		if got := allBacklog(t, s, Card); got != nil {
			t.Errorf("cards %v after a week", got)
		}
		if sum := s.Summary(); len(sum) != 1 || sum[0].N != 3 {
			t.Errorf("more than the card is missing: %+v", sum)
		}
	})
}

// TestCardAgeSwitchedOff: switched-off time counts only as far as a trusted clock shows it before and after, and never
// reduces the age.
func TestCardAgeSwitchedOff(t *testing.T) {
	for _, c := range []struct {
		name    string
		off     int64 // seconds on the clock between close and open
		trusted bool
		left    time.Duration // running time until the card is discarded
	}{
		{"no time", 0, true, 168 * time.Hour},
		{"four days", 96 * hourSeconds, true, 72 * time.Hour},
		{"a month", 30 * 24 * hourSeconds, true, time.Minute},
		{"set back", -5 * year, true, 168 * time.Hour},
		{"a month that nobody trusts", 30 * 24 * hourSeconds, false, 168 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := memDir(t)
			synctest.Test(t, func(t *testing.T) {
				var clock wallClock
				clock.at.Store(today)
				s := open(t, dir, Options{Trusted: clock.now})
				mustAppend(t, s, Card, 0)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				clock.at.Add(c.off)
				clock.wrong.Store(!c.trusted)
				s = open(t, dir, Options{Trusted: clock.now})
				if before := c.left - 2*time.Hour; before > 0 {
					pass(before)
					if len(s.Gaps()) > 0 {
						t.Fatalf("discarded too early: %+v", s.Gaps())
					}
					pass(2 * time.Hour)
				}
				pass(2 * time.Hour)
				if g := s.Gaps(); len(g) != 1 || g[0].Reason != Retention {
					t.Fatalf("gaps %+v", g)
				}
			})
		})
	}
}

// TestCardErased: within an hour of its acknowledgement no file contains a card, and no history does.
func TestCardErased(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{History: 1 << 20, EnergyHistory: 1 << 20})
		secret := make([]byte, 64)
		rand.NewChaCha8([32]byte{1}).Read(secret)
		id, err := s.Append(Card, 1000, 2000, secret)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, Event, 1) // must not be erased
		if in := filesWith(t, dir, secret); len(in) == 0 {
			t.Fatal("no file contains the sealed card")
		}
		for r, err := range s.Records(Query{Classes: []Class{Card, Event, Interval, Reading}}) {
			if err != nil || r.Class == Card || r.ID == id {
				t.Fatalf("records yield %v %v", r, err)
			}
		}
		if err := s.Settle([]ID{id}); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour + 2*ackDelayMax)
		if in := filesWith(t, dir, secret); len(in) > 0 {
			t.Errorf("card is still in %v", in)
		}
		if len(s.Gaps()) > 0 {
			t.Errorf("gaps %+v", s.Gaps())
		}
	})
}

// filesWith lists the files below dir that contain b.
func filesWith(t *testing.T, dir string, b []byte) (out []string) {
	t.Helper()
	eachFile(t, dir, func(path string, content []byte) {
		if bytes.Contains(content, b) {
			out = append(out, filepath.Base(path))
		}
	})
	return out
}

// eachFile calls f with the path and content of every file below dir.
func eachFile(t *testing.T, dir string, f func(path string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		f(path, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoHistoryNoWrites: without history, readings that are acknowledged in time cause no disk writes.
func TestNoHistoryNoWrites(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		pass(3 * time.Hour) // lets the writes of the opening finish
		sum := func() string {
			h := sha256.New()
			eachFile(t, dir, func(path string, content []byte) {
				fmt.Fprintf(h, "%s %d %s", path, len(content), content)
			})
			return fmt.Sprintf("%x", h.Sum(nil))
		}
		before, commits := sum(), s.Stats().Commits
		for i := range 1000 {
			mustAppend(t, s, Reading, i)
			pass(3 * time.Second)
			for _, r := range s.Fresh(10) {
				if err := s.Settle([]ID{r.ID}); err != nil {
					t.Fatal(err)
				}
			}
		}
		pass(3 * time.Hour)
		if st := s.Stats(); st.Commits != commits || st.Written != 0 || st.Settled != 1000 || sum() != before {
			t.Errorf("%d transactions, %d bytes of blocks, files changed %v",
				st.Commits-commits, st.Written, sum() != before)
		}
		// Without acknowledgements the store does write, so the check above can fail.
		mustAppend(t, s, Reading, 0)
		pass(6 * time.Second)
		if sum() == before {
			t.Error("no file contains the unacknowledged reading")
		}
	})
}

// TestIntervalsStay: readings never displace intervals, however many arrive.
func TestIntervalsStay(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		const maxSize = 16 << 20
		s := open(t, dir, Options{MaxSize: maxSize, History: 1 << 20, EnergyHistory: 1 << 20})
		var want []ID
		for i := range 300 {
			want = append(want, mustAppend(t, s, Interval, i))
		}
		if err := s.Settle(want[:200]); err != nil { // the others stay unacknowledged
			t.Fatal(err)
		}
		pass(2 * time.Hour)
		flood(t, s, Reading, 2*maxSize)
		if g := s.Gaps(); len(g) != 1 || g[0].Class != Reading || g[0].Reason != Evicted {
			t.Fatalf("gaps %+v", g)
		}
		var got []ID
		for r, err := range s.Records(Query{Classes: []Class{Interval}}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.ID)
		}
		slices.SortFunc(got, func(a, b ID) int { return int(a.Seq) - int(b.Seq) })
		if !slices.Equal(got, want) {
			t.Errorf("%d of %d intervals are left", len(got), len(want))
		}
	})
}

// TestEventsAlone: when only events arrive, they evict the oldest events, and the files stay within MaxSize.
func TestEventsAlone(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		const maxSize = 16 << 20
		s := open(t, dir, Options{MaxSize: maxSize})
		flood(t, s, Event, 2*maxSize)
		if g := s.Gaps(); len(g) != 1 || g[0].Class != Event || g[0].Reason != Evicted || g[0].From != 1 {
			t.Fatalf("gaps %+v", g)
		}
	})
}

// flood appends incompressible records of 40 kB and checks the size of the files.
func flood(t *testing.T, s *Store, c Class, total int) {
	t.Helper()
	rnd := rand.NewChaCha8([32]byte{byte(c)})
	for n := 0; n < total; n += 40_000 {
		payload := make([]byte, 40_000)
		rnd.Read(payload)
		if _, err := s.Append(c, 1, 2, payload); err != nil {
			t.Fatal(err)
		}
		if n%(25*40_000) != 0 {
			continue
		}
		pass(s.opt.Sync + time.Second)
		if size := filesSize(s.dir); size > s.opt.MaxSize {
			t.Fatalf("files take %d of %d", size, s.opt.MaxSize)
		}
	}
}
