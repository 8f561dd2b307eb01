//go:build !manual

package commandline

// manual is the command that writes manual pages. A program has it only with the build tag manual: what makes pages is needed in
// the build and not on a box.
func (p Program) manual() []Command { return nil }
