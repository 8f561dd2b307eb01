package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"bordo/agent/api"
	"bordo/agent/archive"
	"bordo/agent/config"
	"bordo/agent/energy"
	"bordo/contract"
)

// quarterHour is the step of the table.
const quarterHour = 15 * time.Minute

// maxCounters bounds the counters of one table.
const maxCounters = 8192

// quarterColumns are the columns of the table; README.md explains them.
var quarterColumns = []string{"device", "point", "start_utc", "start_local", "kwh", "from", "to", "coverage", "samples",
	"method", "clk", "rev",
	"meter", "segment", "pod", "role"}

// counterKey names a counter.
type counterKey struct{ dev, point string }

// printQuarters prints the table of a month. It reads the month once to find the counters and once for each device, so
// that it holds the quarters of one device at a time.
func printQuarters(ctx context.Context, c console, s *storeClient, q api.BufferQuestion, cfg *config.Config,
	o *bufferOptions) error {
	counters := map[counterKey]bool{}
	if cfg != nil {
		for _, k := range configuredCounters(cfg, o.device) {
			counters[k] = true
		}
	}
	t, err := quarters(ctx, s, q, func(dev string, i energy.Interval) error {
		if counters[counterKey{dev, i.Point}] = true; len(counters) > maxCounters {
			return phrase("there are more than %d counters: choose with --device").fault(maxCounters)
		}
		return nil
	})
	if err != nil {
		return err
	}
	keys := slices.SortedFunc(maps.Keys(counters), func(a, b counterKey) int {
		return cmp.Or(cmp.Compare(a.dev, b.dev), cmp.Compare(a.point, b.point))
	})
	w := csv.NewWriter(c.out)
	w.Write(quarterColumns) //nolint:errcheck // Flush has the error
	for len(keys) > 0 {
		n := slices.IndexFunc(keys, func(k counterKey) bool { return k.dev != keys[0].dev })
		if n < 0 {
			n = len(keys)
		}
		if err := deviceQuarters(ctx, w, s, q, keys[:n], zoneOf(cfg)); err != nil {
			return err
		}
		keys = keys[n:]
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return damagedBlocks(t, o.lang)
}

// configuredCounters returns the counters that are accounted according to the configuration, also when the month has no
// data for them. It omits those that only the device itself can list.
func configuredCounters(cfg *config.Config, only string) (out []counterKey) {
	for _, l := range cfg.Lines {
		for _, d := range l.Devices {
			if d.Personal || only != "" && d.ID != only || len(d.Spec.Points) == 0 {
				continue
			}
			for _, p := range energy.Points(d.Spec.Points) {
				out = append(out, counterKey{d.ID, p})
			}
		}
	}
	return out
}

// quarters calls take for each interval that begins within the question's time.
func quarters(ctx context.Context, s *storeClient, q api.BufferQuestion,
	take func(dev string, i energy.Interval) error) (t archive.Tally, err error) {
	err = s.ask(ctx, q, func(p api.BufferPart) error {
		if p.Tally != nil {
			t = *p.Tally
		}
		for _, line := range p.Lines {
			e, err := contract.DecodeEvent([]byte(line))
			if err != nil {
				return fmt.Errorf("read interval: %w", err)
			}
			var i energy.Interval
			if err := json.Unmarshal(e.Data, &i); err != nil {
				return fmt.Errorf("read interval %s: %w", e.ID, err)
			}
			if e.Type != contract.EnergyInterval || i.Start < q.Query.From || i.Start > q.Query.To {
				continue
			}
			if err := take(e.Dev, i); err != nil {
				return err
			}
		}
		return nil
	})
	return t, err
}

// deviceQuarters prints the counters of one device: every quarter of the time, with the highest revision that is there.
func deviceQuarters(ctx context.Context, w *csv.Writer, s *storeClient, q api.BufferQuestion, keys []counterKey,
	zone *time.Location) error {
	have := make(map[counterKey]map[int64]energy.Interval, len(keys))
	for _, k := range keys {
		have[k] = map[int64]energy.Interval{}
	}
	q.Query.Device = keys[0].dev
	_, err := quarters(ctx, s, q, func(dev string, i energy.Interval) error {
		of := have[counterKey{dev, i.Point}]
		if old, known := of[i.Start]; of != nil && (!known || i.Rev >= old.Rev) {
			of[i.Start] = i
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range keys {
		for at := q.Query.From; at <= q.Query.To; at += quarterHour.Milliseconds() {
			row := []string{k.dev, k.point, time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05Z"),
				time.UnixMilli(at).In(zone).Format("2006-01-02T15:04:05-07:00")}
			i, known := have[k][at]
			if err := w.Write(append(row, quarterText(i, known)...)); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
	}
	return nil
}

// quarterText returns the columns after the times, empty where nothing is known.
func quarterText(i energy.Interval, known bool) []string {
	if !known {
		return make([]string, len(quarterColumns)-4)
	}
	number := func(f *float64) string {
		if f == nil {
			return ""
		}
		return strconv.FormatFloat(*f, 'f', -1, 64)
	}
	return []string{number(&i.KWh), number(i.From), number(i.To), number(&i.Coverage), strconv.Itoa(i.Samples),
		i.Method, string(i.Clk),
		strconv.Itoa(i.Rev), i.Meter, strconv.FormatInt(i.Segment, 10), i.POD, i.Role}
}
