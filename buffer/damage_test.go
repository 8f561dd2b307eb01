package buffer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// sample is a store with records of every class in several tables, and the records that it must deliver.
type sample struct {
	dir  string
	recs map[ID]Record
}

// makeSample fills a store over three openings. crashed leaves it as kill -9 would; otherwise it is closed.
func makeSample(t testing.TB, crashed bool) sample {
	t.Helper()
	out := sample{recs: map[ID]Record{}}
	base, err := os.MkdirTemp("/dev/shm", "bordo-buffer-")
	if err != nil {
		base = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	out.dir = filepath.Join(base, "store")
	rnd := rand.New(rand.NewPCG(1, 2))
	for opening := range 3 {
		s, err := Open(out.dir, Options{MaxSize: 32 << 20, Rand: newSeeded(byte(opening))})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			c := []Class{Reading, Reading, Reading, Interval, Event, Card}[i%6]
			payload := make([]byte, 100+rnd.IntN(200))
			if c == Reading {
				payload = make([]byte, 20_000+rnd.IntN(10_000))
			}
			for i := range payload {
				payload[i] = byte(rnd.Uint32())
			}
			id, err := s.Append(c, int64(i), int64(i+1), payload)
			if err != nil {
				t.Fatal(err)
			}
			out.recs[id] = Record{ID: id, Class: c, From: int64(i), To: int64(i + 1), Payload: payload}
		}
		if err := s.flushAll(); err != nil {
			t.Fatal(err)
		}
		// Some records are acknowledged, including parts of blocks.
		for i, r := range s.Fresh(1000) {
			if i%3 == 0 {
				if err := s.Settle([]ID{r.ID}); err != nil {
					t.Fatal(err)
				}
				delete(out.recs, r.ID)
			}
		}
		if opening == 2 && crashed {
			to := filepath.Join(base, "crashed")
			s.disk.Lock()
			copyDir(t, out.dir, to)
			s.disk.Unlock()
			out.dir = to
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// files lists the files that the tests damage.
func (p sample) files(t testing.TB) (out []string) {
	t.Helper()
	err := filepath.WalkDir(p.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" && d.Name() != "LOCK" && d.Name() != ballastName {
			rel, rerr := filepath.Rel(p.dir, path)
			if rerr != nil {
				return rerr
			}
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ways are the kinds of damage, each at an offset derived from the size of the file.
var ways = []struct {
	name, how string
	at        func(size int) int
}{
	{"deleted", "delete", func(int) int { return 0 }},
	{"emptied", "truncate", func(int) int { return 0 }},
	{"cut to 10 bytes", "truncate", func(n int) int { return min(n, 10) }},
	{"cut to a half", "truncate", func(n int) int { return n / 2 }},
	{"cut by 5 bytes", "truncate", func(n int) int { return max(n-5, 0) }},
	{"zeroed", "zero", func(int) int { return 0 }},
	{"zeros in the middle", "zero", func(n int) int { return n/2 | 1 }},
	{"flipped at the start", "flip", func(int) int { return 0 }},
	{"flipped near the start", "flip", func(n int) int { return min(n, 40) }},
	{"flipped in the middle", "flip", func(n int) int { return n / 2 }},
	{"flipped in the index", "flip", func(n int) int { return max(n-300, 0) }},
	{"flipped at the end", "flip", func(n int) int { return max(n-4, 0) }},
}

// check opens a damaged copy. The store must open, work, and account for every record.
func (p sample) check(t testing.TB, dir string) {
	t.Helper()
	s, err := Open(dir, Options{MaxSize: 32 << 20})
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	defer s.Close()
	fresh, err := s.Append(Event, 0, 0, []byte("still works"))
	if err != nil {
		t.Errorf("append: %v", err)
	}
	if p.recs[fresh].Payload != nil {
		t.Errorf("identity %s is reused", fresh)
	}
	got := map[ID]bool{}
	for c := Event; c <= Card; c++ {
		for {
			recs, err := s.Backlog(c, 1000)
			if err != nil {
				t.Errorf("backlog: %v", err)
			}
			if len(recs) == 0 {
				break
			}
			var ids []ID
			for _, r := range recs {
				want, ok := p.recs[r.ID]
				if ok && (!bytes.Equal(want.Payload, r.Payload) || want.Class != r.Class ||
					want.From != r.From || want.To != r.To) {
					t.Errorf("%s carries another payload", r.ID)
				}
				got[r.ID] = true
				ids = append(ids, r.ID)
			}
			if err := s.Settle(ids); err != nil {
				t.Errorf("settle: %v", err)
			}
		}
	}
	gaps := s.Gaps()
	for id, r := range p.recs {
		if !got[id] && !slices.ContainsFunc(gaps, func(g Gap) bool { return g.covers(r) }) {
			t.Errorf("%s %s is neither delivered nor covered by a gap: %+v, %+v", r.Class, id, s.Opened(), gaps)
			return
		}
	}
	if err := s.Settle([]ID{fresh}); err != nil {
		t.Errorf("settle: %v", err)
	}
	if sum := s.Summary(); len(sum) != 0 {
		t.Errorf("everything is settled, but the summary is %+v", sum)
	}
}

// covers reports whether a gap covers a record.
func (g Gap) covers(r Record) bool {
	return (g.Epoch == "" || g.Epoch == r.Epoch) && (g.Class == Any || g.Class == r.Class) &&
		g.From <= r.Seq && (g.To == nil || r.Seq <= *g.To)
}

// TestEveryFile damages each file of a store, one at a time: in every way with the tag e2e, otherwise in a quarter of
// the ways.
func TestEveryFile(t *testing.T) {
	for _, crashed := range []bool{false, true} {
		p := makeSample(t, crashed)
		for i, name := range p.files(t) {
			for j, way := range ways {
				if !allDamageKinds && (i+j)%4 != 0 {
					continue
				}
				t.Run(fmt.Sprintf("crashed=%v/%s/%s", crashed, name, way.name), func(t *testing.T) {
					dir := filepath.Join(memDir(t), "s")
					copyDir(t, p.dir, dir)
					path := filepath.Join(dir, name)
					fi, err := os.Stat(path)
					if err != nil {
						t.Fatal(err)
					}
					damageFile(t, path, way.how, way.at(int(fi.Size())))
					p.check(t, dir)
				})
			}
		}
		t.Run(fmt.Sprintf("crashed=%v/undamaged", crashed), func(t *testing.T) {
			dir := filepath.Join(memDir(t), "s")
			copyDir(t, p.dir, dir)
			p.check(t, dir)
		})
	}
}
