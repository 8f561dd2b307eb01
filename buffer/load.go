package buffer

import (
	"cmp"
	"encoding/binary"
	"log/slog"
	"slices"
)

// inventory is the content of the database when it is opened, before the store adopts it.
type inventory struct {
	state   *state // of the last transaction, nil when there was none
	txn     uint64
	segs    [groups][]*segment // at least one each
	lanes   [classes]laneState
	spans   map[string]*spanEntry
	stale   map[string]bool // spans to be written again
	gaps    gapLedger
	damaged bool // an entry could not be read
	counted bool // segments and spans come from the blocks themselves
	opened  Opened
}

// loadInventory reads everything except the blocks. Damaged entries are logged and set k.damaged.
func loadInventory(e *engine, log *slog.Logger) *inventory {
	k := &inventory{
		spans: map[string]*spanEntry{}, stale: map[string]bool{},
		gaps: gapLedger{dirty: map[uint64]bool{}, next: 1},
	}
	v, err := e.get(metaKey(metaState))
	if err == nil && v != nil {
		k.state, err = decodeState(v)
	}
	if err != nil {
		log.Warn("state of the store is damaged", "err", err)
		k.damaged = true
	}
	k.loadLists(e, log)
	if k.state != nil {
		k.txn = k.state.txn
		k.lanes = k.state.lanes
		k.gaps.next = max(k.gaps.next, k.state.nextGap)
	}
	k.complete()
	return k
}

// loadLists reads segments, spans and gaps.
func (k *inventory) loadLists(e *engine, log *slog.Logger) {
	read := func(kind byte, take func(tail, v []byte) error) {
		err := e.scan(metaKey(kind), func(key, v []byte) bool {
			body, err := openBytes(v)
			if err == nil {
				err = take(key[2:], body)
			}
			if err != nil {
				log.Warn("entry of the store is damaged", "kind", string(kind), "err", err)
				k.damaged = true
			}
			return true
		})
		if err != nil {
			log.Warn("store cannot be listed", "kind", string(kind), "err", err)
			k.damaged = true
		}
	}
	read(metaSegment, func(tail, v []byte) error {
		if len(tail) != 5 || group(tail[0]) >= groups {
			return errTruncated
		}
		seg, err := decodeSegment(binary.BigEndian.Uint32(tail[1:]), v)
		if err == nil {
			k.segs[tail[0]] = append(k.segs[tail[0]], seg)
		}
		return err
	})
	read(metaSpan, func(_, v []byte) error {
		r := &reader{b: v}
		if e := readSpan(r); r.err == nil {
			k.spans[e.epoch] = &e
		}
		return r.err
	})
	read(metaGap, func(_, v []byte) error {
		r := &reader{b: v}
		if g := readGap(r); r.err == nil {
			k.gaps.list = append(k.gaps.list, g)
			k.gaps.next = max(k.gaps.next, g.Key+1)
		}
		return r.err
	})
}

// complete fills in what a new or damaged database lacks: numbers begin at 1, and each group has a current segment.
func (k *inventory) complete() {
	for c := range k.lanes {
		l := &k.lanes[c]
		l.low = max(l.low, 1)
		l.next = max(l.next, l.low)
	}
	for g := range groups {
		list := k.segs[g]
		slices.SortFunc(list, func(a, b *segment) int { return cmp.Compare(a.no, b.no) })
		current := uint32(0)
		if k.state != nil {
			current = k.state.segs[g]
		}
		if len(list) == 0 || list[len(list)-1].no < current {
			seg := &segment{no: current}
			for c := range k.lanes {
				seg.first[c] = k.lanes[c].low
			}
			list = append(list, seg)
		}
		if last := list[len(list)-1]; last.no == current {
			for c := range k.lanes {
				if groupOf(Class(c)) == g {
					last.bytes[c] = k.lanes[c].bytes
				}
			}
		}
		k.segs[g] = list
	}
}
