package commandline

import (
	"context"
	"flag"
	"fmt"
	"runtime/debug"
)

// Version is the command that prints what a program was built from.
func Version(program, version string) Command {
	return Command{
		Name:  "version",
		Brief: "what this program was built from",
		Text:  "Prints the version, the compiler, the system it was built for and, where it is known, the commit.",
		Flags: func(*flag.FlagSet) Action {
			return func(_ context.Context, c Console, _ []string) error {
				info, ok := debug.ReadBuildInfo()
				if !ok {
					info = &debug.BuildInfo{}
				}
				_, err := fmt.Fprint(c.Out, VersionText(program, version, info))
				return err
			}
		},
	}
}

// VersionText is what the command version prints of a program.
func VersionText(program, version string, info *debug.BuildInfo) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	system := set["GOOS"] + "/" + set["GOARCH"]
	if level := set["GOARM"]; level != "" {
		system += " v" + level
	}
	text := fmt.Sprintf("%s %s\n%s, %s\n", program, version, info.GoVersion, system)
	if commit := set["vcs.revision"]; commit != "" {
		if set["vcs.modified"] == "true" {
			commit += ", changed"
		}
		text += fmt.Sprintf("commit %s\n", commit)
	}
	return text
}
