package agent

import (
	"context"
	"log/slog"
	"time"

	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/drivers"
)

// Back-off for a port that cannot be opened or that breaks immediately.
const (
	reopenFirst = time.Second
	reopenMax   = time.Minute
)

// maxRequests bounds the requests that wait for a line; more are refused.
const maxRequests = 16

// lineRunner opens one port, runs the link on it and opens it again when it is lost. It is the only one who touches it.
type lineRunner struct {
	cfg  config.Line
	link drivers.Link
	sys  System
	log  *slog.Logger
	in   chan drivers.Request
	out  func(drivers.Report)
	tell func(port drivers.Port, err error) // each change of the port's state; nil: it is not open
}

// run blocks until ctx ends. The port is closed when it returns. A lost port is reopened immediately. Only a port that
// cannot be opened counts as down, so that a device that breaks its connection is a fault of that device alone.
func (l *lineRunner) run(ctx context.Context) {
	wait, most := time.Duration(0), l.reopenMax()
	for clock.Sleep(ctx, wait) {
		port, err := l.sys.OpenPort(ctx, l.cfg.Endpoint)
		if err != nil {
			if ctx.Err() == nil {
				l.tell(nil, err)
			}
			wait = min(max(2*wait, reopenFirst), most)
			continue
		}
		l.tell(port, nil)
		answered := false
		err = l.link.Run(ctx, port, l.in, func(r drivers.Report) {
			answered = answered || len(r.Readings) > 0 || len(r.Events) > 0 && r.Err == nil
			l.out(r)
		})
		port.Close() //nolint:errcheck // the port is given up
		l.log.Debug("port lost", "line", l.cfg.ID, "err", err)
		if answered {
			wait = 0
		} else {
			wait = min(max(2*wait, reopenFirst), most)
		}
	}
}

// reopenMax is the longest pause before the port is opened again: the shortest that a model on the line asks for.
func (l *lineRunner) reopenMax() time.Duration {
	most := reopenMax
	for _, d := range l.cfg.Devices {
		if m := d.Spec.ReopenMax; m > 0 {
			most = min(most, m)
		}
	}
	return most
}
