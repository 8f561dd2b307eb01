package buffer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Open opens the store in dir, creates the directory when it is missing, and begins a new epoch. Damage never makes it
// fail: unreadable files are set aside and become gaps. If the directory cannot be created, read or written, the store
// keeps its records in memory in an epoch of its own, says so in Opened and Fault, and opens the directory as soon as
// possible. The only errors are ErrInUse and a failure of the random source.
func Open(dir string, o Options) (*Store, error) {
	s := newStore(dir, o.withDefaults(), nil)
	var err error
	if s.plain, err = newPlain(); err == nil {
		err = s.begin()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.unlock())
	}
	go s.run()
	return s, nil
}

// newStore returns an empty store without a database.
func newStore(dir string, o Options, lock *os.File) *Store {
	s := &Store{
		opt: o, dir: dir, log: o.Logger, lock: lock,
		next: 1, spans: map[string]*spanEntry{}, touched: map[string]bool{}, leases: map[ID]lease{},
		wake: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	s.storeAge.begin = time.Now()
	s.fresh.bySeq = map[uint64]*entry{}
	s.gaps = gapLedger{dirty: map[uint64]bool{}, next: 1}
	return s
}

// begin counts the opening, draws the epoch and opens the database. If that fails it begins a run from memory.
func (s *Store) begin() error {
	cerr := s.claim()
	if errors.Is(cerr, ErrInUse) {
		return cerr
	}
	count, m := s.readCounters()
	count.n++
	var err error
	if s.epoch, err = makeEpoch(count.n, s.opt.Rand); err != nil {
		return err
	}
	s.checkpoints.counter, s.fresh.epoch = count.n, s.epoch
	count.add(s.epoch)
	rerr := cerr
	if cerr == nil {
		if rerr = s.record(count); rerr != nil {
			s.failed(rerr) // the database may be writable nevertheless
		}
		s.opened = s.attach()
	} else {
		s.failed(cerr)
	}
	if s.attached() || s.hasInventory {
		s.log.Info("store opened", "epoch", s.epoch, "previous", s.opened.PrevEpoch, "clean", s.opened.Clean,
			"damage", s.opened.Damage, "gaps", len(s.gaps.list))
		return nil
	}
	if err := s.runFromMemory(m, rerr == nil); err != nil {
		return err
	}
	s.log.Error("store cannot be opened, running from memory", "epoch", s.memory.epoch, "err", s.fault)
	return nil
}

// attach opens the database, reads its inventory and writes the first transaction of the epoch. Without a usable
// database the store works from memory, and the run loop tries again. A database that failed after it had been opened
// is only reopened.
func (s *Store) attach() Opened {
	s.disk.Lock()
	defer s.disk.Unlock()
	none := Opened{Epoch: s.epoch, Damage: "no usable database"}
	err := s.closeFailed()
	if err == nil {
		err = s.openable()
	}
	if err == nil && s.hasInventory {
		err = s.resume()
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed(err)
		return none
	}
	if s.hasInventory {
		return none
	}
	held := s.unsealedFormer()
	unreported := slices.DeleteFunc(readOpenings(s.dir).unreported, func(ep string) bool {
		return ep == s.epoch || ep == held
	})
	m, badCheckpoints := readCheckpoints(s.dir)
	eng, k, err := s.takeInventory(m, badCheckpoints, unreported)
	s.mu.Lock()
	if err != nil {
		defer s.mu.Unlock()
		s.failed(err)
		return none
	}
	s.adopt(eng, k, m)
	s.mu.Unlock()
	if _, err := s.flushHeld(nil); err != nil {
		return k.opened // the epoch stays in the counter file as unreported
	}
	if err := errors.Join(s.writeCheckpoint(false), s.writeCounter()); err != nil {
		s.log.Warn("store cannot write files beside its database", "err", err)
	}
	return k.opened
}

// takeInventory opens the database and reads what it contains. Called with disk held.
func (s *Store) takeInventory(m *checkpoint, badCheckpoints int, unreported []string) (*engine, *inventory, error) {
	eng, found, err := openDatabase(s.dir, s.log, s.isTransient)
	if err != nil {
		return nil, nil, err
	}
	k := loadInventory(eng, s.log)
	k.compare(eng, m, badCheckpoints, unreported, found)
	k.opened.Epoch = s.epoch
	if err := eng.refused; err != nil && s.isTransient(err) { // entries that are unreadable now are not lost
		return nil, nil, errors.Join(fmt.Errorf("read inventory: %w", err), eng.close())
	}
	return eng, k, nil
}

// writeCounter removes the epochs whose gaps are now in the database from the counter file. The current epoch stays, so
// that it is recorded in a third place besides database and checkpoint. A run from memory stays until its records are
// sealed. Called with disk held.
func (s *Store) writeCounter() error {
	o := openings{n: s.checkpoints.counter}
	held := s.unsealedFormer()
	if held != "" {
		o.add(held)
	}
	o.add(s.epoch)
	s.stale = held != ""
	return writeFile(s.dir, counterName, o.encode())
}

// adopt takes over the content of the database. Called with disk and mu held.
func (s *Store) adopt(eng *engine, k *inventory, m *checkpoint) {
	s.eng, s.hasInventory, s.foundAtStart = eng, true, k.opened
	s.txn = k.txn
	if m != nil {
		s.checkpoints.serial = m.serial
	}
	for g := range groups {
		s.groups[g] = segments{list: k.segs[g], dirty: map[uint32]bool{}}
		for _, seg := range k.segs[g] {
			if k.counted || len(k.segs[g]) == 1 {
				s.groups[g].dirty[seg.no] = true
			}
		}
	}
	for c := range s.lanes {
		s.lanes[c] = lane{laneState: k.lanes[c], cursor: k.lanes[c].low, finished: slices.Clone(k.lanes[c].done)}
	}
	if k.state != nil {
		s.storeAge = ageClock{base: k.state.age, begin: s.storeAge.begin, wall: k.state.wall}
	}
	s.spans = k.spans
	s.touched = map[string]bool{}
	for epoch := range k.stale {
		s.touched[epoch] = true
	}
	// Gaps that arose while there was no database come after those of the database.
	mem := s.gaps.list
	s.gaps = k.gaps
	for _, g := range mem {
		s.gaps.add(g)
	}
	s.waiting.add() // the epoch itself
}
