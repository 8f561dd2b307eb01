package buffer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Open opens the store in dir, which is made when it is missing, and begins a new epoch. Damage never makes it fail: what
// cannot be read is set aside and becomes gaps. A disk that cannot be written at all gives a store that keeps its
// records in memory and says so in Stats. The only errors are ErrInUse, a directory that cannot be made, and no
// randomness.
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		opt: o, dir: dir, log: o.Logger, lock: lock,
		next: 1, spans: map[string]*spanEntry{}, touched: map[string]bool{}, leases: map[ID]lease{},
		wake: make(chan struct{}, 1), kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	s.fresh.bySeq = map[uint64]*entry{}
	s.gaps = gapBook{dirty: map[uint64]bool{}, next: 1}
	if s.plain, err = newPlain(); err == nil {
		err = s.begin()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), lock.Close())
	}
	go s.run()
	return s, nil
}

// lockDir keeps a second process out. The lock goes with the process, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// begin counts the opening, opens the database, takes stock and writes the first transaction of the new epoch.
func (s *Store) begin() error {
	m, badMarks := readMarks(s.dir)
	count := readOpenings(s.dir)
	if m != nil {
		count.n = max(count.n, m.counter)
		s.marks.serial = m.serial
	}
	eng, found := openDatabase(s.dir, s.log)
	s.eng = eng
	old := s.recall()
	if old != nil {
		// Every transaction that could be read belongs to an earlier opening; a lost counter starts above it.
		count.n = max(count.n, epochCount(old.epoch))
	}
	count.n++
	var err error
	if s.epoch, err = makeEpoch(count.n, s.opt.Rand); err != nil {
		return errors.Join(err, s.closeEngine())
	}
	s.marks.counter = count.n
	untold := slices.Clone(count.untold)
	count.untold = append(count.untold, s.epoch)
	count.untold = count.untold[max(0, len(count.untold)-untoldMax):]
	if err := writeFile(s.dir, counterName, count.encode()); err != nil {
		s.failed(err)
	}
	s.takeStock(old, m, badMarks, untold, found)
	s.waiting.add() // the new epoch itself
	if _, err := s.flush(func(*entry) bool { return false }); err == nil {
		count.untold = nil
		err = errors.Join(s.markNow(), writeFile(s.dir, counterName, count.encode()))
		if err != nil {
			s.log.Warn("store cannot write beside its database", "err", err)
		}
	}
	s.log.Info("store opened", "epoch", s.epoch, "previous", s.opened.PrevEpoch, "clean", s.opened.Clean, "gaps", len(s.gaps.list))
	return nil
}

func (s *Store) markNow() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.writeMark(false)
}

func (s *Store) closeEngine() error {
	if s.eng == nil {
		return nil
	}
	return s.eng.close()
}

// epochCount is the opening counter inside an epoch.
func epochCount(epoch string) (n uint64) {
	for i := 0; i < len(epoch) && i < 4; i++ {
		n = n<<5 | uint64(max(0, strings.IndexByte(epochAlpha, epoch[i])))
	}
	return n
}

// recall reads what the database knows into memory and returns its state, nil when there is none.
func (s *Store) recall() *state {
	for g := range groups {
		s.groups[g] = segments{dirty: map[uint32]bool{}}
	}
	var st *state
	if s.eng != nil {
		if v, err := s.eng.get(metaKey(metaState)); err == nil && v != nil {
			if st, err = decodeState(v); err != nil {
				s.log.Warn("state of the store is damaged", "err", err)
			}
		}
		s.recallLists()
	}
	if st != nil {
		s.txn = st.txn
		s.gaps.next = max(s.gaps.next, st.nextGap)
		for c := range s.lanes {
			s.lanes[c].laneState = st.lanes[c]
		}
	}
	for g := range groups {
		l := &s.groups[g]
		slices.SortFunc(l.list, func(a, b *segment) int { return int(int64(a.no) - int64(b.no)) })
		if len(l.list) == 0 {
			seg := &segment{}
			if st != nil {
				seg.no = st.segs[g]
			}
			l.list = append(l.list, seg)
			l.dirty[seg.no] = true
		}
		if st != nil && l.last().no == st.segs[g] {
			for c := range s.lanes {
				if groupOf(Class(c)) == g {
					l.last().bytes[c] = st.lanes[c].bytes
				}
			}
		}
	}
	for c := range s.lanes {
		l := &s.lanes[c]
		l.next, l.low = max(l.next, 1), max(l.low, 1)
		l.cursor = l.low
	}
	return st
}

