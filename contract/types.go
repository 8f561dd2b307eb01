package contract

// Types of events that the agent itself tells. The table of all types is in events.md.
const (
	ConditionRaised  = "bordo.condition.raised.v1"  // {code, severity, since, detail}
	ConditionCleared = "bordo.condition.cleared.v1" // {code, severity, since, until}

	IdentityConflict = "bordo.identity.conflict.v1" // sessions of this node die as soon as they begin: {sessions}

	StoreOpened = "bordo.store.opened.v1" // the first record of an epoch: {prev_ep, prev_last_sealed, clean}
	StoreGap    = "bordo.store.gap.v1"    // records that may never arrive: {ep, class, from, to, why, n}
)
