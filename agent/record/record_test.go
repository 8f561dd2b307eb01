package record

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// TestSampleRoundTrip: a sample reads back exactly, floats to the bit, and there is one row for it.
func TestSampleRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawSample(t)
		row := AppendSample([]byte("x"), &want)[1:]
		got, err := DecodeSample(row)
		if err != nil {
			t.Fatalf("DecodeSample(%x): %v", row, err)
		}
		if len(got.Readings) != len(want.Readings) {
			t.Fatalf("%d readings of %d", len(got.Readings), len(want.Readings))
		}
		for i := range want.Readings {
			a, b := got.Readings[i].Value, want.Readings[i].Value
			if math.Float64bits(a.Float()) != math.Float64bits(b.Float()) {
				t.Fatalf("reading %d is %b, want %b", i, a.Float(), b.Float())
			}
		}
		if len(want.Readings) == 0 {
			got.Readings, want.Readings = nil, nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
		if again := AppendSample(nil, &got); string(again) != string(row) {
			t.Fatalf("row %x became %x", row, again)
		}
		info, err := Describe(row)
		want2 := Info{Kind: KindSample, Dev: want.Dev, Boot: want.Boot, TS: want.TS, Mono: want.Mono, Clk: want.Clk,
			N: len(want.Readings)}
		if err != nil || info != want2 {
			t.Fatalf("Describe = %+v, %v; want %+v", info, err, want2)
		}
	})
}

// TestEventRoundTrip: an event reads back exactly, its data to the byte.
func TestEventRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		row := AppendEvent(nil, &want)
		got, err := DecodeEvent(row)
		if err != nil {
			t.Fatalf("DecodeEvent(%x): %v", row, err)
		}
		if string(got.Data) != string(want.Data) {
			t.Fatalf("data %q, want %q", got.Data, want.Data)
		}
		got.Data, want.Data = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

// TestRestamp: only the time changes, and the length never.
func TestRestamp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSample(t)
		row := AppendSample(nil, &s)
		s.TS, s.Clk = drawTime(t), drawClock(t)
		if err := Restamp(row, s.TS, s.Clk); err != nil {
			t.Fatalf("Restamp: %v", err)
		}
		if want := AppendSample(nil, &s); string(row) != string(want) {
			t.Fatalf("restamped %x, want %x", row, want)
		}
		ts, mono, clk, err := times(row)
		if err != nil || ts != s.TS || mono != s.Mono || clk != s.Clk {
			t.Fatalf("Times = %d %d %s %v", ts, mono, clk, err)
		}
	})
}

// TestUnknownClockIsFree: a quality of time that nobody knows is not trusted.
func TestUnknownClockIsFree(t *testing.T) {
	got, err := DecodeSample(AppendSample(nil, &Sample{Dev: "d", Clk: "atomic"}))
	if err != nil || got.Clk != contract.ClockFree {
		t.Fatalf("clock %q, %v", got.Clk, err)
	}
}

// TestFields: what is sent of a row, in its order, with the contract's codes.
func TestFields(t *testing.T) {
	s := Sample{Dev: "inv-1", TS: 1760000000000, Clk: contract.ClockSync, Readings: []drivers.Reading{
		{Point: "ac_power", Value: catalogue.Number(1234.5)},
		{Point: "own_point", Value: catalogue.Number(1.0 / 3), Quality: drivers.Uncertain},
		{Point: "photocell_clear", Value: catalogue.Truth(true), Quality: drivers.Stale},
		{Point: "full", Value: catalogue.Truth(false)},
		{Point: "temperature", Quality: drivers.Bad},
		{Point: "level", Value: catalogue.Number(math.NaN())},
		{Point: "state", Value: catalogue.Words("città \"open\"\n")},
	}}
	fields, err := Fields(nil, AppendSample(nil, &s))
	if err != nil {
		t.Fatal(err)
	}
	got := string(contract.AppendSample(nil, 7, s.TS, fields))
	want := `{"seq":7,"ts":1760000000000,"v":{"ac_power":1234.5,"own_point":0.3333333333333333,"photocell_clear":true,` +
		`"full":false,"state":"città \"open\"\n"},"q":{"own_point":64,"photocell_clear":500,"temperature":0,"level":0}}`
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	if !json.Valid([]byte(got)) {
		t.Fatal("not JSON")
	}
}

