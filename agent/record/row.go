package record

import (
	"encoding/binary"
	"math"

	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// span is where a text lies in a row.
type span struct{ from, to int }

func (s span) of(row string) string   { return row[s.from:s.to] }
func (s span) text(row []byte) string { return string(row[s.from:s.to]) }

// head is everything of a row before its readings or data.
type head struct {
	clk       byte
	ts, mono  int64
	boot, dev span
	typ       span // of an event
	n         int  // readings of a sample
}

// readHead reads the head of a row of the given kind and returns where the rest begins.
func readHead(row []byte, kind byte) (h head, rest int, err error) {
	if len(row) < headLen || row[0] != kind {
		if _, err := TypeOf(row); err != nil {
			return head{}, 0, err
		}
		return head{}, 0, badRow("kind %#02x instead of %#02x", row[0], kind)
	}
	h.clk = row[offClk]
	if int(h.clk) >= len(clkOf) {
		return head{}, 0, badRow("clock quality %d", h.clk)
	}
	h.ts = int64(binary.LittleEndian.Uint64(row[offTS:]))
	h.mono = int64(binary.LittleEndian.Uint64(row[offMono:]))
	if h.boot, rest, err = readText(row, headLen); err != nil {
		return head{}, 0, err
	}
	if h.dev, rest, err = readText(row, rest); err != nil {
		return head{}, 0, err
	}
	if kind == eventV1 {
		h.typ, rest, err = readText(row, rest)
		return h, rest, err
	}
	n, rest, err := readCount(row, rest)
	if err != nil {
		return head{}, 0, err
	}
	if n > MaxReadings || n > (len(row)-rest)/2 {
		return head{}, 0, badRow("%d readings in %d bytes", n, len(row)-rest)
	}
	h.n = n
	return h, rest, nil
}

// readCount reads an unsigned varint in its shortest form: there is one row for one sample.
func readCount(row []byte, at int) (n, rest int, err error) {
	if at < len(row) && row[at] < 0x80 {
		return int(row[at]), at + 1, nil
	}
	v, w := binary.Uvarint(row[at:])
	if w <= 0 || v > math.MaxInt32 || row[at+w-1] == 0 {
		return 0, 0, badRow("count at %d", at)
	}
	return int(v), at + w, nil
}

func readText(row []byte, at int) (s span, rest int, err error) {
	n, at, err := readCount(row, at)
	if err != nil {
		return span{}, 0, err
	}
	if n > len(row)-at {
		return span{}, 0, badRow("text of %d bytes at %d of %d", n, at, len(row))
	}
	return span{at, at + n}, at + n, nil
}

// reading is one reading of a row, not yet taken out of it.
type reading struct {
	tag   byte
	place int // of the key in keysV1, counted from 1; 0: it is spelt out in key
	key   span
	bits  uint64 // of a float
	text  span
}

// The forms of a float.
const (
	formDouble = iota
	formDecimal
	formSingle
)

const (
	decimalMax = 1e15 // below it a decimal of at most 15 digits and its double name each other
	tagLimit   = 0x30
)

func (r *reading) kind() catalogue.Type     { return catalogue.Type(r.tag & 3) }
func (r *reading) quality() drivers.Quality { return drivers.Quality(r.tag >> 2 & 3) }
func (r *reading) form() int                { return int(r.tag >> 4) }

// formed reports whether the tag's form suits its type.
func (r *reading) formed() bool {
	switch r.kind() {
	case catalogue.Float:
		return r.form() <= formSingle
	case catalogue.Bool:
		return r.form() <= 1
	}
	return r.form() == 0
}

// name returns the point's key; row is the whole row as text.
func (r *reading) name(row string) string {
	if r.place > 0 {
		return keysV1[r.place-1]
	}
	return r.key.of(row)
}

func (r *reading) value(row string) catalogue.Value {
	switch r.kind() {
	case catalogue.Float:
		return catalogue.Number(math.Float64frombits(r.bits))
	case catalogue.Bool:
		return catalogue.Truth(r.form() != 0)
	case catalogue.Text:
		return catalogue.Words(r.text.of(row))
	}
	return catalogue.Value{}
}

// readReading reads the reading at the given place and returns where the next begins.
func readReading(row []byte, at int) (r reading, rest int, err error) {
	if at+1 >= len(row) {
		return reading{}, 0, badRow("ends before its last reading")
	}
	if r.tag = row[at]; !r.formed() {
		return reading{}, 0, badRow("tag %#02x at %d", r.tag, at)
	}
	if r.place = int(row[at+1]); r.place > len(keysV1) {
		return reading{}, 0, badRow("key %d at %d", r.place, at+1)
	}
	rest = at + 2
	if r.place == 0 {
		if r.key, rest, err = readText(row, rest); err != nil {
			return reading{}, 0, err
		}
		if keyPlace[string(row[r.key.from:r.key.to])] != 0 {
			return reading{}, 0, badRow("key at %d is spelt out", at+1)
		}
	}
	switch r.kind() {
	case catalogue.Float:
		r.bits, rest, err = readFloat(row, rest, r.form())
	case catalogue.Text:
		r.text, rest, err = readText(row, rest)
	}
	return r, rest, err
}

func readFloat(row []byte, at, form int) (b uint64, rest int, err error) {
	switch form {
	case formDecimal:
		u, w := binary.Uvarint(row[at:])
		if w <= 0 || w > 1 && row[at+w-1] == 0 {
			return 0, 0, badRow("decimal at %d", at)
		}
		m, e := unzigzag(u/10), int(u%10)
		if m >= decimalMax || m <= -decimalMax || e > 0 && m%10 == 0 {
			return 0, 0, badRow("decimal %d/10^%d at %d", m, e, at)
		}
		return math.Float64bits(float64(m) / pow10[e]), at + w, nil
	case formSingle:
		if len(row)-at < 4 {
			return 0, 0, badRow("ends in a number")
		}
		b, rest = math.Float64bits(float64(math.Float32frombits(binary.LittleEndian.Uint32(row[at:])))), at+4
	default:
		if len(row)-at < 8 {
			return 0, 0, badRow("ends in a number")
		}
		b, rest = binary.LittleEndian.Uint64(row[at:]), at+8
	}
	if f := math.Float64frombits(b); f-f != 0 {
		return 0, 0, badRow("number at %d is not finite", at)
	}
	return b, rest, nil
}

// appendKey appends the place of a key, or the key.
func appendKey(dst []byte, key string) []byte {
	if p := keyPlace[key]; p != 0 {
		return append(dst, p)
	}
	return appendText(append(dst, 0), key)
}

// appendFloat appends a reading with a float. The form is added to the tag.
func appendFloat(dst []byte, tag byte, key string, f float64) []byte {
	if m, e, ok := decimalOf(f); ok {
		dst = appendKey(append(dst, tag|formDecimal<<4), key)
		return binary.AppendUvarint(dst, zigzag(m)*10+uint64(e))
	}
	if single := float32(f); math.Float64bits(float64(single)) == math.Float64bits(f) {
		dst = appendKey(append(dst, tag|formSingle<<4), key)
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(single))
	}
	dst = appendKey(append(dst, tag|formDouble<<4), key)
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
}

