package uplink

import (
	"testing"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// BenchmarkCompose makes the messages of a backlog: samples of ten devices with 20 values each.
func BenchmarkCompose(b *testing.B) {
	topics, err := contract.NewTopics("", "cremasco", "quintano")
	if err != nil {
		b.Fatal(err)
	}
	points := catalogue.Points()[:20]
	var recs []buffer.Record
	for i := range 2000 {
		s := record.Sample{Dev: "inv-" + string(rune('0'+i%10)), TS: 1760000000000 + int64(i)*1000,
			Mono: int64(i) * 1000, Boot: "b7c1e2f0", Clk: contract.ClockSync}
		for j, p := range points {
			s.Readings = append(s.Readings,
				drivers.Reading{Point: p.Key, Value: catalogue.Number(float64(2300+i%50+j) / 10)})
		}
		recs = append(recs, buffer.Record{ID: buffer.ID{Epoch: "k3f9x2q7", Seq: uint64(i + 1)}, Class: buffer.Reading,
			Payload: record.AppendSample(nil, &s)})
	}
	for name, c := range map[string]composer{"plain": {topics: topics}, "packed": {topics: topics, pack: true}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				out, _, err := c.compose(recs, true, 7)
				if err != nil {
					b.Fatal(err)
				}
				size = 0
				for _, m := range out {
					size += len(m.payload)
				}
			}
			b.ReportMetric(float64(size)/40000, "bytes/value")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/40000, "ns/value")
		})
	}
}
