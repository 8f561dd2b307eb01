package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/proto"

	"bordo/buffer/atomicfile"
)

// repairReport describes the repairs made while the database was opened.
type repairReport struct {
	isTransient func(error) bool // reports whether an error is transient: then nothing may be discarded
	aside       string           // directory into which damaged files were moved
	damage      []string         // descriptions of the damage
	recount     bool             // the content must be counted again
}

// note adds a description of damage and demands a recount.
func (f *repairReport) note(format string, a ...any) {
	f.damage = append(f.damage, fmt.Sprintf(format, a...))
	f.recount = true
}

func (f *repairReport) String() string { return strings.Join(f.damage, "; ") }

// The repair ladder: how much is sacrificed to open the database. Each failed attempt, in this process or in the one
// before (Badger panics in its own goroutines, where nothing can recover), climbs one step.
const (
	stepPlain  = iota // examine the files and set damaged ones aside
	stepVerify        // verify every block of every table
	stepOdd           // set aside the files that contain no records
	stepLogs          // set aside the logs of the memtables, which loses what was not flushed
	stepAll           // set aside the whole database
	steps
)

// Names beside the database.
const (
	dbName         = "db"
	lockName       = "lock"       // held by the process that has the store open
	openingName    = "opening"    // contains the ladder step of an unfinished opening
	compactingName = "compacting" // exists while tables are rewritten
	asidePrefix    = "damaged-"
	// asideDirsMax is the number of directories with damaged files that are kept for inspection.
	asideDirsMax = 2
)

// openDatabase opens dir/db and sacrifices as little as possible. It fails when the disk cannot be written at all, and
// on a transient error.
func openDatabase(dir string, log *slog.Logger, isTransient func(error) bool) (*engine, repairReport, error) {
	f := repairReport{isTransient: isTransient}
	path := filepath.Join(dir, dbName)
	first := stepPlain
	if b, err := os.ReadFile(filepath.Join(dir, openingName)); err == nil {
		// The previous opening did not finish. A power cut looks the same, so nothing is sacrificed yet.
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			n = 0
		}
		first = min(max(n, 0)+1, stepAll)
	} else if _, err := os.Stat(filepath.Join(dir, compactingName)); err == nil {
		first = stepVerify
	}
	var err error
	for step := first; step < steps; step++ {
		if err = writeFile(dir, openingName, fmt.Appendf(nil, "%d\n", step)); err != nil {
			log.Error("directory of the store cannot be written", "err", err)
			return nil, f, fmt.Errorf("%w: %w", errNoDatabase, err)
		}
		var e *engine
		if err = prepare(dir, path, step, &f); err == nil {
			e, err = openEngine(path, log)
		}
		if err == nil {
			err = errors.Join(removeFile(dir, openingName), removeFile(dir, compactingName))
			if err != nil {
				log.Warn("markers of the opening cannot be removed", "err", err)
			}
			return e, f, nil
		}
		log.Error("database cannot be opened", "step", step, "err", err)
		if refusesWrites(err) || isTransient(err) {
			if err := removeFile(dir, openingName); err != nil {
				log.Warn("marker of the opening cannot be removed", "err", err)
			}
			break
		}
		f.note("step %d: %v", step, err)
	}
	return nil, f, fmt.Errorf("%w: %w", errNoDatabase, err)
}

// refusesWrites reports whether err means that nothing can be written. Sacrificing files does not help then.
func refusesWrites(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, fs.ErrPermission)
}

// removeFile removes dir/name. It is not an error if the file is missing.
func removeFile(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove marker: %w", err)
	}
	return nil
}

