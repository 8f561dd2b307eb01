package main

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"strings"

	"bordo/agent/config"
	"bordo/cmd/commandline"
	"bordo/drivers/all"
)

// mistake is an error in the command line or the configuration: repeating the command does not help.
type mistake = commandline.Mistake

// action runs a command whose flags are set; operands are the arguments that are not flags.
type action func(ctx context.Context, c console, operands []string) error

// command is one thing that the program can do: a commandline.Verb.
type command struct {
	name, brief, text, takes string
	most                     int
	flags                    func(*flag.FlagSet) action

	complete func(args []string) []string // see commandline.Command
}

// firstOf completes the first operand with some names.
func firstOf(names func() []string) func(args []string) []string {
	return func(args []string) []string {
		if len(args) > 0 {
			return []string{}
		}
		return names()
	}
}

// deviceNames are the ids of the devices in the configuration at its usual place; none where that cannot be read.
func deviceNames() []string {
	out := []string{}
	cfg, err := load(defaultConfig)
	if err != nil {
		return out
	}
	for _, l := range cfg.Lines {
		for _, d := range l.Devices {
			out = append(out, d.ID)
		}
	}
	return out
}

// program is the command line with all commands.
func program(l *langValue) commandline.Program {
	p := commandline.Program{Name: "bordo", Hint: "run", Language: *l,
		Brief: phrase("Bordo, the agent of the site: polls devices, keeps what they say, hands it to a broker.").in(l)}
	for _, v := range commands(l) {
		p.Commands = append(p.Commands, commandline.Command{Name: v.name, Brief: v.brief, Text: v.text, Takes: v.takes,
			Most: v.most, Complete: v.complete,
			Flags: func(set *flag.FlagSet) commandline.Action {
				act := v.flags(set)
				return func(ctx context.Context, c commandline.Console, operands []string) error {
					return act(ctx, console{c.Out, c.Err}, operands)
				}
			}})
	}
	return p
}

// misused is the mistake of a command line, with where to read on.
func misused(page string, p phrase, args ...any) error {
	return mistake{Err: phrase("%v: see %s").fault(p.with(args...), strings.TrimSpace("bordo help "+page))}
}

// configFlag is the one flag that most commands share.
func configFlag(set *flag.FlagSet, l *langValue) *string {
	return set.String("config", defaultConfig, phrase("the configuration `FILE` of the node").in(l))
}

// jsonFlag is the flag of the commands that can speak to another program.
func jsonFlag(set *flag.FlagSet, l *langValue) *bool {
	return set.Bool("json", false, phrase("print everything, as JSON").in(l))
}

// load reads the configuration with the drivers that are built in.
func load(path string) (*config.Config, error) {
	cfg, err := config.Load(path, all.List())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, mistake{Err: phrase("%[2]v\nname it with --config FILE").fault(path, err)}
	case errors.Is(err, fs.ErrPermission):
		return nil, mistake{Err: permitted(err, fileOwner())}
	case err != nil:
		return nil, mistake{Err: err}
	}
	return cfg, nil
}
