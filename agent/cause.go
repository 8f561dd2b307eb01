package agent

import (
	"errors"
	"net"
	"os"
	"syscall"

	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/line"
)

// CauseOf returns the contract's word for why a device does not answer or its port does not open. It returns "" when
// nothing more is known than the condition says.
func CauseOf(code string, err error, scheme line.Scheme) string {
	if c := drivers.CauseOf(err); c != 0 {
		return c.String() // the words are the contract's
	}
	var timeout net.Error
	switch {
	case err == nil || errors.Is(err, os.ErrPermission):
		return ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return contract.CauseRefused
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return contract.CauseUnreachable
	}
	if code == contract.LineDown {
		if scheme != line.Serial && errors.As(err, &timeout) && timeout.Timeout() {
			return contract.CauseUnreachable
		}
		return ""
	}
	switch drivers.KindOf(err) {
	case drivers.Timeout:
		return contract.CauseSilence
	case drivers.Checksum:
		return contract.CauseChecksum
	case drivers.Exception:
		return contract.CauseRefusals
	case drivers.Closed:
		if scheme != line.Serial {
			return contract.CauseClosed
		}
	}
	return ""
}

// explain gives a condition of a device its cause, and the sentence that goes with it.
func (a *Agent) explain(h contract.Health) contract.Health {
	switch h.Code {
	case contract.LineDown, contract.DeviceSilent:
		scheme, err := a.devices.failure(h.Dev, h.Code)
		h.Cause = CauseOf(h.Code, err, scheme)
		h.Text = contract.SentenceOf(h.Code, h.Cause, scheme == line.Serial)
	}
	return h
}

// health returns the open conditions, each with its cause.
func (a *Agent) health() []contract.Health {
	list := a.conditions.List()
	for i := range list {
		list[i] = a.explain(list[i])
	}
	return list
}

// failure is what last went wrong with a device, or with its line.
func (b *deviceTable) failure(dev, code string) (line.Scheme, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.devs[dev]
	if d == nil {
		return line.Serial, nil
	}
	if code == contract.LineDown {
		return d.line.cfg.Endpoint.Scheme, d.line.err
	}
	return d.line.cfg.Endpoint.Scheme, d.fault
}
