package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// Store is an open store. All methods may be called concurrently.
//
// It has two locks, always taken in this order: disk is held during one transaction or the reading of one block, mu
// only while memory is accessed. Append of a reading takes mu alone.
type Store struct {
	opt   Options
	dir   string
	log   *slog.Logger
	lock  *os.File
	plain *plain
	epoch string // current epoch in the database; "" while no epoch could be written to disk

	disk         sync.Mutex
	eng          *engine   // nil: no usable database; everything stays in memory
	closing      closingDB // the abandoned database, until it is closed
	hasInventory bool      // the content of the disk is known: reopening trusts memory instead of reading it again
	foundAtStart Opened    // what the first reading of the database found
	stale        bool      // the counter file still names the run from memory

	expireAt time.Time // next check of the age limit while there is no database; used by the run loop only

	readFault   readFault
	checkpoints checkpointWriter
	inspecting  bool     // read-only store created by Inspect
	scratch     string   // temporary directory of Inspect
	found       []string // additional findings of Inspect, for Verify
	sizeAt      int64    // value of volume at which isFull measures the files again

	mu       sync.Mutex
	shut     bool // Close has begun
	opened   Opened
	memory   *memoryRun // nil: new records belong to epoch. Written with disk and mu held
	next     uint64     // next sequence of epoch
	fresh    fresh
	lanes    [classes]lane
	groups   [groups]segments
	spans    map[string]*spanEntry
	touched  map[string]bool // spans to be written
	leases   map[ID]lease    // records leased by Backlog
	gaps     gapLedger
	lastSeq  uint64 // highest sealed sequence of the epoch
	txn      uint64
	waiting  waiting
	crowded  bool // reclaim must check the size of the files
	counts   counts
	fault    error // why nothing can be written at present, nil when writing works
	history  historyQueue
	storeAge ageClock
	hourly   time.Time     // next run of hour
	retry    time.Time     // no disk access by the run loop before this time
	pause    time.Duration // last pause after a failure

	wake chan struct{}
	kick chan struct{}
	quit chan struct{}
	done chan struct{}
}

// lease locates a leased record within its block.
type lease struct {
	blk *block
	idx int
}

// waiting counts the changes that the next transaction must write, and the time of the first one.
type waiting struct {
	since time.Time // zero: nothing waits
	n     int
}

// add counts one more change.
func (w *waiting) add() {
	if w.n == 0 {
		w.since = time.Now()
	}
	w.n++
}

// addWaiting adds a change for the next transaction and wakes the run loop if it is the first. Called with mu held.
func (s *Store) addWaiting() {
	if s.waiting.n == 0 {
		signal(s.kick)
	}
	s.waiting.add()
}

// counts are totals since Open, for [Stats].
type counts struct {
	appended, settled, evicted, lost uint64
	written                          uint64 // bytes of blocks
	commits                          uint64
}

// Opened describes how the present epoch began: what Open found, or what was found when a run from memory ended.
func (s *Store) Opened() Opened {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Wake is signalled when something may have become deliverable. It holds one signal: read it, then call Fresh and
// Backlog until both return nothing.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// Next returns the identity that the next record will get.
func (s *Store) Next() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextID()
}

// nextID is Next for callers that hold mu.
func (s *Store) nextID() ID {
	if m := s.memory; m != nil {
		return ID{m.epoch, m.next}
	}
	return ID{s.epoch, s.next}
}

// issue allocates the next identity. Called with mu held.
func (s *Store) issue() ID {
	id := s.nextID()
	if m := s.memory; m != nil {
		m.next++
	} else {
		s.next++
	}
	return id
}

// signal puts a signal into c unless one is already there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Append allocates an identity and stores a copy of the payload. An [Event] and a [Card] are sealed before
// Append returns, in one synced transaction. An [Interval] and a [Reading] stay in memory until they are acknowledged
// or Sync has passed. From and to are the time span of the payload in milliseconds, 0 when unknown.
//
// An error that wraps ErrNotSealed comes with a valid identity: the record will be delivered, but would not survive a
// power cut. After any other error nothing was stored.
func (s *Store) Append(c Class, from, to int64, payload []byte) (ID, error) {
	return s.append(c, c, from, to, payload)
}

