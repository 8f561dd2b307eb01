package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// TimeLayout is how the time of an event is written: RFC 3339 with milliseconds, always UTC.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// EventHead is what an event has besides its data.
type EventHead struct {
	Tenant, Node, Dev string // Dev is NodeDevice for the node's own events
	Ep                string
	Seq               uint64
	Type              string // bordo.<noun>.<verb>.v1
	TS                int64  // ms UTC
	Clk               Clock
}

// AppendEvent appends an event as CloudEvents 1.0 in structured JSON. data must be a JSON object and is copied
// unchanged. The same arguments always produce the same bytes, in every version.
func AppendEvent(dst []byte, h EventHead, data []byte) []byte {
	dst = append(dst, `{"specversion":"1.0","id":"`...)
	dst = append(append(dst, h.Ep...), '-')
	dst = strconv.AppendUint(dst, h.Seq, 10)
	dst = append(dst, `","source":`...)
	dst = appendString(dst, "/"+h.Tenant+"/"+h.Node+"/"+h.Dev)
	dst = appendString(append(dst, `,"type":`...), h.Type)
	dst = append(dst, `,"time":"`...)
	dst = time.UnixMilli(h.TS).UTC().AppendFormat(dst, TimeLayout)
	dst = append(dst, `","clk":`...)
	dst = appendString(dst, string(h.Clk))
	dst = append(dst, `,"datacontenttype":"application/json","data":`...)
	if len(data) == 0 {
		data = []byte("{}")
	}
	return append(append(dst, data...), '}')
}

// Event is a message on event or res as a consumer reads it.
type Event struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Time            time.Time       `json:"time"`
	Clk             Clock           `json:"clk"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`

	// What id and source say.
	Tenant, Node, Dev string `json:"-"`
	Ep                string `json:"-"`
	Seq               uint64 `json:"-"`
}

// DecodeEvent reads a message on event or res and takes id and source apart.
func DecodeEvent(payload []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(payload, &e); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	if e.SpecVersion != "1.0" {
		return Event{}, fmt.Errorf("decode event: specversion %q is not 1.0", e.SpecVersion)
	}
	if e.Type == "" || !strings.HasPrefix(string(e.Data), "{") {
		return Event{}, errors.New("decode event: type or data object is missing")
	}
	if !e.Clk.Valid() {
		return Event{}, fmt.Errorf("decode event: unknown clock quality %q", e.Clk)
	}
	ep, seq, ok := strings.Cut(e.ID, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil || !ok || n == 0 || n > MaxSeq || CheckEpoch(ep) != nil {
		return Event{}, fmt.Errorf("decode event: id %q is not {ep}-{seq}", e.ID)
	}
	e.Ep, e.Seq = ep, n
	part := strings.Split(e.Source, "/")
	if len(part) != 4 || part[0] != "" {
		return Event{}, fmt.Errorf("decode event: source %q is not /{tenant}/{node}/{dev}", e.Source)
	}
	if err := errors.Join(CheckID(part[1]), CheckID(part[2]), CheckID(part[3])); err != nil {
		return Event{}, fmt.Errorf("decode event: source: %w", err)
	}
	e.Tenant, e.Node, e.Dev = part[1], part[2], part[3]
	return e, nil
}
