package agent

import (
	"context"
	"errors"
	"fmt"

	"bordo/agent/energy"
	"bordo/contract"
	"bordo/drivers"
)

// ErrNotIdentified is matched by the errors of Exchanged and Confirm when the device does not identify itself now.
// Nothing is confirmed then.
var ErrNotIdentified = errors.New("the serial number cannot be read now")

// Exchange is the result of Exchanged and Confirm: the known serial number of a device, and the one that answers in its
// place.
type Exchange struct {
	Device string `json:"device"`
	Before string `json:"before"`           // "" when the device never gave one
	After  string `json:"after,omitempty"`  // "" when nothing is to be confirmed
	Unkept string `json:"unkept,omitempty"` // why a restart would forget the confirmation; "" when it would not

	Counters []energy.CounterReading `json:"counters,omitempty"` // of the device before, as they were read last
	Refused  *energy.FinalFault      `json:"refused,omitempty"`  // an impossible final reading: nothing was confirmed
}

// Exchanged reads the identity of a device and reports whether an exchange has to be confirmed. The error matches
// ErrUnknownName, ErrLineDown or ErrNotIdentified.
func (a *Agent) Exchanged(ctx context.Context, device string) (Exchange, error) {
	if a.devices.devs[device] == nil {
		return Exchange{}, fmt.Errorf("confirm %s: %w", device, ErrUnknownName)
	}
	if err := a.identify(ctx, device); err != nil {
		return Exchange{}, fmt.Errorf("confirm %s: %w", device, err)
	}
	known, answers, replaced := a.accounting.accounts.Replaced(device)
	e := Exchange{Device: device, Before: known}
	if replaced {
		e.After, e.Counters = answers, a.accounting.accounts.Counters(device)
	}
	return e, nil
}

// Confirm accepts that other hardware answers in a device's place, after reading once more that it does. Its energy is
// booked from its first reading on, in a new segment. final holds the last readings of the previous device's counters,
// as far as they are known. If the known device answers, nothing changes and After is empty. The errors are those of
// Exchanged.
func (a *Agent) Confirm(ctx context.Context, device string, final energy.Final) (Exchange, error) {
	e, err := a.Exchanged(ctx, device)
	if err != nil || e.After == "" {
		return e, err
	}
	if e.Refused = a.accounting.accounts.Confirm(device, e.After, final); e.Refused != nil {
		return e, nil
	}
	a.log.Info("exchange confirmed", "device", device, "before", e.Before, "serial", e.After)
	a.accounting.confirmed.Store(true)
	if err := a.accounting.keepConfirmed(); err != nil {
		e.Unkept = err.Error()
	}
	a.conditions.Clear(contract.DeviceExchanged, device)
	return e, nil
}

// identifyTries is the maximum number of polls until a device has identified itself: a new serial number counts only
// when it was read twice, and a connection may have to be reopened.
const identifyTries = 3

// identify polls a device and has it say who it is.
func (a *Agent) identify(ctx context.Context, device string) error {
	var last drivers.Report
	for range identifyTries {
		var err error
		if last, err = a.read(ctx, drivers.Request{Device: device, Identify: true}); err != nil {
			return err
		}
		if last.Identified {
			return nil
		}
	}
	if last.Err != nil {
		return fmt.Errorf("%w: %w", ErrNotIdentified, last.Err)
	}
	return ErrNotIdentified
}
