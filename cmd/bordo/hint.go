package main

import (
	"errors"
	"io/fs"
	"strings"

	"bordo/agent/config"
	"bordo/agent/control"
	"bordo/drivers"
	"bordo/drivers/line"
)

// ownedBy are things that a group may use, and an outsider may not.
type ownedBy = phrase

// Resources that a user may have no right to use.
func socketOwner() ownedBy {
	return phrase("ask as root, or as a member of the group that owns the socket")
}

func fileOwner() ownedBy {
	return phrase("repeat it as root, or as a member of the group that owns the files")
}

func portOwner() ownedBy {
	return phrase("repeat it as root, or as a member of the group that owns the port: usermod -aG dialout USER")
}

// portHolder says how to find the program that has a port.
func portHolder() phrase {
	return phrase(" (close the other program, or another bordo scan; who uses it: fuser -v PORT)")
}

// permitted adds to an error that says that something may not be used who may.
func permitted(err error, who ownedBy) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return phrase("%v\n%v").fault(err, who)
}

// causeHint returns what to change in the configuration after an error of a port; "" if that does not help. The error
// already says it in English: the hint is for translations.
func causeHint(cause, port string) phrase {
	switch {
	case cause == drivers.WrongTransaction.String() && !strings.Contains(port, "ids=tolerant"):
		return phrase("The answers carry another transaction id. If the gateway always does this, write ?ids=tolerant at the end of the port.")
	case cause == drivers.WrongFraming.String() && strings.HasPrefix(port, string(line.TCP)+"://"):
		return phrase("The other side speaks RTU frames, not Modbus TCP: write serial+tcp:// instead of tcp://.")
	case cause == drivers.WrongFraming.String():
		return phrase("The other side speaks Modbus TCP, not RTU frames: write tcp:// instead of serial+tcp://.")
	}
	return phrase("")
}

// hinted adds to an error what to write into the configuration.
func hinted(err error, cause, port string) error {
	hint := causeHint(cause, port)
	if hint == "" {
		return err
	}
	return hintedError{err, hint}
}

// hintedError is an error of a driver with the hint that its English text has already: only a translation needs it.
type hintedError struct {
	error
	hint phrase
}

// Unwrap returns the error.
func (h hintedError) Unwrap() error { return h.error }

// notRunning is the error of a command that needs a running agent; it says what to do.
func notRunning(cfg *config.Config) error {
	return phrase("%v: nobody answers at %s\nstart it with: systemctl start bordo, or: bordo run --config %s\nwhy it ended: journalctl -u bordo -n 50").fault(control.ErrNotRunning, cfg.Control.Socket, cfg.File)
}
