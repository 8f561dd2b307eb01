package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/agent/owner"
	"bordo/buffer"
	"bordo/cmd/terminal"
)

func checkCommand(l *langValue) command {
	return command{
		name:  "check",
		brief: phrase("tells every fault of the configuration at once; touches nothing").in(l),
		text: phrase(`Reads the configuration and every file that it names, and tells all faults with their place. Nothing is opened,
made or changed. Exit code 2 when there is a fault; a warning is none.`).in(l),
		flags: func(set *flag.FlagSet) action {
			path := configFlag(set, l)
			langFlag(set, l)
			all := set.Bool("print", false, phrase("print the configuration with every default in its place").in(l))
			budget := set.Bool("budget", false, phrase("print what the node will send in a month").in(l))
			return func(ctx context.Context, c console,
				_ []string) error {
				return check(ctx, c, *path, *all, *budget, l)
			}
		},
	}
}

func check(ctx context.Context, c console, path string, all, budget bool, l *langValue) error {
	cfg, err := checked(path, !all && !budget, !budget) // the estimate is also made at a desk, without the box's files
	r, asked := findAgent(ctx, path, cfg)
	if asked != nil { // no agent answers this user: there is nothing to compare with
		r = nil
	}
	if err != nil {
		if r != nil && sameFile(r.Config.File, path) {
			c.tell(faultyNote().in(l))
		}
		return err
	}
	for _, w := range cfg.Warnings {
		c.tell(phrase("warning: %v").in(l, w))
	}
	for _, w := range cfg.SecretWarnings() {
		c.tell(phrase("warning: %v").in(l, w))
	}
	if text := storeWarning(cfg, l); text != "" && !budget {
		c.tell(phrase("warning: ").in(l) + text)
	}
	note, args, restart := r.restartNote(path)
	switch {
	case all:
		fmt.Fprint(c.out, cfg.Text())
	case budget:
		err = printBudget(c, cfg, l)
	default:
		text := phrase("%s: correct: %s, %s").in(l, path, count(len(cfg.Lines), lineNoun, l),
			count(devices(cfg), deviceNoun, l))
		width, _, _ := terminal.Size(c.out)
		_, err = io.WriteString(c.out, terminal.FoldLines(text+"\n", width, 2))
	}
	if restart {
		c.tell(phrase("warning: ").in(l) + note.in(l, args...))
	}
	return err
}

// checked reads a configuration. own refuses placeholders, files checks the files that it names. The configuration is
// also returned when only the files have faults.
func checked(path string, own, files bool) (*config.Config, error) {
	cfg, err := load(path)
	if err != nil {
		return nil, err
	}
	var faults config.Faults
	if own {
		faults = slices.Clone(cfg.Placeholders)
	}
	if files {
		for _, f := range cfg.Files() {
			it := langValue("it")
			f.It = causeText(f.What, &it)
			faults = append(faults, f)
		}
	}
	if len(faults) > 0 {
		return cfg, mistake{Err: faults}
	}
	// The drivers have the last word on their devices.
	if err := agent.Check(cfg); err != nil {
		return cfg, mistake{Err: phrase("%s: %v").fault(path, err)}
	}
	return cfg, nil
}

// storeWarning returns why an agent could not use its directories, "" when it can. Root may use everything: for root,
// the owner of the state directory is taken for the agent's user.
func storeWarning(cfg *config.Config, l *langValue) string {
	if err := buffer.Usable(cfg.Buffer.Dir); err != nil {
		return phrase("%s: the agent would run from memory only: %s").in(
			l, cfg.Buffer.Dir, causeText(owner.Explain(err, cfg.Buffer.Dir), l))
	}
	if err := buffer.Usable(cfg.StateDir); err != nil {
		return phrase("%s: the state would not be saved: %s").in(
			l, cfg.StateDir, causeText(owner.ExplainState(err, cfg.StateDir), l))
	}
	uid, ok := owner.UID(cfg.StateDir)
	if !ok {
		return ""
	}
	foreign := cmp.Or(owner.Foreign(cfg.Buffer.Dir, uid), foreignState(cfg.StateDir, uid))
	if foreign == "" {
		return ""
	}
	if uid == 0 { // root may use everything: check with the rights of the user who owns the other files
		return phrase("%[1]s belongs to root, and %[2]s to %[3]s: an agent that runs as %[3]s could not save its state; as root: chown %[3]s: %[1]s").in(l, cfg.StateDir, foreign, owner.Of(foreign))
	}
	name := owner.Name(uid)
	return phrase("%[1]s belongs to %[2]s, and %[3]s to %[4]s: an agent that runs as %[4]s could not use it; as root: chown -R %[4]s: %[5]s").in(l, foreign, owner.Of(foreign), cfg.StateDir, name, cmp.Or(within(foreign, cfg.Buffer.Dir), foreign))
}

// within is dir when path lies in it, or is it; "" otherwise.
func within(path, dir string) string {
	if path == dir || strings.HasPrefix(path, dir+string(filepath.Separator)) {
		return dir
	}
	return ""
}

// foreignState returns the first file of the saved state that does not belong to uid.
func foreignState(dir string, uid int) string {
	list, err := filepath.Glob(filepath.Join(dir, "*.[12]"))
	if err != nil {
		return ""
	}
	for _, path := range list {
		if id, ok := owner.UID(path); ok && id != uid {
			return path
		}
	}
	return ""
}

// printBudget prints an estimate of the mobile data used.
func printBudget(c console, cfg *config.Config, l *langValue) error {
	b, err := agent.Estimate(cfg)
	if err != nil {
		return err
	}
	every := map[string]time.Duration{}
	always := false // some device sends each poll
	for _, l := range cfg.Lines {
		for _, d := range l.Devices {
			if d.Spec.Unsolicited {
				continue
			}
			every[d.ID] = d.Every
			always = always || !d.Report.OnChange
		}
	}
	t := newTable(c.out, l)
	rows := terminal.Table{Head: strings.Split(phrase("device,every,points,MB a month").in(l), ",")}
	for _, d := range b.Devices {
		interval := "-"
		if e, polled := every[d.ID]; polled {
			interval = strings.Replace(e.String(), "m0s", "m", 1)
		}
		rows.Rows = append(rows.Rows, []string{d.ID, interval, fmt.Sprintf("%6d", d.Points),
			megabytes(d.Least, d.Most, l)})
	}
	least, most := b.Total()
	rows.Rows = append(rows.Rows,
		[]string{phrase("status, quarter hours").in(l), "", "", megabytes(b.Rest, b.Rest, l)},
		[]string{phrase("all").in(l), "", "", megabytes(least, most, l)})
	t.WriteString(rows.Text(t.width) + "\n")
	note := phrase("An estimate: 30 days on a healthy link, both ways, with what IP adds. A MB is a million bytes.").in(l)
	if always {
		note += phrase(" Less goes with a longer every, or with report: {on: change} on a device.").in(l)
	}
	t.WriteString(terminal.Fold(note, cmp.Or(t.width, 80), 0) + "\n")
	_, err = io.WriteString(c.out, t.String())
	return err
}

func megabytes(least, most int64, l *langValue) string {
	if least == most {
		return fmt.Sprintf("%10.1f", float64(most)/1e6)
	}
	return phrase("%10.1f, or %.1f if nothing changes").in(l, float64(most)/1e6, float64(least)/1e6)
}

func devices(cfg *config.Config) int {
	n := 0
	for _, l := range cfg.Lines {
		n += len(l.Devices)
	}
	return n
}