// decimalOf finds the shortest decimal m / 10^e that is f.
func decimalOf(f float64) (m int64, e int, ok bool) {
	for e = range len(pow10) {
		m, ok = scaled(floatDiv, e, f)
		if m >= decimalMax || m <= -decimalMax {
			return 0, 0, false
		}
		if ok {
			return m, e, true
		}
	}
	return 0, 0, false
}

// Info describes a row without decoding its readings or data.
type Info struct {
	Kind      Type
	Dev, Boot string
	Type      string // of an event
	TS, Mono  int64
	Clk       contract.Clock
	N         int // readings of a sample
}

// Describe reads the head of a row.
func Describe(payload []byte) (Info, error) {
	kind, err := TypeOf(payload)
	if err != nil {
		return Info{}, err
	}
	h, _, err := readHead(payload, payload[0])
	if err != nil {
		return Info{}, err
	}
	return Info{
		Kind: kind, Dev: string(payload[h.dev.from:h.dev.to]), Boot: string(payload[h.boot.from:h.boot.to]),
		Type: string(payload[h.typ.from:h.typ.to]), TS: h.ts, Mono: h.mono, Clk: clkOf[h.clk], N: h.n,
	}, nil
}

// qualityCode gives the contract's code.
var qualityCode = [...]contract.Quality{
	drivers.Good:      contract.QualityGood,
	drivers.Uncertain: contract.QualityUncertain,
	drivers.Bad:       contract.QualityBad,
	drivers.Stale:     contract.QualityStale,
}

// Fields appends the readings of a sample's row in the form in which they are sent, in their order. The fields' texts
// share one copy of the row.
func Fields(dst []contract.Field, payload []byte) ([]contract.Field, error) {
	h, rest, err := readHead(payload, sampleV1)
	if err != nil {
		return dst, err
	}
	text := string(payload)
	for range h.n {
		var r reading
		if r, rest, err = readReading(payload, rest); err != nil {
			return dst, err
		}
		f := contract.Field{Key: r.name(text), Quality: qualityCode[r.quality()]}
		switch r.kind() {
		case catalogue.Float:
			f.Kind, f.Num = contract.KindNumber, math.Float64frombits(r.bits)
		case catalogue.Bool:
			f.Kind = contract.KindBool
			if r.form() != 0 {
				f.Num = 1
			}
		case catalogue.Text:
			f.Kind, f.Text = contract.KindText, r.text.of(text)
		}
		dst = append(dst, f)
	}
	if rest != len(payload) {
		return dst, badRow("%d bytes too many", len(payload)-rest)
	}
	return dst, nil
}
