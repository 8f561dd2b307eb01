package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/agent/control"
	"bordo/drivers"
	"bordo/drivers/all"
	"bordo/drivers/line"
)

// defaultConfig is where the configuration lies unless --config says otherwise.
const defaultConfig = "/etc/bordo/bordo.yaml"

// client gives a command access to devices: through the running agent if it has their line, otherwise directly. Never
// do both use one port.
type client struct {
	cfg     *config.Config // nil if there is none
	drivers []drivers.Driver
	running *agent.Status  // nil when no agent runs
	agent   control.Client // where it answers
	open    func(ctx context.Context, e line.Endpoint) (drivers.Port, error)
}

// newClient reads the configuration and finds out whether its agent runs. needed means that the command cannot work
// without a configuration.
func newClient(ctx context.Context, c console, path string, needed bool) (*client, error) {
	d := &client{drivers: all.List(), open: line.Open}
	cfg, err := load(path)
	switch {
	case err == nil:
		d.cfg, d.drivers = cfg, cfg.Drivers
	case needed || errors.Is(err, fs.ErrNotExist) && path != defaultConfig:
		return nil, err
	case errors.Is(err, fs.ErrNotExist):
		return d, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, err
	default:
		return nil, phrase("%v\nthe configuration must be correct, because it says whether an agent has the line").fault(err)
	}
	r, err := findAgent(ctx, path, cfg)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return d, nil
	case err != nil:
		return nil, permitted(err, socketOwner())
	}
	d.running, d.agent = &r.Status, control.Client(r.socket)
	return d, nil
}

// notRunning is the error of a command that only the running agent can do.
func (d *client) notRunning() error { return notRunning(d.cfg) }

// held returns the line of the running agent that an endpoint belongs to, nil when it has none.
func (d *client) held(e line.Endpoint) *agent.LineStatus {
	if d.running == nil {
		return nil
	}
	for i := range d.running.Lines {
		if has, err := line.Parse(d.running.Lines[i].Port); err == nil && sameEndpoint(has, e) {
			return &d.running.Lines[i]
		}
	}
	return nil
}

// sameEndpoint reports whether two endpoints are one port: a serial port has several names.
func sameEndpoint(a, b line.Endpoint) bool {
	if a.Scheme == line.Serial && b.Scheme == line.Serial {
		return realPath(a.Path) == realPath(b.Path)
	}
	return a.Key() == b.Key()
}

func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// device finds a configured device and its line.
func (d *client) device(id string) (config.Line, config.Device, error) {
	var ids []string
	for _, l := range d.cfg.Lines {
		for _, dev := range l.Devices {
			if dev.ID == id {
				return l, dev, nil
			}
			ids = append(ids, dev.ID)
		}
	}
	return config.Line{}, config.Device{},
		mistake{Err: phrase("no device %q in %s%v").fault(id, d.cfg.File, oneOf(id, ids))}
}

// only returns the first driver that offers T, such as drivers.RawReader.
func only[T drivers.Driver](list []drivers.Driver) (out T, ok bool) {
	for _, d := range list {
		if out, ok = d.(T); ok {
			return out, true
		}
	}
	return out, false
}

// stoppable returns a context that Ctrl-C ends. A second Ctrl-C ends the program immediately.
func stoppable(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
