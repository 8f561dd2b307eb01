package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/buffer/atomicfile"
	"bordo/cmd/terminal"
	"bordo/drivers/all"
	"bordo/drivers/scan"
)

// addition is the file into which a scan writes what it found.
type addition struct {
	file string
	yes  bool
	// returns errNoTerminal where there is no person to ask
	ask func(ctx context.Context, question string) (string, error)
}

// errNoTerminal means that there is no terminal for a question.
var errNoTerminal = errors.New("standard input is no terminal")

// askTerminal asks who sits at the terminal for a line.
func askTerminal(ctx context.Context, question string) (string, error) {
	if _, _, seen := terminal.Size(os.Stdin); !seen {
		return "", errNoTerminal
	}
	// Input typed before the question is no answer to it. Without the flush it would be read as one.
	_ = unix.IoctlSetInt(int(os.Stdin.Fd()), unix.TCFLSH, unix.TCIFLUSH) //nolint:errcheck // see above
	fmt.Fprint(os.Stderr, question)
	line := make(chan string, 1)
	go func() { // ends with the process: a terminal cannot be read until a context ends
		text, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil {
			text = ""
		}
		line <- text
	}()
	select {
	case text := <-line:
		return strings.ToLower(strings.TrimSpace(text)), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// apply shows the difference, asks, and writes it. Nothing is written that check would refuse.
func (a *addition) apply(ctx context.Context, c console, parts []scan.Part, lang *langValue) error {
	before, err := os.ReadFile(a.file)
	if err != nil {
		return permitted(fmt.Errorf("read configuration: %w", err), fileOwner())
	}
	after, cfg, err := added(a.file, before, parts)
	if err != nil {
		return a.nothing(err)
	}
	if bytes.Equal(before, after) {
		c.tell(phrase("%s: nothing to add").in(lang, a.file))
		return nil
	}
	fmt.Fprint(c.out, difference(string(before), string(after)))
	for _, w := range cfg.Warnings {
		c.tell(phrase("warning: %v").in(lang, w))
	}
	if !a.yes {
		switch answer, err := a.ask(ctx, phrase("Write to %s? [y/n] ").in(lang, a.file)); {
		case errors.Is(err, errNoTerminal):
			return phrase("nothing was written: there is no terminal to ask at, repeat with --yes").fault()
		case err != nil || !slices.Contains([]string{"s", "si", "sì", "y", "yes"}, answer):
			return phrase("nothing was written").fault()
		}
	}
	backup, err := replaceFile(a.file, before, after)
	if err != nil {
		return a.nothing(permitted(err, fileOwner()))
	}
	c.tell(phrase("Written to %s; the file as it was is %s.\nThen: bordo check, systemctl restart bordo").in(lang,
		a.file, backup))
	if slices.ContainsFunc(parts, func(p scan.Part) bool { return p.Remark }) {
		c.tell(phrase("Lines that begin with # have no effect yet: compare with the label, then remove the # from the line (id, port, devices) and from the right model.").in(lang))
	}
	if len(cfg.Placeholders) > 0 {
		c.tell(phrase("Before, there are values to replace:").in(lang) + "\n" + sentence(cfg.Placeholders, lang))
	}
	return nil
}

// nothing is the error of an addition that was not written.
func (a *addition) nothing(err error) error {
	return phrase("nothing was written to %s: %v").fault(a.file, err)
}

// added builds the new text and verifies that everything in the file keeps its meaning.
func added(file string, before []byte, parts []scan.Part) ([]byte, *config.Config, error) {
	old, err := config.Parse(file, before, all.List())
	if err != nil {
		return nil, nil, err
	}
	after := before
	for _, p := range parts {
		a := config.Addition{Line: p.Line, ID: p.ID, Port: p.Port, Entries: p.Entries, Remark: p.Remark}
		if a = withoutKnownRemarks(after, a); len(a.Entries) == 0 {
			continue
		}
		if after, err = config.Add(after, a); err != nil {
			return nil, nil, phrase("add the proposed lines by hand (bordo scan without --add prints them): %v").fault(err)
		}
	}
	cfg, err := config.Parse(file, after, all.List())
	if err != nil {
		return nil, nil, err
	}
	if err := agent.Check(cfg); err != nil {
		return nil, nil, err
	}
	if !extends(cfg, old, parts) {
		return nil, nil, phrase("the file has a shape that cannot be extended: add the lines by hand").fault()
	}
	return after, cfg, nil
}

// withoutKnownRemarks drops comments that are already in the text: a scan may be repeated.
func withoutKnownRemarks(text []byte, a config.Addition) config.Addition {
	known := map[string]bool{}
	for l := range strings.Lines(string(text)) {
		known[strings.Trim(l, "# \r\n")] = true
	}
	fresh := func(x string) bool { return !known[strings.Trim(x, "# ")] }
	if a.Remark && !slices.ContainsFunc(a.Entries, fresh) {
		a.Entries = nil
	}
	if !a.Remark {
		a.Entries = slices.DeleteFunc(slices.Clone(a.Entries), func(x string) bool { return x[0] == '#' && !fresh(x) })
	}
	return a
}

// extends reports whether a configuration contains everything of an old one, unchanged, plus as many devices as were to
// be added.
func extends(cfg, old *config.Config, parts []scan.Part) bool {
	more := 0
	for _, p := range parts {
		for _, e := range p.Entries {
			if e[0] == '-' && !p.Remark {
				more++
			}
		}
	}
	if devices(cfg) != devices(old)+more || len(cfg.Lines) < len(old.Lines) {
		return false
	}
	for i, l := range old.Lines {
		now := cfg.Lines[i]
		if now.ID != l.ID || now.Endpoint != l.Endpoint || len(now.Devices) < len(l.Devices) {
			return false
		}
		for j, d := range l.Devices {
			if now.Devices[j].ID != d.ID || !reflect.DeepEqual(now.Devices[j].About, d.About) ||
				now.Devices[j].Unit != d.Unit || now.Devices[j].Model != d.Model {
				return false
			}
		}
	}
	return cfg.Tenant == old.Tenant && cfg.Node == old.Node && reflect.DeepEqual(cfg.MQTT, old.MQTT) &&
		cfg.Buffer == old.Buffer && reflect.DeepEqual(cfg.Site, old.Site)
}

// around is the number of lines shown before and after a change.
const around = 2

// difference shows which lines come and go, with those around them.
func difference(before, after string) string {
	a, b := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	type row struct {
		sign byte
		text string
		n    int // in the new text
	}
	var rows []row
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			rows = append(rows, row{' ', b[j], j + 1})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || !slices.Contains(b[j:], a[i])):
			rows = append(rows, row{'-', a[i], j + 1})
			i++
		default:
			rows = append(rows, row{'+', b[j], j + 1})
			j++
		}
	}
	var out strings.Builder
	shown := -1
	for i, r := range rows {
		near := slices.ContainsFunc(rows[max(0, i-around):min(len(rows), i+around+1)],
			func(r row) bool { return r.sign != ' ' })
		if !near || r.text == "" {
			continue
		}
		if i != shown+1 || shown < 0 {
			fmt.Fprintf(&out, "@@ %d @@\n", r.n)
		}
		shown = i
		out.WriteString(strings.TrimRight(string(r.sign)+" "+strings.TrimRight(r.text, "\r\n"), " ") + "\n")
	}
	return out.String()
}

