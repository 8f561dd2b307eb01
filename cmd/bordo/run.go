package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"bordo/agent"
	"bordo/agent/api"
	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/agent/control"
	"bordo/agent/owner"
	"bordo/buffer"
)

// collectAt is the heap growth in per cent that triggers a garbage collection, unless GOGC is set. At the runtime's
// 100, a box that drains a backlog uses 36 MB instead of 31, at the same rate (agent/BENCH.md).
const collectAt = 40

// errLeft is the error of an agent that was told twice to stop.
var errLeft = errors.New("left at once, on the second signal")

func runCommand(l *langValue) command {
	return command{
		name:  "run",
		brief: phrase("polls, stores and forwards until it is told to stop").in(l),
		text: phrase(`Runs the agent in the foreground and logs to stderr. It runs whatever is missing (broker, port, device, clock) and
stops cleanly on SIGINT, SIGTERM or SIGHUP; a second signal makes it leave at once.`).in(l),
		flags: func(set *flag.FlagSet) action {
			path := configFlag(set, l)
			level := levelFlag{slog.LevelInfo}
			set.Var(&level, "log-level", phrase("the least `LEVEL` that is logged: debug, info, warn or error").in(l))
			return func(ctx context.Context, c console, _ []string) error {
				if _, own := os.LookupEnv("GOGC"); !own {
					debug.SetGCPercent(collectAt)
				}
				log := newLogger(c.err, level.Level, isJournal(os.Stderr, os.Getenv("JOURNAL_STREAM")))
				return run(ctx, *path, log)
			}
		},
	}
}

func run(ctx context.Context, path string, log *slog.Logger) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	if len(cfg.Placeholders) > 0 {
		return mistake{Err: cfg.Placeholders}
	}
	claim, err := control.TakeDir(cfg.StateDir)
	if errors.Is(err, control.ErrTaken) {
		return phrase("%v").fault(err)
	}
	if err != nil { // it must not cost readings: the agent runs from memory, and the socket keeps a second one out
		log.Error("state directory cannot be claimed", "err", owner.ExplainState(err, cfg.StateDir))
	} else {
		defer claim.Release() //nolint:errcheck // it ends with the process at the latest
	}
	for _, w := range append(cfg.Warnings, cfg.SecretWarnings()...) {
		log.Warn("configuration", "warning", w.Error())
	}
	// A missing password must not cost readings: they are stored until the broker can be reached.
	for _, f := range cfg.Files() {
		log.Error("configuration", "err", f)
	}
	if cfg.Clock.Trust == config.TrustKernel {
		log.Info("clock", "set", kernelSynced(), "by", clock.Daemon())
	}
	a, err := agent.New(cfg, system(cfg, log))
	if err != nil {
		return mistake{Err: fmt.Errorf("%s: %w", path, err)}
	}
	socket, err := control.Listen(ctx, cfg.Control.Socket)
	switch {
	case errors.Is(err, control.ErrTaken):
		return err
	case err != nil:
		log.Error("nobody can ask this agent", "err", err)
	}
	err = supervise(ctx, a, socket, control.AnswersOf(api.New(a, cfg, version)), log)
	if errors.Is(err, buffer.ErrInUse) {
		return phrase("another agent has the store %s open: stop it, or give this node a buffer.dir of its own (%v)").fault(cfg.Buffer.Dir, err)
	}
	return err
}

// supervise runs the agent until it ends or a second signal arrives, and serves the socket meanwhile, if there is one.
func supervise(ctx context.Context, a *agent.Agent, socket net.Listener, answers control.Answers,
	log *slog.Logger) error {
	// The log's reader may end before the agent: a journal that is restarted, or head in a terminal. Writes then fail
	// without further effect. The runtime would end the process, even where systemd ignores SIGPIPE for it
	// (golang/go#11845).
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	answering, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	defer serving.Wait()
	defer hangUp()
	if socket != nil {
		serving.Go(func() {
			if err := control.Serve(answering, socket, answers, log); err != nil {
				log.Error("nobody can ask this agent any more", "err", err)
			}
		})
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for stopping := false; ; stopping = true {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			if stopping {
				return errLeft
			}
			log.Info("stopping", "signal", s.String())
			stop()
		}
	}
}
