package uplink

import (
	"math/rand/v2"
	"strings"
	"testing"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// texts makes n rows of a device with one text each.
func texts(n int, text func(i int) string) []buffer.Record {
	var out []buffer.Record
	for i := range n {
		row := record.AppendSample(nil, &record.Sample{Dev: "inv-1", TS: 1760000000000 + int64(i)*1000,
			Clk:      contract.ClockSync,
			Readings: []drivers.Reading{{Point: "alarm", Value: catalogue.Words(text(i))}}})
		out = append(out, buffer.Record{ID: buffer.ID{Epoch: "k3f9x2q7", Seq: uint64(i + 1)}, Class: buffer.Reading,
			Payload: row})
	}
	return out
}

// TestPacked: with histz a backlog comes as the messages of hist would, each packed, and no message is too large; what
// packing cannot make smaller goes on hist.
func TestPacked(t *testing.T) {
	topics, err := contract.NewTopics("", "cremasco", "quintano")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	noise := func(int) string {
		var b strings.Builder
		for range 10000 {
			b.WriteRune(rune(0x10000 + rng.IntN(0x100000)))
		}
		return b.String()
	}
	random := make([]byte, contract.MaxPayload)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	if p := (&composer{pack: true}).packed(random); p != nil {
		t.Errorf("%d bytes that cannot be packed became %d", len(random), len(p))
	}
	for name, c := range map[string]struct {
		recs  []buffer.Record
		topic string
	}{
		"readings":    {texts(3000, func(int) string { return "grid voltage too high" }), topics.Histz("inv-1")},
		"a short one": {texts(1, func(int) string { return "" }), topics.Histz("inv-1")},
		"large texts": {texts(5, noise), topics.Histz("inv-1")},
	} {
		t.Run(name, func(t *testing.T) {
			plain := composer{topics: topics}
			packed := composer{topics: topics, pack: true}
			want, _, err := plain.compose(c.recs, true, 7)
			if err != nil {
				t.Fatal(err)
			}
			got, broken, err := packed.compose(c.recs, true, 7)
			if err != nil || len(broken) > 0 || len(got) != len(want) {
				t.Fatalf("%d messages instead of %d, %v", len(got), len(want), err)
			}
			for i, m := range got {
				body := m.payload
				if m.topic != c.topic {
					t.Errorf("message %d on %s", i, m.topic)
				}
				if m.topic == topics.Histz("inv-1") {
					if body, err = contract.UnpackBatch(body); err != nil {
						t.Fatal(err)
					}
				}
				if string(body) != string(want[i].payload) || len(m.ids) != len(want[i].ids) || !m.hist {
					t.Errorf("message %d is another one packed", i)
				}
				if len(m.payload) > contract.MaxPayload || len(m.payload) > len(want[i].payload) {
					t.Errorf("message %d has %d bytes, plain %d", i, len(m.payload), len(want[i].payload))
				}
			}
			live, _, err := packed.compose(c.recs, false, 7)
			if err != nil || len(live) > 0 && live[0].topic != topics.Tele("inv-1") {
				t.Errorf("live: %v, %v", live, err)
			}
		})
	}
}
