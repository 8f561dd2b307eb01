package contract

// Types of events that the agent itself tells, on event/node. The table of all types is in events.md.
const (
	StoreOpened = "bordo.store.opened.v1" // the first record of an epoch: {prev_ep, prev_last_sealed, clean}
	StoreGap    = "bordo.store.gap.v1"    // records that may never arrive: {ep, class, from, to, why, n}
)
