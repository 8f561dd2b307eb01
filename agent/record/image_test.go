package record

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// imageRows are one row of each kind and of everything that a row can hold. They are what testdata was made of; a new
// version adds rows of its own and leaves these alone.
func imageRows() (samples []Sample, events []Event) {
	for i := range 3 {
		samples = append(samples, Sample{
			Dev: fmt.Sprintf("inv-%d", 1+i%2), TS: 1760000000000 + int64(i)*5000, Mono: 86400000 + int64(i)*5000,
			Boot: "b7c1e2f0",
			Clk:  []contract.Clock{contract.ClockSync, contract.ClockEst, contract.ClockFree}[i],
			Readings: []drivers.Reading{
				{Point: "ac_power", Value: catalogue.Number(1234.5 + float64(i))},
				{Point: "ac_voltage_l1", Value: catalogue.Number(float64(float32(230.1234)))},
				{Point: "power_factor", Value: catalogue.Number(1 / (3 + float64(i)))},
				{Point: "reactive_power", Value: catalogue.Number(math.Copysign(0, -1))},
				{Point: "own_point", Value: catalogue.Number(-17), Quality: drivers.Uncertain},
				{Point: "photocell_clear", Value: catalogue.Truth(i == 1)},
				{Point: "state", Value: catalogue.Words("producing"), Quality: drivers.Stale},
				{Point: "temperature", Quality: drivers.Bad},
			},
		})
	}
	events = []Event{
		{Dev: "inv-1", Type: "bordo.energy.interval.v1", TS: 1760000400000, Mono: 86800000, Boot: "b7c1e2f0",
			Clk: contract.ClockSync, Data: json.RawMessage(`{"point":"ac_energy","kwh":0.25}`)},
		{Dev: "node", Type: "bordo.store.gap.v1", TS: 1760000000000, Mono: 0, Clk: contract.ClockFree,
			Data: json.RawMessage(`{"ep":"k3f9x2q7","class":"reading","from":9001,"to":9400,"why":"evicted"}`)},
	}
	return samples, events
}

func imageRecords(t *testing.T) []buffer.Record {
	t.Helper()
	samples, events := imageRows()
	var recs []buffer.Record
	add := func(class buffer.Class, from, to int64, payload []byte) {
		id := buffer.ID{Epoch: "k3f9x2q7", Seq: uint64(10231 + 3*len(recs))}
		recs = append(recs, buffer.Record{ID: id, Class: class, From: from, To: to, Payload: payload})
	}
	for i := range samples {
		add(buffer.Reading, samples[i].TS, samples[i].TS, AppendSample(nil, &samples[i]))
	}
	add(buffer.Interval, 1759999500000, 1760000400000, AppendEvent(nil, &events[0]))
	add(buffer.Event, events[1].TS, events[1].TS, AppendEvent(nil, &events[1]))
	add(buffer.Event, 0, 0, []byte("neither sample nor event"))
	return recs
}

// TestRowImages: rows of version 1 are what they were, one line of hex each.
func TestRowImages(t *testing.T) {
	b, err := os.ReadFile("testdata/rows-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(b))
	recs := imageRecords(t)[:5]
	if len(lines) != len(recs) {
		t.Fatalf("%d rows instead of %d", len(lines), len(recs))
	}
	for i, line := range lines {
		if got := hex.EncodeToString(recs[i].Payload); got != line {
			t.Errorf("row %d is written\n%s, and was\n%s", i, got, line)
		}
	}
}

// intervalData is what a quarter hour of meter d looks like.
func intervalData(q, d int) json.RawMessage {
	kwh := math.Round(250*math.Abs(math.Sin(float64(q)/30+float64(d)))) / 1000
	from := 12345 + float64(d) + float64(q)*0.125
	return fmt.Appendf(nil, `{"start":%d,"point":"import_energy","kwh":%v,"from":%v,"to":%v,"meter":"SN%06d","segment":1,`+
		`"coverage":1,"samples":90,"method":"counter","clk":"sync","rev":0}`, 1760000400000+int64(q)*900000, kwh, from,
		from+kwh, 1000+d)
}
