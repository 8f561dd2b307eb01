package buffer

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// model is the specification of a store in plain Go: every record ever appended and its fate.
type model struct {
	*rapid.T
	base   string // parent of the stores' directories
	n      int
	dir    string
	opt    Options
	s      *Store
	recs   map[ID]*modelRec
	order  []ID
	epochs map[string]bool
	leased map[ID]bool
	gaps   []Gap // reported
	log    lockedBuffer
}

// lockedBuffer collects the log of a case, which is printed when the case fails.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

type modelRec struct {
	Record
	born    time.Time
	settled bool
	sealed  bool // is on disk
	seen    bool // was delivered once
	durable bool // was sealed before a crash: it must be delivered, even if a gap covers it
	again   bool // settled, but may be delivered again: a crash came before the settlement was written
}

// seeded is a repeatable source of random bytes.
type seeded struct{ *rand.ChaCha8 }

func newSeeded(n byte) io.Reader { return seeded{rand.NewChaCha8([32]byte{n})} }

func newModel(t *rapid.T, base string, opt Options) *model {
	m := &model{T: t, base: base, opt: opt, recs: map[ID]*modelRec{}, epochs: map[string]bool{}, leased: map[ID]bool{}}
	m.opt.Rand = newSeeded(1)
	m.opt.Logger = slog.New(slog.NewTextHandler(&m.log, nil))
	m.dir = m.newDir()
	m.open()
	return m
}

func (m *model) newDir() string {
	m.n++
	return filepath.Join(m.base, fmt.Sprint(m.n))
}

func (m *model) open() {
	s, err := Open(m.dir, m.opt)
	if err != nil {
		m.Fatalf("open: %v", err)
	}
	m.s = s
	ep := s.Opened().Epoch
	if m.epochs[ep] {
		m.Fatalf("epoch %s was there before", ep)
	}
	m.epochs[ep] = true
	clear(m.leased)
}

func (m *model) append(c Class, size int) {
	put := m.s.Append
	if rapid.IntRange(0, 4).Draw(m.T, "private") == 0 {
		put = m.s.AppendPrivate
	}
	payload := make([]byte, size)
	io.ReadFull(m.opt.Rand, payload)
	from := rapid.Int64Range(0, 1<<41).Draw(m.T, "from")
	id, err := put(c, from, from+5, payload)
	if err != nil {
		m.Fatalf("append: %v", err)
	}
	if m.recs[id] != nil {
		m.Fatalf("identity %s was given twice", id)
	}
	m.recs[id] = &modelRec{
		Record: Record{ID: id, Class: c, From: from, To: from + 5, Payload: payload},
		born:   time.Now(), sealed: c.atOnce(),
	}
	m.order = append(m.order, id)
}

// take checks records that the store delivers.
func (m *model) take(lane string, recs []Record) {
	for _, r := range recs {
		want := m.recs[r.ID]
		switch {
		case want == nil:
			m.Fatalf("%s: %s was never taken in", lane, r.ID)
		case r.Class != want.Class || r.From != want.From || r.To != want.To || !bytes.Equal(r.Payload, want.Payload):
			m.Fatalf("%s: %s carries another payload", lane, r.ID)
		case m.leased[r.ID]:
			m.Fatalf("%s: %s is handed out twice", lane, r.ID)
		case want.settled && !want.again:
			m.Fatalf("%s: %s comes back after it was settled", lane, r.ID)
		}
		m.leased[r.ID], want.seen = true, true
	}
}

// export reads stored records without leasing them.
func (m *model) export(q Query) {
	for r, err := range m.s.Records(q) {
		if err != nil {
			m.Fatalf("look: %v", err)
		}
		want := m.recs[r.ID]
		switch {
		case want == nil:
			m.Fatalf("look: %s was never taken in", r.ID)
		case r.Class != want.Class || r.From != want.From || r.To != want.To || !bytes.Equal(r.Payload, want.Payload):
			m.Fatalf("look: %s carries another payload", r.ID)
		}
		want.seen = true
	}
}

