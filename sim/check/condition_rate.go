// A condition that comes and goes costs few events: not more in an hour than the contract says, and each beginning has its end.

package check

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"bordo/contract"
)

// ConditionRate claims that each condition of a node begins and ends in turn within a run, with at most
// contract.MaxConditionEvents events in any hour of it.
type ConditionRate struct {
	events map[conditionRun]map[uint64]conditionEvent // by seq: an event may come twice
	clocks map[epochOf][]uint64                       // the seqs of events after which the clock is another one
	found  findings
}

type epochOf struct{ node, ep string }

type conditionRun struct {
	epochOf
	dev, code string
}

type conditionEvent struct {
	seq   uint64
	at    time.Time
	begin bool
}

// NewConditionRate makes the checker.
func NewConditionRate() *ConditionRate {
	return &ConditionRate{events: map[conditionRun]map[uint64]conditionEvent{}, clocks: map[epochOf][]uint64{}}
}

// Name implements Checker.
func (*ConditionRate) Name() string { return "condition-rate" }

// See implements Checker.
func (c *ConditionRate) See(m *Message) {
	if m.Event == nil {
		return
	}
	e, run := m.Event, epochOf{m.Node, m.Event.Ep}
	switch e.Type {
	case contract.ClockSet:
		c.clocks[run] = append(c.clocks[run], e.Seq)
	case contract.ConditionRaised, contract.ConditionCleared:
		var data struct{ Code string }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			c.found.add("%s: %v", id{m.Node, e.Ep, e.Seq}, err)
			return
		}
		k := conditionRun{run, e.Dev, data.Code}
		if c.events[k] == nil {
			c.events[k] = map[uint64]conditionEvent{}
		}
		c.events[k][e.Seq] = conditionEvent{e.Seq, e.Time, e.Type == contract.ConditionRaised}
	}
}

// Judge implements Checker. It does not compare events of two clocks: a clock that was set is reported, or shows by
// going back.
func (c *ConditionRate) Judge() []string {
	for k, events := range c.events {
		list := make([]conditionEvent, 0, len(events))
		for _, e := range events {
			list = append(list, e)
		}
		slices.SortFunc(list, func(a, b conditionEvent) int { return cmp.Compare(a.seq, b.seq) })
		first := 0 // of this clock
		for i, e := range list {
			if i > 0 && (e.at.Before(list[i-1].at) || c.clockSet(k.epochOf, list[i-1].seq, e.seq)) {
				first = i
			}
			if i > 0 && e.begin == list[i-1].begin {
				c.found.add("%s of %s/%s: %s and the event before it are both the same end of it", k.code, k.node,
					k.dev, id{k.node, k.ep, e.seq})
			}
			if before := i - contract.MaxConditionEvents; before >= first && e.at.Sub(list[before].at) < time.Hour {
				c.found.add("%s of %s/%s: %d events in %v up to %s, at most %d are allowed in an hour", k.code, k.node,
					k.dev,
					contract.MaxConditionEvents+1, e.at.Sub(list[before].at), id{k.node, k.ep, e.seq},
					contract.MaxConditionEvents)
			}
		}
	}
	return c.found.all()
}

// clockSet reports whether the clock was set between two records.
func (c *ConditionRate) clockSet(run epochOf, from, to uint64) bool {
	return slices.ContainsFunc(c.clocks[run], func(seq uint64) bool { return from < seq && seq < to })
}
