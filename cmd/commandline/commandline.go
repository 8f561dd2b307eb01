// Package commandline is the command line that the programs share: commands with flags, a page of help for each, shell
// completion, and errors in two languages, with the name that was probably meant. cobra parses and completes. The help
// pages are rendered here, because they must fit a phone.
//
// It prints only help and completions, ends no process and defines no command of a program. A program lists its
// commands, and maps the result of Run to an exit code.
package commandline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bordo/cmd/locale"
	"bordo/cmd/terminal"
	"bordo/drivers/nearest"
)

// Console is where a command prints: its result on Out, everything else on Err.
type Console struct{ Out, Err io.Writer }

// Mistake is an error in the command line: repeating it does not help.
type Mistake struct{ Err error }

// Error returns the text of the mistake.
func (m Mistake) Error() string { return m.Err.Error() }

// Unwrap returns the cause.
func (m Mistake) Unwrap() error { return m.Err }

// Action runs a command whose flags are set; operands are the arguments that are not flags.
type Action func(ctx context.Context, c Console, operands []string) error

// Command is one thing that a program can do.
type Command struct {
	Name  string
	Brief string // for the list
	Text  string // for its own page
	Takes string // the operands, as its page shows them; "" for none
	Most  int    // maximum number of operands; the command itself checks the minimum
	Flags func(*flag.FlagSet) Action

	// Complete lists the possible next words of the command line, for shell completion. args are the operands before
	// it. nil means file names.
	Complete func(args []string) []string
}

// flagSet makes the command's flags, and the action that sees their values. It prints nothing by itself.
func (v Command) flagSet() (*flag.FlagSet, Action) {
	set := flag.NewFlagSet(v.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return set, v.Flags(set)
}

// Program is a program with commands. One of them should be called version.
type Program struct {
	Name     string
	Brief    string    // a sentence or two, for the head of the list
	Commands []Command // in the order in which the list shows them
	Hint     string    // of the line on help: a command with a page worth reading

	Language locale.Language // of its own messages; "" is English
}

// Misused is the mistake of a command line, with the command whose page to read; "" for the list of commands.
func (p Program) Misused(command, format string, args ...any) error {
	return Mistake{errors.New(fmt.Sprintf(format, args...) + ": " + p.See(command))}
}

// See says where to read on about a command; "" for the list of commands.
func (p Program) See(command string) string {
	return p.text("see %s", strings.TrimSpace(p.Name+" help "+command))
}

// text is a text in the language of the program.
func (p Program) text(english string, args ...any) string {
	return fmt.Sprintf(p.Language.Text(english), args...)
}

// Run finds the command, sets its flags and runs it.
func (p Program) Run(ctx context.Context, args []string, c Console) error {
	root := p.Tree(c)
	root.SetArgs(p.normalized(args))
	return root.ExecuteContext(ctx)
}

// Tree is the program as cobra sees it, which makes completions and manual pages of it.
func (p Program) Tree(c Console) *cobra.Command {
	root := &cobra.Command{
		Use: p.Name, Short: p.Brief, Long: p.Brief, Args: cobra.ArbitraryArgs,
		SilenceUsage: true, SilenceErrors: true, SuggestionsMinimumDistance: 2, DisableAutoGenTag: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			p.overview(c.Err)
			return p.Misused("", "%s", p.Language.Text("a command is missing"))
		}
		return p.unknown(root, args[0])
	}
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if v, ok := p.find(cmd.Name()); ok && cmd != root {
			p.page(c.Out, v)
			return
		}
		p.overview(c.Out)
	})
	root.SetFlagErrorFunc(p.flagFault)
	root.SetHelpCommand(p.helpCommand(root))
	for _, v := range p.all() {
		root.AddCommand(p.command(v, c))
	}
	return root
}

