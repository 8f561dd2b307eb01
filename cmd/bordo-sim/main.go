// Bordo-sim is the district without hardware: it serves simulated sites on loopback ports and pseudo terminals, with a
// broker where one is wanted, and it shows the real agent at work on one of them. It is never part of the agent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// verb is a thing that bordo-sim does.
type verb struct {
	name, args, about string
	run               func(ctx context.Context, args []string, std stdio) error
}

// stdio is where a verb reads and writes.
type stdio struct{ out, err *os.File }

func verbs() []verb {
	return []verb{
		{"demo", "[--bordo FILE] [--seed N]", "show the real agent on a simulated site, live, until Ctrl-C", runDemo},
		{"serve", "(SCENARIO | --from CAPTURE.txtar [--model M]) [--dir DIR] [--seed N] [--speed X] [--broker] [--config FILE]", "serve a simulated site, or a device as it was captured, until Ctrl-C", runServe},
		{"do", "(--dir DIR | --url URL) ACTION ...", "tell a site that is served what to suffer: bordo-sim do lists the actions", runDo},
		{"fleet", "--url mqtt://HOST:PORT [--nodes 300] [--every 10s] [--backlog 2h] [--storm-every 10m] [--storm-for 30s]\n" +
			"            [--tenant T] [--prefix P] [--root R] [--username U --password-file F] [--history-rate 20] [--ramp-up 5s] [--report 5s] [--for D]",
			"be many nodes at once, to load a broker and what listens behind it, and tell what that did to them", runFleet},
		{"replay", "FILE...", "serve what bordo capture recorded, until Ctrl-C", runReplay},
		{"scenarios", "", "list the scenarios that are built in", runScenarios},
	}
}

// usageError is a wrong command line or a wrong scenario: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() { os.Exit(start(os.Args[1:], stdio{os.Stdout, os.Stderr})) }

func start(args []string, std stdio) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := dispatch(ctx, args, std)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, new(usageError)):
		fmt.Fprintln(std.err, "bordo-sim:", err) //nolint:errcheck // nowhere else to say it
		return 2
	default:
		fmt.Fprintln(std.err, "bordo-sim:", err) //nolint:errcheck // nowhere else to say it
		return 1
	}
}

func dispatch(ctx context.Context, args []string, std stdio) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(std.out)
		if len(args) == 0 {
			return usageError{errors.New("what is to be done?")}
		}
		return nil
	}
	for _, v := range verbs() {
		if v.name == args[0] {
			return v.run(ctx, args[1:], std)
		}
	}
	return usageError{fmt.Errorf("unknown command %q: see bordo-sim help", args[0])}
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "bordo-sim simulates the devices that the agent reads.\n\nUsage:") //nolint:errcheck // a help text
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %s\n      %s\n", strings.TrimSpace("bordo-sim "+v.name+" "+v.args), v.about) //nolint:errcheck // a help text
	}
}

// parse reads flags that may stand before and after the other arguments, of which there must be one of the wanted numbers.
func parse(fs *flag.FlagSet, args []string, want ...int) ([]string, error) {
	fs.SetOutput(io.Discard)
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, usageError{fmt.Errorf("see bordo-sim help")}
			}
			return nil, usageError{err}
		}
		if fs.NArg() == 0 {
			break
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
	if !slices.Contains(want, len(rest)) {
		return nil, usageError{fmt.Errorf("%s takes %d arguments (got %d): see bordo-sim help", fs.Name(), want[len(want)-1], len(rest))}
	}
	return rest, nil
}

// logger writes to standard error; what is usual is left out unless it is asked for.
func logger(std stdio, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: level}))
}
