package buffer

import (
	"errors"
	"fmt"
	"time"
)

// closeWait is the maximum time that Close waits for a failed database to close.
const closeWait = 10 * time.Second

// closingDB is a database that is no longer used and not yet closed. Until it is closed, no other may be opened in its
// place.
type closingDB struct {
	eng    *engine
	closed chan struct{} // closed when the database is; nil: closing has not begun
	err    error         // result of closing, valid once closed is closed
}

// errClosing means that the failed database is not closed yet, because the disk does not accept its pending writes.
var errClosing = errors.New("database cannot be closed yet")

// replaceFailed abandons the database after a write has broken it. The store works from memory until the run loop has
// reopened it. Called with disk held, by everything that writes, before disk is released.
func (s *Store) replaceFailed() {
	if s.eng == nil || !s.eng.failed {
		return
	}
	s.log.Error("database failed, reopening it")
	s.closing, s.eng = closingDB{eng: s.eng}, nil
	if err := s.closeFailed(); err != nil && !errors.Is(err, errClosing) {
		s.log.Warn("database cannot be closed", "err", err)
	}
	signal(s.kick) // another goroutine may have written, and nothing else may wake the run loop
}

// closeFailed closes the abandoned database and fails until that is done: Badger retries the flush endlessly, and
// callers waiting for disk must not wait for it. Where too little space remains for the flush, which would end the
// process, closing is postponed. Called with disk held.
func (s *Store) closeFailed() error {
	l := &s.closing
	if l.eng == nil {
		return nil
	}
	if l.closed == nil {
		if err := s.ensureRoom(min(closeNeeds, s.opt.Reserve)); err != nil {
			return fmt.Errorf("%w: %w", errClosing, err)
		}
		closed := make(chan struct{})
		l.closed = closed
		go func() {
			l.err = l.eng.close()
			close(closed)
		}()
	}
	select {
	case <-l.closed:
		if l.err != nil {
			s.log.Warn("database did not close cleanly", "err", l.err)
		}
		*l = closingDB{}
		return nil
	default:
		return errClosing
	}
}

// awaitClose closes the abandoned database like closeFailed, but waits up to closeWait for it. Called without disk.
func (s *Store) awaitClose() error {
	s.disk.Lock()
	err := s.closeFailed()
	closed := s.closing.closed
	s.disk.Unlock()
	if err == nil || closed == nil {
		return err
	}
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.closeFailed()
}

// detached reports whether the database failed and has not been reopened yet.
func (s *Store) detached() bool {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.eng == nil && s.hasInventory
}

// unlock releases the directory as soon as Badger no longer writes there. Called with disk held.
func (s *Store) unlock() error {
	closed := s.closing.closed
	if s.lock == nil {
		return nil
	}
	if closed == nil {
		return s.lock.Close()
	}
	go func() {
		<-closed
		if err := s.lock.Close(); err != nil {
			s.log.Warn("store cannot be unlocked", "err", err)
		}
	}()
	return nil
}

// resume continues with the database and writes immediately, which shows whether it works. Called with disk held.
func (s *Store) resume() error {
	defer s.replaceFailed()
	if err := s.reopen(); err != nil {
		return err
	}
	_, err := s.flushHeld(nil)
	return err
}
