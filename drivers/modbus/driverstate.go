package modbus

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Quarantine times. The time doubles with each refusal, up to an hour: some devices refuse registers only
// while they start or sleep, and one request an hour costs nothing.
const (
	firstRetry = 10 * time.Minute
	lastRetry  = time.Hour
)

// maxDriverState limits the number of entries a device can add to each list of its saved state.
const maxDriverState = 256

// DriverState is what the driver learned about one device beyond its profile. It is kept across restarts as
// JSON (in drivers.Report and drivers.Device) and is valid for one device with one firmware.
type DriverState struct {
	Serial   string `json:"serial,omitempty"`   // serial number of the device
	Firmware string `json:"firmware,omitempty"` // its firmware version
	// Registers is the learned limit of registers per request; 0: the profile's limit.
	Registers int `json:"registers,omitempty"`
	Bits      int `json:"bits,omitempty"`
	// Base is the base address of its SunSpec chain, unless it is the profile's first base.
	Base        *uint16      `json:"base,omitempty"`
	Holes       []string     `json:"holes,omitempty"` // spans that a request must not include
	Quarantined []Quarantine `json:"quarantined,omitempty"`
}

// Quarantine is a point that the device refuses to deliver.
type Quarantine struct {
	Point string    `json:"point"`
	At    string    `json:"at"` // its registers
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	Retry time.Time `json:"retry"` // not requested again before
	Times int       `json:"times"` // number of refusals
}

// parseDriverState parses a saved state. It drops invalid entries, since they will be learned again.
func parseDriverState(data []byte) DriverState {
	var l DriverState
	if len(data) == 0 || json.Unmarshal(data, &l) != nil {
		return DriverState{}
	}
	if l.Registers < 0 || l.Bits < 0 || len(l.Holes) > maxDriverState || len(l.Quarantined) > maxDriverState {
		return DriverState{}
	}
	l.Holes = slices.DeleteFunc(l.Holes, func(s string) bool { _, err := parseSpan(s); return err != nil })
	l.Quarantined = slices.DeleteFunc(l.Quarantined,
		func(q Quarantine) bool { _, err := parseSpan(q.At); return err != nil || q.Times < 1 })
	return l
}

// json encodes the state. Equal states give equal bytes.
func (l *DriverState) json() []byte {
	data, err := json.Marshal(l)
	if err != nil {
		panic(fmt.Sprintf("modbus: %+v does not marshal: %v", l, err)) // it only holds strings, numbers and valid times
	}
	return data
}

// unreadable lists the spans that a request must not include.
func (l *DriverState) unreadable() []Span {
	var out []Span
	for _, text := range l.Holes {
		if s, err := parseSpan(text); err == nil {
			out = append(out, s)
		}
	}
	for _, q := range l.Quarantined {
		if s, err := parseSpan(q.At); err == nil {
			out = append(out, s)
		}
	}
	return out
}

// quarantined finds the quarantine entry of an item.
func (l *DriverState) quarantined(it *item) (*Quarantine, bool) {
	if len(l.Quarantined) == 0 {
		return nil, false
	}
	at := it.valueSpan().String()
	i := slices.IndexFunc(l.Quarantined, func(q Quarantine) bool { return q.Point == it.Key && q.At == at })
	if i < 0 {
		return nil, false
	}
	return &l.Quarantined[i], true
}

// quarantine adds an item to the quarantine or extends its time.
func (l *DriverState) quarantine(it *item, why string, now time.Time) {
	q, ok := l.quarantined(it)
	if !ok {
		if len(l.Quarantined) == maxDriverState {
			return
		}
		l.Quarantined = append(l.Quarantined, Quarantine{Point: it.Key, At: it.valueSpan().String(), Since: now.UTC()})
		q = &l.Quarantined[len(l.Quarantined)-1]
	}
	q.Why = why
	q.Retry = now.UTC().Add(min(firstRetry<<min(q.Times, 10), lastRetry))
	q.Times++
}

// release removes an item from the quarantine and reports whether it was there.
func (l *DriverState) release(it *item) bool {
	q, ok := l.quarantined(it)
	if !ok {
		return false
	}
	i := slices.IndexFunc(l.Quarantined, func(o Quarantine) bool { return o.Point == q.Point && o.At == q.At })
	l.Quarantined = slices.Delete(l.Quarantined, i, i+1)
	return true
}

// addHole stores a span that a request must not include.
func (l *DriverState) addHole(s Span) {
	if text := s.String(); len(l.Holes) < maxDriverState && !slices.Contains(l.Holes, text) {
		l.Holes = append(l.Holes, text)
	}
}
