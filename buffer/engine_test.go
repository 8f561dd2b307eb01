package buffer

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestTables: with every block size, the tables that Badger flushes and rewrites contain what was written. On 32 bits
// this holds only within the limits explained at tablePiece.
func TestTables(t *testing.T) {
	const most = bodyMax + 100 // body, header and sum
	for name, sizes := range map[string][]int{
		"large":             {most},
		"large and smaller": {most, tablePiece - 2*most + 200}, // Badger's blocks are as empty as possible
		"middling":          {30_000},
		"above a page":      {4_200},
		"small":             {300},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(memDir(t), "db")
			e, err := openEngine(dir, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer e.close() //nolint:errcheck // all results were read already
			rnd := rand.New(rand.NewPCG(1, 1))
			sums := map[string][]byte{}
			var txn []pair
			total, inTxn, rewrites := 0, 0, 0
			for n := uint64(0); total < 9<<20; n++ {
				v := make([]byte, sizes[int(n)%len(sizes)])
				for i := 0; i < len(v); i += 8 {
					var word [8]byte
					binary.LittleEndian.PutUint64(word[:], rnd.Uint64())
					copy(v[i:], word[:])
				}
				// Alternate the keys, so that compaction mixes old and new ones.
				k := blockKey(Reading, uint32(n%7), n)
				txn = append(txn, pair{k, v})
				sums[string(k)] = v
				total += len(v)
				if inTxn += len(v); inTxn < 50_000 {
					continue
				}
				if err := e.commit(txn, nil); err != nil {
					t.Fatal(err)
				}
				txn, inTxn = nil, 0
				if total > (rewrites+1)*(5<<19) {
					rewrites++
					if err := e.drop(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := e.commit(txn, nil); err != nil {
				t.Fatal(err)
			}
			tables := e.db.Tables()
			for _, table := range tables {
				if _, err := probe(dir, table.ID, true); err != nil {
					t.Errorf("table %d of level %d: %v", table.ID, table.Level, err)
				}
			}
			if len(tables) < 4 {
				t.Errorf("only %d tables", len(tables))
			}
			for k, want := range sums {
				if got, err := e.get([]byte(k)); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("key %x: %d bytes, %v", k, len(got), err)
				}
			}
		})
	}
}

// oversizedCodec is a codec that returns blocks above the size limit.
type oversizedCodec struct{ *plain }

func (c oversizedCodec) Seal(recs []Record) ([]byte, error) {
	return make([]byte, bodyMax+1), nil
}

// TestBodyMax: when a codec returns a block above the limit, the records are stored plain, and no block exceeds the
// limit of the tables.
func TestBodyMax(t *testing.T) {
	dir := t.TempDir()
	p, err := newPlain()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	s := open(t, dir, Options{Codec: oversizedCodec{p}})
	rnd := rand.New(rand.NewPCG(2, 2))
	sizes := []int{1, 20, 3000, MaxPayload}
	want := 0
	for i := range 3 * blockRecords {
		payload := make([]byte, sizes[min(i/blockRecords, 1)])
		if i >= 3*blockRecords-20 {
			payload = make([]byte, sizes[2+i%2])
		}
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		from := rnd.Int64()
		if _, err := s.Append(Reading, from, from/2, payload); err != nil {
			t.Fatal(err)
		}
		want++
	}
	if err := s.flushAll(); err != nil {
		t.Fatal(err)
	}
	shares, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	got, largest := 0, 0
	for _, sh := range shares {
		got += sh.Records
		err := s.eng.scan(segPrefix(Reading, sh.Segment), func(_, v []byte) bool {
			largest = max(largest, len(v))
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got != want || largest < blockPayload/2 || largest > bodyMax+100 {
		t.Errorf("%d records of %d, the largest block has %d bytes", got, want, largest)
	}
}
