package buffer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// imageVersion is the version that introduced the current layout. -update creates its images if they are missing.
// Images of a released version are never regenerated.
const imageVersion = "0.1.0"

var update = flag.Bool("update", false, "create the testdata stores of the current layout if they are missing")

// makeImages writes one store as a clean close leaves it, and one as kill -9 does. Both contain two epochs, an
// eviction, an unclean stop, records of each class and of a personal device, a partly acknowledged block, and history.
func makeImages(t *testing.T, crashed, closed string) {
	work := t.TempDir()
	dir := filepath.Join(work, "first")
	o := Options{
		MaxSize: 16 << 20, History: 4 << 20, EnergyHistory: 4 << 20, Rand: newSeeded(1),
		Trusted: func() (time.Time, bool) { return time.Unix(1_760_000_000, 0), true },
	}
	s := open(t, dir, o)
	for i := range 5 {
		mustAppend(t, s, Reading, i)
	}
	pass(time.Minute)
	s.disk.Lock()
	list, err := s.evict()
	if err == nil {
		err = s.drop(list)
	}
	s.disk.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	imageRecords(t, s)
	if err := s.flushAll(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, Reading, 99) // never sealed: the only lost record
	synctest.Wait()
	copyDir(t, dir, crashed)

	o.Rand = newSeeded(2)
	copyDir(t, dir, closed)
	s = open(t, closed, o)
	imageRecords(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// imageRecords appends records of every class and acknowledges some.
func imageRecords(t *testing.T, s *Store) {
	t.Helper()
	var ids []ID
	for i := range 20 {
		ids = append(ids, mustAppend(t, s, []Class{Reading, Interval, Reading, Event, Card}[i%5], i))
	}
	for _, c := range []Class{Reading, Interval, Event} {
		if _, err := s.AppendPrivate(c, 3000, 4000, fmt.Appendf(nil, "personal %s", c)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Settle(ids[:1]); err != nil { // not sealed yet, so it goes to the history
		t.Fatal(err)
	}
	pass(time.Minute)
	if err := s.Settle(ids[5:12]); err != nil {
		t.Fatal(err)
	}
	pass(2 * time.Hour)
}

// describe returns the content of a store as text. It leases all deliverable records.
func describe(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	o := s.Opened()
	fmt.Fprintf(&b, "opened clean=%v after=%s sealed=%d aside=%q damage=%q\n",
		o.Clean, o.PrevEpoch, o.PrevLastSealed, o.SetAside, o.Damage)
	for _, g := range s.Gaps() {
		to := "?"
		if g.To != nil {
			to = fmt.Sprint(*g.To)
		}
		fmt.Fprintf(&b, "gap %s %s %s %d to %s, %d lost\n", g.Reason, g.Class, g.Epoch, g.From, to, g.Count)
	}
	for _, e := range s.Summary() {
		fmt.Fprintf(&b, "pending %s %d to %d, %d in all\n", e.Epoch, e.First, e.Last, e.N)
	}
	record := func(what string, r Record) {
		fmt.Fprintf(&b, "%s %s %s %d to %d %q\n", what, r.Class, r.ID, r.From, r.To, r.Payload)
	}
	for r, err := range s.Records(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		record("stored", r)
	}
	for c := Event; c <= Card; c++ {
		for recs := range leaseAll(t, s, c, 100) {
			for _, r := range recs {
				record("deliver", r)
			}
		}
	}
	return b.String()
}

// TestImages: stores of the current layout and of every earlier one open without repair and have their full content.
// The .txt file beside each image describes that content.
func TestImages(t *testing.T) {
	here := filepath.Join("testdata", "stores", imageVersion)
	if _, err := os.Stat(here); *update && errors.Is(err, os.ErrNotExist) {
		saveImages(t, here)
	}
	images, err := filepath.Glob("testdata/stores/*/*.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, image := range images {
		if filepath.Dir(image) == here {
			ours++
		}
	}
	if ours != 2 {
		t.Errorf("%d images of version %s", ours, imageVersion)
	}
	for _, image := range images {
		t.Run(strings.TrimPrefix(image, "testdata/stores/"), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(image, ".tar.gz") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "store")
			unpack(t, image, dir)
			looked := inspect(t, dir)
			if r, err := looked.Verify(); err != nil || len(r.Faults) != 0 || r.Records == 0 {
				t.Errorf("verified %+v, %v", r, err)
			}
			if err := looked.Close(); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir, Options{MaxSize: 16 << 20, History: 4 << 20, EnergyHistory: 4 << 20})
			if got := describe(t, s); got != string(want) {
				t.Errorf("store contains\n%s\ninstead of\n%s", got, want)
			}
			continueFrom(t, s, string(want))
		})
	}
}

// continueFrom continues with a store from an image: it begins a new epoch, acknowledges everything, reports all gaps,
// then closes and reopens the store.
func continueFrom(t *testing.T, s *Store, held string) {
	t.Helper()
	id := mustAppend(t, s, Event, 1)
	if strings.Contains(held, id.Epoch) {
		t.Errorf("epoch %s is reused", id.Epoch)
	}
	for _, e := range s.Summary() {
		if err := s.SettleRange(e.Epoch, e.First, e.Last); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range s.Gaps() {
		if err := s.GapReported(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir, Options{MaxSize: 16 << 20})
	o := s.Opened()
	if sum, gaps := s.Summary(), s.Gaps(); !o.Clean || o.PrevEpoch != id.Epoch || len(sum) != 0 || len(gaps) != 0 {
		t.Errorf("reopened: %+v, pending %+v, gaps %+v", o, sum, gaps)
	}
}

// saveImages creates the images of the current layout and their descriptions. Review the descriptions before committing
// them.
func saveImages(t *testing.T, to string) {
	t.Helper()
	work := t.TempDir()
	crashed, closed := filepath.Join(work, "crashed"), filepath.Join(work, "closed")
	synctest.Test(t, func(t *testing.T) { makeImages(t, crashed, closed) })
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{crashed, closed} {
		name := filepath.Join(to, filepath.Base(dir))
		pack(t, dir, name+".tar.gz")
		s := open(t, dir, Options{MaxSize: 16 << 20, History: 4 << 20, EnergyHistory: 4 << 20})
		if err := os.WriteFile(name+".txt", []byte(describe(t, s)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// pack writes a compressed archive of a directory. A small store is mostly zeros.
func pack(t *testing.T, dir, to string) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, err := range []error{w.AddFS(os.DirFS(dir)), w.Close(), z.Close(), os.WriteFile(to, b.Bytes(), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// unpack is the inverse of pack.
func unpack(t *testing.T, from, dir string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(to, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(to, content, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
