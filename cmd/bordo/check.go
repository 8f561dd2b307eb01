package main

import (
	"context"
	"flag"
	"fmt"
	"text/tabwriter"

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
			budget := set.Bool("budget", false, "print what the node will send in a month")
			return func(_ context.Context, c console, _ []string) error { return check(c, *path, *all, *budget) }
		},
	}
}

func check(c console, path string, all, budget bool) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	if faults := cfg.Files(); len(faults) > 0 {
		return mistake{Err: faults}
	}
	// The drivers have the last word on their devices. Making an agent opens and touches nothing.
	if _, err := agent.New(cfg, system(cfg, quiet())); err != nil {
		return mistake{Err: fmt.Errorf("%s: %w", path, err)}
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(c.err, "warning:", w)
	}
	if all {
		fmt.Fprint(c.out, cfg.Text())
		return nil
	}
	if budget {
		return printBudget(c, cfg)
	}
	fmt.Fprintf(c.out, "%s: correct: %s, %s\n", path, count(len(cfg.Lines), "line"), count(devices(cfg), "device"))
	return nil
}

// printBudget shows an estimate for whoever pays for the link.
func printBudget(c console, cfg *config.Config) error {
	b, err := agent.Estimate(cfg)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "device\tpoints\ta month")
	for _, d := range b.Devices {
		fmt.Fprintf(w, "%s\t%d\t%s\n", d.ID, d.Points, megabytes(d.Least, d.Most))
	}
	least, most := b.Total()
	fmt.Fprintf(w, "keep-alive, status, quarter hours\t\t%s\n", megabytes(b.Rest, b.Rest))
	fmt.Fprintf(w, "all, on a healthy link\t\t%s\n", megabytes(least, most))
	return w.Flush()
}

func megabytes(least, most int64) string {
	if least == most {
		return fmt.Sprintf("%.1f MB", float64(most)/1e6)
	}
	return fmt.Sprintf("%.1f to %.1f MB", float64(least)/1e6, float64(most)/1e6)
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
