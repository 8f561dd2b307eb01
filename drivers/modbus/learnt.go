package modbus

import (
	"slices"
	"time"
)

// How long a quarantined item is left alone: doubled each time it is refused again.
const (
	firstRetry = time.Hour
	lastRetry  = 24 * time.Hour
)

// Learnt is what a device taught about itself beyond its profile. It is plain data, to be kept across restarts.
type Learnt struct {
	Firmware    string       `json:"firmware,omitempty"`  // of the device that taught it; another firmware starts anew
	Registers   int          `json:"registers,omitempty"` // that one request may ask for; 0: as the profile says
	Bits        int          `json:"bits,omitempty"`
	Holes       []string     `json:"holes,omitempty"` // spans that cannot be read over
	Quarantined []Quarantine `json:"quarantined,omitempty"`
}

// Quarantine is a point that the device refuses to give.
type Quarantine struct {
	Point string    `json:"point"`
	At    string    `json:"at"`
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	Retry time.Time `json:"retry"` // not asked again before
	Times int       `json:"times"` // how often it was refused
}

func (l *Learnt) quarantined(key string) (*Quarantine, bool) {
	i := slices.IndexFunc(l.Quarantined, func(q Quarantine) bool { return q.Point == key })
	if i < 0 {
		return nil, false
	}
	return &l.Quarantined[i], true
}

func (l *Learnt) retryDue(key string, now time.Time) bool {
	q, ok := l.quarantined(key)
	return ok && !now.Before(q.Retry)
}

func (l *Learnt) put(key, at, why string, now time.Time) {
	q, ok := l.quarantined(key)
	if !ok {
		l.Quarantined = append(l.Quarantined, Quarantine{Point: key, At: at, Since: now})
		q = &l.Quarantined[len(l.Quarantined)-1]
	}
	q.Why, q.Retry = why, now.Add(min(firstRetry<<min(q.Times, 10), lastRetry))
	q.Times++
}
