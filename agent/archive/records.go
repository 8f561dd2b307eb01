package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// Query chooses records. The zero value chooses all.
type Query struct {
	Classes []string `json:"classes,omitempty"` // event, interval, reading; empty: all three
	Device  string   `json:"device,omitempty"`
	From    int64    `json:"from,omitempty"` // ms UTC, both included; 0: open
	To      int64    `json:"to,omitempty"`
	Epoch   string   `json:"ep,omitempty"`
	First   uint64   `json:"first,omitempty"`
	Last    uint64   `json:"last,omitempty"` // 0: open
}

// MaxEntries bounds what one List gives.
const MaxEntries = 100_000

// Entry is one record of a list.
type Entry struct {
	Class string `json:"class"`
	Epoch string `json:"ep"`
	Seq   uint64 `json:"seq"`
	From  int64  `json:"from,omitempty"` // ms UTC
	To    int64  `json:"to,omitempty"`
	Dev   string `json:"dev"`
	Type  string `json:"type,omitempty"`   // of an event or interval
	N     int    `json:"values,omitempty"` // of a reading
	Clk   string `json:"clk"`
	Bytes int    `json:"bytes"` // size in memory; on disk it is smaller
}

// Tally is what came of a walk through the records.
type Tally struct {
	Records int    `json:"records"`         // given
	More    bool   `json:"more,omitempty"`  // there are more than were asked for
	Damaged int    `json:"damaged"`         // blocks or records that cannot be read
	Fault   string `json:"fault,omitempty"` // of the first of those
}

func (t *Tally) damaged(err error) {
	if t.Damaged == 0 {
		t.Fault = err.Error()
	}
	t.Damaged++
}

// List passes up to limit records, at most MaxEntries, to give: the first ones in the order of class and storage, or
// with newest the last ones by time.
func (a *Archive) List(ctx context.Context, q Query, limit int, newest bool, give func(Entry) error) (Tally, error) {
	limit = min(max(limit, 0), MaxEntries)
	var t Tally
	var last []Entry
	err := a.walk(ctx, q, &t, func(r buffer.Record, about record.Info) (bool, error) {
		e := Entry{Class: r.Class.String(), Epoch: r.Epoch, Seq: r.Seq, From: r.From, To: r.To,
			Dev: about.Dev, Type: about.Type, N: about.N, Clk: string(about.Clk), Bytes: len(r.Payload)}
		if newest {
			if last = append(last, e); len(last) >= 2*limit+1024 {
				last, t.More = youngest(last, limit), true
			}
			return true, nil
		}
		if t.Records >= limit {
			t.More = true
			return false, nil
		}
		t.Records++
		return true, give(e)
	})
	if err != nil || !newest {
		return t, err
	}
	t.More = t.More || len(last) > limit
	for _, e := range youngest(last, limit) {
		t.Records++
		if err := give(e); err != nil {
			return t, err
		}
	}
	return t, nil
}

// youngest sorts by time and keeps the last n.
func youngest(list []Entry, n int) []Entry {
	slices.SortStableFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.To, b.To),
			cmp.Compare(a.Seq, b.Seq))
	})
	return slices.Clone(list[max(0, len(list)-n):])
}

// Export passes each record to give as a message of the contract: a sample as its own batch as on hist, an event or
// interval as on event. line is valid during the call. sent is the sending time in the batches.
func (a *Archive) Export(ctx context.Context, q Query, sent time.Time, give func(line []byte) error) (Tally, error) {
	var t Tally
	var buf []byte
	var fields []contract.Field
	err := a.walk(ctx, q, &t, func(r buffer.Record, about record.Info) (bool, error) {
		var err error
		if buf, fields, err = a.message(buf[:0], fields[:0], r, about, sent); err != nil {
			t.damaged(fmt.Errorf("record %s: %w", r.ID, err))
			return true, nil
		}
		t.Records++
		return true, give(buf)
	})
	return t, err
}

// message appends a record as a message to dst.
func (a *Archive) message(dst []byte, fields []contract.Field, r buffer.Record, about record.Info,
	sent time.Time) ([]byte, []contract.Field, error) {
	if about.Kind == record.KindEvent {
		e, err := record.DecodeEvent(r.Payload)
		if err != nil {
			return dst, fields, err
		}
		if !json.Valid(e.Data) {
			return dst, fields, fmt.Errorf("its data are not JSON")
		}
		head := contract.EventHead{Tenant: a.tenant, Node: a.node, Dev: e.Dev, Ep: r.Epoch, Seq: r.Seq, Type: e.Type,
			TS: e.TS, Clk: e.Clk}
		return contract.AppendEvent(dst, head, e.Data), fields, nil
	}
	fields, err := record.Fields(fields, r.Payload)
	if err != nil {
		return dst, fields, err
	}
	w := contract.NewBatch(dst, contract.Envelope{Node: a.node, Dev: about.Dev, Ep: r.Epoch, Hist: true, Clk: about.Clk,
		Sent: sent.UnixMilli()})
	if _, err := w.Add(r.Seq, about.TS, fields); err != nil {
		return dst, fields, err
	}
	return w.Bytes(), fields, nil
}

// walk goes through the records that q chooses until take says no. What cannot be read is counted in t.
func (a *Archive) walk(ctx context.Context, q Query, t *Tally,
	take func(buffer.Record, record.Info) (more bool, err error)) error {
	bq := buffer.Query{From: q.From, To: q.To, Epoch: q.Epoch, First: q.First, Last: q.Last}
	for _, name := range q.Classes {
		c, err := buffer.ParseClass(name)
		if err != nil {
			return err
		}
		bq.Classes = append(bq.Classes, c)
	}
	for r, err := range a.store.Records(bq) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var about record.Info
		if err == nil {
			if about, err = record.Describe(r.Payload); err != nil {
				err = fmt.Errorf("record %s: %w", r.ID, err)
			}
		}
		if err != nil {
			t.damaged(err)
			continue
		}
		// a quarter ends where the next begins
		if q.Device != "" && about.Dev != q.Device || r.From < r.To && r.To == q.From {
			continue
		}
		if more, err := take(r, about); err != nil || !more {
			return err
		}
	}
	return nil
}

// epochs sums up what is on disk by epoch, oldest first: epoch names rise.
func epochs(shares []buffer.Share) []EpochStat {
	byName := map[string]*EpochStat{}
	for _, sh := range shares {
		for _, s := range sh.Epochs {
			e := byName[s.Epoch]
			if e == nil {
				e = &EpochStat{Epoch: s.Epoch, First: s.First, Last: s.Last}
				byName[s.Epoch] = e
			}
			e.First, e.Last, e.Records = min(e.First, s.First), max(e.Last, s.Last), e.Records+s.N
		}
	}
	out := make([]EpochStat, 0, len(byName))
	for _, e := range byName {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b EpochStat) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return out
}
