package buffer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// memoryRun is the epoch of a store whose directory has been unusable since Open. It ends when the database opens: the
// next epoch begins, and unacknowledged records are sealed under their existing identity.
type memoryRun struct {
	epoch string
	next  uint64
}

// memoryRetry bounds the pause between attempts to open the store during a run from memory.
const memoryRetry = 10 * time.Second

// skipMax is the maximum random number of openings by which an epoch that could not be written down skips ahead of the
// last known one. The next process counts from the same number, so otherwise only the random half would distinguish the
// two.
const skipMax = 256

// Access modes of access(2).
const (
	accessRead  = 4
	accessWrite = 2
	accessEnter = 1
)

// claim creates and locks the directory and ensures that the store's files can be read and written. It touches no file
// of the store before all of that succeeds, so a file of another user is not damaged. It may be called again after it
// failed. ErrInUse means that another process holds the lock.
func (s *Store) claim() error {
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if s.lock == nil {
		lock, err := lockDir(s.dir)
		if err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		s.lock = lock
	}
	if s.opt.refuse != nil {
		if err := s.opt.refuse(); err != nil {
			return err
		}
	}
	return accessible(s.dir)
}

// lockDir excludes a second process. The lock ends with the process, however it ends. A lock file that is readable but
// not writable is locked as well: two agents must not share a store on a read-only file system either.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		if readable, rerr := os.Open(name); rerr == nil {
			f, err = readable, nil
		}
	}
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

// accessible fails on the first file or directory of the store that this process may not use, or that is on a read-only
// file system. It ignores any other error, which may concern that file alone and is handled where the file is opened.
func accessible(dir string) error {
	if err := permits(dir, accessRead|accessWrite|accessEnter); err != nil {
		return err
	}
	for _, name := range []string{
		lockName, counterName, checkpointName(0), checkpointName(1), ballastName, openingName, compactingName,
	} {
		if err := permits(filepath.Join(dir, name), accessRead|accessWrite); err != nil {
			return err
		}
	}
	db := filepath.Join(dir, dbName)
	if err := permits(db, accessRead|accessWrite|accessEnter); err != nil {
		return err
	}
	list, err := os.ReadDir(db)
	if err != nil {
		return nil // it does not exist yet, or opening the database will report the error
	}
	for _, d := range list {
		if err := permits(filepath.Join(db, d.Name()), accessRead|accessWrite); err != nil {
			return err
		}
	}
	return nil
}

// Usable returns an error if this process could not use a store in dir because of file or directory permissions or a
// read-only file system. It changes nothing. If dir does not exist, the nearest existing parent directory is checked.
func Usable(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return err
		}
		return accessible(dir)
	}
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		if _, err := os.Stat(parent); err == nil || parent == filepath.Dir(parent) {
			return permits(parent, accessWrite|accessEnter)
		}
	}
}

// permits asks the kernel whether this process may access a file. It ignores errors other than missing permission and a
// read-only file system.
func permits(path string, mode uint32) error {
	err := syscall.Access(path, mode)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return &fs.PathError{Op: "access", Path: path, Err: err}
	}
	return nil
}

// denied reports whether err means that this process may not use a file, which reveals nothing about its content.
func denied(err error) bool { return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) }

// readCounters returns the counter file and the newest checkpoint. The number of openings is the highest in either.
func (s *Store) readCounters() (openings, *checkpoint) {
	count := readOpenings(s.dir)
	m, _ := readCheckpoints(s.dir)
	if m != nil {
		count.n = max(count.n, m.counter) // the counter file may be lost
	}
	count.n = max(count.n, s.checkpoints.counter)
	return count, m
}

// record writes the counter file. If the file system is full it deletes the ballast and tries again.
func (s *Store) record(o openings) error {
	err := writeFile(s.dir, counterName, o.encode())
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	if ferr := s.openable(); ferr != nil {
		return errors.Join(err, ferr)
	}
	return writeFile(s.dir, counterName, o.encode())
}