// recallLists reads segments, spans and gaps.
func (s *Store) recallLists() {
	read := func(kind byte, take func(tail, v []byte) error) {
		err := s.eng.scan(metaKey(kind), func(k, v []byte) bool {
			if err := take(k[2:], v); err != nil {
				s.log.Warn("entry of the store is damaged", "kind", string(kind), "err", err)
			}
			return true
		})
		if err != nil {
			s.log.Warn("store cannot be listed", "kind", string(kind), "err", err)
		}
	}
	read(metaSegment, func(tail, v []byte) error {
		if len(tail) != 5 || group(tail[0]) >= groups {
			return errTruncated
		}
		seg, err := decodeSegment(uint32(tail[1])<<24|uint32(tail[2])<<16|uint32(tail[3])<<8|uint32(tail[4]), v)
		if err == nil {
			g := &s.groups[tail[0]]
			g.list = append(g.list, seg)
		}
		return err
	})
	read(metaSpan, func(_, v []byte) error {
		b, err := openBytes(v)
		if err != nil {
			return err
		}
		r := &reader{b: b}
		if e := readSpan(r); r.err == nil {
			s.spans[e.epoch] = &e
		}
		return r.err
	})
	read(metaGap, func(_, v []byte) error {
		b, err := openBytes(v)
		if err != nil {
			return err
		}
		r := &reader{b: b}
		if g := readGap(r); r.err == nil {
			s.gaps.list = append(s.gaps.list, g)
			s.gaps.next = max(s.gaps.next, g.Key+1)
		}
		return r.err
	})
}

// takeStock compares what the database knows with the mark beside it and turns every difference into gaps.
func (s *Store) takeStock(old *state, m *mark, badMarks int, untold []string, found finding) {
	s.opened = Opened{Epoch: s.epoch, SetAside: found.aside, Damage: found.damage}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ep := range untold {
		if (old == nil || ep != old.epoch) && (m == nil || ep != m.epoch) {
			s.gaps.add(Gap{Epoch: ep, Class: Any, Why: Unclean})
		}
	}
	switch {
	case old == nil && m == nil:
		s.opened.Clean = found.damage == "" && badMarks == 0 && len(untold) == 0
		if badMarks > 0 || found.damage != "" {
			s.gaps.add(Gap{Class: Any, Why: Damaged}) // nothing is known of what was there
		}
	case m != nil && (old == nil || old.txn < m.txn):
		s.stockFromMark(old, m)
	default:
		s.opened.PrevEpoch, s.opened.PrevLastSealed = old.epoch, old.lastSealed
		s.opened.Clean = m != nil && m.clean && m.epoch == old.epoch && m.txn == old.txn && found.damage == ""
		if m == nil || !m.clean || m.epoch != old.epoch || m.txn != old.txn {
			s.gaps.add(Gap{Epoch: old.epoch, Class: Any, From: old.known, Why: Unclean})
		}
	}
	if s.opened.Damage == "" && badMarks > 0 {
		s.opened.Damage = "marks beside the database"
	}
}

