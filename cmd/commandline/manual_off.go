//go:build !manual

package commandline

// manual is the command that writes manual pages. It exists only with the build tag manual: the page generator is
// needed in the build and not on a box.
func (p Program) manual() []Command { return nil }
