// Command bordo is the agent of one box. It runs the agent, checks its configuration, shows its state, and has the
// tools for an installer.
//
// This file maps the result of a command to the exit code (0 done, 1 failed, 2 usage or configuration). Each command
// has its own file; their logic is in the packages below.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"bordo/agent/config"
	"bordo/cmd/commandline"
	"bordo/cmd/locale"
	"bordo/cmd/terminal"
)

// version is written by the linker: -X main.version=v1.2.3
var version = "unknown"

// source is the time of the source, written by the linker in seconds since 1970: -X main.source=1790000000. It is the
// time of the commit and not of the build, so that one commit produces one program.
var source = ""

// console is where a command prints: its result on out, everything else on err.
type console struct{ out, err io.Writer }

// tell prints a message besides the result, fitted to the screen.
func (c console) tell(text string) {
	width, _, _ := terminal.Size(c.err)
	io.WriteString(c.err, terminal.FoldLines(text+"\n", width, 2)) //nolint:errcheck // there is nobody else to tell
}

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], console{os.Stdout, os.Stderr}))
}

// commands lists what the program can do, in the order in which help shows it, in the language of l.
func commands(l *langValue) []command {
	return []command{
		runCommand(l), checkCommand(l), statusCommand(l), scanCommand(l), readCommand(l), captureCommand(l),
		confirmCommand(l), bufferCommand(l),
		notesCommand(l), modelsCommand(l), pointsCommand(l), versionCommand(l),
	}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, c console) int {
	l := locale.OfArgs(args, os.Getenv)
	err := program(&l).Run(ctx, args, commandline.Console{Out: c.out, Err: c.err})
	if err == nil {
		return 0
	}
	text := "bordo: " + sentence(err, &l)
	if faults, ok := errors.AsType[config.Faults](err); ok {
		text = faults.Error() // each names the file
		if l == "it" {        // some faults are in English, like the keys
			text = faults.Italian()
			text += fmt.Sprintf("\n%d da correggere, ciascuno alla sua riga:colonna; poi ripetere: bordo check",
				len(faults))
		}
	}
	c.tell(text)
	if _, ok := errors.AsType[commandline.Mistake](err); ok {
		return 2
	}
	return 1
}
