package audit

import (
	"cmp"
	"slices"

	"bordo/contract/consumer"
)

// Check is one check of an audit. The words are those of the report.
type Check string

// The checks, in the order of the report.
const (
	CheckHeard    Check = "heard"    // whether anything was heard at all, and fast enough
	CheckMissing  Check = "missing"  // numbers that a node counts as delivered, not here and under no gap
	CheckConflict Check = "conflict" // one identity with two contents
	CheckSchema   Check = "schema"   // messages that break their JSON Schema
	CheckContent  Check = "content"  // messages of the right shape that contradict themselves
	CheckClock    Check = "clock"    // clocks that are off
	CheckTopic    Check = "topic"    // topics that the contract does not have
	CheckRetained Check = "retained" // retained by the broker but must not be, or the reverse
	CheckQoS      Check = "qos"      // another quality of service than 1
	CheckSize     Check = "size"     // messages that are too large
)

// good states for each check what it means that nothing was found.
var good = []struct {
	check Check
	text  string
}{
	{CheckHeard, "the broker let us hear, and we could follow"},
	{CheckMissing, "all that was counted as delivered is here, or under a gap"},
	{CheckConflict, "no identity came with two contents"},
	{CheckSchema, "every message has its shape"},
	{CheckContent, "every message is of whom its topic says"},
	{CheckClock, "every clock that is said to be set is right"},
	{CheckTopic, "no topic that the contract does not have"},
	{CheckRetained, "status and meta are kept, and nothing else"},
	{CheckQoS, "everything was published with QoS 1"},
	{CheckSize, "no message is too large"},
}

// Fault is something that is not as the contract says.
type Fault struct {
	Check  Check            `json:"check"`
	Tenant string           `json:"tenant,omitempty"`
	Node   string           `json:"node,omitempty"`
	Dev    string           `json:"dev,omitempty"`
	Topic  string           `json:"topic,omitempty"`
	Ep     string           `json:"ep,omitempty"`
	Ranges []consumer.Range `json:"ranges,omitempty"` // of numbers in the epoch, both ends included
	N      int              `json:"n"`                // number of occurrences
	Detail string           `json:"detail"`
}

// Bounds of what is remembered; the rest is counted.
const (
	faultsMost = 2000
	rangesMost = 64
)

// faults are the findings, with equal ones merged.
type faults struct {
	list []Fault
	rest int // number of faults beyond the bound
}

// add counts a fault.
func (f *faults) add(x Fault) {
	same := func(y Fault) bool {
		return x.Check == y.Check && x.Tenant == y.Tenant && x.Node == y.Node && x.Dev == y.Dev && x.Topic == y.Topic &&
			x.Ep == y.Ep && x.Detail == y.Detail
	}
	if i := slices.IndexFunc(f.list, same); i >= 0 {
		y := &f.list[i]
		y.N++
		for _, r := range x.Ranges {
			if len(y.Ranges) < rangesMost && !slices.Contains(y.Ranges, r) {
				y.Ranges = append(y.Ranges, r)
			}
		}
		return
	}
	if len(f.list) >= faultsMost {
		f.rest++
		return
	}
	x.N = 1
	f.list = append(f.list, x)
}

// sorted returns the faults in the order of the checks, then by who.
func (f *faults) sorted() []Fault {
	order := func(c Check) int {
		for i, g := range good {
			if g.check == c {
				return i
			}
		}
		return len(good)
	}
	out := slices.Clone(f.list)
	slices.SortStableFunc(out, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(order(a.Check), order(b.Check)), cmp.Compare(a.Tenant, b.Tenant),
			cmp.Compare(a.Node, b.Node), cmp.Compare(a.Topic, b.Topic))
	})
	return out
}
