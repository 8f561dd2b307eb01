package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4/table"
)

// Report is what Verify found.
type Report struct {
	Tables  int // files examined
	Blocks  int
	Records int
	Bytes   int64
	Faults  []string // in words, the first faultsMax of them
	More    int      // faults beyond those
}

// faultsMax bounds the list of a Report.
const faultsMax = 100

func (r *Report) fault(format string, a ...any) {
	if len(r.Faults) >= faultsMax {
		r.More++
		return
	}
	r.Faults = append(r.Faults, fmt.Sprintf(format, a...))
}

// Verify reads everything that is on disk: the sum of every table, the sum and the decoding of every block, and the
// numbers that ought to be there. It changes nothing, and other calls go on between two blocks.
func (s *Store) Verify() (Report, error) {
	var r Report
	if err := s.verifyTables(&r); err != nil {
		return r, fmt.Errorf("verify: %w", err)
	}
	for c := Event; int(c) < classes; c++ {
		if err := s.verifyLane(c, &r); err != nil {
			return r, fmt.Errorf("verify: %w", err)
		}
	}
	return r, nil
}

func (s *Store) verifyTables(r *Report) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng == nil {
		return s.noDisk()
	}
	for _, t := range s.eng.db.Tables() {
		r.Tables++
		if _, err := probe(s.eng.dir, t.ID, true); err != nil {
			r.fault("table %d: %v", t.ID, err)
		}
	}
	return nil
}

func (s *Store) verifyLane(c Class, r *Report) error {
	s.mu.Lock()
	segs, expect, end := s.liveSegments(c), s.lanes[c].low, s.lanes[c].next
	s.mu.Unlock()
	for _, seg := range segs {
		for more := true; more; {
			var err error
			if expect, more, err = s.verifySome(c, seg, expect, r); err != nil {
				return err
			}
		}
	}
	s.verifyHole(c, expect, end, r)
	return nil
}

// verifySome verifies some blocks of one segment from number expect on, and returns the next number.
func (s *Store) verifySome(c Class, seg uint32, expect uint64, r *Report) (next uint64, more bool, err error) {
	const some = 64
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng == nil {
		return expect, false, s.noDisk()
	}
	n := 0
	err = s.eng.scanFrom(blockKey(c, seg, expect), segPrefix(c, seg), func(k, v []byte) bool {
		_, _, no, ok := parseBlockKey(k)
		if !ok {
			r.fault("%s segment %d: a key makes no sense", c, seg)
			return true
		}
		s.verifyHole(c, expect, no, r)
		expect = no + 1
		n++
		r.Blocks++
		r.Bytes += int64(len(v))
		h, body, err := openBlock(v, c, no)
		if err == nil {
			_, err = s.decode(h, body)
		}
		if err != nil {
			r.fault("%s block %d: %v", c, no, err)
		} else {
			r.Records += h.n
		}
		return n < some
	})
	return expect, n == some, err
}

// verifyHole reports the numbers from..to-1 that are not there and not done.
func (s *Store) verifyHole(c Class, from, to uint64, r *Report) {
	s.mu.Lock()
	over := slices.Clone(s.lanes[c].over)
	low := s.lanes[c].low
	s.mu.Unlock()
	for no := over.next(max(from, low)); no < to; no = over.next(no + 1) {
		r.fault("%s block %d is missing", c, no)
	}
}

// ErrDamaged: the files need mending, which opening the store by the agent does.
var ErrDamaged = errors.New("files of the store are damaged; starting the agent mends them")

// Inspect opens the store of an agent that is not running, to look at it: no epoch begins, nothing is given up, and
// Append fails. Stats, Summary, Gaps, List, Records and Verify work; Close it afterwards. It fails with ErrInUse while
// the agent runs, and with ErrDamaged, naming the files, when they cannot be opened as they are.
func Inspect(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	path := filepath.Join(dir, dbName)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("inspect store: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("inspect store: %w", err)
	}
	s := newStore(dir, o, lock)
	s.shut = true
	close(s.done)
	if s.plain, err = newPlain(); err == nil {
		err = s.inspect(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("inspect store: %w", err), lock.Close())
	}
	return s, nil
}

func (s *Store) inspect(path string) error {
	list, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	var ids []uint64
	for _, d := range list {
		if id, ok := table.ParseFileID(d.Name()); ok {
			ids = append(ids, id)
		}
	}
	listed, _, err := readManifest(path)
	if err != nil && (len(ids) > 0 || !errors.Is(err, fs.ErrNotExist)) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for id, err := range examine(path, ids, listed, false) {
		return fmt.Errorf("%w: table %d: %w", ErrDamaged, id, err)
	}
	for id := range listed {
		if !slices.Contains(ids, id) {
			return fmt.Errorf("%w: table %d is missing", ErrDamaged, id)
		}
	}
	eng, err := openEngine(path, s.log)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	k := recall(eng, s.log)
	if k.state != nil {
		s.epoch = k.state.epoch
		s.next = k.state.lastSealed + 1
	}
	s.adopt(eng, k, nil)
	s.waiting = waiting{}
	s.looking = true
	return nil
}

// closeInspected ends an inspection without a trace.
func (s *Store) closeInspected() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng == nil {
		return nil
	}
	err := s.eng.close()
	s.eng = nil
	s.plain.close()
	return errors.Join(err, s.lock.Close())
}
