package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"bordo/buffer"
	"bordo/contract"
)

// gapsEvery is how often open gaps are told while no connection is made; each connection tells them at once.
const gapsEvery = time.Hour

// tellOpened stores the first record of an epoch.
func (a *Agent) tellOpened(o buffer.Opened) {
	data := map[string]any{"clean": o.Clean, "boot": a.boot}
	if o.PrevEpoch != "" {
		data["prev_ep"], data["prev_last_sealed"] = o.PrevEpoch, o.PrevLastSealed
	}
	if o.Damage != "" {
		data["damage"] = o.Damage
	}
	if o.SetAside != "" {
		data["set_aside"] = o.SetAside
	}
	a.event(contract.NodeDevice, contract.StoreOpened, data)
}

// storeEvery is how often the store is asked how it is.
const storeEvery = 2 * time.Second

// watchStore turns what is wrong with the store into conditions. Files that were set aside are one until somebody takes
// them away; the store itself removes them when it needs the room.
func (a *Agent) watchStore(ctx context.Context) {
	aside := a.store.Opened().SetAside
	for more := true; more; more = pause(ctx, storeEvery) {
		full, err := a.store.Fault()
		a.conditions.set(contract.StoreFull, "", err != nil && full, text(err))
		a.conditions.set(contract.StoreReadOnly, "", err != nil && !full, text(err))
		if aside != "" {
			_, err := os.Stat(aside)
			a.conditions.set(contract.StoreDamaged, "", !errors.Is(err, fs.ErrNotExist), aside)
		}
	}
}

// tellGaps stores an event for each gap that the store has not told yet. A crash in between tells a gap twice.
func (a *Agent) tellGaps() {
	a.telling.Lock()
	defer a.telling.Unlock()
	for _, g := range a.store.Gaps() {
		data := map[string]any{"ep": g.Epoch, "class": g.Class.String(), "from": g.From, "to": nil, "why": g.Why}
		if g.To != nil {
			data["to"], data["n"] = *g.To, g.Count
		}
		a.memory.lost(g.Count)
		a.log.Warn("records lost", "epoch", g.Epoch, "class", g.Class.String(), "from", g.From, "count", g.Count, "why", g.Why)
		a.event(contract.NodeDevice, contract.StoreGap, data)
		if err := a.store.GapTold(g); err != nil {
			a.log.Error("settle gap", "err", err)
			return
		}
	}
}

func (a *Agent) tellGapsNowAndThen(ctx context.Context) {
	for pause(ctx, gapsEvery) {
		a.tellGaps()
	}
}

// giveUp lets go of records that cannot be read and tells each as a gap.
func (a *Agent) giveUp(ids []buffer.ID) {
	for _, id := range ids {
		a.event(contract.NodeDevice, contract.StoreGap, map[string]any{
			"ep": id.Epoch, "class": "reading", "from": id.Seq, "to": id.Seq, "n": 1, "why": "unreadable"})
	}
	a.memory.lost(uint64(len(ids)))
	if err := a.store.Settle(ids); err != nil {
		a.log.Error("give up records", "count", len(ids), "err", err)
	}
}
