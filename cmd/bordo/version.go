package main

import (
	"context"
	"flag"
	"fmt"
	"runtime/debug"
)

func versionVerb() verb {
	return verb{
		name:  "version",
		brief: "what this program was built from",
		text:  "Prints the version, the compiler, the system it was built for and, where it is known, the commit.",
		flags: func(*flag.FlagSet) action {
			return func(_ context.Context, c console, _ []string) error {
				info, ok := debug.ReadBuildInfo()
				if !ok {
					info = &debug.BuildInfo{}
				}
				fmt.Fprint(c.out, versionText(version, info))
				return nil
			}
		},
	}
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
