//go:build manual

package commandline

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"
)

// manual is the command that writes manual pages, one for the program and one for each command.
func (p Program) manual() []Command {
	return []Command{{
		Name: "manual", Brief: "writes the manual pages", Takes: "DIR", Most: 1,
		Text: "Writes the manual pages of this program into DIR.",
		Flags: func(*flag.FlagSet) Action {
			return func(_ context.Context, c Console, operands []string) error {
				if len(operands) == 0 {
					return p.Misused("manual", "manual: which directory?")
				}
				if err := os.MkdirAll(operands[0], 0o755); err != nil {
					return err
				}
				root := p.Tree(c)
				for _, cmd := range root.Commands() {
					if cmd.Name() == "manual" {
						root.RemoveCommand(cmd)
					}
				}
				if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: p.Name},
					operands[0]); err != nil {
					return fmt.Errorf("write manual pages: %w", err)
				}
				return nil
			}
		},
	}}
}
