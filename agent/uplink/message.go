package uplink

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/gzip"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// message is a publication with the records that it carries. They are leased from the store until it is settled.
type message struct {
	topic   string
	payload []byte
	ids     []buffer.ID
	retain  bool
	hist    bool
}

// composer turns leased records into messages of the contract.
type composer struct {
	topics contract.Topics
	limit  int              // bytes of the MQTT packet that several samples make; a single one may be larger
	pack   bool             // the history lane uses histz
	fields []contract.Field // re-used
	zip    *gzip.Writer     // re-used; nil until it is needed

	lastLive, lastHist int // sizes of the last sample message in each lane, before compression, in bytes
}

// batch is a message of samples that is being written. All of them have its device, epoch and quality of the clock.
type batch struct {
	dev string
	w   *contract.BatchWriter
	ids []buffer.ID

	closed bool // holds one sample larger than the limit: the next sample starts another batch
}

type batchKey struct {
	dev, ep string
	clk     contract.Clock
}

// compose builds messages: events first, one per message, then samples in batches, each in their given order.
// Unreadable records and those larger than a message may be are returned as broken with the reason: they must not block
// the records behind them.
func (c *composer) compose(recs []buffer.Record, hist bool, sent int64) (out []*message, broken []buffer.Record,
	err error) {
	var order []*batch
	open := make(map[batchKey]*batch)
	for _, r := range recs {
		var fault error
		if r.Class == buffer.Reading {
			fault = c.addSample(r, func(k batchKey, begin beginning) *batch {
				if open[k] == nil || open[k].closed || begin != ifNone {
					open[k] = &batch{dev: k.dev, w: contract.NewBatch(make([]byte, 0, c.size(hist)), contract.Envelope{
						Node: c.topics.Node(), Dev: k.dev, Ep: k.ep, Hist: hist, Clk: k.clk, Sent: sent})}
					if begin != forOne {
						open[k].w.Limit(c.limit - packetSize(c.topics.Histz(k.dev), nil))
					}
					order = append(order, open[k])
				}
				return open[k]
			})
		} else {
			var m *message
			if m, fault = c.event(r, hist); fault == nil {
				out = append(out, m)
			}
		}
		if fault != nil {
			broken = append(broken, r)
			err = errors.Join(err, fmt.Errorf("record %s-%d: %w", r.Epoch, r.Seq, fault))
		}
	}
	for _, b := range order {
		if b.w.Len() == 0 {
			continue
		}
		m := &message{topic: c.topics.Tele(b.dev), payload: b.w.Bytes(), ids: b.ids, hist: hist}
		if !hist {
			c.lastLive = len(m.payload)
		} else {
			c.lastHist = len(m.payload)
			m.topic = c.topics.Hist(b.dev)
			if packed := c.packed(m.payload); packed != nil {
				m.topic, m.payload = c.topics.Histz(b.dev), packed
			}
		}
		out = append(out, m)
	}
	return out, broken, err
}

// size is the initial memory of a message: messages of a lane are often as large as the previous one.
func (c *composer) size(hist bool) int {
	if hist {
		return min(c.lastHist+c.lastHist/16+64, c.limit)
	}
	return min(c.lastLive+c.lastLive/16+64, liveSize)
}

// liveSize bounds the memory that a live message is begun with.
const liveSize = 4 << 10

// packLevel is where gzip begins to cost more than it saves. It needs 3.6 bytes for a value of a plant's day. The best
// level needs 3.3 and four times as long, the default one 3.8.
const packLevel = 7

// packed returns a history message as it is sent on histz. It returns nil when the message is to be sent on hist, also
// when compression does not make it smaller, so it never exceeds the maximum message size.
func (c *composer) packed(payload []byte) []byte {
	if !c.pack {
		return nil
	}
	var out bytes.Buffer
	if c.zip == nil {
		c.zip, _ = gzip.NewWriterLevel(&out, packLevel) //nolint:errcheck // the level is one
	}
	c.zip.Reset(&out)
	if _, err := c.zip.Write(payload); err != nil {
		return nil
	}
	if err := c.zip.Close(); err != nil || out.Len() >= len(payload) {
		return nil
	}
	return out.Bytes()
}

// beginning says when addSample wants another batch.
type beginning uint8

const (
	ifNone   beginning = iota // when there is none
	whenFull                  // the one there is full
	forOne                    // a sample is larger than the limit by itself
)

// addSample puts a record into its batch, which batchOf finds or, when the one there is full, begins.
func (c *composer) addSample(r buffer.Record, batchOf func(k batchKey, begin beginning) *batch) error {
	info, err := record.Describe(r.Payload)
	if err != nil {
		return err
	}
	if c.fields, err = record.Fields(c.fields[:0], r.Payload); err != nil {
		return err
	}
	k := batchKey{info.Dev, r.Epoch, info.Clk}
	b := batchOf(k, ifNone)
	ok, err := b.w.Add(r.Seq, info.TS, c.fields)
	if !ok && err == nil {
		b = batchOf(k, whenFull)
		_, err = b.w.Add(r.Seq, info.TS, c.fields)
	}
	if errors.Is(err, contract.ErrTooLarge) { // for the present limit: alone it may pass
		b = batchOf(k, forOne)
		_, err = b.w.Add(r.Seq, info.TS, c.fields)
		b.closed = true
	}
	if err == nil {
		b.ids = append(b.ids, r.ID)
	}
	return err
}

func (c *composer) event(r buffer.Record, hist bool) (*message, error) {
	e, err := record.DecodeEvent(r.Payload)
	if err != nil {
		return nil, err
	}
	head := contract.EventHead{Tenant: c.topics.Tenant(), Node: c.topics.Node(), Dev: e.Dev,
		Ep: r.Epoch, Seq: r.Seq, Type: e.Type, TS: e.TS, Clk: e.Clk}
	topic := c.topics.Event(e.Dev)
	if contract.RouteOf(e.Type).Kind == contract.KindRes {
		topic = c.topics.Res()
	}
	return &message{topic: topic, payload: contract.AppendEvent(nil, head, e.Data), ids: []buffer.ID{r.ID}, hist: hist},
		nil
}
