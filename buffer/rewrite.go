package buffer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// rewrite compacts level 0 into the bottom level and removes all keys under the prefixes. It first verifies every table
// that Badger will read, because a damaged one would end the process. Called with disk held.
func (s *Store) rewrite(prefixes ...[]byte) error {
	if err := s.roomFor(min(dropNeeds, s.opt.Reserve)); err != nil {
		return err
	}
	s.mu.Lock()
	from := segPrefix(Reading, s.groups[bulk].last().no)[:5]
	to := prefixEnd(segPrefix(Event, s.groups[long].last().no)[:5])
	s.mu.Unlock()
	bad := s.eng.damaged(from, to, prefixes)
	for id, err := range bad {
		if s.isTransient(err) {
			return fmt.Errorf("rewrite tables: table %d: %w", id, err)
		}
	}
	if len(bad) > 0 {
		s.log.Error("tables are damaged, continuing without them", "tables", slices.Sorted(maps.Keys(bad)))
		if err := s.repairAgain(); err != nil {
			return err
		}
	}
	// If the process dies nevertheless, the next opening verifies every table. No fsync: it guards against a crash of
	// the process only.
	marker := filepath.Join(s.dir, compactingName)
	if err := os.WriteFile(marker, nil, 0o640); err != nil {
		return fmt.Errorf("rewrite tables: %w", err)
	}
	return errors.Join(s.eng.drop(prefixes...), os.Remove(marker))
}

// repairAgain reopens the database without the damaged tables. Called with disk held.
func (s *Store) repairAgain() error {
	marker := filepath.Join(s.dir, compactingName)
	if err := os.WriteFile(marker, nil, 0o640); err != nil { // makes the opening verify every table
		return fmt.Errorf("repair database: %w", err)
	}
	err := s.eng.close()
	if err != nil {
		s.log.Warn("damaged database did not close cleanly", "err", err)
	}
	if err = s.reopen(); s.eng == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed(err)
	}
	return err
}

// reopen opens the repaired database. Entries may be missing then, but memory is at least as new as these, so all of it
// is marked to be written again. Missing blocks are found when they are read. Called with disk held.
func (s *Store) reopen() (err error) {
	var found repairReport
	if s.eng, found, err = openDatabase(s.dir, s.log, s.isTransient); err != nil {
		return err
	}
	s.log.Warn("database reopened", "damage", found.String(), "aside", found.aside)
	return s.renew()
}

// errNoDatabase means that there is no writable database.
var errNoDatabase = errors.New("no usable database")

// renew makes the entries on disk agree with memory: a damaged table may have contained newer versions or deletions.
// Called with disk held.
func (s *Store) renew() error {
	s.mu.Lock()
	alive := map[string]bool{}
	for g := range groups {
		l := &s.groups[g]
		for _, seg := range l.list {
			l.dirty[seg.no] = true
			alive[string(segmentKey(g, seg.no))] = true
		}
	}
	for epoch, e := range s.spans {
		s.touched[epoch] = true
		alive[string(spanKey(epoch))] = !e.empty()
	}
	for _, g := range s.gaps.list {
		s.gaps.dirty[g.Key] = true
		alive[string(gapKey(g.Key))] = true
	}
	for c := range s.lanes {
		for _, b := range s.lanes[c].open {
			b.dirty = b.dirty || b.left < b.n
		}
	}
	s.addWaiting()
	s.mu.Unlock()

	var dead [][]byte
	for _, kind := range []byte{metaSegment, metaSpan, metaGap} {
		err := s.eng.scan(metaKey(kind), func(k, _ []byte) bool {
			if !alive[string(k)] {
				dead = append(dead, append([]byte(nil), k...))
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return s.removeKeys(dead)
}

// removeKeys deletes obsolete entries of the store's own data. Called with disk held.
func (s *Store) removeKeys(dead [][]byte) error {
	if len(dead) == 0 {
		return nil
	}
	if err := s.roomFor(s.opt.Reserve / 4); err != nil {
		return err
	}
	for len(dead) > 0 {
		n := min(len(dead), 500)
		if err := s.eng.commit(nil, dead[:n]); err != nil {
			return err
		}
		dead = dead[n:]
	}
	return nil
}
