package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Meta is the retained message on meta: what a device is and what its points mean. A change increments Rev. An empty
// payload on the topic means that the device has left the configuration.
type Meta struct {
	SV       int            `json:"sv"`
	Node     string         `json:"node"`
	Dev      string         `json:"dev"`
	Rev      uint64         `json:"rev"`
	Name     string         `json:"name,omitempty"` // as people call it
	Maker    string         `json:"maker,omitempty"`
	Model    string         `json:"model,omitempty"`   // as the device says
	Profile  string         `json:"profile,omitempty"` // as the configuration says
	Serial   string         `json:"serial,omitempty"`
	Firmware string         `json:"firmware,omitempty"`
	Every    int64          `json:"every,omitempty"` // ms from poll to poll
	About    map[string]any `json:"about,omitempty"` // the operator's description: pod, role, ct, ...
	Points   MetaPoints     `json:"points"`

	Quarantined []string `json:"quarantined,omitempty"` // points that the device refuses for now
}

// MetaPoint is what one point means.
type MetaPoint struct {
	Key   string   `json:"-"`
	Type  string   `json:"t"`           // float, bool or text
	Unit  string   `json:"u,omitempty"` // UCUM
	Kind  string   `json:"kind"`        // gauge, counter, state or text
	Label Label    `json:"label"`
	Enum  []string `json:"enum,omitempty"` // every word that a state can hold
}

// MetaPoints is a JSON object from key to point that keeps its order.
type MetaPoints []MetaPoint

// Point returns the point with the given key.
func (p MetaPoints) Point(key string) (MetaPoint, bool) {
	for _, m := range p {
		if m.Key == key {
			return m, true
		}
	}
	return MetaPoint{}, false
}

// MarshalJSON writes the points in their order.
func (p MetaPoints) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range p {
		if i > 0 {
			out = append(out, ',')
		}
		b, err := json.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("point %q: %w", m.Key, err)
		}
		out = append(append(appendString(out, m.Key), ':'), b...)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads the points in their order in the message.
func (p *MetaPoints) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("points are not an object: %w", err)
	}
	*p = nil
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		var m MetaPoint
		if err := d.Decode(&m); err != nil {
			return fmt.Errorf("point %v: %w", t, err)
		}
		m.Key, _ = t.(string)
		*p = append(*p, m)
	}
	return nil
}

// Encode returns the message. SV is set by it.
func (m Meta) Encode() ([]byte, error) {
	m.SV = Version
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode meta: %w", err)
	}
	return b, nil
}

// DecodeMeta reads a message on meta. The caller has dealt with the empty payload before.
func DecodeMeta(payload []byte) (Meta, error) {
	var m Meta
	if err := json.Unmarshal(payload, &m); err != nil {
		return Meta{}, fmt.Errorf("decode meta: %w", err)
	}
	if err := checkVersion(m.SV); err != nil {
		return Meta{}, fmt.Errorf("decode meta: %w", err)
	}
	for _, id := range []string{m.Node, m.Dev} {
		if err := CheckID(id); err != nil {
			return Meta{}, fmt.Errorf("decode meta: %w", err)
		}
	}
	return m, nil
}
