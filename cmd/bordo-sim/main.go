// Bordo-sim is the simulator: it serves simulated sites on loopback ports and pseudo terminals, with a broker on
// request, and shows the real agent at work on one of them. It is never part of the agent.
//
// This file maps the result of a command to the exit code (0 done, 1 failed, 2 usage or a wrong scenario). Each command
// has its own file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"bordo/cmd/commandline"
)

// version is written by the linker: -X main.version=v1.2.3
var version = "unknown"

func main() {
	// A reader of standard output that ends early (| head) must not kill the program before it has cleaned up. Nothing
	// receives from this channel, but it makes a write fail with EPIPE instead of ending the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	code := execute(ctx, os.Args[1:], commandline.Console{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// endings are the signals on which the program cleans up and ends; repeating them has no effect. A hang-up is not among
// them when the program was started to survive one (nohup).
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// program is the command line with all commands.
func program() commandline.Program {
	return commandline.Program{
		Name:  "bordo-sim",
		Brief: "Simulates the devices that the agent reads, the lines that it reads them on, and its broker.",
		Commands: []commandline.Command{demoCommand(), serveCommand(), doCommand(), fleetCommand(), replayCommand(),
			scenariosCommand(),
			commandline.Version("bordo-sim", version)},
		Hint: "serve",
	}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, c commandline.Console) int {
	err := program().Run(ctx, args, c)
	if err == nil || readerEnded(err) {
		return 0
	}
	fmt.Fprintln(c.Err, "bordo-sim:", err) //nolint:errcheck // nowhere else to say it
	if _, ok := errors.AsType[commandline.Mistake](err); ok {
		return 2
	}
	return 1
}

// readerEnded reports whether an error only means that standard output is no longer read.
func readerEnded(err error) bool {
	at, ok := errors.AsType[*fs.PathError](err)
	return ok && at.Path == os.Stdout.Name() && errors.Is(at.Err, syscall.EPIPE)
}

// wrong is the mistake of what the command line names: a scenario, a file, a number out of its range.
func wrong(format string, args ...any) error {
	return commandline.Mistake{Err: fmt.Errorf(format, args...)}
}

// logger writes to standard error; routine messages are omitted unless verbose.
func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
