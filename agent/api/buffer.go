package api

import (
	"context"
	"fmt"
	"time"

	"bordo/agent/archive"
	"bordo/buffer"
)

// BufferQuestion is a question about the content of a store: that of the running agent, or one that a tool has opened.
type BufferQuestion struct {
	Do     string        `json:"do"` // stat, list, export or verify
	Query  archive.Query `json:"query"`
	Limit  int           `json:"limit,omitempty"`
	Newest bool          `json:"newest,omitempty"`
}

// BufferPart is a part of the answer: one of these.
type BufferPart struct {
	Stat *archive.Stat `json:"stat,omitempty"`
	// beside Stat: bytes written to storage in the last day; of an agent
	Day     *int64          `json:"written_day,omitempty"`
	Entries []archive.Entry `json:"entries,omitempty"`
	Lines   []string        `json:"lines,omitempty"`
	Tally   *archive.Tally  `json:"tally,omitempty"` // after the last entry or line
	Report  *buffer.Report  `json:"report,omitempty"`
}

// Bounds of one part, well below what control takes.
const (
	partEntries = 500
	partBytes   = 256 << 10
)

// Answer answers the question part by part.
func (q BufferQuestion) Answer(ctx context.Context, a *archive.Archive, say func(BufferPart) error) error {
	switch q.Do {
	case "stat":
		st, err := a.Stat()
		if err != nil {
			return err
		}
		return say(BufferPart{Stat: &st})
	case "list":
		var p BufferPart
		t, err := a.List(ctx, q.Query, q.Limit, q.Newest, func(e archive.Entry) error {
			if p.Entries = append(p.Entries, e); len(p.Entries) < partEntries {
				return nil
			}
			defer func() { p.Entries = p.Entries[:0] }()
			return say(p)
		})
		if err != nil {
			return err
		}
		p.Tally = &t
		return say(p)
	case "export":
		return q.export(ctx, a, say)
	case "verify":
		r, err := a.Verify()
		if err != nil {
			return err
		}
		return say(BufferPart{Report: &r})
	}
	return fmt.Errorf("understand the question: a store cannot be asked to %q", q.Do)
}

func (q BufferQuestion) export(ctx context.Context, a *archive.Archive, say func(BufferPart) error) error {
	var p BufferPart
	size := 0
	t, err := a.Export(ctx, q.Query, time.Now(), func(line []byte) error {
		p.Lines = append(p.Lines, string(line))
		if size += len(line); size < partBytes {
			return nil
		}
		defer func() { p.Lines, size = p.Lines[:0], 0 }()
		return say(p)
	})
	if err != nil {
		return err
	}
	p.Tally = &t
	return say(p)
}
