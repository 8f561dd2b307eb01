package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bordo/agent/config"
	"bordo/contract"
)

func TestClockQuality(t *testing.T) {
	for _, x := range []struct {
		trust  config.Trust
		synced bool
		want   contract.Clock
	}{
		{config.TrustKernel, true, contract.ClockSync},
		{config.TrustKernel, false, contract.ClockFree},
		{config.TrustSystem, true, contract.ClockSync},
		{config.TrustSystem, false, contract.ClockSync},
	} {
		at, got := wall(x.trust, func() bool { return x.synced })()
		if got != x.want || time.Since(at).Abs() > time.Minute {
			t.Errorf("trust %s, synced %t: got %s at %s", x.trust, x.synced, got, at)
		}
	}
	// The kernel's own answer cannot be known here, but it must not change by being asked.
	first := kernelSynced()
	if again := kernelSynced(); again != first {
		t.Errorf("the kernel says %t and then %t", first, again)
	}
}

func TestDiskFree(t *testing.T) {
	dir := t.TempDir()
	here, err := diskFree(dir)
	if err != nil || here == 0 {
		t.Errorf("got %d, %v", here, err)
	}
	if _, err := diskFree(filepath.Join(dir, "not", "there", "yet")); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := diskFree(filepath.Join(file, "below")); err == nil {
		t.Error("a path below a file has free space")
	}
}

func TestJournalLines(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(&b, slog.LevelInfo, true)
	log.Debug("not shown")
	log.Info("line open", "line", "roof")
	log.With("node", "quintano").WithGroup("g").Warn("careful", "level", 1, "time", 2)
	log.Error("bad", "err", fmt.Errorf("a \"quoted\" %w", os.ErrClosed))
	want := `<6>msg="line open" line=roof
<4>msg=careful node=quintano g.level=1 g.time=2
<3>msg=bad err="a \"quoted\" file already closed"
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	b.Reset()
	newLogger(&b, slog.LevelDebug, true).Debug("shown")
	if b.String() != "<7>msg=shown\n" {
		t.Errorf("got %s", b.String())
	}
}

func TestTerminalLines(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(&b, slog.LevelWarn, false)
	log.Info("not shown")
	log.Warn("shown")
	if got := b.String(); !strings.HasPrefix(got, "time=") || !strings.HasSuffix(got, "level=WARN msg=shown\n") ||
		strings.Count(got, "\n") != 1 {
		t.Errorf("got %s", got)
	}
}

func TestIsJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]bool{
		"": false, fmt.Sprintf("%d:%d", s.Dev, s.Ino): true, fmt.Sprintf("%d:%d", s.Dev, s.Ino+1): false,
		"nonsense": false,
	} {
		if got := isJournal(f, stream); got != want {
			t.Errorf("%q: got %t", stream, got)
		}
	}
}

func TestBuiltAt(t *testing.T) {
	commit := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "2026-11-21T10:00:00+01:00"}}}
	broken := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "yesterday"}}}
	for _, x := range []struct {
		source string
		info   *debug.BuildInfo
		want   string
	}{
		{"1790000000", commit, "2026-09-21T14:13:20Z"},
		{"", commit, "2026-11-21T09:00:00Z"},
		{"soon", commit, "2026-11-21T09:00:00Z"},
		{"", broken, "0001-01-01T00:00:00Z"},
		{"0", &debug.BuildInfo{}, "0001-01-01T00:00:00Z"},
	} {
		if got := builtAt(x.source, x.info).Format(time.RFC3339); got != x.want {
			t.Errorf("%q, %v: %s instead of %s", x.source, x.info.Settings, got, x.want)
		}
	}
}

func TestNoServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if notifier(quiet()) != nil {
		t.Error("somebody is told")
	}
}

func TestWritten(t *testing.T) {
	before, err := written()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a temporary file
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	after, err := written()
	if err != nil {
		t.Fatal(err)
	}
	if inMemory := fs.Type == unix.TMPFS_MAGIC; !inMemory && after-before < 1<<20 {
		t.Errorf("written: %d, and after a MiB more %d", before, after)
	}
}
