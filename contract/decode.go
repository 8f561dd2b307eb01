package contract

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Batch is a message on tele or hist, or on histz once UnpackBatch has opened it, as a consumer reads it.
type Batch struct {
	SV      int      `json:"sv"`
	Node    string   `json:"node"`
	Dev     string   `json:"dev"`
	Ep      string   `json:"ep"`
	Hist    bool     `json:"hist"`
	Clk     Clock    `json:"clk"`
	Sent    int64    `json:"sent"`
	Samples []Sample `json:"samples"`
}

// Sample is one poll of one device as a consumer reads it.
type Sample struct {
	Seq uint64 // with node and ep: the identity
	TS  int64  // ms UTC, when the last byte of the reply arrived
	V   map[string]any
	Q   map[string]Quality

	// Raw is the sample as it came. The same identity with other bytes means two boxes with one identity.
	Raw json.RawMessage
}

// UnmarshalJSON reads a sample: values are float64, bool or string.
func (s *Sample) UnmarshalJSON(b []byte) error {
	var w struct {
		Seq uint64             `json:"seq"`
		TS  int64              `json:"ts"`
		V   map[string]any     `json:"v"`
		Q   map[string]Quality `json:"q"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	for k, v := range w.V {
		switch v.(type) {
		case float64, bool, string:
		default:
			return fmt.Errorf("value of %q is neither number, truth value nor text", k)
		}
	}
	*s = Sample{w.Seq, w.TS, w.V, w.Q, bytes.Clone(b)}
	return nil
}

// DecodeBatch reads a message on tele or hist. It refuses another major version and what lacks its identity.
func DecodeBatch(payload []byte) (Batch, error) {
	var b Batch
	if err := json.Unmarshal(payload, &b); err != nil {
		return Batch{}, fmt.Errorf("decode batch: %w", err)
	}
	if err := checkVersion(b.SV); err != nil {
		return Batch{}, fmt.Errorf("decode batch: %w", err)
	}
	if err := errors.Join(CheckID(b.Node), CheckID(b.Dev), CheckEpoch(b.Ep)); err != nil {
		return Batch{}, fmt.Errorf("decode batch: %w", err)
	}
	if !b.Clk.Valid() {
		return Batch{}, fmt.Errorf("decode batch: unknown clock quality %q", b.Clk)
	}
	for i, s := range b.Samples {
		if s.Seq == 0 || s.Seq > MaxSeq || s.V == nil {
			return Batch{}, fmt.Errorf("decode batch: sample %d has no seq from 1 to 2^53-1 or no values", i)
		}
	}
	return b, nil
}

// MaxUnpacked is the maximum unpacked size of a message on histz: it unpacks to a message of hist.
const MaxUnpacked = MaxPayload

// UnpackBatch returns the message of hist that a message on histz contains. It refuses anything larger than MaxUnpacked
// before allocating memory for it.
func UnpackBatch(payload []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("unpack batch: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, MaxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("unpack batch: %w", err)
	}
	if len(out) > MaxUnpacked {
		return nil, fmt.Errorf("unpack batch: more than %d bytes", MaxUnpacked)
	}
	return out, nil
}

func checkVersion(sv int) error {
	if sv != Version {
		return fmt.Errorf("version %d is not %d", sv, Version)
	}
	return nil
}
