// Package commandline is the command line that the programs have in common: verbs with flags, a page of help for each, and
// sentences for whoever mistypes one, with the name that was probably meant.
//
// It prints nothing but help, ends no process and knows no verb: a program lists its own, and maps what Run returns to an
// exit code.
package commandline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"bordo/cmd/terminal"
	"bordo/drivers/nearest"
)

// Console is where a verb prints: its result on Out, everything else on Err.
type Console struct{ Out, Err io.Writer }

// Mistake is an error of whoever wrote the command line: trying again changes nothing.
type Mistake struct{ Err error }

// Error tells the mistake.
func (m Mistake) Error() string { return m.Err.Error() }

// Unwrap returns the cause.
func (m Mistake) Unwrap() error { return m.Err }

// Action is a verb with its flags set; operands are what stands beside the flags.
type Action func(ctx context.Context, c Console, operands []string) error

// Command is one thing that a program can do.
type Command struct {
	Name  string
	Brief string // for the list
	Text  string // for its own page
	Takes string // the operands, as its page shows them; "" for none
	Most  int    // how many operands there may be; the verb itself asks for the least
	Flags func(*flag.FlagSet) Action
}

// flagSet makes the verb's flags, and the action that sees their values. It prints nothing by itself.
func (v Command) flagSet() (*flag.FlagSet, Action) {
	set := flag.NewFlagSet(v.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return set, v.Flags(set)
}

// Program is a program with verbs. One of them should be called version.
type Program struct {
	Name     string
	Brief    string    // a sentence or two, for the head of the list
	Commands []Command // in the order in which the list shows them
	Hint     string    // of the line on help: a verb with a page worth reading

	Language Language // of what it says by itself; "" is English
}

// Misused is the mistake of a command line, with the verb whose page to read; "" for the list of verbs.
func (p Program) Misused(verb, format string, args ...any) error {
	return Mistake{errors.New(fmt.Sprintf(format, args...) + ": " + p.See(verb))}
}

// See says where to read on about a verb; "" for the list of verbs.
func (p Program) See(verb string) string {
	return p.Language.Of("vedere ", "see ") + strings.TrimSpace(p.Name+" help "+verb)
}

// Run finds the verb, sets its flags and runs it.
func (p Program) Run(ctx context.Context, args []string, c Console) error {
	if len(args) == 0 {
		p.overview(c.Err)
		return p.Misused("", "%s", p.Language.Of("manca il comando", "a verb is missing"))
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return p.help(rest, c)
	case "-version", "--version":
		name = "version"
	}
	v, err := p.find(name)
	if err != nil {
		return err
	}
	set, act := v.flagSet()
	var operands []string
	for first := true; first || len(rest) > 0; first = false { // flags may stand before, between and behind operands
		if len(rest) > 0 && negative(rest[0]) {
			operands, rest = append(operands, rest[0]), rest[1:]
			continue
		}
		if err := p.known(set, rest); err != nil {
			return err
		}
		switch err := set.Parse(rest); {
		case errors.Is(err, flag.ErrHelp):
			p.page(c.Out, v)
			return nil
		case err != nil:
			return p.Misused(v.Name, "%s: %s%s", v.Name, p.Language.Of("non si capisce: ", ""), err)
		}
		if rest = set.Args(); len(rest) > 0 {
			operands, rest = append(operands, rest[0]), rest[1:]
		}
	}
	if len(operands) > v.Most {
		return p.Misused(v.Name, p.Language.Of("%s non prende %q", "%s takes no %q"), v.Name, operands[v.Most])
	}
	return act(ctx, c, operands)
}

// negative tells whether a word is a number below zero, such as -30m, and no flag.
func negative(word string) bool {
	return len(word) > 1 && word[0] == '-' && word[1] >= '0' && word[1] <= '9'
}

func (p Program) find(name string) (Command, error) {
	names := []string{"help"}
	for _, v := range p.Commands {
		if v.Name == name {
			return v, nil
		}
		names = append(names, v.Name)
	}
	return Command{}, p.Misused("", p.Language.Of("comando sconosciuto %q%s", "unknown verb %q%s"), name, p.meant(nearest.Names(name, names, 1)))
}

// known looks for flags that the verb does not have, before package flag says so in words that suggest nothing.
func (p Program) known(set *flag.FlagSet, args []string) error {
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
			return p.Misused(set.Name(), p.Language.Of("%s: opzione sconosciuta --%s%s", "%s: unknown flag --%s%s"), set.Name(), name, p.meant(near))
		}
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); !valued && (!ok || !b.IsBoolFlag()) {
			if i++; i == len(args) { // its value
				return p.Misused(set.Name(), p.Language.Of("%s: manca il valore di --%s", "%s: --%s needs a value"), set.Name(), name)
			}
		}
	}
	return nil
}

