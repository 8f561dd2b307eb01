package contract

import (
	"errors"
	"fmt"
	"strconv"
)

// ValueKind says what a field holds.
type ValueKind uint8

// The kinds of value. A field of KindNone has no value, only a quality.
const (
	KindNone ValueKind = iota
	KindNumber
	KindBool
	KindText
)

// Field is one point of a sample in the form in which it is sent.
type Field struct {
	Key     string
	Kind    ValueKind
	Num     float64 // KindNumber: the value, finite; KindBool: 1 is true
	Text    string  // KindText: the value
	Quality Quality
}

// AppendSample appends one element of a batch's samples: {"seq":..,"ts":..,"v":{..},"q":{..}}.
//
// Fields keep their order. A field without a value, or with bad quality, appears only in "q": a missing value is never
// sent as a number. "q" is omitted when everything is good. The same arguments always produce the same bytes, in every
// version, so a repeated sample is identical to the byte.
func AppendSample(dst []byte, seq uint64, ts int64, fields []Field) []byte {
	dst = strconv.AppendUint(append(dst, `{"seq":`...), seq, 10)
	dst = strconv.AppendInt(append(dst, `,"ts":`...), ts, 10)
	dst = append(dst, `,"v":{`...)
	first, flawed := true, false
	for i := range fields {
		f := &fields[i]
		if f.Quality != QualityGood || f.Kind == KindNone {
			flawed = true
		}
		if f.Kind == KindNone || f.Quality == QualityBad {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, f.Key), ':')
		switch f.Kind {
		case KindNumber:
			dst = appendNumber(dst, f.Num)
		case KindBool:
			dst = strconv.AppendBool(dst, f.Num != 0)
		default:
			dst = appendString(dst, f.Text)
		}
	}
	dst = append(dst, '}')
	if flawed {
		dst = appendQualities(dst, fields)
	}
	return append(dst, '}')
}

func appendQualities(dst []byte, fields []Field) []byte {
	dst = append(dst, `,"q":{`...)
	first := true
	for i := range fields {
		f := &fields[i]
		q := f.Quality
		if f.Kind == KindNone && q == QualityGood {
			q = QualityBad
		}
		if q == QualityGood {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, f.Key), ':')
		dst = strconv.AppendUint(dst, uint64(q), 10)
	}
	return append(dst, '}')
}

// Envelope is what the samples of one batch have in common.
type Envelope struct {
	Node string
	Dev  string
	Ep   string
	Hist bool
	Clk  Clock
	Sent int64 // ms UTC, when the batch is handed to the socket
}

// ErrTooLarge says that a single sample does not fit in a message by itself.
var ErrTooLarge = errors.New("sample is larger than a message may be")

// BatchWriter writes one batch, sample after sample, and never more than fits.
type BatchWriter struct {
	buf   []byte
	head  int // bytes before the first sample
	n     int
	limit int
}

// NewBatch begins a batch in dst[:0]; the memory is re-used. It holds at most MaxPayload bytes and MaxSamples samples.
func NewBatch(dst []byte, e Envelope) *BatchWriter {
	w := &BatchWriter{}
	w.Reset(dst, e)
	return w
}

// Reset begins another batch in dst[:0], as NewBatch does.
func (w *BatchWriter) Reset(dst []byte, e Envelope) {
	b := append(dst[:0], `{"sv":1,"node":`...)
	b = appendString(b, e.Node)
	b = appendString(append(b, `,"dev":`...), e.Dev)
	b = appendString(append(b, `,"ep":`...), e.Ep)
	b = strconv.AppendBool(append(b, `,"hist":`...), e.Hist)
	b = appendString(append(b, `,"clk":`...), string(e.Clk))
	b = strconv.AppendInt(append(b, `,"sent":`...), e.Sent, 10)
	b = append(b, `,"samples":[`...)
	*w = BatchWriter{buf: b, head: len(b), limit: MaxPayload}
}

// Limit makes the batch hold at most n bytes, where that is less than MaxPayload. It applies until Reset.
func (w *BatchWriter) Limit(n int) { w.limit = min(n, MaxPayload) }

// Add appends a sample. It returns false, and leaves the batch unchanged, when the sample no longer fits. The error is
// ErrTooLarge when it would not fit in an empty batch either.
func (w *BatchWriter) Add(seq uint64, ts int64, fields []Field) (bool, error) {
	if w.n == MaxSamples {
		return false, nil
	}
	mark := len(w.buf)
	if w.n > 0 {
		w.buf = append(w.buf, ',')
	}
	w.buf = AppendSample(w.buf, seq, ts, fields)
	if len(w.buf)+len(`]}`) <= w.limit {
		w.n++
		return true, nil
	}
	size := len(w.buf) - mark
	w.buf = w.buf[:mark]
	if w.n == 0 || w.head+size+len(`]}`)-1 > w.limit {
		return false, fmt.Errorf("add sample %d of %d bytes: %w", seq, size, ErrTooLarge)
	}
	return false, nil
}

// Len returns the number of samples in the batch.
func (w *BatchWriter) Len() int { return w.n }

// Size returns the size of the message in bytes.
func (w *BatchWriter) Size() int { return len(w.buf) + len(`]}`) }

// Bytes returns the message. It is valid until Reset; more samples may be added afterwards.
func (w *BatchWriter) Bytes() []byte { return append(w.buf, ']', '}') }
