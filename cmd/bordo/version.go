package main

import (
	"context"
	"flag"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"
)

func versionVerb() verb {
	return verb{
		name:  "version",
		brief: "what this program was built from",
		text:  "Prints the version, the compiler, the system it was built for and, where it is known, the commit.",
		flags: func(*flag.FlagSet) action {
			return func(_ context.Context, c console, _ []string) error {
				fmt.Fprint(c.out, versionText(version, buildInfo()))
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

// builtAt is the time before which this program cannot run: that of its source. Zero when neither the linker nor the
// compiler was told.
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

// versionText is what `bordo version` prints.
func versionText(version string, info *debug.BuildInfo) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	system := set["GOOS"] + "/" + set["GOARCH"]
	if level := set["GOARM"]; level != "" {
		system += " v" + level
	}
	text := fmt.Sprintf("bordo %s\n%s, %s\n", version, info.GoVersion, system)
	if commit := set["vcs.revision"]; commit != "" {
		if set["vcs.modified"] == "true" {
			commit += ", changed"
		}
		text += fmt.Sprintf("commit %s\n", commit)
	}
	return text
}
