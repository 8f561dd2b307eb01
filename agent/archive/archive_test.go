package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

const noon = 1772362800000 // 2026-03-01T11:00:00Z

func sample(dev string, ts int64) []byte {
	return record.AppendSample(nil, &record.Sample{Dev: dev, TS: ts, Clk: contract.ClockSync,
		Readings: []drivers.Reading{
			{Point: "ac_power", Value: catalogue.Number(1234.5)}, {Point: "state", Value: catalogue.Words("producing")},
			{Point: "temperature", Quality: drivers.Bad}}})
}

func event(dev, typ string, ts int64, data string) []byte {
	return record.AppendEvent(nil, &record.Event{Dev: dev, Type: typ, TS: ts, Clk: contract.ClockSync,
		Data: json.RawMessage(data)})
}

// filled is a store with some of everything: 100 readings of two devices in turn, an interval, an event, a card, a reading of
// a personal device and a payload that is no row.
func filled(t *testing.T) *Archive {
	t.Helper()
	s, err := buffer.Open(t.TempDir(), buffer.Options{Codec: record.NewCodec(), Sync: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	put := func(_ buffer.ID, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(100) {
		at := noon + 1000*i
		put(s.Append(buffer.Reading, at, at, sample(fmt.Sprintf("inv-%d", 1+i%2), at)))
	}
	put(s.Append(buffer.Interval, noon, noon+900_000,
		event("inv-1", contract.EnergyInterval, noon+900_000, `{"start":1772362800000,"point":"ac_energy"}`)))
	put(s.Append(buffer.Event, noon, noon, event("node", contract.StoreOpened, noon, `{"clean":true,"text":"<&>"}`)))
	put(s.Append(buffer.Card, noon, noon, event("reader-1", "bordo.card.presented.v1", noon, `{"card":"SECRET"}`)))
	put(s.AppendPrivate(buffer.Reading, noon, noon, sample("household-1", noon)))
	put(s.AppendPrivate(buffer.Event, noon, noon, event("household-1", contract.ConditionRaised, noon, `{}`)))
	put(s.Append(buffer.Reading, noon, noon, []byte("no row")))
	return New(s, "cremasco", "quintano")
}

func listed(t *testing.T, a *Archive, q Query, limit int, newest bool) ([]Entry, Tally) {
	t.Helper()
	var out []Entry
	tally, err := a.List(t.Context(), q, limit, newest, func(e Entry) error { out = append(out, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if tally.Records != len(out) {
		t.Errorf("%d records came and %d were counted", len(out), tally.Records)
	}
	return out, tally
}

func TestListChooses(t *testing.T) {
	a := filled(t)
	all, tally := listed(t, a, Query{}, MaxEntries, false)
	if len(all) != 102 || tally.Damaged != 1 || tally.More || !strings.Contains(tally.Fault, "not a row") {
		t.Fatalf("%d records, %+v", len(all), tally)
	}
	if all[0].Class != "event" || all[1].Class != "interval" || all[2].Seq != 1 || all[2].N != 3 ||
		all[2].Dev != "inv-1" || all[2].From != noon {
		t.Errorf("listed %+v", all[:3])
	}
	for _, c := range []struct {
		name string
		q    Query
		want int
	}{
		{"a device", Query{Device: "inv-2"}, 50},
		{"a class", Query{Classes: []string{"event", "interval"}}, 2},
		{"numbers", Query{Epoch: all[0].Epoch, First: 10, Last: 19}, 10},
		{"another epoch", Query{Epoch: "zzzzzzzz"}, 0},
		{"a time", Query{Classes: []string{"reading"}, From: noon + 5000, To: noon + 9000}, 5},
		{"behind a quarter", Query{Classes: []string{"interval"}, From: noon + 900_000}, 0},
		{"within a quarter", Query{Classes: []string{"interval"}, From: noon + 899_999}, 1},
		{"cards", Query{Classes: []string{"card"}}, 0},
		{"a reader", Query{Device: "reader-1"}, 0},
		{"a personal device", Query{Device: "household-1"}, 0},
	} {
		if got, _ := listed(t, a, c.q, MaxEntries, false); len(got) != c.want {
			t.Errorf("%s: %d records instead of %d", c.name, len(got), c.want)
		}
	}
	if _, err := a.List(t.Context(), Query{Classes: []string{"gossip"}}, 1, false, nil); err == nil {
		t.Error("a class that is none was taken")
	}
}

func TestListIsBounded(t *testing.T) {
	a := filled(t)
	first, tally := listed(t, a, Query{Classes: []string{"reading"}}, 7, false)
	if len(first) != 7 || first[6].Seq != 7 || !tally.More {
		t.Errorf("the first: %+v, %+v", first, tally)
	}
	last, tally := listed(t, a, Query{Classes: []string{"reading"}}, 7, true)
	if len(last) != 7 || last[0].Seq != 94 || last[6].Seq != 100 || !tally.More {
		t.Errorf("the newest: %+v, %+v", last, tally)
	}
	if got, tally := listed(t, a, Query{Classes: []string{"event"}}, 1, true); len(got) != 1 || tally.More {
		t.Errorf("all that there are: %+v, %+v", got, tally)
	}
	stop := errors.New("enough")
	if _, err := a.List(t.Context(), Query{}, 10, false, func(Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("who listens no more: %v", err)
	}
}

// Each line is a message of the contract, and nothing personal is in any of them.
func TestExport(t *testing.T) {
	a := filled(t)
	var lines []string
	tally, err := a.Export(t.Context(), Query{}, time.UnixMilli(noon), func(line []byte) error {
		lines = append(lines, string(line))
		return nil
	})
	if err != nil || tally.Records != 102 || tally.Damaged != 1 || len(lines) != 102 {
		t.Fatalf("%+v, %v, %d lines", tally, err, len(lines))
	}
	e, err := contract.DecodeEvent([]byte(lines[0]))
	if err != nil || e.Type != contract.StoreOpened || e.Tenant != "cremasco" || e.Node != "quintano" ||
		string(e.Data) != `{"clean":true,"text":"<&>"}` {
		t.Errorf("event %+v, %v", e, err)
	}
	b, err := contract.DecodeBatch([]byte(lines[2]))
	if err != nil || !b.Hist || b.Node != "quintano" || b.Dev != "inv-1" || len(b.Samples) != 1 {
		t.Fatalf("batch %+v, %v", b, err)
	}
	if s := b.Samples[0]; s.Seq != 1 || s.TS != noon || s.V["ac_power"] != 1234.5 || s.V["state"] != "producing" ||
		s.Q["temperature"] != contract.QualityBad {
		t.Errorf("sample %+v", s)
	}
	if i := slices.IndexFunc(lines, func(l string) bool {
		return strings.Contains(l, "SECRET") || strings.Contains(l, "household") || strings.Contains(l, "reader-1")
	}); i >= 0 {
		t.Errorf("exported: %s", lines[i])
	}
}

func TestStat(t *testing.T) {
	a := filled(t)
	st, err := a.Stat()
	if err != nil || len(st.Classes) != 4 || st.Bytes == 0 || len(st.Backlog) != 1 || st.Backlog[0].N != 106 {
		t.Fatalf("%+v, %v", st, err)
	}
	waiting := map[string]uint64{}
	for _, c := range st.Classes {
		waiting[c.Class] = c.Waiting
	}
	if waiting["event"] != 2 || waiting["interval"] != 1 || waiting["reading"] != 102 || waiting["card"] != 1 {
		t.Errorf("waiting %v", waiting)
	}
	if e := st.Classes[0]; e.Records != 2 || e.Personal != 1 || e.From != noon {
		t.Errorf("events %+v", e)
	}
	if r, err := a.Verify(); err != nil || len(r.Faults) != 0 {
		t.Errorf("verified %+v, %v", r, err)
	}
}
