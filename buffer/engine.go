package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// tableSize is the size of a table file in the bottom level, in bytes: the most that one damaged file can lose.
const tableSize = 2 << 20

// tablePiece is the size of Badger's blocks within a table. It must be so large that no entry makes a block grow while
// it is built, and that the blocks of one table stay within twice tableSize, the space that Badger reserves for them.
// On 32 bits Badger's allocator returns the same memory twice when it needs more (ristretto's z.Allocator shifts an int
// by 32), and the table becomes garbage. A block is closed when the next entry does not fit, so it is full except for
// one of our entries, which bodyMax keeps below 100 KiB. A table therefore needs at most 14 blocks, and there is room
// for 15.
const tablePiece = 256 << 10

// badgerOptions are the settings, each given explicitly; DESIGN.md has the measurements behind them.
func badgerOptions(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithMemTableSize(1 << 20). // log files of 2 MiB: larger ones make ext4 write a whole folio per commit
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(1 << 20). // never: the store compacts by itself (must exceed the line above)
		WithBaseTableSize(tableSize).
		WithBlockSize(tablePiece).
		WithBaseLevelSize(1 << 40).    // level 0 always goes straight to the bottom
		WithValueThreshold(128 << 10). // all values inline; at most 15 % of a memtable
		WithValueLogFileSize(1 << 20).
		WithCompression(options.None). // blocks are compressed by the codec
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithChecksumVerificationMode(options.NoVerification). // on read it ends the process; blocks carry their own sum
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithNumGoroutines(1).
		WithNumCompactors(0).
		WithNumVersionsToKeep(1).
		WithCompactL0OnClose(false).
		WithSyncWrites(true).
		WithVerifyValueChecksum(false).
		WithBypassLockGuard(true). // the store has its own lock, around more than the database
		WithLogger(badgerLog{log})
}

// badgerLog forwards Badger's messages. Badger's errors become warnings, because the store decides what they mean.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Warn("badger", "text", text(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Debug("badger", "text", text(f, a)) }
func (l badgerLog) Infof(string, ...any)        {}
func (l badgerLog) Debugf(string, ...any)       {}

func text(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }

// engine wraps Badger in the few operations that the store needs. Its methods are called with Store.disk held.
type engine struct {
	db  *badger.DB
	dir string
	// failed means that a write error left Badger without a memtable, because it could not create its next log file, or
	// with a memtable that it considers flushed. Reads then panic, and the next write may end the process. Badger does
	// not report this state, so the store stops writing. The database can still be closed.
	failed bool
	// refused is the last read error of the disk since this field was cleared.
	refused error
}

// errFailedDB means that an earlier write failed and the database must be reopened.
var errFailedDB = errors.New("database failed in an earlier write")