// runFromMemory begins a run from memory because of the recorded fault. recorded means that the counter file names the
// epoch, so that the next opening reports its fate.
func (s *Store) runFromMemory(m *checkpoint, recorded bool) error {
	epoch := s.epoch
	if !recorded {
		var skip [1]byte
		if _, err := io.ReadFull(s.opt.Rand, skip[:]); err != nil {
			return fmt.Errorf("draw epoch: %w", err)
		}
		s.checkpoints.counter += uint64(skip[0]) % skipMax
		var err error
		if epoch, err = makeEpoch(s.checkpoints.counter, s.opt.Rand); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = ""
	s.memory = &memoryRun{epoch: epoch, next: 1}
	s.fresh.epoch = epoch
	s.opened = Opened{Epoch: epoch, Memory: true}
	s.pause = min(s.opt.Sync, memoryRetry)
	s.retry = time.Now().Add(s.pause) // so that the caller of Open first sees this epoch
	s.reportMemoryRun(m, recorded)
	return nil
}

// reportMemoryRun adds gaps for a run from memory at its start, because after a crash nothing could report them: its
// records may never arrive. It also takes over spans and gaps of earlier epochs from a readable checkpoint. Called with
// mu held.
func (s *Store) reportMemoryRun(m *checkpoint, recorded bool) {
	if !recorded {
		s.gaps.add(Gap{Epoch: s.memory.epoch, Class: Any, From: 1, Reason: FromMemory})
	}
	isNew := recorded && s.checkpoints.counter == 1
	if m == nil && !isNew || m != nil && m.more {
		s.gaps.add(Gap{Class: Any, Reason: FromMemory})
	}
	if m == nil {
		return
	}
	s.opened.PrevEpoch, s.opened.PrevLastSealed, s.opened.Clean = m.epoch, m.lastSealed, m.clean
	if !m.clean {
		s.gaps.add(Gap{Epoch: m.epoch, Class: Any, From: m.known, Reason: Unclean})
	}
	for _, g := range m.gaps {
		s.gaps.add(g)
	}
	for _, e := range m.spans {
		s.spans[e.epoch] = &e
	}
}

// leaveMemory opens the store and ends the run from memory. After an error it may be called again.
func (s *Store) leaveMemory() error {
	err := s.claim()
	if err == nil && s.epoch == "" {
		err = s.nextEpoch()
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed(err)
		return err
	}
	if s.attach(); !s.attached() {
		return s.noDisk()
	}
	last := s.Next().Seq - 1
	o := s.foundAtStart
	o.PrevEpoch, o.PrevLastSealed = s.memory.epoch, 0
	if err := s.flushAll(); err == nil {
		o.PrevLastSealed = last
	}
	var payload []byte
	if s.opt.First != nil {
		payload = s.opt.First(o)
	}
	s.beginEpoch(o, payload)
	if err := s.sweep(); err != nil {
		s.log.Warn("left-over segments cannot be removed", "err", err)
	}
	return nil
}

// nextEpoch draws the epoch that follows the run from memory and writes both epochs to the counter file. If a crash
// happens before the records of the run are sealed, the next opening reports it.
func (s *Store) nextEpoch() error {
	count, _ := s.readCounters()
	count.n++
	epoch, err := makeEpoch(count.n, s.opt.Rand)
	if err != nil {
		return err
	}
	count.add(s.memory.epoch)
	count.add(epoch)
	if err := s.record(count); err != nil {
		return err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch, s.checkpoints.counter = epoch, count.n
	return nil
}

// beginEpoch switches new records from the run from memory to the recorded epoch. A non-empty payload becomes the first
// record, an [Event].
func (s *Store) beginEpoch(o Opened, payload []byte) {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Info("store opened", "epoch", s.epoch, "previous", o.PrevEpoch, "clean", o.Clean, "damage", o.Damage,
		"gaps", len(s.gaps.list), "fresh", s.fresh.n)
	s.memory, s.opened = nil, o
	s.fresh.begin(s.epoch)
	if len(payload) > 0 {
		s.counts.appended++
		s.fresh.add(&entry{lane: Event, born: time.Now(), rec: Record{ID: s.issue(), Class: Event, Payload: payload}})
	}
	signal(s.kick)
	signal(s.wake)
}

// forgetFormer removes the run from memory from the counter file once all its records are sealed or acknowledged.
func (s *Store) forgetFormer() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if !s.stale || s.unsealedFormer() != "" {
		return nil
	}
	return s.writeCounter()
}

// unsealedFormer returns the epoch of the run from memory while a power cut could still lose records of it, otherwise
// "". Called with disk held.
func (s *Store) unsealedFormer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.memory != nil:
		return s.memory.epoch
	case s.fresh.former != "" && s.fresh.hasUnsealed(s.fresh.former):
		return s.fresh.former
	}
	return ""
}

// closeMemory ends a run from memory at Close. It returns an error if unacknowledged records are lost.
func (s *Store) closeMemory() error {
	s.mu.Lock()
	n, fault := s.fresh.n, s.fault
	s.mu.Unlock()
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d records that were held in memory only are lost: %w", n, fault)
}
