package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"bordo/agent/config/nearest"
	firmwarenotes "bordo/firmware-notes"
)

func notesVerb() verb {
	return verb{
		name:  "notes",
		brief: "what is known of a model: wiring, settings, oddities",
		text: `Prints the note of a model, which needs no network: how it is wired and set up (in Italian first, for the installer),
what it answers, where it deviates from its own documents. A part of the name will do: bordo notes sdm630. Without a
model the notes are listed.`,
		takes: "[MODEL]",
		most:  1,
		flags: func(*flag.FlagSet) action {
			return func(_ context.Context, c console, operands []string) error {
				if len(operands) == 0 {
					_, err := fmt.Fprintln(c.out, strings.Join(firmwarenotes.Models(), "\n"))
					return err
				}
				return notes(c, operands[0])
			}
		},
	}
}

func notes(c console, name string) error {
	model, err := noteOf(strings.ToLower(name), firmwarenotes.Models())
	if err != nil {
		return err
	}
	text, _ := firmwarenotes.Note(model) // noteOf gives only models that have one
	_, err = fmt.Fprint(c.out, text)
	return err
}

// noteOf finds the model that is meant: by its name, or by a part of it that no other model has.
func noteOf(name string, models []string) (string, error) {
	if slices.Contains(models, name) {
		return name, nil
	}
	var having []string
	for _, m := range models {
		if strings.Contains(m, name) {
			having = append(having, m)
		}
	}
	switch {
	case len(having) == 1 && len(name) > 1:
		return having[0], nil
	case len(having) > 1:
		return "", misused("notes", "%q is in the names of several models: %s", name, strings.Join(having, ", "))
	}
	if near := nearest.Names(name, models, 3); len(near) > 0 {
		return "", misused("notes", "no note of %q (did you mean %s?)", name, strings.Join(near, ", "))
	}
	return "", misused("notes", "no note of %q: bordo notes lists them", name)
}