// command makes cobra's command of one of ours.
func (p Program) command(v Command, c Console) *cobra.Command {
	set, act := v.flagSet()
	cmd := &cobra.Command{
		// examples, in a manual page
		Use: strings.TrimSpace(v.Name + " " + v.Takes), Short: v.Brief,
		Long:                  strings.ReplaceAll(v.Text, "\n  ", "\n    "),
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > v.Most {
				return p.Misused(v.Name, p.Language.Text("%s takes no %q"), v.Name, plainOperand(args[v.Most]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			for i := range args {
				args[i] = plainOperand(args[i])
			}
			return act(cmd.Context(), c, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	if v.Complete != nil {
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) ([]cobra.Completion,
			cobra.ShellCompDirective) {
			names := v.Complete(args)
			if names == nil {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return slices.DeleteFunc(slices.Clone(names),
					func(name string) bool { return !strings.HasPrefix(name, begun) }),
				cobra.ShellCompDirectiveNoFileComp
		}
	}
	cmd.Flags().SortFlags = false
	set.VisitAll(func(f *flag.Flag) {
		pf := pflag.PFlagFromGoFlag(f)
		pf.Value = noted{pf.Value, set, f.Name}
		cmd.Flags().AddFlag(pf)
	})
	return cmd
}

// helpCommand prints the overview, or the page of one command.
func (p Program) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: p.Language.Text("this page, or that of one command"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				root.HelpFunc()(root, nil)
				return nil
			}
			cmd, _, err := root.Find(args)
			if err != nil || cmd == root {
				return p.unknown(root, args[0])
			}
			cmd.HelpFunc()(cmd, nil)
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) (names []cobra.Completion,
			d cobra.ShellCompDirective) {
			for _, v := range p.Commands {
				names = append(names, v.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// all returns the commands together with those that every program has.
func (p Program) all() []Command {
	return append(append(slices.Clone(p.Commands), p.completion()), p.manual()...)
}

func (p Program) find(name string) (Command, bool) {
	all := p.all()
	if i := slices.IndexFunc(all, func(v Command) bool { return v.Name == name }); i >= 0 {
		return all[i], true
	}
	return Command{}, false
}

// unknown is the mistake of a command that is not there.
func (p Program) unknown(root *cobra.Command, name string) error {
	near := root.SuggestionsFor(name)
	return p.Misused("", p.Language.Text("unknown command %q%s"), name, p.meant(near[:min(len(near), 1)]))
}

// flagFault returns the error message for a wrong flag.
func (p Program) flagFault(cmd *cobra.Command, err error) error {
	name := cmd.Name()
	if cmd == cmd.Root() {
		name = ""
	}
	complain := func(text string, args ...any) error {
		text = p.Language.Text(text)
		if name != "" {
			text = name + ": " + text
		}
		return p.Misused(name, text, args...)
	}
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		near := nearest.Names(e.GetSpecifiedName(), names, 1)
		for i := range near {
			near[i] = "--" + near[i]
		}
		return complain("unknown flag --%s%s", e.GetSpecifiedName(), p.meant(near))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return complain("--%s needs a value", e.GetSpecifiedName())
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if wanted := p.wanted(e.GetFlag().Value.Type()); wanted != "" {
			return complain("--%s: %s (got %q)", e.GetFlag().Name, wanted, e.GetValue())
		}
		return complain("--%s: %v", e.GetFlag().Name, e.Unwrap())
	}
	return complain("not understood: %v", err)
}

// wanted says what a flag of a type of package flag takes; "" for types of our own, whose errors say it themselves.
func (p Program) wanted(typ string) string {
	switch typ {
	case "bool":
		return p.Language.Text("must be true or false")
	case "int", "int64":
		return p.Language.Text("must be a whole number")
	case "uint", "uint64":
		return p.Language.Text("must be a whole number, 0 or more")
	case "float64":
		return p.Language.Text("must be a number")
	case "duration":
		return p.Language.Text("must be a duration such as 30s, 5m or 2h")
	}
	return ""
}

// noted is a flag of package flag as pflag sets it: through the set, which notes that it was given.
type noted struct {
	pflag.Value
	set  *flag.FlagSet
	name string
}

// Set implements pflag.Value.
func (n noted) Set(text string) error { return n.set.Set(n.name, text) }

// hiddenDash precedes an operand such as -30m, which pflag would take for flags.
const hiddenDash = "\x00"

func plainOperand(word string) string { return strings.TrimPrefix(word, hiddenDash) }

// normalized converts a command line to the form that pflag reads: long flags get two dashes, because package flag also
// accepted one, and operands no longer look like flags.
func (p Program) normalized(args []string) []string {
	if len(args) == 0 {
		return []string{} // nil would be the program's own
	}
	switch args[0] {
	case "-version", "--version":
		return append([]string{"version"}, args[1:]...)
	case "-help":
		return append([]string{"--help"}, args[1:]...)
	}
	v, known := p.find(args[0])
	switch {
	case args[0] == "help":
		return withoutLanguage(args)
	case !known && !strings.HasPrefix(args[0], "-") && !strings.HasPrefix(args[0], "__"): // cobra's own begin with __
		return args[:1]
	case !known:
		return args
	}
	set, _ := v.flagSet()
	out := []string{args[0]}
	for i := 1; i < len(args); i++ {
		word := args[i]
		switch {
		case word == "--":
			return append(out, args[i:]...)
		case negative(word):
			out = append(out, hiddenDash+word)
			continue
		case !strings.HasPrefix(word, "-") || word == "-":
			out = append(out, word)
			continue
		}
		name, _, valued := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !strings.HasPrefix(word, "--") && len(name) > 1 {
			word = "-" + word
		}
		out = append(out, word)
		f := set.Lookup(name)
		if f == nil || valued {
			continue
		}
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); (!ok || !b.IsBoolFlag()) && i+1 < len(args) {
			i++ // its value, whatever it looks like
			out = append(out, args[i])
		}
	}
	return out
}

// withoutLanguage leaves out --lang, which locale.OfArgs has read.
func withoutLanguage(args []string) (out []string) {
	for i := 0; i < len(args); i++ {
		switch name, _, valued := strings.Cut(args[i], "="); {
		case name != "--lang" && name != "-lang":
			out = append(out, args[i])
		case !valued:
			i++
		}
	}
	return out
}

// negative reports whether a word is a number below zero, such as -30m, and no flag.
func negative(word string) bool {
	return len(word) > 1 && word[0] == '-' && word[1] >= '0' && word[1] <= '9'
}

func (p Program) meant(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return p.text(" (did you mean %s?)", near[0])
}

func (p Program) overview(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n\n", p.Brief, p.text("usage: %s COMMAND [flags]", p.Name))
	wide := 8
	for _, v := range p.all() {
		wide = max(wide, len(v.Name))
	}
	for _, v := range p.all() {
		fmt.Fprintf(&b, "  %-*s  %s\n", wide, v.Name, v.Brief)
	}
	fmt.Fprintf(&b, "  %-*s  %s: %s help %s\n", wide, "help", p.Language.Text("this page, or that of one command"),
		p.Name, p.Hint)
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
			fmt.Fprintf(&list, " (%s)", p.text("default %s", plain(f.DefValue)))
		}
		list.WriteByte('\n')
	})
	usage := p.text("usage: %s", strings.TrimSpace(p.Name+" "+v.Name+" "+v.Takes))
	if flags := line.String(); len(usage)+len(flags) < 80 {
		usage += flags
	} else {
		usage += p.Language.Text(" [flags]")
	}
	text := fmt.Sprintf("%s\n\n%s\n", usage, v.Text)
	if list.Len() > 0 {
		text += "\n" + list.String()
	}
	show(w, text)
}

// shown returns a flag as help shows it, and its description.
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
