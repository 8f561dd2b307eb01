package contract

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestGoldensDecode: every message that was ever published is read, and written again says the same.
func TestGoldensDecode(t *testing.T) {
	for name, doc := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			var again []byte
			var err error
			switch kindOf(name) {
			case "batch":
				again = rewriteBatch(t, doc)
			case "event":
				again = rewriteEvent(t, doc)
			case "status":
				var s Status
				if s, err = DecodeStatus(doc); err == nil {
					if again, err = s.Encode(); s.State == Lost {
						again = Will(s.Node, s.Sess)
					}
				}
			case "meta":
				var m Meta
				if m, err = DecodeMeta(doc); err == nil {
					again, err = m.Encode()
				}
			case "ack":
				var a Ack
				if a, err = DecodeAck(doc); err == nil {
					again, err = a.Encode()
				}
			case "command":
				var c Command
				if c, err = DecodeCommand(doc); err == nil {
					again, err = json.Marshal(c)
				}
			default:
				t.Fatal("no decoder")
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(again) != string(doc) {
				t.Errorf("written again:\n%s\nwas:\n%s", again, doc)
			}
		})
	}
}

// TestGoldenPacked: a message on histz that was ever published unpacks to a message of hist, byte by byte.
func TestGoldenPacked(t *testing.T) {
	packed, err := os.ReadFile("testdata/v1/batch-histz.gz")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := UnpackBatch(packed)
	if err != nil || string(doc) != string(goldens(t)["batch-hist"]) {
		t.Errorf("%v:\n%s", err, doc)
	}
	var large bytes.Buffer
	z := gzip.NewWriter(&large)
	if _, err := z.Write(make([]byte, MaxUnpacked+1)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"not packed": doc, "cut off": packed[:len(packed)-9],
		"too large": large.Bytes(), "empty": nil} {
		if _, err := UnpackBatch(bad); err == nil || !strings.HasPrefix(err.Error(), "unpack batch: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rewriteBatch decodes a batch and writes it again through the writer, with the fields in the order of the document.
func rewriteBatch(t *testing.T, doc []byte) []byte {
	t.Helper()
	b, err := DecodeBatch(doc)
	if err != nil {
		t.Fatal(err)
	}
	w := NewBatch(nil, Envelope{b.Node, b.Dev, b.Ep, b.Hist, b.Clk, b.Sent})
	for _, s := range b.Samples {
		var fields []Field
		for k, v := range s.V {
			f := Field{Key: k, Quality: QualityGood}
			if q, ok := s.Q[k]; ok {
				f.Quality = q
			}
			switch v := v.(type) {
			case float64:
				f.Kind, f.Num = KindNumber, v
			case bool:
				if f.Kind = KindBool; v {
					f.Num = 1
				}
			case string:
				f.Kind, f.Text = KindText, v
			}
			fields = append(fields, f)
		}
		for k, q := range s.Q {
			if _, ok := s.V[k]; !ok {
				fields = append(fields, Field{Key: k, Quality: q})
			}
		}
		slices.SortFunc(fields, func(a, b Field) int {
			return bytes.Index(s.Raw, []byte(`"`+a.Key+`":`)) - bytes.Index(s.Raw, []byte(`"`+b.Key+`":`))
		})
		if ok, err := w.Add(s.Seq, s.TS, fields); !ok || err != nil {
			t.Fatalf("Add: %v, %v", ok, err)
		}
	}
	return w.Bytes()
}

func rewriteEvent(t *testing.T, doc []byte) []byte {
	t.Helper()
	e, err := DecodeEvent(doc)
	if err != nil {
		t.Fatal(err)
	}
	return AppendEvent(nil, EventHead{e.Tenant, e.Node, e.Dev, e.Ep, e.Seq, e.Type, e.Time.UnixMilli(), e.Clk}, e.Data)
}

// TestDesignExample: the message that stands in the design reads as it is meant.
func TestDesignExample(t *testing.T) {
	b, err := DecodeBatch(goldens(t)["batch-tele"])
	if err != nil {
		t.Fatal(err)
	}
	s := b.Samples[0]
	want := Batch{SV: 1, Node: "pi-0042", Dev: "inv-1", Ep: "k3f9x2q7", Clk: ClockSync, Sent: 1760000005123,
		Samples: []Sample{{
			Seq: 10231, TS: 1760000000000, V: map[string]any{"ac_power": 1234.5, "on": true},
			Q: map[string]Quality{"flow": QualityBad}, Raw: s.Raw,
		}}}
	if !reflect.DeepEqual(b, want) {
		t.Errorf("got  %+v\nwant %+v", b, want)
	}
}

// TestDecodersRefuse: what a decoder must not let through.
func TestDecodersRefuse(t *testing.T) {
	good := goldens(t)
	decode := map[string]func([]byte) error{
		"batch":   func(b []byte) error { _, err := DecodeBatch(b); return err },
		"event":   func(b []byte) error { _, err := DecodeEvent(b); return err },
		"status":  func(b []byte) error { _, err := DecodeStatus(b); return err },
		"meta":    func(b []byte) error { _, err := DecodeMeta(b); return err },
		"ack":     func(b []byte) error { _, err := DecodeAck(b); return err },
		"command": func(b []byte) error { _, err := DecodeCommand(b); return err },
	}
	for _, c := range []struct{ golden, old, new, says string }{
		{"batch-tele", `"sv":1`, `"sv":2`, "version 2 is not 1"},
		{"batch-tele", `"inv-1"`, `"inv.1"`, `id "inv.1"`},
		{"batch-tele", `"k3f9x2q7"`, `""`, `epoch ""`},
		{"batch-tele", `"sync"`, `"ntp"`, `"ntp"`},
		{"batch-tele", `1234.5`, `null`, `value of "ac_power"`},
		{"batch-tele", `"seq":10231,`, ``, "sample 0"},
		{"batch-tele", `"seq":10231`, `"seq":-1`, "decode batch"},
		{"batch-tele", `}]}`, ``, "decode batch"},
		{"event-store-gap", `"1.0"`, `"2.0"`, "specversion"},
		{"event-store-gap", `-10240`, `-0`, "{ep}-{seq}"},
		{"event-store-gap", `-10240`, ``, "{ep}-{seq}"},
		{"event-store-gap", `/node`, ``, "/{tenant}/{node}/{dev}"},
		{"event-store-gap", `/node`, `/NODE`, `id "NODE"`},
		{"event-store-gap", `"clk":"sync"`, `"clk":""`, "clock"},
		{"event-unknown", `{"by":{"nested":[1,2]}}`, `7`, "data object"},
		{"event-store-gap", `53:20`, `53`, "decode event"},
		{"status-lost", `"a81f20c9"`, `""`, "no session"},
		{"status-lost", `"lost"`, `"away"`, `"away"`},
		{"status-lost", `"quintano"`, `"quintano/2"`, "quintano/2"},
		{"status-lost", `"sv":1`, `"sv":0`, "version 0"},
		{"meta-barrier", `"sv":1`, `"sv":9`, "version 9"},
		{"meta-barrier", `"barrier-1"`, `"Barrier"`, `"Barrier"`},
		{"meta-barrier", `{"photocell_clear":`, `[{"photocell_clear":`, "decode meta"},
		{"ack", `[1,9400]`, `[9400,1]`, "not above"},
		{"ack", `[9402,9500]`, `[9400,9500]`, "not above"},
		{"ack", `"k3f8a0zz"`, `"x"`, `epoch "x"`},
		{"ack", `[1,9400]`, `[1,9007199254740992]`, "not above"},
		{"ack", `[[1,9400],`, `[` + strings.Repeat("[1,1],", 40), "more than 32"},
		{"command", `"sv":1`, `"sv":3`, "version 3"},
		{"command", `"exp":1760000015000`, `"exp":1760000000000`, "exp"},
		{"command", `"op":"barrier.open"`, `"op":""`, "op"},
		{"command", `"barrier-1"`, `"-"`, `id "-"`},
	} {
		doc := strings.Replace(string(good[c.golden]), c.old, c.new, 1)
		if doc == string(good[c.golden]) {
			t.Fatalf("%s has no %s", c.golden, c.old)
		}
		if err := decode[kindOf(c.golden)]([]byte(doc)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %s: %v, want %q", c.golden, c.new, err, c.says)
		}
	}
}

// FuzzDecode: nothing that comes from a broker makes a decoder panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"sv":1,"node":"a","dev":"b","ep":"k3f9x2q7","clk":"sync","samples":[{"seq":1,"ts":2,"v":{"x":1}}]}`))
	f.Add([]byte(`{"specversion":"1.0","id":"k3f9x2q7-1","source":"/a/b/c","type":"bordo.x.v1","clk":"est","time":"2025-10-09T08:53:20.000Z","data":{}}`))
	f.Add([]byte(`{"sv":1,"node":"a","dev":"b","points":{"x":{"t":"float"}}}`))
	f.Add([]byte(`{"ok":{"k3f9x2q7":[[1,2]]}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, decode := range []func([]byte) error{
			func(b []byte) error { _, err := DecodeBatch(b); return err },
			func(b []byte) error { _, err := DecodeStatus(b); return err },
			func(b []byte) error { _, err := DecodeMeta(b); return err },
			func(b []byte) error { _, err := DecodeAck(b); return err },
			func(b []byte) error { _, err := DecodeCommand(b); return err },
		} {
			if err := decode(doc); err != nil && !strings.HasPrefix(err.Error(), "decode ") {
				t.Fatalf("error without its operation: %v", err)
			}
		}
		if e, err := DecodeEvent(doc); err == nil {
			again := AppendEvent(nil, EventHead{e.Tenant, e.Node, e.Dev, e.Ep, e.Seq, e.Type, e.Time.UnixMilli(),
				e.Clk}, e.Data)
			if _, err := DecodeEvent(again); err != nil {
				t.Fatalf("written again: %v\n%s", err, again)
			}
		}
	})
}

func drawField(t *rapid.T) Field {
	f := Field{
		Key: rapid.StringMatching(`[a-z][a-z0-9_]{0,20}`).Draw(t, "key"),
		Quality: rapid.SampledFrom([]Quality{QualityGood, QualityGood, QualityUncertain, QualityBad,
			QualityStale}).Draw(t, "quality"),
		Kind: ValueKind(rapid.IntRange(0, 3).Draw(t, "kind")),
	}
	switch f.Kind {
	case KindNumber:
		f.Num = rapid.Float64().Draw(t, "number")
	case KindBool:
		f.Num = float64(rapid.IntRange(0, 1).Draw(t, "truth"))
	case KindText:
		f.Text = rapid.String().Draw(t, "text")
	}
	return f
}

// TestSampleEncoding: whatever the fields are, the sample is JSON that says exactly them.
func TestSampleEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.SliceOfNDistinct(rapid.Custom(drawField), 0, 8, func(f Field) string { return f.Key }).Draw(t,
			"fields")
		seq, ts := rapid.Uint64Range(1, MaxSeq).Draw(t, "seq"), rapid.Int64().Draw(t, "ts")
		doc := AppendSample(nil, seq, ts, fields)
		var s Sample
		if err := json.Unmarshal(doc, &s); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		want := Sample{Seq: seq, TS: ts, V: map[string]any{}, Raw: doc}
		for _, f := range fields {
			q := f.Quality
			if f.Kind == KindNone && q == QualityGood {
				q = QualityBad
			}
			if q != QualityGood {
				if want.Q == nil {
					want.Q = map[string]Quality{}
				}
				want.Q[f.Key] = q
			}
			if q == QualityBad {
				continue
			}
			switch f.Kind {
			case KindNumber:
				want.V[f.Key] = f.Num
			case KindBool:
				want.V[f.Key] = f.Num == 1
			case KindText:
				want.V[f.Key] = f.Text
			}
		}
		if !reflect.DeepEqual(s, want) {
			t.Fatalf("%s\ngot  %+v\nwant %+v", doc, s, want)
		}
	})
}

// TestBatchWriterFits: a batch never passes its limits, wastes less than a sample, and holds what was put in.
func TestBatchWriterFits(t *testing.T) {
	var buf []byte
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Repeat("x", rapid.SampledFrom([]int{1, 100, 1000, 20000, MaxPayload - 200, MaxPayload}).Draw(t,
			"size"))
		w := NewBatch(buf, Envelope{"pi-0042", "inv-1", "k3f9x2q7", true, ClockSync, 1760000005123})
		n := 0
		for ; ; n++ {
			fields := []Field{{Key: "note", Kind: KindText, Text: text[:rapid.IntRange(0, len(text)).Draw(t, "length")],
				Quality: QualityGood}}
			before := w.Size()
			ok, err := w.Add(uint64(n+1), 1760000000000, fields)
			if w.Size() > MaxPayload || w.Len() > MaxSamples {
				t.Fatalf("%d bytes, %d samples", w.Size(), w.Len())
			}
			if ok {
				continue
			}
			size := len(AppendSample(nil, uint64(n+1), 1760000000000, fields))
			empty := NewBatch(nil, Envelope{"pi-0042", "inv-1", "k3f9x2q7", true, ClockSync, 1760000005123}).Size()
			if errors.Is(err, ErrTooLarge) != (empty+size > MaxPayload) {
				t.Fatalf("%d + %d bytes: %v", empty, size, err)
			}
			if w.Len() < MaxSamples && before+size+1 <= MaxPayload && w.Len() > 0 {
				t.Fatalf("%d + %d bytes did not fit", before, size)
			}
			if w.Size() != before {
				t.Fatal("a refused sample left bytes")
			}
			break
		}
		doc := w.Bytes()
		if n > 0 {
			if b, err := DecodeBatch(doc); err != nil || len(b.Samples) != n || !b.Hist {
				t.Fatalf("%d samples of %d, %v", len(b.Samples), n, err)
			}
		}
		if len(doc) != w.Size() {
			t.Fatalf("%d bytes instead of %d", len(doc), w.Size())
		}
		buf = doc
	})
}

// TestBatchOfNothing: an envelope without samples is still JSON, and is refused by who reads it only through the schema.
func TestBatchOfNothing(t *testing.T) {
	w := NewBatch(nil, Envelope{Node: "n", Dev: "d", Ep: "k3f9x2q7", Clk: ClockFree})
	if !json.Valid(w.Bytes()) || w.Len() != 0 {
		t.Errorf("%s", w.Bytes())
	}
}

func BenchmarkBatch(b *testing.B) {
	var fields []Field
	for i := range 25 {
		fields = append(fields, Field{Key: "ac_voltage_l" + string(rune('a'+i)), Kind: KindNumber,
			Num: 231.4 + float64(i), Quality: QualityGood})
	}
	w := &BatchWriter{}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(buf, Envelope{"pi-0042", "inv-1", "k3f9x2q7", false, ClockSync, 1760000005123})
		for i := range 60 {
			if ok, err := w.Add(uint64(i+1), 1760000000000+int64(i)*10000, fields); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
		buf = w.Bytes()
	}
	b.ReportMetric(float64(len(buf))/1500, "bytes/value")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1500, "ns/value")
}
