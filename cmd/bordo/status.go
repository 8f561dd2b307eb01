package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"bordo/agent"
	"bordo/agent/control"
)

func statusVerb(l *langValue) verb {
	return verb{
		name:  "status",
		brief: phrase{"come stanno l'agente, il broker, l'archivio, le linee e i dispositivi", "how the running agent, its broker, store, lines and devices are"}.in(l),
		text: phrase{
			`Chiede all'agente in funzione, al socket di controllo della sua configurazione. Codice di uscita 1 quando non è in
funzione o non gli si può chiedere.`,
			`Asks the running agent at the control socket of its configuration. Exit code 1 when it does not run or may not be
asked.`}.in(l),
		flags: func(set *flag.FlagSet) action {
			path, asJSON := configFlag(set, l), jsonFlag(set, l)
			langFlag(set, l)
			return func(ctx context.Context, c console, _ []string) error { return status(ctx, c, *path, l, *asJSON) }
		},
	}
}

func status(ctx context.Context, c console, path string, lang *langValue, asJSON bool) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	answer, err := control.Status(ctx, cfg.Control.Socket)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return notRunning(cfg)
	case err != nil:
		return permitted(err, socketOwner())
	}
	if asJSON {
		var text bytes.Buffer
		if err := json.Indent(&text, answer, "", "  "); err != nil {
			return fmt.Errorf("read status: %w", err)
		}
		_, err := text.WriteTo(c.out)
		return err
	}
	var s agent.Status
	if err := json.Unmarshal(answer, &s); err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	return writeStatus(c.out, s, time.Now(), lang)
}