// AppendPrivate is Append for a device marked personal: its records are not kept after their acknowledgement.
func (s *Store) AppendPrivate(c Class, from, to int64, payload []byte) (ID, error) {
	return s.append(c, c.private(), from, to, payload)
}

func (s *Store) append(c, lane Class, from, to int64, payload []byte) (ID, error) {
	if !c.known() || len(payload) == 0 || len(payload) > MaxPayload {
		return ID{}, fmt.Errorf("append %s of %d bytes: %w", c, len(payload), ErrPayload)
	}
	e := &entry{lane: lane, born: time.Now(), rec: Record{Class: c, From: from, To: to, Payload: bytes.Clone(payload)}}
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return ID{}, fmt.Errorf("append %s: %w", c, ErrClosed)
	}
	e.rec.ID = s.issue()
	s.counts.appended++
	first := s.fresh.add(e)
	full := s.fresh.unsealed > s.opt.Memory/4
	over := s.fresh.bytes > 2*s.opt.Memory
	if over && s.fault != nil {
		s.makeRoom()
		over = false
	}
	s.mu.Unlock()
	if first || full {
		signal(s.kick)
	}
	var err error
	if c.atOnce() {
		err = s.sealEntry(e)
	} else if over {
		s.sealAll()
	}
	signal(s.wake)
	return e.rec.ID, err
}

// sealAll seals the records in memory in the caller's goroutine, because it appends faster than the disk writes.
func (s *Store) sealAll() {
	if err := s.flushAll(); err != nil {
		return // from now on makeRoom bounds the memory
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moveAged(time.Now())
}

// Summary returns what is unacknowledged, by epoch, oldest epoch first. The agent publishes it as status.backlog.
func (s *Store) Summary() []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.summary()
}

// isFromMemory reports whether the directory has not been usable since Open.
func (s *Store) isFromMemory() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory != nil
}

// Stats is a snapshot of the store's counters.
type Stats struct {
	Epoch      string
	Next       uint64
	Fresh      int              // records in memory, not acknowledged
	FreshBytes int64            // payload bytes of these
	Leased     int              // records leased and neither settled nor released
	Pending    map[Class]uint64 // unacknowledged records, sealed or not
	Kept       map[Class]int64  // bytes of acknowledged history
	DiskBytes  int64            // disk usage of the files, in whole file system blocks
	MaxSize    int64
	Gaps       int
	Fault      string // why nothing can be written, empty when all is well
	FromMemory bool   // the directory is unusable, and the epoch exists in memory only

	Appended, Settled, Evicted, Lost uint64 // records since Open
	Written, Commits                 uint64 // bytes of blocks and transactions since Open
}

// Fault returns why nothing can be written at the moment, nil when writing works. full reports that only space is
// missing. The call is cheap.
func (s *Store) Fault() (full bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	full = errors.Is(s.fault, errFull) || errors.Is(s.fault, syscall.ENOSPC) || errors.Is(s.fault, syscall.EDQUOT)
	return full, s.fault
}

// Stats returns a snapshot. It walks the directory to measure DiskBytes.
func (s *Store) Stats() Stats {
	size := filesSize(s.dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.nextID()
	st := Stats{
		Epoch: next.Epoch, Next: next.Seq, FromMemory: s.memory != nil,
		Fresh: s.fresh.n, FreshBytes: s.fresh.bytes, Leased: len(s.leases) + s.fresh.leased,
		Pending: map[Class]uint64{}, Kept: map[Class]int64{},
		DiskBytes: size, MaxSize: s.opt.MaxSize, Gaps: s.gaps.open(),
		Appended: s.counts.appended, Settled: s.counts.settled, Evicted: s.counts.evicted, Lost: s.counts.lost,
		Written: s.counts.written, Commits: s.counts.commits,
	}
	if s.fault != nil {
		st.Fault = s.fault.Error()
	}
	for c := Event; int(c) < classes; c++ {
		n := s.fresh.unsealedOf(c)
		for _, e := range s.spans {
			n += e.class[c].n
		}
		st.Pending[c.public()] += n
		st.Kept[c.public()] += s.historyBytes(c) + s.history.bytesOf(c)
	}
	return st
}
