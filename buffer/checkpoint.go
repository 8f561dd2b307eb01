package buffer

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// A checkpoint is the store's knowledge at one moment. Two files beside the database are written in turn. A checkpoint
// reveals what Badger cut off without an error, and what existed when the database cannot be read at all.
type checkpoint struct {
	serial     uint64 // rises with each checkpoint
	counter    uint64 // number of openings
	txn        uint64 // transactions committed
	epoch      string
	clean      bool   // written by Close after the last transaction
	known      uint64 // every sequence of epoch below it is sealed or acknowledged
	lastSealed uint64
	more       bool // spans or gaps did not fit
	lanes      [classes]laneState
	spans      []spanEntry
	gaps       []Gap
}

// checkpointSize is one block of the file system, in bytes, so that a checkpoint is written in one piece.
const (
	checkpointSize    = 4096
	checkpointVersion = 1
)

// checkpointName returns the file of a checkpoint. Even and odd serials alternate between two files.
func checkpointName(serial uint64) string {
	if serial%2 == 0 {
		return "mark-a"
	}
	return "mark-b"
}

func (m *checkpoint) encode() []byte {
	b := []byte{checkpointVersion}
	b = binary.AppendUvarint(b, m.serial)
	b = binary.AppendUvarint(b, m.counter)
	b = binary.AppendUvarint(b, m.txn)
	b = append(b, m.epoch...)
	b = append(b, boolByte(m.clean))
	b = binary.AppendUvarint(b, m.known)
	b = binary.AppendUvarint(b, m.lastSealed)
	b = appendLanes(b, &m.lanes)
	// Gaps are written from the front of the list and spans from the newest on. What does not fit is left out.
	gaps, n := []byte(nil), 0
	for _, g := range m.gaps {
		if e := appendGap(nil, g); len(b)+len(gaps)+len(e) < checkpointSize/2 {
			gaps = append(gaps, e...)
			n++
		} else {
			m.more = true
		}
	}
	b = append(binary.AppendUvarint(b, uint64(n)), gaps...)
	spans, n := []byte(nil), 0
	for i := len(m.spans) - 1; i >= 0; i-- {
		if e := m.spans[i].append(nil); len(b)+len(spans)+len(e) < checkpointSize-16 {
			spans = append(spans, e...)
			n++
		} else {
			m.more = true
		}
	}
	b = append(binary.AppendUvarint(b, uint64(n)), spans...)
	b = append(b, boolByte(m.more))
	b = append(b, make([]byte, checkpointSize-4-len(b))...)
	return sealBytes(b)
}

func decodeCheckpoint(b []byte) (*checkpoint, error) {
	if len(b) != checkpointSize {
		return nil, errTruncated
	}
	b, err := openBytes(b)
	if err != nil {
		return nil, err
	}
	r := &reader{b: b}
	if v := r.byte(); v != checkpointVersion {
		return nil, fmt.Errorf("checkpoint version %d: %w", v, errTruncated)
	}
	m := &checkpoint{serial: r.uvarint(), counter: r.uvarint(), txn: r.uvarint()}
	m.epoch = string(r.take(epochLen))
	m.clean = r.byte() == 1
	m.known = r.uvarint()
	m.lastSealed = r.uvarint()
	readLanes(r, &m.lanes)
	for n := r.count(); n > 0 && r.err == nil; n-- {
		m.gaps = append(m.gaps, readGap(r))
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		m.spans = append([]spanEntry{readSpan(r)}, m.spans...)
	}
	m.more = r.byte() == 1
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// readCheckpoints returns the newest readable checkpoint, nil when there is none, and how many of the two files exist
// but cannot be read.
func readCheckpoints(dir string) (newest *checkpoint, bad int) {
	for i := range uint64(2) {
		b, err := os.ReadFile(filepath.Join(dir, checkpointName(i)))
		if os.IsNotExist(err) {
			continue
		}
		var m *checkpoint
		if err == nil {
			m, err = decodeCheckpoint(b)
		}
		if err != nil {
			bad++
			continue
		}
		if newest == nil || m.serial > newest.serial {
			newest = m
		}
	}
	return newest, bad
}

// write writes the checkpoint into its file and syncs it. The other file keeps the previous checkpoint, so a power cut
// during this write loses nothing.
func (m *checkpoint) write(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, checkpointName(m.serial)), os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	_, err = f.WriteAt(m.encode(), 0)
	if err == nil {
		err = cutTo(f, checkpointSize)
	}
	if err == nil {
		err = syscall.Fdatasync(int(f.Fd())) // not fsync: syncing the modification time would add a journal commit
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// cutTo truncates a file that is longer than size bytes.
func cutTo(f *os.File, size int64) error {
	fi, err := f.Stat()
	if err != nil || fi.Size() <= size {
		return err
	}
	return f.Truncate(size)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// checkpointEvery is the minimum interval between checkpoints. A checkpoint is also written only after a transaction,
// which spares the flash.
const checkpointEvery = time.Minute

// checkpointWriter tracks when the next checkpoint is due. Its fields are guarded by Store.mu, except while disk is
// held.
type checkpointWriter struct {
	serial  uint64
	counter uint64
	due     bool
	last    time.Time
}

// writeCheckpoint writes a checkpoint of the current positions, spans and gaps. Called with disk held, without mu.
func (s *Store) writeCheckpoint(clean bool) error {
	s.mu.Lock()
	m := &checkpoint{
		serial: s.checkpoints.serial + 1, counter: s.checkpoints.counter, txn: s.txn, epoch: s.epoch, clean: clean,
		known: s.fresh.known(s.epoch, s.next, nil), lastSealed: s.lastSeq,
		spans: s.spanList(), gaps: slices.Clone(s.gaps.list),
	}
	for c := range s.lanes {
		m.lanes[c] = s.lanes[c].laneState
	}
	s.checkpoints.due, s.checkpoints.last = false, time.Now()
	s.mu.Unlock()
	if err := m.write(s.dir); err != nil {
		s.mu.Lock()
		s.checkpoints.due = true
		s.mu.Unlock()
		return err
	}
	s.mu.Lock()
	s.checkpoints.serial = m.serial
	s.mu.Unlock()
	return nil
}
