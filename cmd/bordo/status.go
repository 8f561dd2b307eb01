package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/agent/control"
)

func statusVerb() verb {
	return verb{
		name:  "status",
		brief: "how the running agent, its broker, store, lines and devices are",
		text: `Asks the running agent at the control socket of its configuration. Exit code 1 when it does not run or may not be
asked. Conditions are told in the language of --lang.`,
		flags: func(set *flag.FlagSet) action {
			path, lang := configFlag(set), langFlag(set)
			asJSON := set.Bool("json", false, "print everything, as the agent says it")
			return func(ctx context.Context, c console, _ []string) error { return status(ctx, c, *path, lang, *asJSON) }
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
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w\nask as root, or as a member of the group that owns the socket", err)
	case err != nil:
		return err
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

// notRunning tells who needs the agent of a configuration what to do.
func notRunning(cfg *config.Config) error {
	return fmt.Errorf("%w: nobody answers at %s\nstart it with: systemctl start bordo, or: bordo run --config %s\nwhy it ended: journalctl -u bordo -n 50",
		control.ErrNotRunning, cfg.Control.Socket, cfg.File)
}
