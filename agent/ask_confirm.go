package agent

import (
	"fmt"

	"bordo/contract"
)

// Exchange is what Confirm found: the serial number that was known of a device, and the one that answers in its place.
type Exchange struct {
	Device string `json:"device"`
	Before string `json:"before"`           // "" when the device never gave one
	After  string `json:"after,omitempty"`  // "" when nothing is to be confirmed
	Unkept string `json:"unkept,omitempty"` // why a restart would forget the confirmation; "" when it would not
}

// Confirm accepts that another piece of hardware answers in a device's place: from now on its energy is booked, in a new
// segment. Where the device that is known answers, nothing changes and After is empty. The error matches ErrUnknownName.
func (a *Agent) Confirm(device string) (Exchange, error) {
	if a.board.devs[device] == nil {
		return Exchange{}, fmt.Errorf("confirm %s: %w", device, ErrUnknownName)
	}
	known, answers, replaced := a.book.Replaced(device)
	e := Exchange{Device: device, Before: known}
	if !replaced {
		return e, nil
	}
	a.book.Confirm(device, answers)
	e.After = answers
	a.log.Info("exchange confirmed", "device", device, "before", known, "serial", answers)
	a.confirmed.Store(true)
	if err := a.keepConfirmed(); err != nil {
		e.Unkept = err.Error()
	}
	a.conditions.Clear(contract.DeviceExchanged, device)
	return e, nil
}
