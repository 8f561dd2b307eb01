// Package record defines what the agent stores: the rows of samples and events as they lie in the buffer's memory, and
// the codec that seals many of them into one block.
//
// It promises that stored data reads back exactly: every row to the byte, every number to the bit, in every later
// version, for every row and block ever written (testdata holds one of each). It keeps no state beyond what a Codec
// needs to be fast, opens nothing and knows no clock.
package record

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Sample is one poll of one device.
type Sample struct {
	Dev      string
	TS       int64  // ms UTC by the wall clock, as good as Clk says
	Mono     int64  // ms since the machine was started
	Boot     string // which start that was; may be empty
	Clk      contract.Clock
	Readings []drivers.Reading
}

// Event is something that happened. Quarter hours are events too.
type Event struct {
	Dev  string
	Type string // bordo.<noun>.<verb>.v1
	TS   int64
	Mono int64
	Boot string
	Clk  contract.Clock
	Data json.RawMessage // a JSON object, preserved to the byte
}

// Type says what a row holds.
type Type uint8

// The kinds of row.
const (
	KindSample Type = iota + 1
	KindEvent
)

// A row begins with a byte for kind (high half) and version (low half), then the clock's quality, then the two times in
// fixed width, so that they can be corrected in place:
//
//	0x11|0x21  clk  ts:8  mono:8  boot:text  dev:text
//	sample: n, then n × (tag, key, value)
//	event:  type:text, then the data up to the end
//
// The two times are little endian; n and the lengths of texts are unsigned varints in their shortest form. A key is its
// index in keysV1, counted from 1, or 0 and the text. The tag is type | quality<<2 | form<<4. The form of a truth value
// is the value; that of a float says how it is written:
//
//	1 decimal  varint of zigzag(m)×10+e for m / 10^e, e the smallest that gives the float back to the bit
//	2 single   4 bytes, a float that is exactly a float32
//	0 double   8 bytes
//
// The encoding is compact because fresh records wait in memory, some of them for days.
const (
	sampleV1 = 0x11
	eventV1  = 0x21

	offClk  = 1
	offTS   = 2
	offMono = 10
	headLen = 18
)

// MaxReadings is the maximum number of readings of a sample.
const MaxReadings = 4096

// ErrRow is in the tree of every error about a payload that is not a row.
var ErrRow = errors.New("not a row")

func badRow(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRow, fmt.Sprintf(format, args...))
}

func clkCode(c contract.Clock) byte {
	switch c {
	case contract.ClockSync:
		return 0
	case contract.ClockEst:
		return 1
	}
	return 2
}

var clkOf = [...]contract.Clock{contract.ClockSync, contract.ClockEst, contract.ClockFree}

func appendHead(dst []byte, kind, clk byte, ts, mono int64, boot, dev string) []byte {
	dst = append(dst, kind, clk)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(ts))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(mono))
	return appendText(appendText(dst, boot), dev)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendSample appends s as a row. An invalid clock quality is stored as free. It panics when s has more than
// MaxReadings readings.
func AppendSample(dst []byte, s *Sample) []byte {
	if len(s.Readings) > MaxReadings {
		panic(fmt.Sprintf("record: sample of %s has %d readings, more than %d", s.Dev, len(s.Readings), MaxReadings))
	}
	dst = appendHead(dst, sampleV1, clkCode(s.Clk), s.TS, s.Mono, s.Boot, s.Dev)
	dst = binary.AppendUvarint(dst, uint64(len(s.Readings)))
	for i := range s.Readings {
		r := &s.Readings[i]
		t := r.Value.Type()
		tag := byte(t) | byte(r.Quality&3)<<2
		switch t {
		case catalogue.Float:
			dst = appendFloat(dst, tag, r.Point, r.Value.Float())
		case catalogue.Bool:
			if r.Value.Bool() {
				tag |= 1 << 4
			}
			dst = appendKey(append(dst, tag), r.Point)
		case catalogue.Text:
			dst = appendText(appendKey(append(dst, tag), r.Point), r.Value.Text())
		default:
			dst = appendKey(append(dst, tag), r.Point)
		}
	}
	return dst
}

// AppendEvent appends e as a row.
func AppendEvent(dst []byte, e *Event) []byte {
	dst = appendHead(dst, eventV1, clkCode(e.Clk), e.TS, e.Mono, e.Boot, e.Dev)
	return append(appendText(dst, e.Type), e.Data...)
}

// TypeOf returns the type of a row.
func TypeOf(payload []byte) (Type, error) {
	if len(payload) < headLen {
		return 0, badRow("%d bytes", len(payload))
	}
	switch payload[0] {
	case sampleV1:
		return KindSample, nil
	case eventV1:
		return KindEvent, nil
	}
	return 0, badRow("unknown kind or version %#02x", payload[0])
}

// Restamp corrects the time of a row in place; its length stays. Only rows that nothing outside has seen may be
// restamped.
func Restamp(payload []byte, ts int64, clk contract.Clock) error {
	if _, err := TypeOf(payload); err != nil {
		return err
	}
	payload[offClk] = clkCode(clk)
	binary.LittleEndian.PutUint64(payload[offTS:], uint64(ts))
	return nil
}

// DecodeSample reads a row. Nothing of the result shares memory with payload.
func DecodeSample(payload []byte) (Sample, error) {
	h, rest, err := readHead(payload, sampleV1)
	if err != nil {
		return Sample{}, fmt.Errorf("decode sample: %w", err)
	}
	text := string(payload) // one allocation holds every text of the sample
	s := Sample{Dev: h.dev.of(text), TS: h.ts, Mono: h.mono, Boot: h.boot.of(text), Clk: clkOf[h.clk]}
	s.Readings = make([]drivers.Reading, 0, h.n)
	for range h.n {
		var r reading
		if r, rest, err = readReading(payload, rest); err != nil {
			return Sample{}, fmt.Errorf("decode sample: %w", err)
		}
		s.Readings = append(s.Readings, drivers.Reading{Point: r.name(text), Value: r.value(text),
			Quality: r.quality()})
	}
	if rest != len(payload) {
		return Sample{}, fmt.Errorf("decode sample: %w", badRow("%d bytes too many", len(payload)-rest))
	}
	return s, nil
}

// DecodeEvent reads a row. Nothing of the result shares memory with payload.
func DecodeEvent(payload []byte) (Event, error) {
	h, rest, err := readHead(payload, eventV1)
	if err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	text := string(payload[:rest])
	return Event{
		Dev: h.dev.of(text), Type: h.typ.of(text), TS: h.ts, Mono: h.mono, Boot: h.boot.of(text), Clk: clkOf[h.clk],
		Data: append(json.RawMessage(nil), payload[rest:]...),
	}, nil
}
