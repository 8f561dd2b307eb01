package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"bordo/cmd/commandline"
	"bordo/sim"
)

func fleetCommand() commandline.Command {
	return commandline.Command{
		Name: "fleet", Brief: "many nodes at once, to load a broker and what listens behind it",
		Text: `Is many nodes, with a real MQTT connection each, and tells every few seconds what the broker did to them. They begin with
a backlog and lose their link in storms, where that is wanted, and send what they could not deliver when they are back.

  bordo-sim fleet --url mqtt://127.0.0.1:1883 --nodes 300 --backlog 2h --storm-every 10m`,
		Flags: func(set *flag.FlagSet) commandline.Action {
			var o sim.FleetOptions
			var w loading
			set.StringVar(&o.URL, "url", "", "the broker's `URL`: mqtt://HOST:PORT or mqtts://HOST:PORT")
			set.IntVar(&o.Nodes, "nodes", 300, "be `N` nodes")
			set.StringVar(&o.Root, "root", "", "the first `LEVEL` of the topics (otherwise bordo)")
			set.StringVar(&o.Tenant, "tenant", "", "the tenant's `ID` (otherwise fleet)")
			set.StringVar(&o.Prefix, "prefix", "", "the nodes are called `P`-0001 and so on (otherwise fleet)")
			set.StringVar(&o.Username, "username", "", "the user `NAME` at the broker")
			set.StringVar(&w.passwordFile, "password-file", "", "a `FILE` with nothing but the password")
			set.DurationVar(&o.Every, "every", 0, "each device is read once in so `LONG` (otherwise 10s)")
			set.DurationVar(&o.RampUp, "ramp-up", 0,
				"the nodes come one after the other within so `LONG` (otherwise 5s)")
			set.DurationVar(&o.Backlog, "backlog", 0,
				"begin with what was not delivered for so `LONG` (otherwise nothing)")
			set.Float64Var(&o.HistoryRate, "history-rate", 0,
				"send at most `N` messages of it a second and node (otherwise 20)")
			set.DurationVar(&o.StormEvery, "storm-every", 0, "all links break once in so `LONG` (otherwise never)")
			set.DurationVar(&o.StormFor, "storm-for", 0, "and come back after so `LONG` (otherwise 30s)")
			set.Uint64Var(&o.Seed, "seed", 1, "another life: what is drawn is drawn from `N`")
			set.DurationVar(&w.during, "for", 0, "end after so `LONG` (otherwise at Ctrl-C)")
			set.DurationVar(&w.every, "report", 5*time.Second, "tell once in so `LONG`")
			set.BoolVar(&w.verbose, "verbose", false, "log what is usual, too")
			return func(ctx context.Context, c commandline.Console, _ []string) error { return beFleet(ctx, c, o, w) }
		},
	}
}

// loading are the settings besides the fleet's own options.
type loading struct {
	passwordFile  string
	during, every time.Duration
	verbose       bool
}

// beFleet loads a broker, and its consumers, with many nodes, and prints the effect.
func beFleet(ctx context.Context, c commandline.Console, o sim.FleetOptions, w loading) error {
	o.Logger = logger(c.Err, w.verbose)
	if w.every <= 0 {
		return wrong("--report must be more than 0 (got %s)", w.every)
	}
	if w.during < 0 {
		return wrong("--for must not be negative (got %s)", w.during)
	}
	if w.passwordFile != "" {
		text, err := os.ReadFile(w.passwordFile)
		if err != nil {
			return wrong("--password-file: %w", err)
		}
		o.Password = strings.TrimRight(string(text), "\r\n")
	}
	fleet, err := sim.NewFleet(o)
	if err != nil {
		return mistake(err)
	}
	if w.during > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.during)
		defer cancel()
	}
	fmt.Fprintln(c.Out, "ack: median / 99th of a hundred / slowest PUBACK since the line before; connect: slowest way back to CONNACK") //nolint:errcheck // a heading
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := fmt.Fprintln(c.Out, fleet.Report()); err != nil {
				cancel()
				return errors.Join(err, <-ended)
			}
		case err := <-ended:
			fmt.Fprintln(c.Out, fleet.Report()) //nolint:errcheck // it is over, whoever reads that
			return err
		}
	}
}
