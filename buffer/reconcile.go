package buffer

import "strings"

// compare turns every difference between the database and what lies beside it into gaps.
func (k *inventory) compare(e *engine, m *checkpoint, badMarks int, untold []string, found repairReport) {
	k.opened.SetAside, k.opened.Damage = found.aside, found.String()
	if badMarks > 0 {
		k.addDamage("marks beside the database")
	}
	if k.damaged {
		k.addDamage("entries of the database")
	}
	cut := m != nil && m.txn > k.txn
	if cut {
		k.addDamage("the database was cut off")
	}
	unknown := false // epochs that only the counter knows
	for _, ep := range untold {
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
			k.gaps.add(Gap{Class: Any, Reason: Damaged}) // nothing is known of what was there
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

func (k *inventory) addDamage(what string) {
	k.opened.Damage = strings.TrimPrefix(k.opened.Damage+"; "+what, "; ")
}

// bounds is the most that is known of what was not acknowledged, from database and mark.
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

// merge takes over from a newer mark where each class stood. Called when the state in the database is too old: what was
// acknowledged stays so, and numbers that were given are not given again.
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

// restoreGaps takes over the gaps that the mark knows and the database does not. One that was told since is told again.
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

// cutOff reports what the mark knows of transactions that the database lost. Blocks that are there were counted already.
func (k *inventory) cutOff(m *checkpoint) {
	k.opened.PrevEpoch, k.opened.PrevLastSealed = m.epoch, m.lastSealed
	if k.state != nil && k.state.epoch != m.epoch {
		k.gaps.add(Gap{Epoch: k.state.epoch, Class: Any, From: k.state.known, Reason: Damaged})
	}
	for _, e := range m.spans {
		if e.epoch == m.epoch || k.state != nil && e.epoch <= k.state.epoch {
			continue // told above or below, or over before the last transaction that is there
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
