package main

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"bordo/agent/archive"
	"bordo/agent/config"
	"bordo/buffer"
	"bordo/contract"
)

// zoneOf is the site's time zone.
func zoneOf(cfg *config.Config) *time.Location {
	if cfg != nil {
		return cfg.Timezone
	}
	if rome, err := time.LoadLocation("Europe/Rome"); err == nil { // what the configuration takes for granted, too
		return rome
	}
	return time.UTC
}

// query makes the filter of the flags.
func (o *bufferOptions) query(zone *time.Location) (q archive.Query, err error) {
	if o.class != "" {
		for _, name := range strings.Split(o.class, ",") {
			switch c, err := buffer.ParseClass(name); {
			case err != nil:
				return q, misused("buffer", phrase("--class: must be event, interval or reading (got %q)"), name)
			case c == buffer.Card:
				return q, misused("buffer", phrase("--class: card is personal data, which is never shown"))
			}
			q.Classes = append(q.Classes, name)
		}
	}
	q.Device, q.Epoch = o.device, o.epoch
	if o.epoch != "" && contract.CheckEpoch(o.epoch) != nil {
		return q, misused("buffer", phrase("--epoch: must be 8 letters and digits, as bordo buffer stat shows them (got %q)"), o.epoch)
	}
	if o.month != "" {
		if o.from != "" || o.to != "" {
			return q, misused("buffer", phrase("--month stands for --from and --to: leave those out"))
		}
		first, err := time.ParseInLocation("2006-01", o.month, zone)
		if err != nil {
			return q, misused("buffer", phrase("--month: must be a month such as 2026-03 (got %q)"), o.month)
		}
		q.From, q.To = first.UnixMilli(), first.AddDate(0, 1, 0).UnixMilli()-1
	}
	if q.From, err = moment("from", o.from, zone, q.From, false); err != nil {
		return q, err
	}
	if q.To, err = moment("to", o.to, zone, q.To, true); err != nil {
		return q, err
	}
	if q.To != 0 && q.From > q.To {
		return q, misused("buffer", phrase("--from is later than --to"))
	}
	return q, o.numbers(&q)
}

// moment reads a time: a day, a local time of the site, or one with its own offset. With end, it returns the end of the
// given period. without is the result for an empty text.
func moment(name, text string, zone *time.Location, without int64, end bool) (int64, error) {
	if text == "" {
		return without, nil
	}
	for _, f := range []struct {
		layout string
		next   func(time.Time) time.Time
	}{
		{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006-01-02T15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02T15:04:05", func(t time.Time) time.Time { return t.Add(time.Second) }},
		{time.RFC3339, func(t time.Time) time.Time { return t.Add(time.Millisecond) }},
	} {
		t, err := time.ParseInLocation(f.layout, strings.Replace(text, " ", "T", 1), zone)
		if err != nil {
			continue
		}
		if end {
			t = f.next(t).Add(-time.Millisecond)
		}
		return t.UnixMilli(), nil
	}
	return 0, misused("buffer", phrase("--%s: must be a time such as 2026-03-01, 2026-03-01T10:30 or 2026-03-01T09:30:00Z (got %q)"), name, text)
}

var numbersForm = regexp.MustCompile(`^([0-9]{1,16})(?:-([0-9]{1,16}))?$`)

// numbers reads a range of sequence numbers, which mean something only within an epoch.
func (o *bufferOptions) numbers(q *archive.Query) error {
	if o.seq == "" {
		return nil
	}
	f := numbersForm.FindStringSubmatch(o.seq)
	if f == nil {
		return misused("buffer", phrase("--seq: must be a number or a range such as 100-200 (got %q)"), o.seq)
	}
	if o.epoch == "" {
		return misused("buffer", phrase("--seq needs --epoch: numbers begin again in each epoch"))
	}
	q.First, _ = strconv.ParseUint(f[1], 10, 64) //nolint:errcheck // digits
	q.Last = q.First
	if f[2] != "" {
		q.Last, _ = strconv.ParseUint(f[2], 10, 64) //nolint:errcheck // digits
	}
	if q.First == 0 || q.First > q.Last {
		return misused("buffer", phrase("--seq: must rise, and begin at 1 or later (got %q)"), o.seq)
	}
	return nil
}
