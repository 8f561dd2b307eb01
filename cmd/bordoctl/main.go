// Command bordoctl is the tool of the central team. It watches the nodes, checks their messages against the contract
// and lists what exists, from the messages alone. It subscribes and never publishes.
//
// This file maps the result of a command to the exit code (0 done, 1 failed or something found, 2 usage). Each command
// has its own file; their logic is in the packages below.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"bordo/cmd/commandline"
)

// version is written by the linker: -X main.version=v1.2.3
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := execute(ctx, os.Args[1:], commandline.Console{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}

// program is the command line with all commands.
func program() commandline.Program {
	return commandline.Program{
		Name:  "bordoctl",
		Brief: "Bordo at the centre: watches the nodes, checks what they say, lists what is there. It only listens.",
		Commands: []commandline.Command{watchCommand(), verifyCommand(), inventoryCommand(),
			commandline.Version("bordoctl", version)},
		Hint: "watch",
	}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, c commandline.Console) int {
	err := program().Run(ctx, args, c)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFound): // the report has said it
		return 1
	}
	fmt.Fprintln(c.Err, "bordoctl:", err)
	if _, ok := errors.AsType[commandline.Mistake](err); ok {
		return 2
	}
	return 1
}
