package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"bordo/cmd/terminal"
	"bordo/drivers/nearest"
	firmwarenotes "bordo/firmware-notes"
)

func notesCommand(l *langValue) command {
	return command{
		name:  "notes",
		brief: phrase("what is known of a model: wiring, settings, oddities").in(l),
		text: phrase(`Prints the note of a model, which needs no network: how it is wired and set up (in Italian first, for the installer),
what it answers, where it deviates from its own documents. A part of the name will do: bordo notes sdm630. Without a
model the notes are listed.`).in(l),
		takes:    phrase("[MODEL]").in(l),
		most:     1,
		complete: firstOf(firmwarenotes.Models),
		flags: func(set *flag.FlagSet) action {
			langFlag(set, l)
			whole := set.Bool("all", false, phrase("in Italian: the English part as well").in(l))
			return func(_ context.Context, c console, operands []string) error {
				if len(operands) == 0 {
					_, err := fmt.Fprintln(c.out, strings.Join(firmwarenotes.Models(), "\n"))
					return err
				}
				return notes(c, operands[0], *whole, l)
			}
		},
	}
}

func notes(c console, name string, whole bool, l *langValue) error {
	model, err := noteOf(strings.ToLower(name), firmwarenotes.Models())
	if err != nil {
		return err
	}
	text, _ := firmwarenotes.Note(model) // noteOf gives only models that have one
	width, _, seen := terminal.Size(c.out)
	if !seen {
		width = plainWidth
	}
	more := false
	if *l == "it" && !whole {
		text, more = chapter(text)
	}
	if text = page(text, width); more {
		text += "\n" + terminal.Fold("Il resto, in inglese: bordo notes "+model+" --all", width, 0) + "\n"
	}
	_, err = io.WriteString(c.out, text)
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
		return "", misused("notes", phrase("%q is in the names of several models: %s"), name,
			strings.Join(having, ", "))
	}
	if near := nearest.Names(name, models, 3); len(near) > 0 {
		return "", misused("notes", phrase("no note of %q (did you mean %s?)"), name, strings.Join(near, ", "))
	}
	return "", misused("notes", phrase("no note of %q: bordo notes lists them"), name)
}
