package buffer

import "strings"

// compare turns every difference between the database and the checkpoint and counter files beside it into gaps.
func (k *inventory) compare(e *engine, m *checkpoint, badCheckpoints int, unreported []string, found repairReport) {
	k.opened.SetAside, k.opened.Damage = found.aside, found.String()
	if badCheckpoints > 0 {
		k.addDamage("checkpoint files beside the database")
	}
	if k.damaged {
		k.addDamage("entries of the database")
	}
	cut := m != nil && m.txn > k.txn
	if cut {
		k.addDamage("the end of the database is missing")
	}
	unknown := false // the counter file names an epoch that nothing else knows
	for _, ep := range unreported {
		if (k.state == nil || ep != k.state.epoch) && (m == nil || ep != m.epoch) {
			k.gaps.add(Gap{Epoch: ep, Class: Any, Reason: Unclean})
			unknown = true
		}
	}
	bounds := k.bounds(m)
	if cut {
		k.merge(m)
	}
	if found.recount || k.damaged || cut {
		if m != nil {
			k.restoreGaps(m)
		}
		k.recount(e, bounds)
	}
	switch {
	case k.state == nil && m == nil:
		k.opened.Clean = k.opened.Damage == "" && !unknown
		if k.opened.Damage != "" {
			k.gaps.add(Gap{Class: Any, Reason: Damaged}) // the former content is unknown
		}
	case cut:
		k.cutOff(m)
	default:
		k.opened.PrevEpoch, k.opened.PrevLastSealed = k.state.epoch, k.state.lastSealed
		clean := m != nil && m.clean && m.epoch == k.state.epoch && m.txn == k.state.txn
		k.opened.Clean = clean && k.opened.Damage == "" && !unknown
		if !clean {
			k.gaps.add(Gap{Epoch: k.state.epoch, Class: Any, From: k.state.known, Reason: Unclean})
		}
	}
}

// addDamage appends a description to Opened.Damage.
func (k *inventory) addDamage(what string) {
	k.opened.Damage = strings.TrimPrefix(k.opened.Damage+"; "+what, "; ")
}

// bounds returns the upper bound of what was unacknowledged, from database and checkpoint.
func (k *inventory) bounds(m *checkpoint) []spanEntry {
	all := map[string]spanEntry{}
	for _, e := range k.spans {
		all[e.epoch] = *e
	}
	if m != nil {
		for _, e := range m.spans {
			o := all[e.epoch]
			o.epoch = e.epoch
			for c := range o.class {
				if n := e.class[c]; n.n > 0 {
					o.count(Class(c), n.first, n.last, n.n)
				}
			}
			all[e.epoch] = o
		}
	}
	return sortSpans(all)
}

// merge takes over the position of each class from a newer checkpoint. Called when the state in the database is too
// old: acknowledged records stay acknowledged, and numbers are not reused.
func (k *inventory) merge(m *checkpoint) {
	for c := range k.lanes {
		l, n := &k.lanes[c], &m.lanes[c]
		l.low, l.next = max(l.low, n.low, 1), max(l.next, n.next)
		for _, r := range n.done {
			l.done = l.done.add(r.lo, r.hi)
		}
		l.done = l.done.dropBelow(l.low)
		l.next = max(l.next, l.low)
	}
	k.txn = max(k.txn, m.txn)
}

// restoreGaps takes over the gaps that the checkpoint has and the database lacks. A gap that was reported since is
// reported again.
func (k *inventory) restoreGaps(m *checkpoint) {
	have := map[uint64]bool{}
	for _, g := range k.gaps.list {
		have[g.Key] = true
	}
	for _, g := range m.gaps {
		k.gaps.next = max(k.gaps.next, g.Key+1)
		if !have[g.Key] {
			k.gaps.add(g)
		}
	}
}

// cutOff reports the transactions that the checkpoint knows and the database lost. Existing blocks were counted
// already.
func (k *inventory) cutOff(m *checkpoint) {
	k.opened.PrevEpoch, k.opened.PrevLastSealed = m.epoch, m.lastSealed
	if k.state != nil && k.state.epoch != m.epoch {
		k.gaps.add(Gap{Epoch: k.state.epoch, Class: Any, From: k.state.known, Reason: Damaged})
	}
	for _, e := range m.spans {
		if e.epoch == m.epoch || k.state != nil && e.epoch <= k.state.epoch {
			continue // reported above or below, or finished before the last existing transaction
		}
		if have := k.spans[e.epoch]; have != nil && have.total().N >= e.total().N {
			continue
		}
		t := e.total()
		k.gaps.add(Gap{Epoch: e.epoch, Class: Any, From: t.First, To: &t.Last, Reason: Damaged})
	}
	from := m.known
	for _, e := range m.spans {
		if e.epoch == m.epoch {
			from = min(from, e.total().First)
		}
	}
	if k.state != nil && k.state.epoch == m.epoch {
		from = k.state.known
	}
	k.gaps.add(Gap{Epoch: m.epoch, Class: Any, From: from, Reason: Damaged})
	if m.more {
		k.gaps.add(Gap{Class: Any, Reason: Damaged})
	}
}