// maxBackups bounds the copies of a file that lie beside it.
const maxBackups = 100

// replaceFile replaces a file atomically, with its mode and owner, and keeps a copy of the old one. It refuses if the
// file was changed meanwhile.
func replaceFile(path string, before, after []byte) (backup string, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("replace configuration: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("replace configuration: %w", err)
	}
	for n := 1; ; n++ {
		if backup = fmt.Sprintf("%s.bak%d", path, n); n == maxBackups {
			return "", fmt.Errorf("replace configuration: there are %d copies already, delete some: %s", n-1,
				path+".bak*")
		}
		err := writeLike(backup, info, before)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("keep a copy: %w", err)
		}
	}
	fresh := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), os.Getpid()))
	err = writeLike(fresh, info, after)
	if err == nil {
		if now, errNow := os.ReadFile(path); errNow != nil || !bytes.Equal(now, before) {
			err = errors.Join(errors.New("the file was changed meanwhile: scan again"), errNow)
		}
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("replace configuration: %w", err), removeIfThere(fresh),
			removeIfThere(backup))
	}
	return backup, atomicfile.SyncDir(filepath.Dir(path))
}

// writeLike writes a new file with the mode and owner of another one, down to the disk.
func writeLike(path string, like fs.FileInfo, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if st, ok := like.Sys().(*syscall.Stat_t); ok && err == nil {
		err = chownLike(f, int(st.Uid), int(st.Gid))
	}
	if err == nil {
		err = f.Chmod(like.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, removeIfThere(path))
	}
	return nil
}

// chownLike gives a file an owner, unless it has it already: only root may give files away.
func chownLike(f *os.File, uid, gid int) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if int(st.Uid) == uid && int(st.Gid) == gid {
		return nil
	}
	return f.Chown(uid, gid)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
