package agent

import (
	"context"
	"encoding/json"
	"time"

	"bordo/agent/clock"
	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// gapsEvery is the interval at which open gaps are reported while no connection is made. Each connection reports them
// immediately.
const gapsEvery = time.Hour

// openedData is what the first record of an epoch says.
func (a *Agent) openedData(o buffer.Opened) map[string]any {
	data := map[string]any{"clean": o.Clean, "boot": a.clock.boot}
	if o.PrevEpoch != "" {
		data["prev_ep"], data["prev_last_sealed"] = o.PrevEpoch, o.PrevLastSealed
	}
	if o.Damage != "" {
		data["damage"] = o.Damage
	}
	if o.SetAside != "" {
		data["set_aside"] = o.SetAside
	}
	if o.Memory {
		data["memory"] = true
	}
	return data
}

// openedRow makes the first record of an epoch that follows a run from memory. The store calls it.
func (a *Agent) openedRow(o buffer.Opened) []byte {
	at := a.clock.stamp(time.Time{})
	body, err := json.Marshal(a.openedData(o))
	if err != nil {
		a.log.Error("encode event", "type", contract.StoreOpened, "err", err)
		return nil
	}
	return record.AppendEvent(nil, &record.Event{Dev: contract.NodeDevice, Type: contract.StoreOpened,
		TS:   at.wall.UnixMilli(),
		Mono: at.mono, Boot: a.clock.boot, Clk: at.clk, Data: body})
}

// reportGaps stores an event for each unreported gap of the store. A crash in between reports a gap twice.
func (a *Agent) reportGaps() {
	a.reporting.Lock()
	defer a.reporting.Unlock()
	for _, g := range a.store.Gaps() {
		data := map[string]any{"ep": g.Epoch, "class": g.Class.String(), "from": g.From, "to": nil, "why": g.Reason}
		if g.To != nil {
			data["to"], data["n"] = *g.To, g.Count
		}
		a.state.lost(g.Count)
		text := "records lost"
		if g.Reason == buffer.FromMemory {
			text = "records may be lost"
		}
		a.log.Warn(text, "epoch", g.Epoch, "class", g.Class.String(), "from", g.From, "count", g.Count, "why", g.Reason)
		a.records.event(contract.NodeDevice, contract.StoreGap, data)
		if err := a.store.GapReported(g); err != nil {
			a.log.Error("settle gap", "err", err)
			return
		}
	}
}

func (a *Agent) reportGapsPeriodically(ctx context.Context) {
	for clock.Sleep(ctx, gapsEvery) {
		a.reportGaps()
	}
}

// giveUp discards unreadable records and reports each as a gap.
func (a *Agent) giveUp(recs []buffer.Record) {
	ids := make([]buffer.ID, len(recs))
	for i, r := range recs {
		ids[i] = r.ID
		a.records.event(contract.NodeDevice, contract.StoreGap, map[string]any{
			"ep": r.Epoch, "class": r.Class.String(), "from": r.Seq, "to": r.Seq, "n": 1, "why": "unreadable"})
	}
	a.state.lost(uint64(len(ids)))
	if err := a.store.Settle(ids); err != nil {
		a.log.Error("give up records", "count", len(ids), "err", err)
	}
}
