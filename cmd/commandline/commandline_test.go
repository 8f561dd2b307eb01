package commandline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// sample is a program that says back what it was told.
func sample() Program {
	return Program{Name: "sample", Brief: "Says it back.", Hint: "say", Commands: []Command{
		{Name: "say", Brief: "says it", Text: "Says what it is told.", Takes: "WORD", Most: 1,
			Flags: func(set *flag.FlagSet) Action {
				loud := set.Bool("loud", false, "say it loud")
				times := set.Int("times", 1, "say it `N` times")
				set.Duration("p", time.Hour, "pause for so `LONG`")
				return func(_ context.Context, c Console, operands []string) error {
					if len(operands) == 0 {
						return errors.New("nothing to say")
					}
					_, err := fmt.Fprintln(c.Out, operands[0], *loud, *times)
					return err
				}
			}},
		{Name: "version", Brief: "tells it", Text: "Tells it.", Flags: func(*flag.FlagSet) Action {
			return func(_ context.Context, c Console, _ []string) error {
				_, err := fmt.Fprintln(c.Out, "1")
				return err
			}
		}},
	}}
}

func TestRun(t *testing.T) {
	for _, x := range []struct{ line, out, err string }{
		{"say hello", "hello false 1\n", ""},
		{"say --loud hello --times=3", "hello true 3\n", ""},
		{"say -times 2 hello -loud", "hello true 2\n", ""},
		{"say -30m -loud", "-30m true 1\n", ""},
		{"--version", "1\n", ""},
		{"help say", "usage: sample say WORD [--loud] [-p LONG] [--times N]\n\nSays what it is told.\n\n  --loud             say it loud\n  -p LONG            pause for so LONG (default 1h)\n  --times N          say it N times (default 1)\n", ""},
		{"help", "Says it back.\n\nusage: sample COMMAND [flags]\n\n  say         says it\n  version     tells it\n  completion  command completion for a shell\n  help        this page, or that of one command: sample help say\n", ""},
		{"", "", "a command is missing: see sample help"},
		{"versio", "", `unknown command "versio" (did you mean version?): see sample help`},
		{"say --time 2 hello", "", "say: unknown flag --time (did you mean --times?): see sample help say"},
		{"say hello you", "", `say takes no "you": see sample help say`},
		{"say --times many hello", "", `say: --times: must be a whole number (got "many"): see sample help say`},
	} {
		t.Run(x.line, func(t *testing.T) {
			var out, errs strings.Builder
			err := sample().Run(t.Context(), strings.Fields(x.line), Console{&out, &errs})
			if got := fmt.Sprint(err); err != nil && got != x.err || err == nil && x.err != "" ||
				out.String() != x.out {
				t.Errorf("printed %q with error %v", out.String(), err)
			}
			if _, ok := errors.AsType[Mistake](err); ok != (x.err != "") {
				t.Errorf("%v is a Mistake: %v", err, ok)
			}
		})
	}
	if err := sample().Run(t.Context(), []string{"say"}, Console{}); err == nil || errors.As(err, new(Mistake)) {
		t.Errorf("the verb's own error: %v", err)
	}
}

func TestVersionText(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Settings: []debug.BuildSetting{
		{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm"}, {Key: "GOARM", Value: "6"},
		{Key: "vcs.revision", Value: "0f63d7c"}, {Key: "vcs.modified", Value: "true"},
	}}
	if got, want := VersionText("bordo", "v1.2.3", info),
		"bordo v1.2.3\ngo1.26.8, linux/arm v6\ncommit 0f63d7c, changed\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	info.Settings = info.Settings[:2]
	if got, want := VersionText("bordo", "unknown", info), "bordo unknown\ngo1.26.8, linux/arm\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
