package main

import (
	"context"
	"flag"
	"fmt"

	"bordo/agent"
	"bordo/agent/config"
)

func checkVerb() verb {
	return verb{
		name:  "check",
		brief: "tells every fault of the configuration at once; touches nothing",
		text: `Reads the configuration and every file that it names, and tells all faults with their place. Nothing is opened,
made or changed. Exit code 2 when there is a fault; a warning is none.`,
		flags: func(set *flag.FlagSet) action {
			path := configFlag(set)
			all := set.Bool("print", false, "print the configuration with every default in its place")
			return func(_ context.Context, c console) error { return check(c, *path, *all) }
		},
	}
}

func check(c console, path string, all bool) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	if faults := cfg.Files(); len(faults) > 0 {
		return mistake{faults}
	}
	// The drivers have the last word on their devices. Making an agent opens and touches nothing.
	if _, err := agent.New(cfg, system(cfg, quiet())); err != nil {
		return mistake{fmt.Errorf("%s: %w", path, err)}
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(c.err, "warning:", w)
	}
	if all {
		fmt.Fprint(c.out, cfg.Text())
		return nil
	}
	fmt.Fprintf(c.out, "%s: correct: %s, %s\n", path, count(len(cfg.Lines), "line"), count(devices(cfg), "device"))
	return nil
}

func devices(cfg *config.Config) int {
	n := 0
	for _, l := range cfg.Lines {
		n += len(l.Devices)
	}
	return n
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
