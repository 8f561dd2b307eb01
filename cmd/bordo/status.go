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
	"bordo/agent/config"
	"bordo/agent/control"
)

func statusCommand(l *langValue) command {
	return command{
		name:  "status",
		brief: phrase("how the running agent, its broker, store, lines and devices are").in(l),
		text: phrase(`Asks the running agent at the control socket of its configuration. Exit code 1 when it does not run or may not be
asked.`).in(l),
		flags: func(set *flag.FlagSet) action {
			path, asJSON := configFlag(set, l), jsonFlag(set, l)
			langFlag(set, l)
			return func(ctx context.Context, c console, _ []string) error { return status(ctx, c, *path, l, *asJSON) }
		},
	}
}

func status(ctx context.Context, c console, path string, lang *langValue, asJSON bool) error {
	cfg, faulty := load(path)
	if _, ok := errors.AsType[config.Faults](faulty); faulty != nil && !ok {
		return faulty
	}
	r, err := findAgent(ctx, path, cfg)
	switch {
	case err != nil && faulty != nil:
		return faulty
	case errors.Is(err, control.ErrNotRunning):
		return notRunning(cfg)
	case err != nil:
		return permitted(err, socketOwner())
	}
	if asJSON {
		err = writeStatusJSON(c, r, path)
	} else {
		err = writeStatus(c.out, r.Status, nowOf(r.Status), lang, r.statusNote(path, lang))
	}
	if err != nil || faulty == nil {
		return err
	}
	c.tell(faultyNote().in(lang))
	return faulty
}

// nowOf returns the time to which the ages in a status refer: the agent's own clock, which differs from the machine's
// while that is not set. Earlier versions of the agent do not send it.
func nowOf(s agent.Status) time.Time {
	if s.Now.IsZero() {
		return time.Now()
	}
	return s.Now
}

// statusNote is the line of the status that says that the file is not the one in use.
func (r *running) statusNote(path string, lang *langValue) string {
	note, args, ok := r.restartNote(path)
	if !ok {
		return ""
	}
	return note.in(lang, args...)
}

// writeStatusJSON prints the agent's answer. It also checks whether the file has changed, because the agent may no
// longer have the right to read it.
func writeStatusJSON(c console, r *running, path string) error {
	answer := r.answer
	if _, _, changed := r.restartNote(path); changed && len(r.Config.Changed) == 0 && sameFile(r.Config.File, path) {
		var all map[string]json.RawMessage
		if err := json.Unmarshal(answer, &all); err != nil {
			return fmt.Errorf("read status: %w", err)
		}
		r.Config.Changed = []string{r.Config.File}
		var err error
		if all["config"], err = json.Marshal(r.Config); err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
		if answer, err = json.Marshal(all); err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
	}
	var text bytes.Buffer
	if err := json.Indent(&text, answer, "", "  "); err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	_, err := text.WriteTo(c.out)
	return err
}