// restamp changes some of the records that the store offers for it. None of these may have been seen before.
func (m *model) restamp() {
	called := 0
	n := m.s.Restamp(func(r Record) (Record, bool) {
		want := m.recs[r.ID]
		switch {
		case want == nil:
			m.Fatalf("restamp: %s was never taken in", r.ID)
		case want.seen || want.sealed || want.settled || r.Epoch != m.s.epoch || time.Since(want.born) > m.s.opt.Sync:
			m.Fatalf("restamp: %s is known already: %+v", r.ID, want)
		case r.Class != want.Class || r.From != want.From || r.To != want.To || !bytes.Equal(r.Payload, want.Payload):
			m.Fatalf("restamp: %s carries another payload", r.ID)
		}
		if rapid.IntRange(0, 3).Draw(m.T, "stay") == 0 {
			return Record{}, false
		}
		called++
		want.From, want.To = want.From+7, want.To+9
		if want.Payload = bytes.Clone(r.Payload); rapid.Bool().Draw(m.T, "grow") {
			want.Payload = append(want.Payload, "later"...)
		}
		want.Payload[0]++
		return Record{
			ID: ID{"nobody", 0}, Class: Card, From: want.From, To: want.To, Payload: bytes.Clone(want.Payload),
		}, true
	})
	if n != called {
		m.Fatalf("restamp: changed %d, says %d", called, n)
	}
}

func (m *model) settle(ids []ID) {
	if err := m.s.Settle(ids); err != nil {
		m.Fatalf("settle: %v", err)
	}
	for _, id := range ids {
		m.recs[id].settled, m.recs[id].again = true, false
		delete(m.leased, id)
	}
}

// some draws a subset of the leased records.
func (m *model) some() []ID {
	var out []ID
	for _, id := range m.order {
		if m.leased[id] && rapid.Bool().Draw(m.T, "take") {
			out = append(out, id)
		}
	}
	return out
}

// covered reports whether a gap covers a record.
func (m *model) covered(id ID, c Class) bool {
	for _, g := range append(slices.Clone(m.gaps), m.s.Gaps()...) {
		if (g.Epoch == id.Epoch || g.Epoch == "") && (g.Class == Any || g.Class == c) &&
			g.From <= id.Seq && (g.To == nil || id.Seq <= *g.To) {
			return true
		}
	}
	return false
}

// crash continues with a copy of the files at this moment, as after kill -9. All goroutines, including Badger's, are
// idle while the files are copied. The store itself says which records are on disk.
func (m *model) crash() {
	synctest.Wait()
	to := m.newDir()
	copyDir(m, m.dir, to)
	unsealed := map[ID]bool{}
	m.s.mu.Lock()
	m.s.fresh.each(func(e *entry) bool {
		unsealed[e.rec.ID] = e.blk == nil
		return true
	})
	m.s.mu.Unlock()
	now := time.Now()
	m.s.Close()
	m.dir = to
	for _, r := range m.recs {
		switch {
		case r.settled:
			r.again = true
		case unsealed[r.ID]:
			if r.Class.atOnce() || now.Sub(r.born) > m.s.opt.Sync+time.Second {
				m.Fatalf("%s %s is not sealed after %v", r.Class, r.ID, now.Sub(r.born))
			}
		case r.sealed || r.Epoch == m.s.epoch:
			r.sealed, r.durable = true, true
		}
	}
}

// damage damages one file, as worn flash does.
func (m *model) damage() {
	var files []string
	filepath.WalkDir(m.dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			files = append(files, p)
		}
		return nil
	})
	path := rapid.SampledFrom(files).Draw(m.T, "file")
	fi, err := os.Stat(path)
	if err != nil {
		m.Fatal(err)
	}
	size := int(fi.Size())
	how := rapid.SampledFrom([]string{"delete", "truncate", "zero", "flip"}).Draw(m.T, "how")
	at := rapid.IntRange(0, max(size-1, 0)).Draw(m.T, "at")
	fmt.Fprintf(&m.log, "damage: %s %s at %d of %d\n", how, filepath.Base(path), at, size)
	m.Logf("damage: %s %s at %d of %d", how, filepath.Base(path), at, size)
	damageFile(m, path, how, at)
	for _, r := range m.recs {
		r.durable, r.sealed = false, false
		r.again = r.again || r.settled
	}
}

