package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

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
	if faults := cfg.Files(); len(faults) > 0 && !budget { // the estimate is also made at a desk, without the box's files
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
	every := map[string]time.Duration{}
	always := false // some device sends each poll
	for _, l := range cfg.Lines {
		for _, d := range l.Devices {
			every[d.ID] = d.Every
			always = always || !d.Report.OnChange
		}
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tEVERY\tPOINTS\tMB A MONTH")
	for _, d := range b.Devices {
		fmt.Fprintf(w, "%s\t%s\t%6d\t%s\n", d.ID, strings.Replace(every[d.ID].String(), "m0s", "m", 1), d.Points, megabytes(d.Least, d.Most))
	}
	least, most := b.Total()
	fmt.Fprintf(w, "status, quarter hours\t\t\t%s\n", megabytes(b.Rest, b.Rest))
	fmt.Fprintf(w, "all\t\t\t%s\n", megabytes(least, most))
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(c.out, "\nAn estimate: 30 days on a healthy link, both ways, with what IP adds.\nA MB is a million bytes.")
	if always {
		fmt.Fprint(c.out, " Less goes with a longer every, or with\nreport: {on: change} on a device.")
	}
	_, err = fmt.Fprintln(c.out)
	return err
}

func megabytes(least, most int64) string {
	if least == most {
		return fmt.Sprintf("%10.1f", float64(most)/1e6)
	}
	return fmt.Sprintf("%10.1f, or %.1f if nothing changes", float64(most)/1e6, float64(least)/1e6)
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
