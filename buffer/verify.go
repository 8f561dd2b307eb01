package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Report is the result of Verify.
type Report struct {
	Tables  int // files examined
	Blocks  int
	Records int
	Bytes   int64
	Faults  []string // descriptions of the first faultsMax faults
	More    int      // faults beyond those
}

// faultsMax bounds the list of a Report.
const faultsMax = 100

// fault adds a fault to the list, or counts it if the list is full.
func (r *Report) fault(format string, a ...any) {
	if len(r.Faults) >= faultsMax {
		r.More++
		return
	}
	r.Faults = append(r.Faults, fmt.Sprintf(format, a...))
}

// Verify reads the whole store on disk. It checks the sum of every table, checks and decodes every block, and reports
// missing block numbers. It changes nothing, and other calls can run between two blocks.
func (s *Store) Verify() (Report, error) {
	var r Report
	if err := s.verifyTables(&r); err != nil {
		return r, fmt.Errorf("verify: %w", err)
	}
	for c := Event; int(c) < classes; c++ {
		if err := s.verifyLane(c, &r); err != nil {
			return r, fmt.Errorf("verify: %w", err)
		}
	}
	return r, nil
}

// verifyTables verifies every table file and adds the faults to r, together with the findings of Inspect.
func (s *Store) verifyTables(r *Report) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.isFromMemory() {
		return fmt.Errorf("the agent runs from memory and cannot open the files: %w", s.noDisk())
	}
	if s.eng == nil {
		return s.noDisk()
	}
	for _, what := range s.found {
		r.fault("%s", what)
	}
	for _, t := range s.eng.db.Tables() {
		_, err := probe(s.eng.dir, t.ID, true)
		if s.inspecting && errors.Is(err, fs.ErrNotExist) {
			continue // an agent was started meanwhile and has replaced the table
		}
		r.Tables++
		if err != nil {
			r.fault("table %d: %v", t.ID, err)
		}
	}
	return nil
}

// verifyLane verifies all blocks of one class and adds the faults to r.
func (s *Store) verifyLane(c Class, r *Report) error {
	s.mu.Lock()
	segs, expect, end := s.liveSegments(c), s.lanes[c].low, s.lanes[c].next
	s.mu.Unlock()
	for _, seg := range segs {
		for more := true; more; {
			var err error
			if expect, more, err = s.verifySome(c, seg, expect, r); err != nil {
				return err
			}
		}
	}
	s.verifyHole(c, expect, end, r)
	return nil
}

// verifySome verifies some blocks of one segment from number expect on, and returns the next number.
func (s *Store) verifySome(c Class, seg uint32, expect uint64, r *Report) (next uint64, more bool, err error) {
	const some = 64
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.eng == nil {
		return expect, false, s.noDisk()
	}
	n := 0
	err = s.eng.scanFrom(blockKey(c, seg, expect), segPrefix(c, seg), func(k, v []byte) bool {
		_, _, no, ok := parseBlockKey(k)
		if !ok {
			r.fault("%s segment %d: invalid key", c, seg)
			return true
		}
		s.verifyHole(c, expect, no, r)
		expect = no + 1
		n++
		r.Blocks++
		r.Bytes += int64(len(v))
		h, body, err := openBlock(v, c, no)
		if err == nil {
			_, err = s.decode(h, body)
		}
		if err != nil {
			r.fault("%s block %d: %v", c, no, err)
		} else {
			r.Records += h.n
		}
		return n < some
	})
	return expect, n == some, err
}

// verifyHole reports the block numbers from..to-1 that are missing and not finished.
func (s *Store) verifyHole(c Class, from, to uint64, r *Report) {
	s.mu.Lock()
	over := slices.Clone(s.lanes[c].finished)
	low := s.lanes[c].low
	s.mu.Unlock()
	for no := over.next(max(from, low)); no < to; no = over.next(no + 1) {
		r.fault("%s block %d is missing", c, no)
	}
}