func (p Program) meant(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return p.Language.Of(" (forse ", " (did you mean ") + near[0] + "?)"
}

// help prints the overview, or the page of one verb.
func (p Program) help(args []string, c Console) error {
	if len(args) == 0 {
		p.overview(c.Out)
		return nil
	}
	v, err := p.find(args[0])
	if err != nil {
		return err
	}
	p.page(c.Out, v)
	return nil
}

func (p Program) overview(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n\n", p.Brief, p.Language.Of("uso: "+p.Name+" COMANDO [opzioni]", "usage: "+p.Name+" VERB [flags]"))
	wide := 8
	for _, v := range p.Commands {
		wide = max(wide, len(v.Name))
	}
	for _, v := range p.Commands {
		fmt.Fprintf(&b, "  %-*s  %s\n", wide, v.Name, v.Brief)
	}
	fmt.Fprintf(&b, "  %-*s  %s: %s help %s\n", wide, "help", p.Language.Of("questa pagina, o quella di un comando", "this page, or that of one verb"), p.Name, p.Hint)
	show(w, b.String())
}

func (p Program) page(w io.Writer, v Command) {
	set, _ := v.flagSet()
	var line, list strings.Builder
	wide := 17
	set.VisitAll(func(f *flag.Flag) {
		name, _ := shown(f)
		wide = max(wide, len(name))
	})
	set.VisitAll(func(f *flag.Flag) {
		name, what := shown(f)
		fmt.Fprintf(&line, " [%s]", name)
		fmt.Fprintf(&list, "  %-*s  %s", wide, name, what)
		if !slices.Contains([]string{"", "false", "0", "0s"}, f.DefValue) {
			fmt.Fprintf(&list, " (%s %s)", p.Language.Of("altrimenti", "default"), plain(f.DefValue))
		}
		list.WriteByte('\n')
	})
	usage := p.Language.Of("uso: ", "usage: ") + strings.TrimSpace(p.Name+" "+v.Name+" "+v.Takes)
	if flags := line.String(); len(usage)+len(flags) < 80 {
		usage += flags
	} else {
		usage += p.Language.Of(" [opzioni]", " [flags]")
	}
	text := fmt.Sprintf("%s\n\n%s\n", usage, v.Text)
	if list.Len() > 0 {
		text += "\n" + list.String()
	}
	show(w, text)
}

// shown is a flag as a page shows it, and what it is for.
func shown(f *flag.Flag) (name, what string) {
	value, what := flag.UnquoteUsage(f)
	if name = "--" + f.Name; len(f.Name) == 1 {
		name = "-" + f.Name
	}
	return strings.TrimSpace(name + " " + value), what
}

// plain is a default as a person would write it: 5m for the 5m0s of a duration.
func plain(value string) string {
	if strings.HasSuffix(value, "m0s") {
		value = strings.TrimSuffix(value, "0s")
	}
	if strings.HasSuffix(value, "h0m") {
		value = strings.TrimSuffix(value, "0m")
	}
	return value
}

// show prints a page of help, fitted to the screen where there is one.
func show(w io.Writer, text string) {
	if width, _, seen := terminal.Size(w); seen {
		text = fit(text, width)
	}
	io.WriteString(w, text) //nolint:errcheck // who asked for help has gone
}
