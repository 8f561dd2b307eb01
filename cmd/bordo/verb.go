package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"bordo/agent/config"
	"bordo/agent/config/nearest"
	"bordo/drivers/all"
)

// mistake is an error of whoever wrote the command line or the configuration: trying again changes nothing.
type mistake struct{ error }

// Unwrap returns the cause.
func (m mistake) Unwrap() error { return m.error }

// misused is the mistake of a command line, with where to read on.
func misused(page, format string, args ...any) error {
	return mistake{fmt.Errorf("%s: see %s", fmt.Sprintf(format, args...), strings.TrimSpace("bordo help "+page))}
}

// action is a verb with its flags set; operands are what stands beside the flags.
type action func(ctx context.Context, c console, operands []string) error

// verb is one thing that the program can do.
type verb struct {
	name  string
	brief string // for the list
	text  string // for its own page
	takes string // the operands, as its page shows them; "" for none
	most  int    // how many operands there may be; the verb itself asks for the least
	flags func(*flag.FlagSet) action
}

// flagSet makes the verb's flags, and the action that sees their values. It prints nothing by itself.
func (v verb) flagSet() (*flag.FlagSet, action) {
	set := flag.NewFlagSet(v.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return set, v.flags(set)
}

// dispatch finds the verb, sets its flags and runs it.
func dispatch(ctx context.Context, args []string, c console) error {
	if len(args) == 0 {
		overview(c.err)
		return misused("", "a verb is missing")
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(rest, c)
	case "-version", "--version":
		name = "version"
	}
	v, err := find(name)
	if err != nil {
		return err
	}
	set, act := v.flagSet()
	var operands []string
	for first := true; first || len(rest) > 0; first = false { // flags may stand before, between and behind operands
		if err := known(set, rest); err != nil {
			return err
		}
		switch err := set.Parse(rest); {
		case errors.Is(err, flag.ErrHelp):
			page(c.out, v)
			return nil
		case err != nil:
			return misused(v.name, "%s: %s", v.name, err)
		}
		if rest = set.Args(); len(rest) > 0 {
			operands, rest = append(operands, rest[0]), rest[1:]
		}
	}
	if len(operands) > v.most {
		return misused(v.name, "%s takes no %q", v.name, operands[v.most])
	}
	return act(ctx, c, operands)
}

func find(name string) (verb, error) {
	names := []string{"help"}
	for _, v := range verbs() {
		if v.name == name {
			return v, nil
		}
		names = append(names, v.name)
	}
	return verb{}, misused("", "unknown verb %q%s", name, meant(nearest.Names(name, names, 1)))
}

// known looks for flags that the verb does not have, before package flag says so in words that suggest nothing.
func known(set *flag.FlagSet, args []string) error {
	for i := 0; i < len(args); i++ {
		dashed := args[i]
		if !strings.HasPrefix(dashed, "-") || dashed == "-" || dashed == "--" {
			return nil
		}
		name, _, valued := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(dashed, "-"), "-"), "=")
		if name == "h" || name == "help" {
			return nil
		}
		f := set.Lookup(name)
		if f == nil {
			var names []string
			set.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
			near := nearest.Names(name, names, 1)
			for i := range near {
				near[i] = "--" + near[i]
			}
			return misused(set.Name(), "%s: unknown flag --%s%s", set.Name(), name, meant(near))
		}
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); !valued && (!ok || !b.IsBoolFlag()) {
			i++ // its value
		}
	}
	return nil
}

func meant(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return " (did you mean " + near[0] + "?)"
}

// help prints the overview, or the page of one verb.
func help(args []string, c console) error {
	if len(args) == 0 {
		overview(c.out)
		return nil
	}
	v, err := find(args[0])
	if err != nil {
		return err
	}
	page(c.out, v)
	return nil
}

func overview(w io.Writer) {
	fmt.Fprint(w, "Bordo, the agent of the site: polls devices, keeps what they say, hands it to a broker.\n\nusage: bordo VERB [flags]\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-9s %s\n", v.name, v.brief)
	}
	fmt.Fprintf(w, "  %-9s %s\n", "help", "this page, or that of one verb: bordo help run")
}

func page(w io.Writer, v verb) {
	set, _ := v.flagSet()
	var line, list strings.Builder
	set.VisitAll(func(f *flag.Flag) {
		value, what := flag.UnquoteUsage(f)
		name := "--" + f.Name
		if value != "" {
			name += " " + value
		}
		fmt.Fprintf(&line, " [%s]", name)
		fmt.Fprintf(&list, "  %-18s %s", name, what)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(&list, " (default %s)", f.DefValue)
		}
		list.WriteByte('\n')
	})
	usage := "usage: bordo " + strings.TrimSpace(v.name+" "+v.takes)
	if flags := line.String(); len(usage)+len(flags) < 80 {
		usage += flags
	} else {
		usage += " [flags]"
	}
	fmt.Fprintf(w, "%s\n\n%s\n", usage, v.text)
	if list.Len() > 0 {
		fmt.Fprintf(w, "\n%s", list.String())
	}
}

// configFlag is the one flag that most verbs share.
func configFlag(set *flag.FlagSet) *string {
	return set.String("config", defaultConfig, "the configuration `FILE` of the node")
}

// load reads the configuration with the drivers that are built in.
func load(path string) (*config.Config, error) {
	cfg, err := config.Load(path, all.List())
	if err != nil {
		return nil, mistake{err}
	}
	return cfg, nil
}
