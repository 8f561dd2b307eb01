package contract

import "time"

// Debounce defines when a condition is raised and cleared, so that an intermittent fault causes few events.
type Debounce struct {
	// Evidence is what counts as the fault, where one observation is not enough.
	Evidence string
	// Raise is how long the fault must last. 0 raises immediately, which every condition about motion, a door, the
	// mains or tampering must do.
	Raise time.Duration
	// Clear is how long the fault must be absent. Each further raise within an hour doubles it, up to MaxClear.
	Clear time.Duration
}

// Limits of all conditions.
const (
	// RaiseCount and RaiseWindow: a fault that never lasts for Raise is raised when it begins for the third time in ten
	// minutes.
	RaiseCount  = 3
	RaiseWindow = 10 * time.Minute
	// MaxClear is the longest time of health that a condition needs to be cleared.
	MaxClear = 32 * time.Minute
	// MaxConditionEvents is the maximum number of events of one condition (a code and a device) in any hour of one run
	// of a node, raised and cleared together. With the shortest Clear of a minute, raises are at least 1, 2, 4, 8, 16
	// and 32 minutes apart: six fit into an hour, and so do six ends.
	MaxConditionEvents = 12
)

// debounces lists the deviations from the default: raised immediately, cleared after a minute.
var debounces = map[string]Debounce{
	LineDown:      {Raise: 10 * time.Second, Clear: time.Minute},
	DeviceSilent:  {Evidence: "three failed polls in a row", Clear: time.Minute},
	DevicePartial: {Evidence: "three failed polls in a row", Clear: time.Minute},
	DeviceBusy:    {Evidence: "three failed polls in a row", Clear: time.Minute},
	PhaseMissing:  {Evidence: "half a minute and three polls", Clear: time.Minute},
	PhaseReversed: {Evidence: "ten minutes and five polls, or a day and a hundred polls (production: one minute)",
		Clear: time.Minute},
	TwinSuspected:       {Evidence: "three sessions that end as soon as they begin", Clear: time.Minute},
	CredentialsUnusable: {Evidence: "two looks in a row, 15 s apart", Clear: time.Minute},
	StatusOverwritten:   {Evidence: "three foreign messages in ten minutes", Clear: 2 * time.Minute},
}

// DebounceOf returns when the condition with a code is raised and cleared.
func DebounceOf(code string) Debounce {
	if d, ok := debounces[code]; ok {
		return d
	}
	return Debounce{Clear: time.Minute}
}

// ClearAfter returns how long the fault must be absent when the condition was raised this many times within an hour,
// including the present raise.
func (d Debounce) ClearAfter(raises int) time.Duration {
	after := d.Clear
	for ; raises > 1 && after < MaxClear; raises-- {
		after *= 2
	}
	return max(min(after, MaxClear), d.Clear)
}
