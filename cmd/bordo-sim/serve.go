package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"bordo/sim"
)

// runServe serves a scenario until ctx ends: a table of endpoints on standard output, and a configuration for the agent.
func runServe(ctx context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	dir := fs.String("dir", "", "")
	seed := fs.Uint64("seed", 1, "")
	speed := fs.Float64("speed", 1, "")
	broker := fs.Bool("broker", false, "")
	config := fs.String("config", "", "")
	from := fs.String("from", "", "")
	model := fs.String("model", "", "")
	verbose := fs.Bool("verbose", false, "")
	rest, err := parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	scenario, err := load(rest, *from, *model)
	if err != nil {
		return usageError{err}
	}
	if *speed <= 0 || *speed > 3600 {
		return usageError{fmt.Errorf("--speed must be more than 0 and at most 3600, an hour in a second (got %v)", *speed)}
	}
	own := *dir == ""
	if own {
		if *dir, err = os.MkdirTemp("", "bordo-sim-"); err != nil {
			return fmt.Errorf("make a directory for the lines: %w", err)
		}
		defer os.RemoveAll(*dir) //nolint:errcheck // a temporary directory
	}
	if *dir, err = filepath.Abs(*dir); err != nil {
		return fmt.Errorf("directory for the lines: %w", err)
	}
	if *config == "" {
		*config = filepath.Join(*dir, "bordo.yaml")
	}
	server, err := sim.Serve(ctx, scenario, sim.ServeOptions{Dir: *dir, Seed: *seed, Speed: *speed, Broker: *broker, Control: true, Logger: logger(std, *verbose)})
	if err != nil {
		return err
	}
	if err := os.WriteFile(*config, scenario.Config(server.AgentConfig(*dir)), 0o600); err != nil {
		return fmt.Errorf("write the agent's configuration: %w", err)
	}
	control := filepath.Join(*dir, controlFile)
	if err := os.WriteFile(control, []byte(server.API+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the address of the control API: %w", err)
	}
	defer os.Remove(control) //nolint:errcheck // it leads nowhere any more
	printEndpoints(std, scenario, server, *config)
	return server.Wait()
}

// load reads the scenario, or makes one of a capture.
func load(names []string, from, model string) (*sim.Scenario, error) {
	switch {
	case from != "" && len(names) == 0:
		return sim.FromCapture(from, model)
	case from == "" && len(names) == 1:
		return sim.LoadScenario(names[0])
	}
	return nil, errors.New("serve takes a scenario, or --from CAPTURE: see bordo-sim help")
}

func printEndpoints(std stdio, s *sim.Scenario, server *sim.Server, config string) {
	fmt.Fprintf(std.out, "%s: %s\n\n", s.Name, s.About) //nolint:errcheck // a table for a person
	w := tabwriter.NewWriter(std.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "LINE\tPORT\tDEVICE\tMODEL\tUNIT") //nolint:errcheck // a table for a person
	for _, e := range server.Endpoints {
		line, port := e.Line, e.URL
		for _, d := range e.Devices {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", line, port, d.ID, d.Model, d.Unit) //nolint:errcheck // a table for a person
			line, port = "", ""
		}
	}
	w.Flush() //nolint:errcheck // a table for a person
	if server.Broker != "" {
		fmt.Fprintf(std.out, "\nbroker  %s\n", server.Broker) //nolint:errcheck // a table for a person
	}
	fmt.Fprintf(std.out, "\ncontrol %s\n", server.API) //nolint:errcheck // a table for a person
	if len(s.Box.Faults) > 0 {
		fmt.Fprintln(std.out, "\nWhat the scenario wants of the box (its clock, its disk, its end) happens in tests only: the box of a served site is this machine.") //nolint:errcheck // a note for a person
	}
	fmt.Fprintf(std.out, "\nconfiguration for the agent: %s\n    bordo run --config %s\n", config, config) //nolint:errcheck // a table for a person
}

// runScenarios lists what is built in.
func runScenarios(_ context.Context, args []string, std stdio) error {
	if _, err := parse(flag.NewFlagSet("scenarios", flag.ContinueOnError), args, 0); err != nil {
		return err
	}
	w := tabwriter.NewWriter(std.out, 0, 8, 2, ' ', 0)
	for _, name := range sim.Scenarios() {
		s, err := sim.LoadScenario(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\n", name, s.About) //nolint:errcheck // told by Flush
	}
	return w.Flush()
}
