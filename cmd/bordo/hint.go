package main

import (
	"errors"
	"io/fs"

	"bordo/agent/config"
	"bordo/agent/control"
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

// permitted adds to an error that says that something may not be used who may.
func permitted(err error, who ownedBy) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return phrase{"%v\n%v", "%v\n%v"}.fault(err, who)
}

// notRunning tells who needs the agent of a configuration what to do.
func notRunning(cfg *config.Config) error {
	return phrase{
		"%v: nessuno risponde a %s\navviarlo: systemctl start bordo, oppure: bordo run --config %s\nperché si è fermato: journalctl -u bordo -n 50",
		"%v: nobody answers at %s\nstart it with: systemctl start bordo, or: bordo run --config %s\nwhy it ended: journalctl -u bordo -n 50",
	}.fault(control.ErrNotRunning, cfg.Control.Socket, cfg.File)
}
