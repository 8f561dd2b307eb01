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

// What somebody may lack the right to use.
func socketOwner() ownedBy {
	return phrase{"chiedere come root, o come membro del gruppo a cui appartiene il socket", "ask as root, or as a member of the group that owns the socket"}
}

func fileOwner() ownedBy {
	return phrase{"ripetere come root, o come membro del gruppo a cui appartengono i file", "repeat it as root, or as a member of the group that owns the files"}
}

func portOwner() ownedBy {
	return phrase{"ripetere come root, o come membro del gruppo a cui appartiene la porta: usermod -aG dialout UTENTE",
		"repeat it as root, or as a member of the group that owns the port: usermod -aG dialout USER"}
}

// portHolder says how to find the program that has a port.
func portHolder() phrase {
	return phrase{" (chiudere l'altro programma, o un altro bordo scan; chi la usa: fuser -v PORTA)", " (close the other program, or another bordo scan; who uses it: fuser -v PORT)"}
}

// permitted adds to an error that says that something may not be used who may.
func permitted(err error, who ownedBy) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return phrase{"%v\n%v", "%v\n%v"}.fault(err, who)
}

// causeHint says in Italian what the error of a port says in English: what to write into the configuration. It is empty for
// a cause that has no such remedy.
func causeHint(cause, port string) phrase {
	switch {
	case cause == drivers.WrongTransaction.String() && !strings.Contains(port, "ids=tolerant"):
		return phrase{it: "Le risposte portano un altro numero di transazione. Se il gateway fa sempre così, scrivere ?ids=tolerant alla fine della porta."}
	case cause == drivers.WrongFraming.String() && strings.HasPrefix(port, string(line.TCP)+"://"):
		return phrase{it: "Dall'altra parte si parla RTU, non Modbus TCP: scrivere rtu+tcp:// al posto di tcp://."}
	case cause == drivers.WrongFraming.String():
		return phrase{it: "Dall'altra parte si parla Modbus TCP, non RTU: scrivere tcp:// al posto di rtu+tcp://."}
	}
	return phrase{}
}

// hinted adds to an error what to write into the configuration.
func hinted(err error, cause, port string) error {
	hint := causeHint(cause, port)
	if hint == (phrase{}) {
		return err
	}
	return phrase{"%v\n" + hint.it, "%v"}.fault(err)
}

// notRunning tells who needs the agent of a configuration what to do.
func notRunning(cfg *config.Config) error {
	return phrase{
		"%v: nessuno risponde a %s\navviarlo: systemctl start bordo, oppure: bordo run --config %s\nperché si è fermato: journalctl -u bordo -n 50",
		"%v: nobody answers at %s\nstart it with: systemctl start bordo, or: bordo run --config %s\nwhy it ended: journalctl -u bordo -n 50",
	}.fault(control.ErrNotRunning, cfg.Control.Socket, cfg.File)
}
