package main

import (
	"context"
	"flag"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"bordo/cmd/commandline"
)

func versionCommand(l *langValue) command {
	return command{
		name:  "version",
		brief: phrase("what this program was built from").in(l),
		text:  phrase("Prints the version, the compiler, the system it was built for and, where it is known, the commit.").in(l),
		flags: func(*flag.FlagSet) action {
			return func(_ context.Context, c console, _ []string) error {
				fmt.Fprint(c.out, commandline.VersionText("bordo", version, buildInfo()))
				return nil
			}
		},
	}
}

// buildInfo is what the compiler left in the program, empty when it left nothing.
func buildInfo() *debug.BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return &debug.BuildInfo{}
	}
	return info
}

// builtAt returns the earliest possible time of this program: that of its source. It is zero when neither the linker
// nor the compiler recorded one.
func builtAt(source string, info *debug.BuildInfo) time.Time {
	if s, err := strconv.ParseInt(source, 10, 64); err == nil && s > 0 {
		return time.Unix(s, 0).UTC()
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if at, err := time.Parse(time.RFC3339, s.Value); err == nil {
				return at.UTC()
			}
		}
	}
	return time.Time{}
}
