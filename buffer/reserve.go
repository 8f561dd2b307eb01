package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Badger writes through memory maps. On a full file system this raises a signal that cannot be handled: the process
// ends, and again at every start. The store therefore never lets it happen. It checks the free space before each
// transaction and keeps a ballast file, which it deletes when there is too little space to open.
const (
	// openNeeds is the minimum free space in bytes to open Badger: two log files, and one flushed table for each
	// existing log.
	openNeeds = 8 << 20
	// closeNeeds is the minimum free space in bytes to close Badger, which then flushes its memtable.
	closeNeeds = 3 << 20
	// dropNeeds is the minimum free space in bytes to rewrite tables.
	dropNeeds = 6 << 20

	ballastName = "reserve"
	ballastMax  = 16 << 20
)

// errFull means that the file system has less free space than the store must leave.
var errFull = errors.New("disk is full")

// needs returns the free space required to write a transaction without meeting a full file system. A transaction with
// only events and cards may use more of the reserve, so that readings do not crowd them out. One without blocks may use
// even more: it records gaps and frees space.
func (s *Store) needs(p *plan) int64 {
	if len(p.blocks) == 0 {
		return s.opt.Reserve / 4
	}
	if slices.ContainsFunc(p.blocks, func(b *planned) bool { return !b.class.public().atOnce() }) {
		return s.opt.Reserve
	}
	return s.opt.Reserve / 2
}

// roomFor returns errFull when fewer than keep bytes are free.
func (s *Store) roomFor(keep int64) error {
	free, err := s.opt.DiskFree(s.dir)
	if err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	if free < uint64(keep) {
		return fmt.Errorf("%w: less than %d KiB left", errFull, keep>>10)
	}
	return nil
}

// openable fails when there is too little space to open the database, even without the ballast.
func (s *Store) openable() error { return s.ensureRoom(min(int64(openNeeds), s.opt.Reserve)) }

// ensureRoom deletes the ballast when fewer than need bytes are free, and fails when that is not enough.
func (s *Store) ensureRoom(need int64) error {
	err := s.roomFor(need)
	if !errors.Is(err, errFull) {
		return err
	}
	if rerr := os.Remove(filepath.Join(s.dir, ballastName)); rerr != nil {
		if !errors.Is(rerr, fs.ErrNotExist) {
			return fmt.Errorf("delete ballast: %w", rerr)
		}
		return err
	}
	s.log.Warn("disk is full, ballast deleted")
	return s.roomFor(need)
}

// ballast creates the ballast file again when there is plenty of space. If the file system cannot preallocate, there is
// no ballast.
func (s *Store) ballast() {
	size := min(int64(ballastMax), s.opt.MaxSize/16)
	path := filepath.Join(s.dir, ballastName)
	if fi, err := os.Stat(path); err == nil && allocated(fi) >= size {
		return
	}
	if s.roomFor(2*s.opt.Reserve+2*size) != nil {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		s.log.Warn("ballast cannot be created", "err", err)
		return
	}
	err = errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, size), f.Close())
	if err != nil {
		s.log.Info("ballast cannot be created", "err", errors.Join(err, os.Remove(path)))
	}
}
