package record

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

func roundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, c *Codec, recs []buffer.Record,
) []byte {
	t.Helper()
	block, err := c.Seal(recs)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	got, err := c.Open(block)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	compare(t, got, recs)
	return block
}

func compare(t interface {
	Helper()
	Fatalf(string, ...any)
}, got, want []buffer.Record,
) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records instead of %d", len(got), len(want))
	}
	for i := range want {
		a, b := &want[i], &got[i]
		if a.ID != b.ID || a.Class != b.Class || a.From != b.From || a.To != b.To ||
			string(a.Payload) != string(b.Payload) {
			t.Fatalf("record %d:\n got %+v\nwant %+v", i, *b, *a)
		}
	}
}

// TestRoundTrip: whatever is sealed opens to the byte, with one codec for many blocks.
func TestRoundTrip(t *testing.T) {
	c := NewCodec()
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, c, drawRecords(t)) })
}

// TestBlocksStandAlone: what a codec has sealed before leaves nothing in a block, and one that never saw another block opens
// it: there is no dictionary that could be lost.
func TestBlocksStandAlone(t *testing.T) {
	used := NewCodec()
	for _, w := range workloads() {
		for _, n := range []int{400, 21} {
			recs := w.records(n, noon)
			block := roundTrip(t, used, recs)
			if first := roundTrip(t, NewCodec(), recs); !bytes.Equal(block, first) {
				t.Errorf("%d records: a block of %d bytes, as the first of its codec %d bytes", n, len(block),
					len(first))
			}
			got, err := NewCodec().Open(block)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, recs)
		}
	}
}

// TestIntColumns: every column of whole numbers comes back, however wild.
func TestIntColumns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.SampledFrom([]int64{1, 10, 900000, 1 << 33}).Draw(t, "step")
		want := rapid.SliceOf(rapid.OneOf(
			rapid.Int64(), rapid.Int64Range(-3, 3), rapid.Just(int64(0)),
			rapid.Map(rapid.Int64Range(0, 9), func(v int64) int64 { return v * step }),
		)).Draw(t, "column")
		if rapid.Bool().Draw(t, "rising") {
			for i := 1; i < len(want); i++ {
				want[i] += want[i-1]
			}
		}
		var ints intCoder
		var w bitWriter
		meta := ints.put(nil, &w, want)
		m, r := &metaReader{in: meta}, &bitReader{in: w.finish()}
		got := make([]int64, len(want))
		if err := getInts(m, r, got); err != nil {
			t.Fatalf("getInts: %v", err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("value %d is %d, want %d", i, got[i], want[i])
			}
		}
		if len(m.in) != 0 || r.over() {
			t.Fatalf("%d bytes left, over %v", len(m.in), r.over())
		}
	})
}

// TestPlantRoundTrip: the workloads that are measured are sound.
func TestPlantRoundTrip(t *testing.T) {
	for _, w := range workloads() {
		for _, n := range []int{1, 2, 20, 21, 400} {
			for _, skip := range []int{0, noon} {
				roundTrip(t, NewCodec(), w.records(n, skip))
			}
		}
	}
}

// TestSize: what a value costs in a block, with some air above what was measured.
func TestSize(t *testing.T) {
	// a round of polls; 400 samples
	limit := map[string][2]float64{"walk": {2.7, 0.85}, "day": {2.4, 1.1}, "noise": {9.5, 7.0}}
	for _, w := range workloads() {
		for i, n := range []int{20, 400} {
			recs := w.records(n, noon)
			size := float64(len(roundTrip(t, NewCodec(), recs))) / float64(valuesOf(recs))
			if size > limit[w.name][i] {
				t.Errorf("%s: %.2f bytes a value in blocks of %d, more than %.1f", w.name, size, n, limit[w.name][i])
			}
		}
	}
}

// TestIntervalSize: a day of quarter hours of 20 meters.
func TestIntervalSize(t *testing.T) {
	var recs []buffer.Record
	for q := range 96 {
		for d := range 20 {
			ts := 1760000400000 + int64(q)*900000
			recs = append(recs, buffer.Record{
				ID: buffer.ID{Epoch: "k3f9x2q7", Seq: uint64(len(recs) + 1)}, Class: buffer.Interval, From: ts,
				To: ts + 900000,
				Payload: AppendEvent(nil,
					&Event{Dev: "meter-" + string(rune('a'+d)), Type: "bordo.energy.interval.v1", TS: ts + 900400,
						Clk: contract.ClockSync, Boot: "b7c1e2f0", Data: intervalData(q, d)}),
			})
		}
	}
	if size := len(roundTrip(t, NewCodec(), recs)) / len(recs); size > 45 {
		t.Errorf("%d bytes an interval", size)
	}
}

// TestBubble: the codec runs inside a synctest bubble, and several do beside each other.
func TestBubble(t *testing.T) {
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			done := make(chan []byte)
			for range 2 {
				go func() { done <- roundTrip(t, NewCodec(), walk().records(100, 0)) }()
			}
			if a, b := <-done, <-done; string(a) != string(b) {
				t.Error("two codecs made different blocks of the same records")
			}
		})
	}
}

// TestNoGoroutine: a codec leaves nothing behind that has to be closed.
func TestNoGoroutine(t *testing.T) {
	defer goleak.VerifyNone(t)
	roundTrip(t, NewCodec(), walk().records(100, 0))
}

