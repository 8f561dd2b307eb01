package main

import (
	"context"
	"flag"

	"bordo/agent/config"
	"bordo/cmd/commandline"
	"bordo/drivers/all"
)

// mistake is an error of whoever wrote the command line or the configuration: trying again changes nothing.
type mistake = commandline.Mistake

// action is a verb with its flags set; operands are what stands beside the flags.
type action func(ctx context.Context, c console, operands []string) error

// verb is one thing that the program can do: a commandline.Verb.
type verb struct {
	name, brief, text, takes string
	most                     int
	flags                    func(*flag.FlagSet) action
}

// program is the command line with all verbs.
func program() commandline.Program {
	p := commandline.Program{Name: "bordo", Hint: "run",
		Brief: "Bordo, the agent of the site: polls devices, keeps what they say, hands it to a broker."}
	for _, v := range verbs() {
		p.Verbs = append(p.Verbs, commandline.Verb{Name: v.name, Brief: v.brief, Text: v.text, Takes: v.takes, Most: v.most,
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
func misused(page, format string, args ...any) error {
	return commandline.Program{Name: "bordo"}.Misused(page, format, args...)
}

// configFlag is the one flag that most verbs share.
func configFlag(set *flag.FlagSet) *string {
	return set.String("config", defaultConfig, "the configuration `FILE` of the node")
}

// load reads the configuration with the drivers that are built in.
func load(path string) (*config.Config, error) {
	cfg, err := config.Load(path, all.List())
	if err != nil {
		return nil, mistake{Err: err}
	}
	return cfg, nil
}
