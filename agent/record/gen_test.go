package record

import (
	"encoding/json"
	"math"

	"pgregory.net/rapid"

	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

func drawClock(t *rapid.T) contract.Clock {
	return rapid.SampledFrom([]contract.Clock{contract.ClockSync, contract.ClockEst, contract.ClockFree}).Draw(t, "clk")
}

// drawFloat draws finite numbers of every kind that a row treats apart.
func drawFloat(t *rapid.T) float64 {
	switch rapid.IntRange(0, 5).Draw(t, "kind of number") {
	case 0:
		return float64(rapid.Int64Range(-20000, 20000).Draw(t, "m")) / math.Pow10(rapid.IntRange(0, 4).Draw(t, "e"))
	case 1:
		return float64(rapid.Int64Range(-2e15, 2e15).Draw(t, "m")) * rapid.SampledFrom(invPow10[:]).Draw(t, "step")
	case 2:
		return float64(rapid.Float32Range(-1e6, 1e6).Draw(t, "single"))
	case 3:
		return rapid.SampledFrom([]float64{
			0, math.Copysign(0, -1), 5e-324, -5e-324, math.MaxFloat64, -math.MaxFloat64, 1e15, 1e15 - 1, -1e15, 1 << 53,
			0.1 + 0.2,
			math.MaxFloat32, math.SmallestNonzeroFloat32, 999999999999999, 99999999999999.9, 1e-9, 1e22,
		}).Draw(t, "edge")
	case 4:
		return float64(int64(1)<<rapid.IntRange(0, 62).Draw(t, "bit")) - 1
	}
	return rapid.Float64().Filter(func(f float64) bool { return f-f == 0 }).Draw(t, "double")
}

func drawReading(t *rapid.T) drivers.Reading {
	keys := append([]string{"", "own_point", "pünktchen", string(make([]byte, 200))}, keysV1[:6]...)
	r := drivers.Reading{
		Point:   rapid.SampledFrom(keys).Draw(t, "key"),
		Quality: drivers.Quality(rapid.IntRange(0, 3).Draw(t, "quality")),
	}
	switch rapid.IntRange(0, 7).Draw(t, "type") {
	case 0:
		r.Value = catalogue.Truth(rapid.Bool().Draw(t, "truth"))
	case 1:
		r.Value = catalogue.Words(rapid.SampledFrom([]string{"", "open", "closed", "\x00\xff", "città"}).Draw(t,
			"text"))
	case 2: // absent
	default:
		r.Value = catalogue.Number(drawFloat(t))
	}
	return r
}

func drawSample(t *rapid.T) Sample {
	return Sample{
		Dev:  rapid.SampledFrom([]string{"inv-1", "inv-2", "m", ""}).Draw(t, "dev"),
		TS:   drawTime(t),
		Mono: drawTime(t),
		Boot: rapid.SampledFrom([]string{"", "b7c1e2f0", "b7c1e2f1"}).Draw(t, "boot"),
		Clk:  drawClock(t), Readings: rapid.SliceOfN(rapid.Custom(drawReading), 0, 12).Draw(t, "readings"),
	}
}

func drawTime(t *rapid.T) int64 {
	if rapid.Bool().Draw(t, "plain") {
		return 1760000000000 + 10000*rapid.Int64Range(0, 50).Draw(t, "tick")
	}
	return rapid.Int64().Draw(t, "time")
}

func drawEvent(t *rapid.T) Event {
	return Event{
		Dev:  rapid.SampledFrom([]string{"inv-1", "node", ""}).Draw(t, "dev"),
		Type: rapid.SampledFrom([]string{"bordo.energy.interval.v1", "bordo.store.gap.v1", ""}).Draw(t, "type"),
		TS:   drawTime(t), Mono: drawTime(t), Boot: rapid.SampledFrom([]string{"", "b7c1e2f0"}).Draw(t, "boot"),
		Clk: drawClock(t),
		Data: json.RawMessage(rapid.SampledFrom([]string{"{}", "", `{"point":"ac_energy","kwh":0.25}`, "\xff"}).Draw(t,
			"data")),
	}
}

// drawRecords draws blocks in which rows of few devices alternate with events and with bytes that are none of ours.
func drawRecords(t *rapid.T) []buffer.Record {
	var earlier [][]byte
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) buffer.Record {
		r := buffer.Record{
			ID: buffer.ID{Epoch: rapid.SampledFrom([]string{"k3f9x2q7", "k3fax2q7", ""}).Draw(t, "epoch"),
				Seq: rapid.Uint64().Draw(t, "seq")},
			Class: buffer.Class(rapid.Uint8().Draw(t, "class")), From: drawTime(t), To: drawTime(t),
		}
		switch rapid.IntRange(0, 9).Draw(t, "payload") {
		case 0:
			r.Payload = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		case 1, 2:
			e := drawEvent(t)
			r.Payload = AppendEvent(nil, &e)
		case 3:
			if len(earlier) > 0 { // a row, damaged: must come back as damaged as it is
				p := append([]byte(nil), earlier[rapid.IntRange(0, len(earlier)-1).Draw(t, "which")]...)
				if len(p) > 0 {
					p[rapid.IntRange(0, len(p)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				}
				r.Payload = p[:rapid.IntRange(0, len(p)).Draw(t, "cut")]
			}
		default:
			s := drawSample(t)
			r.Payload = AppendSample(nil, &s)
		}
		earlier = append(earlier, r.Payload)
		return r
	}), 0, 40).Draw(t, "records")
}
