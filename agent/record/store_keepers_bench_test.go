//go:build bench

package record

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"bordo/buffer"
	"bordo/buffer/loopdisk"
)

// keeper is a store under measurement: ours, or the one that it is held against.
type keeper interface {
	// put takes in what one round of polls, or an event, gave.
	put(recs []buffer.Record) error
	// ack says that all of it was acknowledged while it was fresh.
	ack() error
	// drain reads everything that waits, oldest first, acknowledges it, and returns how many records or keys that was,
	// at most limit.
	drain(limit int) (int, error)
	// written is how many bytes were given to the engine to keep.
	written() float64
	close() error
}

// ours is the store with the codec of the agent.
type ours struct{ s *buffer.Store }

func openOurs(m measure) (keeper, error) {
	s, err := buffer.Open(m.store(), buffer.Options{
		Codec: NewCodec(), MaxSize: m.MaxSize, History: m.History, EnergyHistory: 32 << 20,
	})
	if err != nil {
		return nil, err
	}
	return &ours{s}, nil
}

func (k *ours) put(recs []buffer.Record) error {
	for i := range recs {
		if _, err := k.s.Append(recs[i].Class, recs[i].From, recs[i].To, recs[i].Payload); err != nil {
			return err
		}
	}
	return nil
}

func (k *ours) ack() error { return k.settle(k.s.Fresh(1 << 20)) }

func (k *ours) settle(recs []buffer.Record) error {
	ids := make([]buffer.ID, len(recs))
	for i := range recs {
		ids[i] = recs[i].ID
	}
	return k.s.Settle(ids)
}

func (k *ours) drain(limit int) (n int, err error) {
	for n < limit {
		recs, err := k.s.Backlog(buffer.Reading, min(500, limit-n))
		if err != nil {
			return n, err
		}
		if len(recs) == 0 {
			return n, nil
		}
		n += len(recs)
		if err := k.settle(recs); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (k *ours) written() float64 { return float64(k.s.Stats().Written) }
func (k *ours) close() error     { return k.s.Close() }

// plain is what one would write first: Badger with its default options and synced writes, a key for each value (8 bytes of
// a rising number), the value as JSON. To its favour the 500 values of a round share one transaction, and so do the
// deletions of what was acknowledged.
type plain struct {
	db         *badger.DB
	m          measure
	first, end uint64 // keys that are there
	bytes      float64
	pace       int // keys put since the files were counted
}

func openPlain(m measure) (keeper, error) {
	o := badger.DefaultOptions(m.store()).WithSyncWrites(!m.Unsynced).WithLogger(nil)
	db, err := badger.Open(o)
	if err != nil {
		return nil, err
	}
	k := &plain{db: db, m: m}
	err = db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		if it.Rewind(); it.Valid() {
			k.first = binary.BigEndian.Uint64(it.Item().Key())
		}
		back := txn.NewIterator(badger.IteratorOptions{Reverse: true})
		defer back.Close()
		if back.Rewind(); back.Valid() {
			k.end = binary.BigEndian.Uint64(back.Item().Key()) + 1
		}
		return nil
	})
	return k, err
}

func (k *plain) put(recs []buffer.Record) error {
	txn := k.db.NewTransaction(true)
	defer func() { txn.Discard() }()
	set := func(v []byte) error {
		key := binary.BigEndian.AppendUint64(nil, k.end)
		k.end++
		k.bytes += float64(len(key) + len(v))
		return txn.Set(key, v)
	}
	for i := range recs {
		if recs[i].Class != buffer.Reading {
			if err := set(recs[i].Payload); err != nil {
				return err
			}
			continue
		}
		s, err := DecodeSample(recs[i].Payload)
		if err != nil {
			return err
		}
		for _, r := range s.Readings {
			if err := set(jsonValue(&s, r.Point, r.Value.String())); err != nil {
				return err
			}
		}
	}
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return k.evict()
}

// jsonValue is one value as JSON.
func jsonValue(s *Sample, point, value string) []byte {
	b := append([]byte(`{"dev":"`), s.Dev...)
	b = append(append(b, `","ts":`...), strconv.FormatInt(s.TS, 10)...)
	b = append(append(b, `,"point":"`...), point...)
	b = append(append(b, `","value":"`...), value...)
	return append(b, `"}`...)
}

// evict deletes the oldest keys while the files are larger than they may be.
func (k *plain) evict() error {
	if k.m.Do != "fill" {
		return nil
	}
	const look = 20_000
	if k.pace++; k.pace < look/500 {
		return nil
	}
	k.pace = 0
	if loopdisk.Taken(k.m.t, k.m.store()) < float64(k.m.MaxSize) {
		return nil
	}
	return k.remove(2 * look)
}

// remove deletes the n oldest keys.
func (k *plain) remove(n int) error {
	for n > 0 && k.first < k.end {
		txn := k.db.NewTransaction(true)
		for i := 0; i < 5000 && n > 0 && k.first < k.end; i++ {
			if err := txn.Delete(binary.BigEndian.AppendUint64(nil, k.first)); err != nil {
				txn.Discard()
				return err
			}
			k.first++
			n--
		}
		if err := txn.Commit(); err != nil {
			return err
		}
	}
	return nil
}

func (k *plain) ack() error {
	if k.m.History > 0 {
		return nil
	}
	return k.remove(int(k.end - k.first))
}

func (k *plain) drain(limit int) (n int, err error) {
	for n < limit && k.first < k.end {
		some := 0
		err := k.db.View(func(txn *badger.Txn) error {
			o := badger.DefaultIteratorOptions
			o.PrefetchSize = 500
			it := txn.NewIterator(o)
			defer it.Close()
			var v []byte
			for it.Seek(binary.BigEndian.AppendUint64(nil, k.first)); it.Valid() &&
				some < min(5000, limit-n); it.Next() {
				var err error
				if v, err = it.Item().ValueCopy(v); err != nil {
					return err
				}
				some++
			}
			return nil
		})
		if err != nil || some == 0 {
			return n, err
		}
		n += some
		if err := k.remove(some); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (k *plain) written() float64 { return k.bytes }
func (k *plain) close() error     { return k.db.Close() }

// openKeeper opens the store that is measured.
func openKeeper(m measure) keeper {
	m.t.Helper()
	open := openOurs
	if m.Store == "plain" {
		open = openPlain
	}
	k, err := open(m)
	if err != nil {
		m.t.Fatal(err)
	}
	return k
}

// elapsed is a stop watch for what happens outside a bubble.
func elapsed(t testing.TB, do func() error) time.Duration {
	t.Helper()
	from := time.Now()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	return time.Since(from)
}
