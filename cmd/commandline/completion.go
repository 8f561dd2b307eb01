package commandline

import (
	"context"
	"flag"
	"slices"
)

// shells are those for which cobra makes completions.
var shells = []string{"bash", "zsh", "fish"}

// completion prints the completion of a shell.
func (p Program) completion() Command {
	return Command{
		Name:  "completion",
		Brief: p.Language.Text("command completion for a shell"),
		Takes: "bash|zsh|fish",
		Most:  1,
		Text:  p.text("Prints the command completion for a shell. With bash, for this session:\n\n  source <(%s completion bash)", p.Name),
		Complete: func(args []string) []string {
			if len(args) > 0 {
				return []string{}
			}
			return shells
		},
		Flags: func(*flag.FlagSet) Action {
			return func(_ context.Context, c Console, operands []string) error {
				if len(operands) != 1 || !slices.Contains(shells, operands[0]) {
					return p.Misused("completion", "%s", p.Language.Text("completion: which shell? bash, zsh or fish"))
				}
				root := p.Tree(c)
				switch operands[0] {
				case "zsh":
					return root.GenZshCompletion(c.Out)
				case "fish":
					return root.GenFishCompletion(c.Out, true)
				}
				return root.GenBashCompletionV2(c.Out, true)
			}
		},
	}
}