// check checks the invariants that hold after every operation.
func (m *model) check() {
	if size := filesSize(m.dir); size > m.s.opt.MaxSize {
		m.Fatalf("files take %d bytes of %d", size, m.s.opt.MaxSize)
	}
	sum := m.s.Summary()
	for _, r := range m.recs {
		if r.settled || m.covered(r.ID, r.Class) {
			continue
		}
		i := slices.IndexFunc(sum, func(s Span) bool { return s.Epoch == r.Epoch })
		if i < 0 || sum[i].First > r.Seq || sum[i].Last < r.Seq {
			m.Fatalf("%s %s is neither settled nor under a gap nor in the summary %+v", r.Class, r.ID, sum)
		}
	}
}

// drain delivers and settles everything that is left. Every record must then be accounted for.
func (m *model) drain() {
	m.s.Release(slices.Collect(maps.Keys(m.leased)))
	clear(m.leased)
	for idle := 0; idle < 3; idle++ {
		for {
			got := m.s.Fresh(50)
			for c := Event; c <= Card; c++ {
				b, err := m.s.Backlog(c, 50)
				if err != nil {
					m.Fatalf("backlog: %v", err)
				}
				got = append(got, b...)
			}
			if len(got) == 0 {
				break
			}
			idle = 0
			m.take("drain", got)
			m.settle(idsOf(got))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
	}
	for _, r := range m.recs {
		if !r.settled && (!m.covered(r.ID, r.Class) || r.durable && !m.evicted(r.ID)) {
			m.Fatalf("%s %s vanished (durable %v); gaps %+v %+v", r.Class, r.ID, r.durable, m.gaps, m.s.Gaps())
		}
	}
}

func (m *model) evicted(id ID) bool {
	for _, g := range append(slices.Clone(m.gaps), m.s.Gaps()...) {
		if g.Reason == Evicted && g.Epoch == id.Epoch && g.From <= id.Seq && id.Seq <= *g.To {
			return true
		}
	}
	return false
}

func (m *model) reportGaps() {
	for _, g := range m.s.Gaps() {
		m.gaps = append(m.gaps, g)
		if err := m.s.GapReported(g); err != nil {
			m.Fatalf("report gap: %v", err)
		}
	}
}

func (m *model) reopen() {
	if err := m.s.Close(); err != nil {
		m.Fatalf("close: %v", err)
	}
	for _, r := range m.recs {
		r.sealed = r.sealed || r.Epoch == m.s.epoch
	}
}

// actions are the operations of every model test.
func (m *model) actions() map[string]func(*rapid.T) {
	class := rapid.SampledFrom([]Class{Event, Interval, Reading, Reading, Reading, Card})
	return map[string]func(*rapid.T){
		"append": func(t *rapid.T) {
			m.T = t
			m.append(class.Draw(t, "class"), rapid.IntRange(1, 300).Draw(t, "size"))
		},
		"burst": func(t *rapid.T) {
			m.T = t
			c, n := class.Draw(t, "class"), rapid.IntRange(1, 40).Draw(t, "n")
			if c.atOnce() {
				n = min(n, 4)
			}
			for range n {
				m.append(c, rapid.IntRange(1, 9000).Draw(t, "size"))
			}
		},
		"fresh":   func(t *rapid.T) { m.T = t; m.take("fresh", m.s.Fresh(rapid.IntRange(1, 30).Draw(t, "n"))) },
		"settle":  func(t *rapid.T) { m.T = t; m.settle(m.some()) },
		"release": func(t *rapid.T) { m.T = t; m.release(m.some()) },
		"backlog": func(t *rapid.T) {
			m.T = t
			recs, err := m.s.Backlog(class.Draw(t, "class"), rapid.IntRange(1, 60).Draw(t, "n"))
			if err != nil {
				t.Fatalf("backlog: %v", err)
			}
			m.take("backlog", recs)
		},
		"sleep": func(t *rapid.T) {
			m.T = t
			time.Sleep(time.Duration(rapid.IntRange(1, 90_000).Draw(t, "ms")) * time.Millisecond)
			synctest.Wait()
		},
		"settleAny": func(t *rapid.T) { // acknowledged late, twice, or without delivery
			m.T = t
			if len(m.order) > 0 {
				m.settle(rapid.SliceOfN(rapid.SampledFrom(m.order), 1, 5).Draw(t, "ids"))
			}
		},
		"settleRange": func(t *rapid.T) { // as a platform that acknowledges ranges does
			m.T = t
			if len(m.order) == 0 {
				return
			}
			id := rapid.SampledFrom(m.order).Draw(t, "id")
			last := id.Seq + uint64(rapid.IntRange(0, 40).Draw(t, "n"))
			if err := m.s.SettleRange(id.Epoch, id.Seq, last); err != nil {
				t.Fatalf("settle range: %v", err)
			}
			for x, r := range m.recs {
				if x.Epoch == id.Epoch && x.Seq >= id.Seq && x.Seq <= last {
					r.settled, r.again = true, false
					delete(m.leased, x)
				}
			}
		},
		"restamp": func(t *rapid.T) { m.T = t; synctest.Wait(); m.restamp() },
		"look": func(t *rapid.T) { // as an export does: records it has seen must not change
			m.T = t
			m.export(Query{Classes: []Class{class.Draw(t, "class")}, From: rapid.Int64Range(0, 1<<41).Draw(t, "from")})
		},
		"tell":   func(t *rapid.T) { m.T = t; m.reportGaps() },
		"reopen": func(t *rapid.T) { m.T = t; m.reopen(); m.open() },
		"":       func(t *rapid.T) { m.T = t; m.check() },
	}
}

func (m *model) release(ids []ID) {
	m.s.Release(ids)
	for _, id := range ids {
		delete(m.leased, id)
	}
}

// runModel draws cases and runs each in its own synctest bubble, where time passes as fast as the disk allows.
func runModel(t *testing.T, opt func(*rapid.T) Options, extra func(*model, map[string]func(*rapid.T))) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // rapid fails by panic, which must not unwind through the bubble
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }()
			runCase(rt, memDir(t), opt(rt), extra)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// memDir returns a directory in memory where possible: the model tests write much and do not test the disk.
func memDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "bordo-buffer-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// runCase runs one drawn sequence of actions, then drains the store. It prints the log if the case fails.
func runCase(t *rapid.T, base string, opt Options, extra func(*model, map[string]func(*rapid.T))) {
	m := newModel(t, base, opt)
	defer func() {
		m.s.Close()
		if t.Failed() {
			t.Logf("log:\n%s", &m.log.b)
		}
	}()
	actions := m.actions()
	extra(m, actions)
	t.Repeat(actions)
	m.T = t
	m.drain()
	m.reopen()
	m.open()
	if sum := m.s.Summary(); len(sum) != 0 {
		t.Fatalf("everything is settled, but the summary is %+v", sum)
	}
	m.drain()
}

func plainOptions(t *rapid.T) Options {
	return Options{
		History:       rapid.SampledFrom([]int64{0, 1 << 20}).Draw(t, "history"),
		EnergyHistory: rapid.SampledFrom([]int64{0, 1 << 20}).Draw(t, "energy"),
	}
}

// TestModel: without faults every record is delivered exactly once.
func TestModel(t *testing.T) {
	runModel(t, plainOptions, func(*model, map[string]func(*rapid.T)) {})
}

// TestModelCrash: crashes lose no sealed record.
func TestModelCrash(t *testing.T) {
	runModel(t, plainOptions, func(m *model, a map[string]func(*rapid.T)) {
		a["crash"] = func(t *rapid.T) { m.T = t; m.crash(); m.open() }
	})
}

// TestModelDamage: whatever happens to a file, the store opens, and gaps cover the missing records.
func TestModelDamage(t *testing.T) {
	runModel(t, plainOptions, func(m *model, a map[string]func(*rapid.T)) {
		a["crash"] = func(t *rapid.T) { m.T = t; m.crash(); m.open() }
		a["damage"] = func(t *rapid.T) {
			m.T = t
			if rapid.Bool().Draw(t, "crash") {
				m.crash()
			} else {
				m.reopen()
			}
			m.damage()
			m.open()
		}
	})
}