// TestRowFaults: each way in which bytes are not a row is an error that says so.
func TestRowFaults(t *testing.T) {
	s := Sample{Dev: "inv-1", Readings: []drivers.Reading{{Point: "ac_power", Value: catalogue.Number(12.5)}}}
	row := AppendSample(nil, &s)
	at := len(row) - 4 // the tag: then the key and two bytes of the number 125×2×10+1
	edit := func(i int, b ...byte) []byte {
		return append(append(append([]byte(nil), row[:i]...), b...), row[min(i+len(b), len(row)):]...)
	}
	key := func(tag byte, tail ...byte) []byte {
		return append(append(append([]byte(nil), row[:at]...), tag), tail...)
	}
	for name, b := range map[string][]byte{
		"empty":                       nil,
		"too short":                   row[:headLen-1],
		"other kind":                  AppendEvent(nil, &Event{Dev: "inv-1", Type: "t"}),
		"unknown version":             edit(0, 0x12),
		"unknown clock":               edit(offClk, 3),
		"boot too long":               edit(headLen, 200),
		"number of readings":          edit(at-1, 2),
		"ends in the number":          row[:len(row)-1],
		"one byte too many":           append(append([]byte(nil), row...), 0),
		"unknown form of a float":     edit(at, 0x31),
		"form of an absent value":     key(0x10, 4),
		"form of a text":              key(0x13, 4, 0),
		"form of a truth value":       key(0x22, 4),
		"unknown place of a key":      edit(at+1, 0xff),
		"known key spelt out":         key(0x02, append([]byte{0, 8}, "ac_power"...)...),
		"long form of a length":       key(0x02, 0, 0x80, 0),
		"decimal not shortest":        key(0x11, 4, 0x80|(20*10+1)&0x7f, (20*10+1)>>7),
		"decimal too large":           key(0x11, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
		"single that is infinite":     key(0x21, 4, 0, 0, 0x80, 0x7f),
		"double that is not a number": key(0x01, 4, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f),
		"double cut off":              key(0x01, 4, 0, 0, 0, 0, 0, 0, 0xf8),
	} {
		if s, err := DecodeSample(b); !errors.Is(err, ErrRow) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if _, err := Fields(nil, b); !errors.Is(err, ErrRow) {
			t.Errorf("%s: Fields: %v", name, err)
		}
	}
	if _, err := DecodeEvent(row); !errors.Is(err, ErrRow) {
		t.Errorf("a sample as event: %v", err)
	}
	if err := Restamp([]byte{1}, 0, contract.ClockSync); !errors.Is(err, ErrRow) {
		t.Errorf("Restamp of no row: %v", err)
	}
}

// TestTooManyReadings: a sample beyond the limit is a mistake of ours.
func TestTooManyReadings(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	AppendSample(nil, &Sample{Readings: make([]drivers.Reading, MaxReadings+1)})
}

func FuzzRow(f *testing.F) {
	s := Sample{Dev: "inv-1", Boot: "b", Readings: []drivers.Reading{
		{Point: "ac_power", Value: catalogue.Number(12.5)}, {Point: "x", Value: catalogue.Number(0.1 + 0.2)},
		{Point: "state", Value: catalogue.Words("open")}, {Point: "y", Value: catalogue.Number(float64(float32(0.7)))},
	}}
	f.Add(AppendSample(nil, &s))
	f.Add(AppendEvent(nil, &Event{Dev: "inv-1", Type: "bordo.store.gap.v1", Data: []byte("{}")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := DecodeEvent(b); err != nil && !errors.Is(err, ErrRow) {
			t.Fatal(err)
		}
		s, err := DecodeSample(b)
		if err != nil {
			if !errors.Is(err, ErrRow) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeSample(AppendSample(nil, &s))
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

// times returns when a row was recorded: by the wall clock, by the monotonic clock, and how good the former is.
func times(payload []byte) (ts, mono int64, clk contract.Clock, err error) {
	if _, err := TypeOf(payload); err != nil {
		return 0, 0, "", err
	}
	if int(payload[offClk]) >= len(clkOf) {
		return 0, 0, "", badRow("clock quality %d", payload[offClk])
	}
	ts = int64(binary.LittleEndian.Uint64(payload[offTS:]))
	mono = int64(binary.LittleEndian.Uint64(payload[offMono:]))
	return ts, mono, clkOf[payload[offClk]], nil
}