// TestScratchIsBounded: after a giant block a codec gives its memory back and goes on.
func TestScratchIsBounded(t *testing.T) {
	c := NewCodec()
	roundTrip(t, c, walk().records(20000, 0))
	if n := c.sealer.held() + c.opener.held() + cap(c.meta); n > 2*keepBytes {
		t.Errorf("%d bytes of scratch kept", n)
	}
	roundTrip(t, c, day().records(40, noon))
}

// TestSealLimits: what a block cannot hold is refused, not cut.
func TestSealLimits(t *testing.T) {
	c := NewCodec()
	if _, err := c.Seal(make([]buffer.Record, MaxRecords+1)); err == nil {
		t.Error("too many records were sealed")
	}
	recs := []buffer.Record{{Payload: make([]byte, MaxPayload)}, {Payload: []byte{1}}}
	if _, err := c.Seal(recs); err == nil {
		t.Error("too large payloads were sealed")
	}
	roundTrip(t, c, recs[:1])
	roundTrip(t, c, make([]buffer.Record, MaxRecords))
	roundTrip(t, c, nil)
	random := make([]byte, MaxPayload)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	roundTrip(t, c, []buffer.Record{{Payload: random}})
}

// TestManyTexts: a block with more different texts than its tables hold is still exact.
func TestManyTexts(t *testing.T) {
	var recs []buffer.Record
	for i := range 200 {
		var s Sample
		for j := range 400 {
			word := strings.Repeat("w", 1+i%3) + string(rune(j)) + string(rune(i))
			s.Readings = append(s.Readings, drivers.Reading{Point: "k" + word, Value: catalogue.Words(word)})
		}
		recs = append(recs, buffer.Record{Payload: AppendSample(nil, &s)})
	}
	roundTrip(t, NewCodec(), recs)
}

// TestDamage: a block cut or flipped anywhere gives an error or records, never a panic, and never much memory.
func TestDamage(t *testing.T) {
	c := NewCodec()
	recs := append(day().records(60, noon), buffer.Record{Payload: []byte("not a row")},
		buffer.Record{Payload: AppendEvent(nil, &Event{Dev: "d", Type: "t", Data: []byte("{}")})})
	block := roundTrip(t, c, recs)
	for cut := range block {
		if _, err := c.Open(block[:cut]); !errors.Is(err, ErrBlock) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		b := append([]byte(nil), block...)
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		if _, err := c.Open(b); err != nil && !errors.Is(err, ErrBlock) {
			t.Fatal(err)
		}
	}
	roundTrip(t, c, recs) // and the codec is none the worse
}

// TestBombs: a few bytes that announce the most of everything cost bounded memory.
func TestBombs(t *testing.T) {
	big := NewCodec()
	zeros := big.enc.EncodeAll(make([]byte, maxMeta), nil)
	bomb := append([]byte{blockV1, packZstd, 0, 0x80, 0x80, 0x80, 0x08}, zeros...)
	ones := make([]byte, maxMeta)
	for i := range ones {
		ones[i] = 0x7f
	}
	copy(ones, []byte{0xff, 0xff, 0x03, 0xff, 0xff, 0xff, 0x03})
	second := append([]byte{blockV1, packZstd, 0, 0x80, 0x80, 0x80, 0x08}, big.enc.EncodeAll(ones, nil)...)
	for _, b := range [][]byte{bomb, second} {
		c := NewCodec()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.Open(b)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrBlock) {
			t.Errorf("a bomb of %d bytes: %v", len(b), err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8*MaxPayload {
			t.Errorf("a bomb of %d bytes took %d MiB", len(b), n>>20)
		}
	}
}

// TestImages: blocks of every version that was ever written open to what went in, for ever.
func TestImages(t *testing.T) {
	images, err := filepath.Glob("testdata/block-*.bin")
	if err != nil || len(images) == 0 {
		t.Fatalf("no images: %v", err)
	}
	for _, name := range images {
		block, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := NewCodec().Open(block)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		compare(t, got, imageRecords(t))
	}
}

func FuzzOpen(f *testing.F) {
	c := NewCodec()
	for _, w := range workloads() {
		block, err := c.Seal(w.records(3, 0))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(block)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		recs, err := c.Open(b)
		if err != nil {
			if !errors.Is(err, ErrBlock) {
				t.Fatal(err)
			}
			return
		}
		roundTrip(t, c, recs)
	})
}

// FuzzMeta looks at the meta section without zstd in front of it.
func FuzzMeta(f *testing.F) {
	for _, w := range workloads() {
		s := newSealer()
		recs := w.records(3, 0)
		size := 0
		for i := range recs {
			s.add(&recs[i])
			size += len(recs[i].Payload)
		}
		meta := s.write(nil, size)
		f.Add(meta, s.w.finish())
	}
	f.Fuzz(func(t *testing.T, meta, bits []byte) {
		var o opener
		recs, err := o.open(meta, bits)
		if err != nil {
			if !errors.Is(err, ErrBlock) {
				t.Fatal(err)
			}
			return
		}
		for i := range recs {
			if _, err := TypeOf(recs[i].Payload); err != nil {
				continue
			}
			if _, err := DecodeSample(recs[i].Payload); err != nil && o.ids[i] > 0 &&
				o.shapes[o.ids[i]-1].kind == sampleV1 {
				t.Fatalf("record %d opened to a row that does not decode: %v", i, err)
			}
		}
	})
}
