package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/agent/control"
)

// runDir is where the service has its socket unless the configuration says otherwise.
const runDir = "/run/bordo"

// maxSockets bounds the sockets that are tried for an agent whose configuration has moved its own.
const maxSockets = 16

// running is an agent that answered.
type running struct {
	socket string
	answer []byte // its status, as JSON
	agent.Status
}

// findAgent asks the control socket that a configuration names. If nothing answers there, it looks for an agent that
// was started with the same file, which may name another node or socket since. cfg is nil when the file has faults. The
// error is that of the named socket.
func findAgent(ctx context.Context, path string, cfg *config.Config) (*running, error) {
	named := guessSocket(path)
	if cfg != nil {
		named = cfg.Control.Socket
	}
	r, err := askAgent(ctx, named)
	if err == nil || !errors.Is(err, control.ErrNotRunning) {
		return r, err
	}
	for _, socket := range nearbySockets(named) {
		if other, err := askAgent(ctx, socket); err == nil && sameFile(other.Config.File, path) {
			return other, nil
		}
	}
	return nil, err
}

func askAgent(ctx context.Context, socket string) (*running, error) {
	if socket == "" {
		return nil, control.ErrNotRunning
	}
	answer, err := control.Status(ctx, socket)
	if err != nil {
		return nil, err
	}
	r := &running{socket: socket, answer: answer}
	if err := json.Unmarshal(answer, &r.Status); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	return r, nil
}

// The keys that a control socket follows from, in a file that may have faults.
var (
	socketKey = regexp.MustCompile(`(?m)^[^#\n]*\bsocket:\s*["']?(/[^\s"',}]+)`)
	nodeKey   = regexp.MustCompile(`(?m)^node:\s*["']?([a-z0-9-]+)`)
)

// guessSocket finds the control socket in a file that is not correct.
func guessSocket(path string) string {
	text, err := os.ReadFile(path)
	if err != nil || len(text) > config.MaxFile {
		return ""
	}
	if m := socketKey.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	if m := nodeKey.FindSubmatch(text); m != nil {
		return filepath.Join(runDir, string(m[1])+".sock")
	}
	return ""
}

// nearbySockets lists the sockets beside the named one and in the directory of the service.
func nearbySockets(named string) []string {
	var list []string
	for _, dir := range []string{filepath.Dir(named), runDir} {
		found, err := filepath.Glob(filepath.Join(dir, "*.sock"))
		if err != nil {
			continue
		}
		for _, f := range found {
			if info, err := os.Stat(f); err == nil && info.Mode().Type() == os.ModeSocket && f != named &&
				!slices.Contains(list, f) {
				list = append(list, f)
			}
		}
	}
	return list[:min(len(list), maxSockets)]
}

// sameFile reports whether two paths are one file.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	full, err := filepath.Abs(b)
	return err == nil && realPath(a) == realPath(full)
}

// restartNote says that the running agent does not use what the file says now, false where it does.
func (r *running) restartNote(path string) (phrase, []any, bool) {
	if r == nil || r.Config.Sum == "" { // an earlier version does not report it
		return phrase(""), nil, false
	}
	sum, err := config.SumOf(path)
	differs := err == nil && sum != r.Config.Sum
	switch {
	case !sameFile(r.Config.File, path):
		if !differs {
			return phrase(""), nil, false
		}
		return phrase("the running agent uses another file, with other content: %s"),
			[]any{r.Config.File}, true
	case differs || len(r.Config.Changed) > 0:
		return phrase("configuration changed since start: systemctl restart bordo (until then the old one applies)"),
			nil, true
	}
	return phrase(""), nil, false
}

// faultyNote says what the running agent does while its file has faults.
func faultyNote() phrase {
	return phrase("the running agent still uses the old configuration, and would not start again with this file: correct it, then systemctl restart bordo")
}
