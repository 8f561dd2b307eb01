package buffer

import (
	"math/bits"
	"slices"
)

// lane is the position of one class on disk, with its blocks that are in use. Its methods are called with Store.mu
// held.
type lane struct {
	laneState
	cursor   uint64       // Backlog loads this block next
	open     []*block     // ascending: every unfinished block below cursor, and every block with busy records
	acked    []ackedBlock // fully acknowledged; the next transaction writes this to disk
	finished ranges       // numbers of finished blocks, in done or acked: none of these is delivered again
	before   *header      // header of the block that Backlog read last
}

// block is a block on disk that is being delivered.
type block struct {
	header
	size   int
	recs   []Record // nil: not in memory
	acked  bitset
	busy   bitset // leased, or still on the live lane
	left   int    // number of unacknowledged records
	dirty  bool   // some acknowledgements are not on disk
	loaded bool   // its persisted acknowledgements were read
	saved  bool   // some acknowledgements are on disk
}

// ackedBlock is a block whose records are all acknowledged.
type ackedBlock struct {
	no    uint64
	saved bool // partial acknowledgements of it are on disk and must be deleted
}

// bitset is a set of indexes into a block.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i int)    { b[i/64] &^= 1 << (i % 64) }

func (b bitset) fill() {
	for i := range b {
		b[i] = ^uint64(0)
	}
}

func (b bitset) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

func newBlock(h header, size int) *block {
	return &block{header: h, size: size, acked: newBitset(h.n), busy: newBitset(h.n), left: h.n}
}

// find returns the open block no, nil when it is not open, and its index or insertion index.
func (l *lane) find(no uint64) (*block, int) {
	i, ok := slices.BinarySearchFunc(l.open, no, func(b *block, no uint64) int {
		switch {
		case b.no < no:
			return -1
		case b.no > no:
			return 1
		}
		return 0
	})
	if ok {
		return l.open[i], i
	}
	return nil, i
}

// enter adds b to the open blocks.
func (l *lane) enter(b *block) {
	if _, i := l.find(b.no); i == len(l.open) || l.open[i] != b {
		l.open = slices.Insert(l.open, i, b)
	}
}

// leave removes b from the open blocks.
func (l *lane) leave(b *block) {
	if x, i := l.find(b.no); x == b {
		l.open = slices.Delete(l.open, i, i+1)
	}
}

// forget drops b from memory when this loses nothing: Backlog has not reached it yet and nothing uses it.
func (l *lane) forget(b *block) {
	if b.no >= l.cursor && b.busy.count() == 0 && b.left == b.n {
		l.leave(b)
	}
}

// markAcked closes b, all of whose records are acknowledged, and drops it from memory.
func (l *lane) markAcked(b *block) {
	l.leave(b)
	b.recs, b.dirty = nil, false
	l.addAcked(ackedBlock{b.no, b.saved})
}

// addAcked records that all records of a block are acknowledged.
func (l *lane) addAcked(d ackedBlock) {
	l.acked = append(l.acked, d)
	l.finished = l.finished.add(d.no, d.no)
}