// stockFromMark reports what the mark knows and the database does not. Called with mu held.
func (s *Store) stockFromMark(old *state, m *mark) {
	s.opened.PrevEpoch, s.opened.PrevLastSealed = m.epoch, m.lastSealed
	if s.opened.Damage == "" {
		s.opened.Damage = "the database was cut off"
	}
	have := map[uint64]bool{}
	for _, g := range s.gaps.list {
		have[g.Key] = true
	}
	for _, g := range m.gaps {
		if !have[g.Key] {
			s.gaps.add(g)
		}
	}
	for _, e := range m.spans {
		t := e.total()
		if old != nil && e.epoch == old.epoch {
			t.First = max(t.First, old.known) // below it nothing was waiting to be written
		}
		if s.spans[e.epoch] != nil && (old == nil || e.epoch != old.epoch) {
			continue // still there, and nothing was added to an epoch that was over
		}
		g := Gap{Epoch: e.epoch, Class: Any, From: t.First, Why: Damaged}
		if e.epoch != m.epoch {
			g.To = &t.Last
		}
		s.gaps.add(g)
	}
	from := m.known
	if old != nil && old.epoch == m.epoch {
		from = min(from, old.known)
	}
	s.gaps.add(Gap{Epoch: m.epoch, Class: Any, From: from, Why: Damaged})
	if m.more {
		s.gaps.add(Gap{Class: Any, Why: Damaged})
	}
	s.txn = max(s.txn, m.txn)
}

// finding is what happened while the database was opened.
type finding struct {
	aside  string // where damaged files were put
	damage string // in words
}

// asideMax is how many databases that could not be opened are kept for somebody to look at.
const asideMax = 2

// openDatabase opens the database in dir/db. What cannot be opened is set aside, and a new one is made; when not even
// that works it returns nil.
func openDatabase(dir string, log *slog.Logger) (*engine, finding) {
	var f finding
	path := filepath.Join(dir, "db")
	for range 2 {
		err := prepare(path)
		var eng *engine
		if err == nil {
			eng, err = openEngine(path, log)
		}
		if err == nil {
			return eng, f
		}
		log.Error("database cannot be opened, setting it aside", "err", err)
		f.damage = err.Error()
		aside, aerr := setAside(dir, path)
		if aerr != nil {
			log.Error("database cannot be set aside", "err", aerr)
			return nil, f
		}
		f.aside = aside
	}
	return nil, f
}

// prepare makes a directory fit to be opened: it removes files that a crash left empty, on which Badger fails once, and
// refuses tables without a manifest, which Badger would delete.
func prepare(path string) error {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return fmt.Errorf("prepare database: %w", err)
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("prepare database: %w", err)
	}
	tables, manifest := 0, false
	for _, d := range list {
		name := d.Name()
		fi, err := d.Info()
		if err != nil {
			return fmt.Errorf("prepare database: %w", err)
		}
		switch {
		case fi.Size() == 0 && (strings.HasSuffix(name, ".mem") || strings.HasSuffix(name, ".vlog")):
			if err := os.Remove(filepath.Join(path, name)); err != nil {
				return fmt.Errorf("prepare database: %w", err)
			}
		case strings.HasSuffix(name, ".sst"):
			tables++
		case name == "MANIFEST":
			manifest = fi.Size() > 0
		}
	}
	if tables > 0 && !manifest {
		return fmt.Errorf("prepare database: %d tables without a manifest", tables)
	}
	return nil
}

// setAside moves the database to dir/damaged-N and removes all but the newest of those.
func setAside(dir, path string) (string, error) {
	old, err := filepath.Glob(filepath.Join(dir, "damaged-*"))
	if err != nil {
		return "", fmt.Errorf("set aside: %w", err)
	}
	slices.Sort(old)
	n := 1
	if len(old) > 0 {
		if _, err := fmt.Sscanf(filepath.Base(old[len(old)-1]), "damaged-%d", &n); err == nil {
			n++
		}
	}
	for len(old) >= asideMax {
		if err := os.RemoveAll(old[0]); err != nil {
			return "", fmt.Errorf("set aside: %w", err)
		}
		old = old[1:]
	}
	to := filepath.Join(dir, fmt.Sprintf("damaged-%06d", n))
	if err := os.Rename(path, to); err != nil {
		return "", fmt.Errorf("set aside: %w", err)
	}
	return to, syncDir(dir)
}
