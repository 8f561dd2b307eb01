package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// quiet is a logger for what must not log.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// levelFlag is a level on the command line.
type levelFlag struct{ slog.Level }

// String implements flag.Value.
func (l *levelFlag) String() string { return strings.ToLower(l.Level.String()) }

// Set implements flag.Value.
func (l *levelFlag) Set(text string) error {
	for _, known := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if text == strings.ToLower(known.String()) {
			l.Level = known
			return nil
		}
	}
	return errors.New("want debug, info, warn or error")
}

// newLogger writes text lines. For the journal they carry no time, which it has itself, and begin with its priority.
func newLogger(w io.Writer, level slog.Level, journal bool) *slog.Logger {
	if !journal {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
	}
	j := &journalHandler{level: level}
	for i, p := range priorities {
		j.by[i] = slog.NewTextHandler(prefixed{w, p.prefix}, &slog.HandlerOptions{
			Level: slog.LevelDebug - 4,
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
					return slog.Attr{}
				}
				return a
			},
		})
	}
	return slog.New(j)
}

// priorities are those of sd-daemon(3), most urgent first.
var priorities = [...]struct {
	from   slog.Level
	prefix string
}{{slog.LevelError, "<3>"}, {slog.LevelWarn, "<4>"}, {slog.LevelInfo, "<6>"}, {slog.LevelDebug - 4, "<7>"}}

// prefixed writes a prefix before each record: a text handler writes a record with one call.
type prefixed struct {
	io.Writer
	prefix string
}

// Write writes prefix and record together, so that records of several levels do not mix.
func (p prefixed) Write(record []byte) (int, error) {
	if _, err := p.Writer.Write(append([]byte(p.prefix), record...)); err != nil {
		return 0, err
	}
	return len(record), nil
}

// journalHandler hands a record to the handler of its priority.
type journalHandler struct {
	level slog.Level
	by    [len(priorities)]slog.Handler
}

// Enabled implements slog.Handler.
func (j *journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= j.level }

// Handle implements slog.Handler.
func (j *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	for i, p := range priorities {
		if r.Level >= p.from {
			return j.by[i].Handle(ctx, r)
		}
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (j *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return j.each(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (j *journalHandler) WithGroup(name string) slog.Handler {
	return j.each(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (j *journalHandler) each(change func(slog.Handler) slog.Handler) slog.Handler {
	out := &journalHandler{level: j.level}
	for i, h := range j.by {
		out.by[i] = change(h)
	}
	return out
}

// isJournal reports whether f is the stream that systemd connected to the journal: JOURNAL_STREAM contains its device
// and inode (systemd.exec(5)).
func isJournal(f *os.File, stream string) bool {
	var s unix.Stat_t
	if stream == "" || unix.Fstat(int(f.Fd()), &s) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}
