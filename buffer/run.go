package buffer

import (
	"errors"
	"fmt"
	"time"
)

// How long non-urgent work waits for a transaction that happens anyway.
const (
	// ackDelayMax is how long an acknowledgement may wait before it gets a transaction of its own. On a quiet, healthy
	// box most transactions would be of this kind. A crash turns a waiting acknowledgement into one more delivery,
	// nothing worse.
	ackDelayMax = time.Hour
	// waitingMax is the maximum number of waiting acknowledgements: what a crash can make deliverable once more.
	waitingMax = 1024
	// retryMax bounds the pause between attempts to write to a disk that returns errors.
	retryMax = 30 * time.Second
)

// run is the goroutine of the store. Until Close it seals due records, moves aged records to the history lane, writes
// checkpoints and frees space.
func (s *Store) run() {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	if err := s.sweep(); err != nil {
		s.log.Warn("left-over segments cannot be removed", "err", err)
	}
	for {
		select {
		case <-s.quit:
			return
		case <-s.kick:
		case <-timer.C:
		}
		next := s.due(time.Now())
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
	}
}

// due does the work that is due at now and returns when the next work is due. After a failure it avoids the disk for a
// while.
func (s *Store) due(now time.Time) (next time.Time) {
	s.mu.Lock()
	wait := now.Before(s.retry)
	s.mu.Unlock()
	if !wait {
		err := s.diskDue(now)
		s.mu.Lock()
		if err != nil {
			s.pause = min(max(2*s.pause, s.opt.Sync), retryMax)
			if s.memory != nil {
				s.pause = min(s.pause, memoryRetry)
			}
			s.retry = time.Now().Add(s.pause)
		} else {
			s.pause, s.retry = 0, time.Time{}
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	earliest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	earliest(s.moveAged(now))
	if !s.retry.IsZero() {
		earliest(s.retry)
		return next
	}
	earliest(s.sealAt())
	earliest(s.hourly)
	if s.checkpoints.due {
		earliest(s.checkpoints.last.Add(checkpointEvery))
	}
	return next
}

// diskDue does the due work that needs the disk.
func (s *Store) diskDue(now time.Time) error {
	if err := s.usable(now); err != nil {
		return err
	}
	due := s.sealDue(now)
	if s.hourDue(now) {
		s.runHourly()
		due = true
	}
	if err := s.writeDue(due); err != nil {
		return err
	}
	if err := s.forgetFormer(); err != nil {
		s.log.Warn("store cannot write files beside its database", "err", err)
	}
	s.mu.Lock()
	marking := s.checkpoints.due && !now.Before(s.checkpoints.last.Add(checkpointEvery))
	s.mu.Unlock()
	if !marking {
		return nil
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.writeCheckpoint(false)
}

// usable fails as long as there is no database, after trying to open it.
func (s *Store) usable(now time.Time) error {
	var err error
	if s.isFromMemory() {
		err = s.leaveMemory()
	} else if !s.attached() {
		if s.attach(); !s.attached() {
			err = s.noDisk()
		}
	}
	if err != nil && now.After(s.expireAt) { // the age limit applies in memory, too
		s.expireAt = now.Add(time.Hour)
		s.mu.Lock()
		s.expireFresh()
		s.mu.Unlock()
	}
	return err
}

// writeDue seals what is in memory and frees space. On a full disk it still writes acknowledgements, gaps and what
// frees space, because these may use more of the reserve.
func (s *Store) writeDue(due bool) error {
	var full error
	if due {
		err := s.flushAll()
		if errors.Is(err, errFull) {
			full = err
			_, err = s.flush(nil)
		}
		if err != nil {
			return err
		}
	}
	if due || s.isCrowded() {
		if err := s.reclaim(); err != nil {
			return err
		}
	}
	if full != nil {
		return full
	}
	return s.stillFull()
}

// stillFull clears the disk-full fault once there is room again, even when there is nothing to write.
func (s *Store) stillFull() error {
	s.mu.Lock()
	full := errors.Is(s.fault, errFull)
	s.mu.Unlock()
	if !full {
		return nil
	}
	if err := s.roomFor(s.opt.Reserve); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovered()
	return nil
}

// attached reports whether there is a database.
func (s *Store) attached() bool {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.eng != nil
}

// flushAll seals everything in memory, and frees space between transactions when necessary.
func (s *Store) flushAll() (err error) {
	for more := true; more && err == nil; {
		if more, err = s.flush(func(*entry) bool { return true }); err == nil && s.isCrowded() {
			err = s.reclaim()
		}
	}
	return err
}

// isCrowded reports whether so much was written that reclaim must check the size of the files.
func (s *Store) isCrowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.crowded
}

// sealDue reports whether a transaction is due.
func (s *Store) sealDue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.sealAt()
	return !at.IsZero() && !now.Before(at)
}

// sealAt returns when the next transaction is due, zero when nothing waits for one. Called with mu held.
func (s *Store) sealAt() (at time.Time) {
	s.fresh.each(func(e *entry) bool {
		if e.blk == nil {
			if t := e.born.Add(s.opt.Sync); at.IsZero() || t.Before(at) {
				at = t
			}
			return e.rec.Class.atOnce() // both queues ascend: the first of each is enough
		}
		return true
	})
	if s.fresh.unsealed > s.opt.Memory/4 {
		at = time.Now()
	}
	if t := s.history.due(); !t.IsZero() && (at.IsZero() || t.Before(at)) {
		at = t
	}
	if s.waiting.n > 0 {
		t := s.waiting.since.Add(ackDelayMax)
		if s.waiting.n >= waitingMax {
			t = s.waiting.since
		}
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// Close seals every unacknowledged record, writes a clean checkpoint and closes the database. Leased records count as
// unacknowledged. The store cannot be used afterwards.
func (s *Store) Close() error {
	if s.inspecting {
		return s.closeInspected()
	}
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return nil
	}
	s.shut = true
	s.mu.Unlock()
	close(s.quit)
	<-s.done
	if s.isFromMemory() {
		if err := s.leaveMemory(); err != nil {
			err = s.closeMemory()
			s.plain.close()
			if err = errors.Join(err, s.unlock()); err != nil {
				return fmt.Errorf("close store: %w", err)
			}
			return nil
		}
	}
	if err := s.awaitClose(); err == nil && s.detached() {
		s.attach()
	}
	s.mu.Lock()
	s.history.force()
	s.mu.Unlock()
	err := s.flushAll()
	if err == nil {
		err = s.reclaim()
	}
	for i := 0; err == nil && s.anyWaiting() && i < 1000; i++ {
		err = s.flushAll()
	}
	if err == nil {
		err = s.forgetFormer()
	}
	lerr := s.awaitClose()
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng != nil {
		if cerr := s.closeEngine(); err == nil {
			err = cerr
		}
		if err == nil {
			err = s.writeCheckpoint(true)
		}
	}
	s.plain.close()
	if err = errors.Join(err, lerr, s.unlock()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// closeEngine closes the database. If the disk is so full that the flush would end the process, it leaves the database
// as after a crash and returns an error. This loses nothing, because all sealed records are in the log. Called with
// disk held.
func (s *Store) closeEngine() error {
	eng := s.eng
	s.eng = nil
	if err := s.ensureRoom(min(closeNeeds, s.opt.Reserve)); err != nil {
		return fmt.Errorf("database is left open: %w", err)
	}
	return eng.close()
}

// anyWaiting reports whether changes wait for a transaction.
func (s *Store) anyWaiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting.n > 0
}
