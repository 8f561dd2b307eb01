package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// ErrDamaged means that the files must be repaired, which the agent does when it opens the store.
var ErrDamaged = errors.New("files of the store are damaged; starting the agent repairs them")

// Inspect opens the store of an agent that is not running, for reading: no epoch begins, nothing is discarded, and
// Append fails. Stats, Summary, Gaps, List, Records and Verify work. Close it afterwards. It fails with ErrInUse while
// the agent runs, and with ErrDamaged, naming the files, when they cannot be opened as they are.
//
// It writes, creates and removes nothing in dir, so another user than the agent's may call it. Badger cannot open a
// database without writing beside it. It therefore gets a temporary directory with links to the tables, which never
// change, and with copies of the rest (some MiB). The opened content stays unchanged when an agent starts meanwhile.
func Inspect(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	path := filepath.Join(dir, dbName)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("inspect store: %w", err)
	}
	lock, err := shareDir(dir)
	if err != nil {
		return nil, fmt.Errorf("inspect store: %w", err)
	}
	if lock != nil {
		defer lock.Close() //nolint:errcheck // nothing was written
	}
	s := newStore(dir, o, nil)
	s.shut, s.inspecting = true, true
	close(s.done)
	if s.plain, err = newPlain(); err != nil {
		return nil, fmt.Errorf("inspect store: %w", err)
	}
	if err := s.inspect(path); err != nil {
		return nil, errors.Join(fmt.Errorf("inspect store: %w", err), s.closeInspected())
	}
	return s, nil
}

// shareDir excludes an agent while the lock is held, but not another inspection. There is no lock file where no agent
// ever ran, such as in a copy.
func shareDir(dir string) (*os.File, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// inspect opens the database in path for reading, by way of the temporary directory.
func (s *Store) inspect(path string) error {
	ids, err := s.examined(path)
	if err != nil {
		return err
	}
	if s.scratch, err = scratchDir(); err != nil {
		return err
	}
	if err := s.linkFiles(path, ids); err != nil {
		return err
	}
	eng, err := openEngine(s.scratch, s.log)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	k := loadInventory(eng, s.log)
	if k.damaged {
		s.found = append(s.found, "entries of the database cannot be read")
	}
	m, bad := readCheckpoints(s.dir)
	if bad > 0 {
		s.found = append(s.found, fmt.Sprintf("%d checkpoint files beside the database cannot be read", bad))
	}
	if m != nil && m.txn > k.txn {
		s.found = append(s.found, fmt.Sprintf("the database ends at transaction %d, and %d were written", k.txn, m.txn))
	}
	if k.state != nil {
		s.epoch = k.state.epoch
		s.next = k.state.lastSealed + 1
	}
	s.adopt(eng, k, nil)
	s.waiting = waiting{}
	return nil
}

// scratchDir creates the temporary directory. Where the usual place is not writable, as on a flash medium that became
// read-only, it uses one in memory.
func scratchDir() (string, error) {
	var faults []error
	for _, parent := range []string{"", "/dev/shm", "/run"} {
		dir, err := os.MkdirTemp(parent, "bordo-look-")
		if err == nil {
			return dir, nil
		}
		faults = append(faults, err)
	}
	return "", errors.Join(faults...)
}

// examined examines manifest and tables and returns the ids of the valid tables. The error lists all damaged ones.
func (s *Store) examined(path string) ([]uint64, error) {
	list, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, d := range list {
		if id, ok := table.ParseFileID(d.Name()); ok {
			ids = append(ids, id)
		}
	}
	listed, whole, err := readManifest(path)
	if err != nil && (len(ids) > 0 || !errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if !whole && err == nil {
		s.found = append(s.found, "the manifest ends in the middle of an entry")
	}
	bad := examine(path, ids, listed, false)
	var what []string
	for _, id := range slices.Sorted(maps.Keys(listed)) {
		if !slices.Contains(ids, id) {
			bad[id] = errors.New("is missing")
		}
		if bad[id] != nil {
			what = append(what, fmt.Sprintf("table %d: %v", id, bad[id]))
		}
	}
	if len(what) > faultsMax {
		what = append(what[:faultsMax], fmt.Sprintf("and %d more", len(what)-faultsMax))
	}
	if len(what) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrDamaged, strings.Join(what, "; "))
	}
	return slices.Sorted(maps.Keys(listed)), nil
}

// linkFiles fills the temporary directory with links to the tables and with copies of the manifest, the key registry
// and the logs of the memtables, each cut at an incomplete entry as after a power cut. The value log contains nothing
// of the store.
func (s *Store) linkFiles(path string, ids []uint64) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for _, id := range ids {
		name := filepath.Base(table.NewFilename(id, ""))
		if err := os.Symlink(filepath.Join(path, name), filepath.Join(s.scratch, name)); err != nil {
			return err
		}
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, d := range list {
		name := d.Name()
		log := strings.HasSuffix(name, ".mem")
		if !log && name != badger.ManifestFilename && name != badger.KeyRegistryFileName {
			continue
		}
		b, err := os.ReadFile(filepath.Join(path, name))
		switch {
		case err != nil:
			return err
		case len(b) == 0, name == badger.KeyRegistryFileName && !registryGood(b):
			continue // Badger creates its own
		case log && !logHeaderGood(b):
			s.found = append(s.found, name+" has no header")
			continue
		case log:
			b = b[:logEnd(b)]
		}
		if err := os.WriteFile(filepath.Join(s.scratch, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// closeInspected ends an inspection and removes its temporary directory.
func (s *Store) closeInspected() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.plain == nil {
		return nil // closed before
	}
	var err error
	if s.eng != nil {
		err = s.eng.close()
		s.eng = nil
	}
	s.plain.close()
	s.plain = nil
	if s.scratch != "" {
		err = errors.Join(err, os.RemoveAll(s.scratch))
	}
	return err
}
