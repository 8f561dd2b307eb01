package uplink

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"bordo/agent/config"
	"bordo/agent/mqtt"
	"bordo/buffer"
)

// TestBackOff: each kind of end has its wait, drawn from the whole range up to its bound.
func TestBackOff(t *testing.T) {
	cfg := config.MQTT{ReconnectMax: 30 * time.Second, ReconnectJitter: 2 * time.Second}
	quick := config.MQTT{ReconnectMax: 500 * time.Millisecond, ReconnectJitter: 2 * time.Second}
	ended := fmt.Errorf("%w: reset", errSessionEnded)
	unreachable := fmt.Errorf("connect: no route")
	for _, c := range []struct {
		name        string
		cfg         config.MQTT
		before      backOff
		err         error
		lived       time.Duration
		least, most time.Duration
	}{
		{"first attempt failed", cfg, backOff{}, unreachable, 0, 0, 2 * time.Second},
		{"third", cfg, backOff{failures: 2}, unreachable, 0, 0, 8 * time.Second},
		{"after a month", cfg, backOff{failures: 90000}, unreachable, 0, 0, 30 * time.Second},
		{"after a month, quick", quick, backOff{failures: 90000}, unreachable, 0, 0, 500 * time.Millisecond},
		{"refused login", cfg, backOff{}, fmt.Errorf("connect: %w", mqtt.ErrRefused), 0, time.Minute, 2 * time.Minute},
		{"refused login, quick", quick, backOff{failures: 5}, fmt.Errorf("connect: %w", mqtt.ErrRefused), 0,
			time.Minute, 2 * time.Minute},
		{"lost after an hour", cfg, backOff{failures: 3, short: 2}, ended, time.Hour, 0, 2 * time.Second},
		{"lost after an hour, quick", quick, backOff{}, ended, time.Hour, 0, 500 * time.Millisecond},
		{"second short one", cfg, backOff{short: 1}, ended, time.Second, 0, 2 * time.Second},
		{"third short one", cfg, backOff{short: 2}, ended, time.Second, time.Minute, 5 * time.Minute},
		{"own status not seen", cfg, backOff{failures: 1}, fmt.Errorf("%w (%w)", ended, errNotEchoed), time.Second, 0,
			4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			low, high := time.Duration(1<<62), time.Duration(0)
			for range 2000 {
				b := c.before
				d := b.next(c.cfg, c.err, c.lived)
				low, high = min(low, d), max(high, d)
			}
			slack := (c.most - c.least) / 10
			if low < c.least || high > c.most || low > c.least+slack || high < c.most-slack {
				t.Errorf("waits from %v to %v, want %v to %v", low, high, c.least, c.most)
			}
		})
	}
}

// TestUnreadBacklogIsLoggedOnce: the log of a box that reads a bad sector at every turn must not fill the card.
func TestUnreadBacklogIsLoggedOnce(t *testing.T) {
	var out strings.Builder
	f := &Uplink{log: slog.New(slog.NewTextHandler(&out,
		&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}}))}
	sector, table := errors.New("bad sector"), errors.New("bad table")
	for _, step := range []struct {
		class buffer.Class
		err   error
	}{{buffer.Event, nil}, {buffer.Reading, sector}, {buffer.Event, nil}, {buffer.Reading, sector},
		{buffer.Interval, sector},
		{buffer.Reading, table}, {buffer.Reading, table}, {buffer.Reading, nil}, {buffer.Reading, nil},
		{buffer.Reading, table}} {
		f.readBacklog(step.class, step.err)
	}
	want := `msg="read backlog" class=reading err="bad sector"
msg="read backlog" class=interval err="bad sector"
msg="read backlog" class=reading err="bad table"
msg="backlog can be read again" class=reading
msg="read backlog" class=reading err="bad table"
`
	if out.String() != want {
		t.Errorf("logged\n%swant\n%s", out.String(), want)
	}
}
