//go:build bench

package buffer

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"bordo/buffer/loopdisk"
)

// This benchmark is the basis of the decision on how space is reclaimed (docs/adr/0012-evict-in-segments.md). It
// compares three layouts of blocks on Badger, each with the settings and repairs of the store.

// Sizes of the experiment: incompressible blocks in segments of 16 MiB.
const (
	evictBlock   = 48 << 10
	evictSegment = 16 << 20
	evictLimit   = 192 << 20
	evictLevel0  = 8
)

// layout is one of the compared layouts. put adds block no and evicts the oldest block when more than evictLimit is
// stored.
type layout interface {
	put(no uint64, block []byte) error
	// reopen closes everything and opens the files needed to append and to read the oldest block.
	reopen() error
	// tables returns the number of open, and therefore memory-mapped, tables.
	tables() int
	// blocks reads all existing blocks and counts the intact ones.
	blocks() (int, error)
	close() error
}

// perSegment is the number of blocks in a segment, keepSegments the number of segments that are kept.
const (
	perSegment   = evictSegment / evictBlock
	keepSegments = evictLimit / evictSegment
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// evictState has the size of the state that the store writes with every transaction.
func evictState() pair {
	s := state{epoch: "k3f9x2q7"}
	return pair{metaKey(metaState), s.encode()}
}

func countBlocks(e *engine) (n int, err error) {
	err = e.scan([]byte{keyBulk}, func(_, v []byte) bool {
		if _, err := openBytes(v); err == nil {
			n++
		}
		return true
	})
	return n, err
}

// openRepaired opens a database with the repairs of the store.
func openRepaired(dir string) (*engine, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	e, _, err := openDatabase(dir, quiet(), isExhausted)
	return e, err
}

// prefixes is the layout of the store: one database, segments are key prefixes, and their tables are removed whole.
type prefixes struct {
	dir string
	e   *engine
	low uint32
}

func (l *prefixes) put(no uint64, block []byte) error {
	seg := uint32(no / perSegment)
	if err := l.e.commit([]pair{{blockKey(Reading, seg, no), block}, evictState()}, nil); err != nil {
		return err
	}
	if seg >= l.low+keepSegments {
		l.low++
		return l.e.drop(segPrefix(Reading, l.low-1))
	}
	if l.e.level0() >= evictLevel0 {
		return l.e.drop()
	}
	return nil
}

func (l *prefixes) reopen() (err error) {
	if err := l.close(); err != nil {
		return err
	}
	l.e, err = openRepaired(l.dir)
	return err
}

func (l *prefixes) tables() int          { return len(l.e.db.Tables()) }
func (l *prefixes) blocks() (int, error) { return countBlocks(l.e) }

func (l *prefixes) close() error {
	if l.e == nil {
		return nil
	}
	return l.e.close()
}

// keys is like prefixes, but each transaction deletes the oldest block, and level 0 is flattened.
type keys struct{ prefixes }

func (l *keys) put(no uint64, block []byte) error {
	var dels [][]byte
	if keep := uint64(keepSegments * perSegment); no >= keep {
		dels = append(dels, blockKey(Reading, 0, no-keep))
	}
	if err := l.e.commit([]pair{{blockKey(Reading, 0, no), block}, evictState()}, dels); err != nil {
		return err
	}
	if l.e.level0() < evictLevel0 {
		return nil
	}
	if err := l.e.drop(); err != nil {
		return err
	}
	return l.e.db.Flatten(1)
}

// directories uses one database per segment and removes it with its directory. Only the newest is open for writing and
// the oldest for reading.
type directories struct {
	dir       string
	low, high uint32
	e, oldest *engine
}

func (l *directories) path(seg uint32) string {
	return filepath.Join(l.dir, fmt.Sprintf("segment-%06d", seg))
}

func (l *directories) put(no uint64, block []byte) (err error) {
	if seg := uint32(no / perSegment); l.e == nil || seg > l.high {
		if l.e != nil {
			if err := l.e.close(); err != nil {
				return err
			}
		}
		if l.e, err = openRepaired(l.path(seg)); err != nil {
			return err
		}
		if l.high = seg; l.high >= l.low+keepSegments {
			if err := os.RemoveAll(l.path(l.low)); err != nil {
				return err
			}
			l.low++
		}
	}
	return l.e.commit([]pair{{blockKey(Reading, l.high, no), block}, evictState()}, nil)
}

func (l *directories) reopen() (err error) {
	if err := l.close(); err != nil {
		return err
	}
	if l.e, err = openRepaired(l.path(l.high)); err != nil {
		return err
	}
	l.oldest, err = openRepaired(l.path(l.low))
	return err
}

func (l *directories) tables() int {
	n := len(l.e.db.Tables())
	if l.oldest != nil {
		n += len(l.oldest.db.Tables())
	}
	return n
}

func (l *directories) blocks() (all int, err error) {
	for seg := l.low; seg <= l.high; seg++ {
		e := l.e
		switch {
		case seg == l.low && l.oldest != nil:
			e = l.oldest
		case seg < l.high:
			if e, err = openRepaired(l.path(seg)); err != nil {
				return all, err
			}
		}
		n, err := countBlocks(e)
		if err != nil {
			return all, err
		}
		all += n
		if e != l.e && e != l.oldest {
			if err := e.close(); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

func (l *directories) close() (err error) {
	for _, e := range []*engine{l.e, l.oldest} {
		if e != nil && err == nil {
			err = e.close()
		}
	}
	l.e, l.oldest = nil, nil
	return err
}

func BenchmarkEvict(b *testing.B) {
	makes := []struct {
		name string
		make func(dir string) layout
	}{
		{"prefixes", func(dir string) layout { return &prefixes{dir: dir} }},
		{"directories", func(dir string) layout { return &directories{dir: dir} }},
		{"keys", func(dir string) layout { return &keys{prefixes{dir: dir}} }},
	}
	for _, m := range makes {
		b.Run(m.name, func(b *testing.B) {
			d := loopdisk.New(b, 2<<30)
			dir := filepath.Join(d.Dir, "store")
			if err := os.Mkdir(dir, 0o750); err != nil {
				b.Fatal(err)
			}
			l := m.make(dir)
			if p, ok := l.(interface{ reopen() error }); ok && m.name != "directories" {
				if err := p.reopen(); err != nil {
					b.Fatal(err)
				}
			}
			evictWear(b, d, l)
			evictOpening(b, l)
			evictDamage(b, dir, l)
			if err := l.close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// evictWear measures writes and memory, first while the store fills up, then while it is full.
func evictWear(b *testing.B, d loopdisk.Disk, l layout) {
	rnd := rand.NewChaCha8([32]byte{7})
	block := make([]byte, evictBlock)
	debug.FreeOSMemory()
	peak, no := 0.0, uint64(0)
	slowest := time.Duration(0)
	for _, part := range []struct {
		name   string
		blocks int
	}{{"filling", keepSegments * perSegment}, {"full", keepSegments * perSegment}} {
		before := d.Given(b)
		for range part.blocks {
			_, _ = rnd.Read(block[:evictBlock-4]) // it never fails
			from := time.Now()
			if err := l.put(no, sealBytes(block[:evictBlock-4])); err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(from))
			if no++; no%64 == 0 {
				peak = max(peak, loopdisk.Anonymous(b))
			}
		}
		b.ReportMetric(d.Given(b).Since(before).Bytes/float64(part.blocks*evictBlock), part.name+"-WA")
	}
	b.ReportMetric(peak/1e6, "anon-peak-MB")
	b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
	b.ReportMetric(loopdisk.Taken(b, d.Dir)/1e6, "disk-MB")
}

func evictOpening(b *testing.B, l layout) {
	var took []time.Duration
	for range 5 {
		from := time.Now()
		if err := l.reopen(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[2].Microseconds())/1000, "reopen-ms")
	b.ReportMetric(float64(l.tables()), "tables-mapped")
	debug.FreeOSMemory()
	b.ReportMetric(loopdisk.Anonymous(b)/1e6, "anon-MB")
}

// evictDamage damages the index of a table in the middle, then removes a manifest, and counts the lost blocks.
func evictDamage(b *testing.B, dir string, l layout) {
	count := func() int {
		n, err := l.blocks()
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	before := count()
	for _, harm := range []struct{ name, what, how string }{
		{"table", "*.sst", "flip"}, {"manifest", "MANIFEST", "delete"},
	} {
		if err := l.close(); err != nil {
			b.Fatal(err)
		}
		var found []string
		for _, pattern := range []string{"db", "*/db"} {
			list, err := filepath.Glob(filepath.Join(dir, pattern, harm.what))
			if err != nil {
				b.Fatal(err)
			}
			found = append(found, list...)
		}
		path := found[len(found)/2]
		fi, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		damageFile(b, path, harm.how, int(fi.Size())-200)
		if err := l.reopen(); err != nil {
			b.Fatal(err)
		}
		after := count()
		b.ReportMetric(float64(before-after)*evictBlock/1e6, harm.name+"-lost-MB")
		before = after
	}
}
