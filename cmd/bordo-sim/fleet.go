package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"bordo/sim"
)

// runFleet loads a broker, and whatever listens behind it, with many nodes, and prints what that did to them.
func runFleet(ctx context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("fleet", flag.ContinueOnError)
	o := sim.FleetOptions{Logger: logger(std, false)}
	fs.StringVar(&o.URL, "url", "", "")
	fs.IntVar(&o.Nodes, "nodes", 300, "")
	fs.StringVar(&o.Root, "root", "", "")
	fs.StringVar(&o.Tenant, "tenant", "", "")
	fs.StringVar(&o.Prefix, "prefix", "", "")
	fs.StringVar(&o.Username, "username", "", "")
	fs.DurationVar(&o.Every, "every", 0, "")
	fs.DurationVar(&o.RampUp, "ramp-up", 0, "")
	fs.DurationVar(&o.Backlog, "backlog", 0, "")
	fs.Float64Var(&o.HistoryRate, "history-rate", 0, "")
	fs.DurationVar(&o.StormEvery, "storm-every", 0, "")
	fs.DurationVar(&o.StormFor, "storm-for", 0, "")
	fs.Uint64Var(&o.Seed, "seed", 1, "")
	passwordFile := fs.String("password-file", "", "")
	during := fs.Duration("for", 0, "")
	every := fs.Duration("report", 5*time.Second, "")
	verbose := fs.Bool("verbose", false, "")
	if _, err := parse(fs, args, 0); err != nil {
		return err
	}
	o.Logger = logger(std, *verbose)
	if *every <= 0 {
		return usageError{fmt.Errorf("--report must be more than 0 (got %s)", *every)}
	}
	if *passwordFile != "" {
		text, err := os.ReadFile(*passwordFile)
		if err != nil {
			return usageError{fmt.Errorf("--password-file: %w", err)}
		}
		o.Password = strings.TrimRight(string(text), "\r\n")
	}
	fleet, err := sim.NewFleet(o)
	if err != nil {
		return usageError{err}
	}
	if *during > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *during)
		defer cancel()
	}
	fmt.Fprintln(std.out, "ack: median / 99th of a hundred / slowest PUBACK since the line before; connect: slowest way back to CONNACK") //nolint:errcheck // a heading
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	tick := time.NewTicker(*every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintln(std.out, fleet.Report()) //nolint:errcheck // nobody reads it any more
		case err := <-ended:
			fmt.Fprintln(std.out, fleet.Report()) //nolint:errcheck // as above
			return err
		}
	}
}
