package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"bordo/cmd/commandline"
	"bordo/sim"
)

func serveCommand() commandline.Command {
	return commandline.Command{
		Name: "serve", Brief: "a simulated site, or a device as it was captured, until Ctrl-C", Takes: "[SCENARIO]",
		Most: 1,
		Text: `Serves a site: those of bordo-sim scenarios by name, or the file of a scenario (sim/README.md). Serial lines are pseudo
terminals under DIR, TCP lines and the broker are free loopback ports. A configuration for the agent is written beside
them. With --from it serves the one device that a file of bordo capture, or a golden case, has recorded.

  bordo-sim serve demo --broker --dir /tmp/site
  bordo run --config /tmp/site/bordo.yaml
  bordo-sim do --dir /tmp/site press barrier-1 obstacle 10s`,
		Flags: func(set *flag.FlagSet) commandline.Action {
			var o serving
			set.StringVar(&o.dir, "dir", "",
				"the `DIR` for lines, configuration and store; it stays (otherwise a temporary one)")
			set.Uint64Var(&o.seed, "seed", 1, "another life: what is drawn is drawn from `N`")
			set.Float64Var(&o.speed, "speed", 1, "everything physical goes by `X` times as fast, at most 3600")
			set.BoolVar(&o.broker, "broker", false, "serve an MQTT broker as well")
			set.StringVar(&o.config, "config", "",
				"the `FILE` for the agent's configuration (otherwise DIR/bordo.yaml)")
			set.StringVar(&o.from, "from", "", "serve what this `FILE` recorded")
			set.StringVar(&o.model, "model", "",
				"with --from: the `MODEL` of the device, where the file does not say it")
			set.BoolVar(&o.verbose, "verbose", false, "log what is usual, too")
			return func(ctx context.Context, c commandline.Console, operands []string) error {
				return serve(ctx, c, o, operands)
			}
		},
	}
}

// serving are the settings of a served site.
type serving struct {
	dir, config, from, model string
	seed                     uint64
	speed                    float64
	broker, verbose          bool
}

// serve serves a scenario until ctx ends: a table of endpoints on standard output, and a configuration for the agent.
func serve(ctx context.Context, c commandline.Console, o serving, operands []string) (err error) {
	if !(o.speed > 0 && o.speed <= 3600) { // also NaN
		return wrong("--speed must be more than 0 and at most 3600, an hour in a second (got %v)", o.speed)
	}
	if o.model != "" && o.from == "" {
		return program().Misused("serve", "--model goes with --from")
	}
	scenario, err := load(operands, o.from, o.model)
	if err != nil {
		return err
	}
	own := o.dir == ""
	if o.dir, err = directory(o.dir); err != nil {
		return err
	}
	if own {
		defer os.RemoveAll(o.dir) //nolint:errcheck // a temporary directory
	}
	if o.config == "" {
		o.config = filepath.Join(o.dir, "bordo.yaml")
	}
	ctx, cancel := context.WithCancel(ctx)
	server, err := sim.Serve(ctx, scenario,
		sim.ServeOptions{Dir: o.dir, Seed: o.seed, Speed: o.speed, Broker: o.broker, Control: true,
			Logger: logger(c.Err, o.verbose)})
	if err != nil {
		cancel()
		return err
	}
	defer func() { cancel(); err = errors.Join(err, server.Wait()) }()
	if err := os.MkdirAll(filepath.Dir(o.config), 0o755); err != nil {
		return fmt.Errorf("write the agent's configuration: %w", err)
	}
	if err := os.WriteFile(o.config, scenario.Config(server.AgentConfig(o.dir)), 0o600); err != nil {
		return fmt.Errorf("write the agent's configuration: %w", err)
	}
	control := filepath.Join(o.dir, controlFile)
	if err := os.WriteFile(control, []byte(server.API+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the address of the control API: %w", err)
	}
	defer os.Remove(control) //nolint:errcheck // it leads nowhere any more
	printEndpoints(c.Out, scenario, server, o.config)
	<-ctx.Done()
	return nil
}

// directory makes the directory of a site, with those above it, and returns its full path; a temporary one for "".
func directory(dir string) (string, error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "bordo-sim-")
		if err != nil {
			return "", fmt.Errorf("make a directory for the lines: %w", err)
		}
		return dir, nil
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("make the directory for the lines: %w", err)
	}
	return dir, nil
}

// load reads the scenario, or makes one of a capture.
func load(names []string, from, model string) (*sim.Scenario, error) {
	switch {
	case from != "" && len(names) == 0:
		s, err := sim.FromCapture(from, model)
		return s, mistake(err)
	case from == "" && len(names) == 1:
		s, err := sim.LoadScenario(names[0])
		if err == nil {
			_, err = sim.New(s, sim.Options{}) // checks what depends on the models, as an error of the scenario
		}
		return s, mistake(err)
	}
	return nil, program().Misused("serve", "serve takes a scenario, or --from FILE")
}

// mistake is an error as one of the command line; nil stays nil.
func mistake(err error) error {
	if err != nil {
		return commandline.Mistake{Err: err}
	}
	return nil
}

func printEndpoints(out io.Writer, s *sim.Scenario, server *sim.Server, config string) {
	fmt.Fprintf(out, "%s: %s\n\n", s.Name, s.About) //nolint:errcheck // a table for a person
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "LINE\tPORT\tDEVICE\tMODEL\tUNIT") //nolint:errcheck // a table for a person
	for _, e := range server.Endpoints {
		line, port := e.Line, e.URL
		for _, d := range e.Devices {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", line, port, d.ID, d.Model,
				d.Unit) //nolint:errcheck // a table for a person
			line, port = "", ""
		}
	}
	w.Flush() //nolint:errcheck // a table for a person
	if server.Broker != "" {
		fmt.Fprintf(out, "\nbroker  %s\n    bordoctl watch --url %s\n", server.Broker,
			server.Broker) //nolint:errcheck // a table for a person
	}
	fmt.Fprintf(out, "\ncontrol %s\n    bordo-sim do --url %s faults\n", server.API,
		server.API) //nolint:errcheck // a table for a person
	if len(s.Host.Faults) > 0 {
		fmt.Fprintln(out, "\nWhat the scenario wants of the box (its clock, its disk, its end) happens in tests only: the box of a served site is this machine.") //nolint:errcheck // a note for a person
	}
	if server.Broker == "" && len(s.Broker.Faults)+len(s.Link.Faults) > 0 {
		fmt.Fprintln(out, "\nThe scenario has faults of the broker or of the link before it: they need serve --broker.") //nolint:errcheck // a note for a person
	}
	fmt.Fprintf(out, "\nconfiguration for the agent: %s\n    bordo run --config %s\n", config,
		config) //nolint:errcheck // a table for a person
}

func scenariosCommand() commandline.Command {
	return commandline.Command{
		Name: "scenarios", Brief: "the scenarios that are built in",
		Text: "Lists the scenarios that are built in, for bordo-sim serve.",
		Flags: func(*flag.FlagSet) commandline.Action {
			return func(_ context.Context, c commandline.Console, _ []string) error {
				w := tabwriter.NewWriter(c.Out, 0, 8, 2, ' ', 0)
				for _, name := range sim.Scenarios() {
					s, err := sim.LoadScenario(name)
					if err != nil {
						return err
					}
					fmt.Fprintf(w, "%s\t%s\n", name, s.About) //nolint:errcheck // told by Flush
				}
				return w.Flush()
			}
		},
	}
}