// prepare repairs the directory of the database as far as step allows, so that Badger can open it.
func prepare(dir, path string, step int, f *repairReport) error {
	if step >= stepAll {
		if _, err := os.Stat(path); err == nil {
			if err := f.setAside(dir, path); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(path, 0o750); err != nil {
		return fmt.Errorf("prepare database: %w", err)
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("prepare database: %w", err)
	}
	var tables []uint64
	for _, d := range list {
		name := d.Name()
		fi, err := d.Info()
		if err != nil {
			return fmt.Errorf("prepare database: %w", err)
		}
		id, isTable := table.ParseFileID(name)
		isLog := strings.HasSuffix(name, ".mem")
		isOdd := strings.HasSuffix(name, ".vlog") || name == badger.KeyRegistryFileName || name == "DISCARD"
		if fi.Size() > 0 && (isLog || isOdd) {
			if err := f.repairFile(dir, filepath.Join(path, name)); err != nil {
				return err
			}
		}
		switch {
		case isTable:
			tables = append(tables, id)
		case fi.Size() == 0 && (isLog || isOdd):
			// A crash between creation and first write leaves an empty file. Badger fails on it once, and on an empty
			// key registry every time.
			if err := os.Remove(filepath.Join(path, name)); err != nil {
				return fmt.Errorf("prepare database: %w", err)
			}
		case isOdd && step >= stepOdd || isLog && step >= stepLogs:
			if err := f.setAside(dir, filepath.Join(path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return repairTables(dir, path, tables, step >= stepVerify, f)
}

// repairTables examines every table, sets unreadable ones aside and makes the manifest agree with the rest. Badger by
// itself would delete all tables when the manifest is missing, delete those that a truncated manifest does not name,
// and end the process on a damaged table.
func repairTables(dir, path string, ids []uint64, verify bool, f *repairReport) error {
	listed, whole, err := readManifest(path)
	missing := err != nil
	if missing && len(ids) == 0 && errors.Is(err, fs.ErrNotExist) {
		return nil // a new database
	}
	if missing && f.isTransient(err) {
		return err
	}
	rewrite := missing
	if missing {
		f.note("manifest: %v", err)
	}
	bad := examine(path, ids, listed, verify)
	levels := map[uint64]uint8{}
	for _, id := range ids {
		level, named := listed[id]
		switch {
		case bad[id] != nil && f.isTransient(bad[id]):
			return fmt.Errorf("table %d: %w", id, bad[id])
		case bad[id] == nil && named:
			levels[id] = level
		case bad[id] == nil && (missing || !whole || isTableMissing(listed, ids)):
			// A damaged manifest does not name this table. Level 0 is safe for it: tables may overlap there, and
			// Badger compares versions.
			levels[id] = 0
			rewrite, f.recount = true, true
		case bad[id] == nil:
			// An interrupted compaction left this table behind. Badger removes it.
		case named || missing:
			f.note("table %d: %v", id, bad[id])
			rewrite = true
			if err := f.setAside(dir, table.NewFilename(id, path)); err != nil {
				return err
			}
		}
	}
	for id := range listed {
		if !slices.Contains(ids, id) {
			f.note("table %d is missing", id)
			rewrite = true
		}
	}
	if !rewrite {
		return nil
	}
	return writeManifest(path, levels)
}

// examine probes every table and returns the faults of the bad ones by table id. With verify it reads every block.
// Otherwise it fully verifies only tables that may contain the store's own entries, because Badger returns damaged
// entries without an error: all of level 0, tables that the manifest does not name, and bottom tables whose key range
// can contain such entries.
func examine(path string, ids []uint64, listed map[uint64]uint8, verify bool) map[uint64]error {
	bad := map[uint64]error{}
	type begin struct {
		id    uint64
		first string
	}
	var bottom []begin
	for _, id := range ids {
		level, named := listed[id]
		first, err := probe(path, id, verify || !named || level == 0)
		if err != nil {
			bad[id] = err
		} else if named && level > 0 {
			bottom = append(bottom, begin{id, first})
		}
	}
	if verify {
		return bad
	}
	slices.SortFunc(bottom, func(a, b begin) int { return strings.Compare(a.first, b.first) })
	for i, b := range bottom {
		after := i+1 == len(bottom) || bottom[i+1].first >= string(rune(keyMeta))
		if after && b.first < string(rune(keyMeta+1)) {
			if _, err := probe(path, b.id, true); err != nil {
				bad[b.id] = err
			}
		}
	}
	return bad
}

// isTableMissing reports whether a table that the manifest names is missing. The manifest is then older than the
// tables.
func isTableMissing(listed map[uint64]uint8, ids []uint64) bool {
	for id := range listed {
		if !slices.Contains(ids, id) {
			return true
		}
	}
	return false
}

// versionMax is above every version that Badger can have reached. A larger one is damage and would end the process.
const versionMax = 1 << 56

// probe opens a table as Badger would, in this goroutine, and returns its first key. With verify it reads every block,
// otherwise only the index and the last block.
func probe(path string, id uint64, verify bool) (first string, err error) {
	name := table.NewFilename(id, path)
	err = guarded("probe", func() error {
		fi, err := os.Stat(name)
		if err != nil {
			return err
		}
		if fi.Size() < 16 {
			return fmt.Errorf("%d bytes", fi.Size())
		}
		mf, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer mf.Close(-1) //nolint:errcheck // nothing was written
		// Verify below, not on opening: on failure Badger would close the file, and it would be closed again here.
		opt := table.Options{
			ReadOnly: true, ChkMode: options.NoVerification, Compression: options.None, BlockSize: tablePiece,
		}
		t, err := table.OpenTable(mf, opt)
		if err == nil && verify {
			err = t.VerifyChecksum()
		}
		if err != nil {
			return err
		}
		if len(t.Smallest()) < 8 || len(t.Biggest()) < 8 || t.MaxVersion() > versionMax {
			return errors.New("keys are invalid")
		}
		first = string(t.Smallest())
		return nil
	})
	if errors.Is(err, errPanic) { // Badger panics on an unreadable page
		if rerr := readThrough(name); isReadError(rerr) {
			return "", fmt.Errorf("probe: %w", rerr)
		}
	}
	return first, err
}

// readThrough reads a table and returns the error if the disk cannot read it.
func readThrough(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(f, 8*tableSize)) // longer only if damaged
	return err
}

// readManifest returns the level of each table that the manifest names, and whether it could be read to its end.
func readManifest(path string) (levels map[uint64]uint8, whole bool, err error) {
	err = guarded("read manifest", func() error {
		fp, err := os.Open(filepath.Join(path, badger.ManifestFilename))
		if err != nil {
			return err
		}
		defer fp.Close()
		size, err := io.Copy(io.Discard, fp) // Badger mistakes any read error for damage
		if err == nil {
			_, err = fp.Seek(0, io.SeekStart)
		}
		if err != nil {
			return err
		}
		m, end, err := badger.ReplayManifestFile(fp, 0, badgerOptions(path, slog.New(slog.DiscardHandler)))
		if err != nil {
			return err
		}
		levels, whole = map[uint64]uint8{}, end == size
		for id, t := range m.Tables {
			if t.KeyID != 0 || t.Compression != options.None {
				return errors.New("manifest names a table of unknown kind")
			}
			levels[id] = t.Level
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return levels, whole, nil
}

// writeManifest replaces the manifest: magic and version, then one change set that creates every table.
func writeManifest(path string, levels map[uint64]uint8) error {
	set := &pb.ManifestChangeSet{}
	for id, level := range levels {
		set.Changes = append(set.Changes,
			&pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE, Level: uint32(level)})
	}
	body, err := proto.Marshal(set)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	b := []byte{'B', 'd', 'g', 'r', 0, 0, 0, 8}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return writeFile(path, badger.ManifestFilename, append(b, body...))
}

// setAside moves a file or directory to dir/damaged-N, with a new N for each opening. It keeps the asideMax newest such
// directories and removes the others.
func (f *repairReport) setAside(dir, path string) error {
	if f.aside == "" {
		old, err := asideDirs(dir)
		if err != nil {
			return err
		}
		n := 1
		if len(old) > 0 {
			if _, err := fmt.Sscanf(filepath.Base(old[len(old)-1]), asidePrefix+"%d", &n); err == nil {
				n++
			}
		}
		for ; len(old) >= asideDirsMax; old = old[1:] {
			if err := os.RemoveAll(old[0]); err != nil {
				return fmt.Errorf("set aside: %w", err)
			}
		}
		f.aside = filepath.Join(dir, fmt.Sprintf(asidePrefix+"%06d", n))
		if err := os.Mkdir(f.aside, 0o750); err != nil {
			return fmt.Errorf("set aside: %w", err)
		}
	}
	if err := os.Rename(path, filepath.Join(f.aside, filepath.Base(path))); err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	f.recount = true
	return errors.Join(atomicfile.SyncDir(filepath.Dir(path)), atomicfile.SyncDir(dir))
}

// asideDirs lists the directories with damaged files, oldest first.
func asideDirs(dir string) ([]string, error) {
	list, err := filepath.Glob(filepath.Join(dir, asidePrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("list directories set aside: %w", err)
	}
	slices.Sort(list)
	return list, nil
}
