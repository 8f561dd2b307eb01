package agent_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"bordo/agent"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/line"
)

// The headline of a fault names what a person has to look at: it depends on the kind of line and on the cause.
func TestHeadlineFitsTheCause(t *testing.T) {
	fault := func(kind drivers.ErrorKind, cause drivers.Cause) error {
		return errors.Join(&drivers.Error{Op: "read", Kind: kind,
			Err: &drivers.Error{Op: "inner", Kind: kind, Cause: cause, Err: errors.New("x")}})
	}
	for _, x := range []struct {
		code   string
		err    error
		scheme line.Scheme
		cause  string
		want   string // part of the sentence
	}{
		{contract.DeviceSilent, fault(drivers.Timeout, 0), line.Serial, "silence", "the wires A/B"},
		{contract.DeviceSilent, fault(drivers.Timeout, 0), line.TCP, "silence",
			"whether another program holds the device"},
		{contract.DeviceSilent, fault(drivers.Protocol, drivers.WrongUnit), line.TCP, "wrong_unit",
			"Another unit id answers"},
		{contract.DeviceSilent, fault(drivers.Checksum, drivers.WrongUnit), line.Serial, "wrong_unit",
			"Another unit id answers"},
		{contract.DeviceSilent, fault(drivers.Checksum, 0), line.Serial, "checksum",
			"two devices have the same unit id"},
		{contract.DeviceSilent, fault(drivers.Checksum, drivers.Noise), line.Serial, "noise", "check speed and parity"},
		{contract.DeviceSilent, fault(drivers.Timeout, drivers.EchoOnly), line.Serial, "echo",
			"Only what is sent comes back"},
		{contract.DeviceSilent, fault(drivers.Closed, 0), line.TCP, "hung_up", "closes the connection"},
		{contract.DeviceSilent, fault(drivers.Exception, 0), line.TCP, "refusals", "refuses every question"},
		{contract.LineDown, fmt.Errorf("open: %w", syscall.ECONNREFUSED), line.TCP, "refused",
			"nothing listens on that port"},
		{contract.LineDown, fmt.Errorf("open: %w", syscall.EHOSTUNREACH), line.TCP, "unreachable",
			"Nobody answers at that network address"},
		{contract.LineDown, syscall.ENOENT, line.Serial, "", "check cable, converter and power"},
	} {
		cause := agent.CauseOf(x.code, x.err, x.scheme)
		text := contract.SentenceOf(x.code, cause, x.scheme == line.Serial)
		if cause != x.cause || !strings.Contains(text.En, x.want) || text.It == "" {
			t.Errorf("%s, %v, %s: %q, %q", x.code, x.err, x.scheme, cause, text.En)
		}
		if x.scheme == line.TCP && strings.Contains(text.En, "A/B") {
			t.Errorf("%s: %q sends to wires that the line does not have", cause, text.En)
		}
	}
}
