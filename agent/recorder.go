package agent

import (
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// recorder makes records of what happens and stores them, each in the class of its type.
type recorder struct {
	store    *buffer.Store // set before anything is recorded
	log      *slog.Logger
	boot     string // which start of the machine
	stamp    func(at time.Time) moment
	personal map[string]bool // devices marked personal
}

// append stores an event or interval with the given moment and returns its identity. It marshals data.
func (r *recorder) append(device, typ string, at moment, data any) buffer.ID {
	body, err := json.Marshal(data)
	if err != nil {
		r.log.Error("encode event", "device", device, "type", typ, "err", err)
		return buffer.ID{}
	}
	ts := at.wall.UnixMilli()
	row := record.AppendEvent(nil, &record.Event{Dev: device, Type: typ, TS: ts, Mono: at.mono, Boot: r.boot,
		Clk: at.clk, Data: body})
	class := record.ClassOf(contract.RouteOf(typ).Class)
	from := ts
	if class == buffer.Interval {
		from -= quarter
	}
	id, err := r.put(device, class, from, ts, row)
	if err != nil && !errors.Is(err, buffer.ErrNotSealed) { // held in memory: the condition of the store says so
		r.log.Error("store event", "device", device, "type", typ, "err", err)
	}
	return id
}

// event stores an event that happens now.
func (r *recorder) event(device, typ string, data any) {
	r.append(device, typ, r.stamp(time.Time{}), data)
}

// put stores a record of a device, or of the node itself. Records of a device marked personal are erased once they are
// acknowledged.
func (r *recorder) put(device string, class buffer.Class, from, to int64, row []byte) (buffer.ID, error) {
	if r.personal[device] {
		return r.store.AppendPrivate(class, from, to, row)
	}
	return r.store.Append(class, from, to, row)
}
