package buffer

import (
	"errors"
	"fmt"
	"time"
)

// How long what is not urgent waits for a transaction that happens anyway.
const (
	// lazy is how long an acknowledgement may wait before it gets a transaction of its own.
	lazy = time.Minute
	// waitingMax is how many may wait: what a crash can make deliverable once more.
	waitingMax = 1024
	// retryMax bounds the pause between attempts to write to a disk that refuses.
	retryMax = 30 * time.Second
)

// run seals what is due, hands aged records to the history lane, writes marks and gives space back, until Close.
func (s *Store) run() {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	if err := s.sweep(); err != nil {
		s.log.Warn("left-over segments cannot be removed", "err", err)
	}
	var pause time.Duration // after a failure
	for {
		select {
		case <-s.quit:
			return
		case <-s.kick:
		case <-timer.C:
		}
		now := time.Now()
		next, err := s.due(now)
		if err != nil {
			pause = min(max(2*pause, s.opt.Sync), retryMax)
			next = now.Add(pause)
		} else {
			pause = 0
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
	}
}

// due does what is due at now and returns when the next thing is.
func (s *Store) due(now time.Time) (next time.Time, err error) {
	if s.sealDue(now) {
		for more := true; more && err == nil; {
			more, err = s.flush(func(*entry) bool { return true })
		}
		if err == nil {
			err = s.tidy()
		}
	}
	s.mu.Lock()
	marking := s.marks.due && !now.Before(s.marks.last.Add(markEvery))
	s.mu.Unlock()
	if err == nil && marking {
		s.disk.Lock()
		err = s.writeMark(false)
		s.disk.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	earliest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	earliest(s.age(now))
	earliest(s.sealAt())
	if s.marks.due {
		earliest(s.marks.last.Add(markEvery))
	}
	return next, err
}

// sealDue reports whether a transaction is due.
func (s *Store) sealDue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.sealAt()
	return !at.IsZero() && !now.Before(at)
}

// sealAt is when the next transaction is due, zero when nothing waits for one. Called with mu held.
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
	if s.waiting.n > 0 {
		t := s.waiting.since.Add(lazy)
		if s.waiting.n >= waitingMax {
			t = s.waiting.since
		}
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// Close seals everything that is not acknowledged, says in the mark that nothing is missing, and closes the database.
// Records handed out count as not acknowledged. The store cannot be used afterwards.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return nil
	}
	s.shut = true
	s.mu.Unlock()
	close(s.quit)
	<-s.done
	var err error
	for more := true; more && err == nil; {
		more, err = s.flush(func(*entry) bool { return true })
	}
	if err == nil {
		err = s.tidy()
	}
	for i := 0; err == nil && s.anyWaiting() && i < 1000; i++ {
		_, err = s.flush(func(*entry) bool { return true })
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng != nil {
		if cerr := s.eng.close(); err == nil {
			err = cerr
		}
		s.eng = nil
		if err == nil {
			err = s.writeMark(true)
		}
	}
	s.plain.close()
	if uerr := s.lock.Close(); err == nil {
		err = uerr
	}
	if err != nil && !errors.Is(err, ErrClosed) {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// anyWaiting reports whether a last transaction has something to carry.
func (s *Store) anyWaiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting.n > 0
}
