// Package loglimit keeps a lasting or repeated fault from filling the log.
//
// Causes is for code that logs why a state changed: it logs a cause once, not at each attempt. Handler limits
// everything that is logged: a line about one subject appears at most PerHour times an hour, a repeated error once an
// hour, and suppressed lines are counted. Neither decides what a fault is.
package loglimit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// PerHour is the maximum number of lines about one subject, or of causes of one state, per hour.
const PerHour = 12

// Causes are the causes of one state, such as that of a connection, that were logged lately. One goroutine uses it.
type Causes struct {
	last string
	seen map[string]*seen
}

type seen struct {
	at      time.Time // when it was logged
	repeats int       // since then
}

// New reports whether a cause is to be logged: it differs from the last one and was not logged within the last hour.
// repeats is how often the cause returned since it was last logged.
func (c *Causes) New(text string) (repeats int, ok bool) {
	now, cause := time.Now(), Cause(text)
	lately := 0
	for k, s := range c.seen {
		age := now.Sub(s.at)
		if age < time.Hour {
			lately++
		}
		if age >= 2*time.Hour && k != cause { // it has not come back for an hour
			delete(c.seen, k)
		}
	}
	s := c.seen[cause]
	switch {
	case cause == c.last || s != nil && now.Sub(s.at) < time.Hour || lately >= PerHour:
		if s != nil {
			s.repeats++
		}
		return 0, false
	case s == nil:
		if c.seen == nil {
			c.seen = make(map[string]*seen)
		}
		s = &seen{}
		c.seen[cause] = s
	}
	repeats = s.repeats
	*s = seen{at: now}
	c.last = cause
	return repeats, true
}

// Reset forgets the causes: the state is lasting again. last is the cause that was logged last, or will be.
func (c *Causes) Reset(last string) {
	c.last, c.seen = Cause(last), nil
}

// Last reports whether a cause is the one that was logged last.
func (c *Causes) Last(text string) bool { return c.last == Cause(text) }

// maxSubjects bounds the memory of a Handler. Past it the subject that was silent for longest is forgotten.
const maxSubjects = 512

// Handler limits the output of another handler. Lines below slog.LevelInfo are not limited: enabling them means wanting
// all of them.
type Handler struct {
	to     slog.Handler
	prefix string // of the subject: attributes and groups that were added
	*subjects
}

type subjects struct {
	mu  sync.Mutex
	all map[string]*subject
}

// subject is a message with the names that it is about.
type subject struct {
	lines    []time.Time          // written within the last hour
	errors   map[string]time.Time // causes written within the last hour
	repeated int                  // lines left out since the last one
	used     time.Time
}

// NewHandler puts a limit before a handler.
func NewHandler(to slog.Handler) *Handler {
	return &Handler{to: to, subjects: &subjects{all: make(map[string]*subject)}}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.to.Enabled(ctx, l) }

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *h
	out.to = h.to.WithAttrs(attrs)
	for _, a := range attrs {
		out.prefix += name(a)
	}
	return &out
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(group string) slog.Handler {
	out := *h
	out.to, out.prefix = h.to.WithGroup(group), h.prefix+group+"."
	return &out
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return h.to.Handle(ctx, r)
	}
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	key, cause := strings.Builder{}, ""
	key.WriteString(r.Message + "\n" + h.prefix)
	r.Attrs(func(a slog.Attr) bool {
		if isError(a) {
			text := Stable(a.Value.String())
			cause, a = Cause(text), slog.String(a.Key, text)
		} else {
			key.WriteString(name(a))
		}
		out.AddAttrs(a)
		return true
	})
	repeated, last, ok := h.pass(key.String(), cause, r.Level >= slog.LevelError)
	if !ok {
		return nil
	}
	if repeated > 0 {
		out.AddAttrs(slog.Int("left_out", repeated))
	}
	if last {
		out.AddAttrs(slog.String("limit", "more of these are left out for a while"))
	}
	return h.to.Handle(ctx, out)
}

// pass reports whether a line is written, how many similar ones were suppressed before, and whether it is the last one
// for now.
func (h *Handler) pass(key, cause string, isErr bool) (repeated int, last, ok bool) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.all[key]
	if s == nil {
		h.makeRoom()
		s = &subject{errors: make(map[string]time.Time)}
		h.all[key] = s
	}
	s.used = now
	for len(s.lines) > 0 && now.Sub(s.lines[0]) >= time.Hour {
		s.lines = s.lines[1:]
	}
	for c, at := range s.errors {
		if now.Sub(at) >= time.Hour {
			delete(s.errors, c)
		}
	}
	if _, again := s.errors[cause]; len(s.lines) >= PerHour || isErr && again {
		s.repeated++
		return 0, false, false
	}
	if isErr {
		s.errors[cause] = now
	}
	s.lines = append(s.lines, now)
	repeated, s.repeated = s.repeated, 0
	return repeated, len(s.lines) == PerHour, true
}

// makeRoom forgets a subject when there are too many. Called with mu held.
func (h *Handler) makeRoom() {
	if len(h.all) < maxSubjects {
		return
	}
	oldest := ""
	for k, s := range h.all {
		if oldest == "" || s.used.Before(h.all[oldest].used) {
			oldest = k
		}
	}
	delete(h.all, oldest)
}

func isError(a slog.Attr) bool {
	if a.Key == "err" || a.Key == "text" {
		return true
	}
	_, is := a.Value.Any().(error)
	return is
}

// name returns what an attribute contributes to the subject: names, but no numbers and times.
func name(a slog.Attr) string {
	if a.Value.Kind() != slog.KindString {
		return ""
	}
	return a.Key + "=" + Cause(a.Value.String()) + "\n"
}