// openEngine opens the database. A panic in this goroutine becomes an error. A panic in Badger's own goroutines ends
// the process, which is why files are examined first and a marker file exists meanwhile.
func openEngine(dir string, log *slog.Logger) (e *engine, err error) {
	err = guarded("open database", func() error {
		db, err := badger.Open(badgerOptions(dir, log))
		e = &engine{db: db, dir: dir}
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// read runs f like guarded and records a read error of the disk in e.refused.
func (e *engine) read(what string, f func() error) error {
	err := guarded(what, f)
	if isReadError(err) {
		e.refused = err
	}
	return err
}

// pair is one key to be set.
type pair struct{ key, value []byte }

// commit writes all changes in one synced transaction. On error none of them takes effect.
func (e *engine) commit(sets []pair, dels [][]byte) error {
	if e.failed {
		return fmt.Errorf("commit: %w", errFailedDB)
	}
	txn := e.db.NewTransaction(true)
	defer txn.Discard()
	for _, p := range sets {
		if err := txn.Set(p.key, p.value); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	for _, k := range dels {
		if err := txn.Delete(k); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	if err := txn.Commit(); err != nil {
		e.failed = e.lacksMemtable() // any other failure concerns this transaction only
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// lacksMemtable reports whether Badger has no memtable. Every read then panics.
func (e *engine) lacksMemtable() bool {
	_, err := e.get(metaKey(metaFlush))
	return errors.Is(err, errPanic)
}

// get returns a copy of the value of key, nil when there is none. Damaged tables can make Badger panic, which becomes
// an error for this key only.
func (e *engine) get(key []byte) (v []byte, err error) {
	err = e.read("read", func() error {
		txn := e.db.NewTransaction(false)
		defer txn.Discard()
		item, err := txn.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err == nil {
			v, err = item.ValueCopy(nil)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// scan calls f for each key with the prefix, in order, until f returns false. Key and value are valid during the call.
func (e *engine) scan(prefix []byte, f func(key, value []byte) bool) error {
	return e.scanFrom(prefix, prefix, f)
}

// scanFrom is scan beginning at the first key that is not before start.
func (e *engine) scanFrom(start, prefix []byte, f func(key, value []byte) bool) error {
	return e.read("scan", func() error {
		txn := e.db.NewTransaction(false)
		defer txn.Discard()
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues = false
		opt.Prefix = prefix
		it := txn.NewIterator(opt)
		defer it.Close()
		for it.Seek(start); it.Valid(); it.Next() {
			more := true
			err := it.Item().Value(func(v []byte) error {
				more = f(it.Item().Key(), v)
				return nil
			})
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// seek returns the first key with the prefix at or after start, nil when there is none.
func (e *engine) seek(start, prefix []byte) (key []byte, err error) {
	err = e.scanFrom(start, prefix, func(k, _ []byte) bool {
		key = append([]byte(nil), k...)
		return false
	})
	return key, err
}

// drop removes all keys under the prefixes, by removing whole files where possible, and compacts level 0 into the
// bottom level. Without prefixes it only compacts: Badger has no other public way to flush its memtable.
func (e *engine) drop(prefixes ...[]byte) error {
	flush := metaKey(metaFlush)
	if err := e.commit([]pair{{flush, flush}}, nil); err != nil {
		return err
	}
	err := guarded("drop segment", func() error { return e.db.DropPrefix(append(prefixes, flush)...) })
	e.failed = e.failed || err != nil
	return err
}

// damaged verifies every table that drop is about to read and returns the faults of damaged ones by table id. Badger
// reads tables in its own goroutines, where damage ends the process. from and to are the first and last key that the
// memtable can hold.
func (e *engine) damaged(from, to []byte, prefixes [][]byte) map[uint64]error {
	bad := map[uint64]error{}
	tables := e.db.Tables()
	for _, t := range tables {
		if t.Level == 0 {
			from, to = minKey(from, withoutVersion(t.Left)), maxKey(to, withoutVersion(t.Right))
		}
	}
	for _, t := range tables {
		left, right := withoutVersion(t.Left), withoutVersion(t.Right)
		touched := bytes.Compare(left, to) <= 0 && bytes.Compare(from, right) <= 0
		for _, p := range prefixes {
			end := prefixEnd(p)
			touched = touched || bytes.Compare(p, right) <= 0 && (end == nil || bytes.Compare(left, end) < 0)
		}
		if !touched {
			continue
		}
		if _, err := probe(e.dir, t.ID, true); err != nil {
			bad[t.ID] = err
		}
	}
	return bad
}

// withoutVersion returns a table's key without Badger's version suffix.
func withoutVersion(k []byte) []byte { return k[:max(len(k)-8, 0)] }

func minKey(a, b []byte) []byte {
	if bytes.Compare(a, b) <= 0 {
		return a
	}
	return b
}

func maxKey(a, b []byte) []byte {
	if bytes.Compare(a, b) >= 0 {
		return a
	}
	return b
}

// level0 returns the number of tables that were flushed and not yet compacted into the bottom level.
func (e *engine) level0() int {
	return e.db.Levels()[0].NumTables
}

func (e *engine) close() error { return guarded("close database", e.db.Close) }

// diskFree asks the kernel how many bytes an unprivileged process can still write below dir.
func diskFree(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for free space: %w", err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// filesSize returns the disk usage of the files below dir in bytes. It counts allocated blocks, because Badger's log
// files are longer than their content.
func filesSize(dir string) (sum int64) {
	//nolint:errcheck // files vanish meanwhile
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if fi, err := d.Info(); err == nil {
			sum += allocated(fi)
		}
		return nil
	})
	return sum
}

// allocated returns the disk usage of a file in bytes.
func allocated(fi os.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return fi.Size()
}
