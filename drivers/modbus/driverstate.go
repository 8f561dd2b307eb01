package modbus

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// How long a quarantined item is left alone: doubled each time it is refused again. It is no longer than an hour, because
// there are devices that refuse some registers only while they start or sleep, and one request an hour costs nothing.
const (
	firstRetry = 10 * time.Minute
	lastRetry  = time.Hour
)

// maxDriverState bounds what a device can make us remember.
const maxDriverState = 256

// DriverState is what a device taught about itself beyond its profile. It is plain data, kept across restarts as JSON (in
// drivers.Report and drivers.Device), and holds for one device with one firmware.
type DriverState struct {
	Serial      string       `json:"serial,omitempty"`    // of the device that taught it
	Firmware    string       `json:"firmware,omitempty"`  // that it had
	Registers   int          `json:"registers,omitempty"` // that one request may ask for; 0: as the profile says
	Bits        int          `json:"bits,omitempty"`
	Base        *uint16      `json:"base,omitempty"`  // where its SunSpec chain begins, when that is not the profile's first base
	Holes       []string     `json:"holes,omitempty"` // spans that cannot be read over
	Quarantined []Quarantine `json:"quarantined,omitempty"`
}

// Quarantine is a point that the device refuses to give.
type Quarantine struct {
	Point string    `json:"point"`
	At    string    `json:"at"` // the registers
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	Retry time.Time `json:"retry"` // not asked again before
	Times int       `json:"times"` // how often it was refused
}

// parseDriverState reads what was kept. What cannot be read, or cannot be, is dropped: it is learnt again.
func parseDriverState(data []byte) DriverState {
	var l DriverState
	if len(data) == 0 || json.Unmarshal(data, &l) != nil {
		return DriverState{}
	}
	if l.Registers < 0 || l.Bits < 0 || len(l.Holes) > maxDriverState || len(l.Quarantined) > maxDriverState {
		return DriverState{}
	}
	l.Holes = slices.DeleteFunc(l.Holes, func(s string) bool { _, err := parseSpan(s); return err != nil })
	l.Quarantined = slices.DeleteFunc(l.Quarantined, func(q Quarantine) bool { _, err := parseSpan(q.At); return err != nil || q.Times < 1 })
	return l
}

// json gives what is to be kept, the same bytes for the same knowledge.
func (l *DriverState) json() []byte {
	data, err := json.Marshal(l)
	if err != nil {
		panic(fmt.Sprintf("modbus: %+v does not marshal: %v", l, err)) // it holds texts, numbers and sane times only
	}
	return data
}

// unreadable are what must not be read over.
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

// quarantined finds the entry of an item.
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

// quarantine takes an item into quarantine, or prolongs it.
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

// release ends a quarantine and tells whether there was one.
func (l *DriverState) release(it *item) bool {
	q, ok := l.quarantined(it)
	if !ok {
		return false
	}
	i := slices.IndexFunc(l.Quarantined, func(o Quarantine) bool { return o.Point == q.Point && o.At == q.At })
	l.Quarantined = slices.Delete(l.Quarantined, i, i+1)
	return true
}

// addHole remembers a span that cannot be read over.
func (l *DriverState) addHole(s Span) {
	if text := s.String(); len(l.Holes) < maxDriverState && !slices.Contains(l.Holes, text) {
		l.Holes = append(l.Holes, text)
	}
}
