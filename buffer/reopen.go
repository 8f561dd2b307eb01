package buffer

import (
	"errors"
	"fmt"
	"time"
)

// closeWait is how long Close waits for a database that failed.
const closeWait = 10 * time.Second

// closingDB is a database that is not used any more and not closed yet. Until it is, no other may be opened in its place.
type closingDB struct {
	eng    *engine
	closed chan struct{} // nil: the closing has not begun
	err    error         // of the closing, once it has ended
}

// errClosing: the disk does not take what the database still has to write.
var errClosing = errors.New("database cannot be closed yet")

// replaceFailed gives up the database when a write has spoilt it: the store works from memory until the run loop has opened
// it again. Called with disk held, by everybody who wrote, before disk is given back.
func (s *Store) replaceFailed() {
	if s.eng == nil || !s.eng.failed {
		return
	}
	s.log.Error("database failed and has to be opened again")
	s.closing, s.eng = closingDB{eng: s.eng}, nil
	if err := s.closeFailed(); err != nil && !errors.Is(err, errClosing) {
		s.log.Warn("database cannot be closed", "err", err)
	}
	signal(s.kick) // who wrote may not be the run loop, and nothing else may be due
}

// closeFailed closes the database that is not used any more, and fails until that is done: Badger tries again for ever to write
// what it has not flushed, and whoever waits for disk must not wait for that. Where there is too little room for the
// flush, which would end the process, it is left for later. Called with disk held.
func (s *Store) closeFailed() error {
	l := &s.closing
	if l.eng == nil {
		return nil
	}
	if l.closed == nil {
		if err := s.force(min(closeNeeds, s.opt.Reserve)); err != nil {
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
			s.log.Warn("database did not close in order", "err", l.err)
		}
		*l = closingDB{}
		return nil
	default:
		return errClosing
	}
}

// awaitClose is leave for those who do not hold disk and have time.
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

// detached reports whether the store had a database and has none: it failed, and was not opened again yet.
func (s *Store) detached() bool {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.eng == nil && s.hasInventory
}

// unlock lets others open the directory, as soon as Badger does not write there any more. Called with disk held.
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

// resume goes on with the database, and writes at once, which shows whether that works. Called with disk held.
func (s *Store) resume() error {
	defer s.replaceFailed()
	if err := s.reopen(); err != nil {
		return err
	}
	_, err := s.flushHeld(nil)
	return err
}
