package inflight

import (
	"testing"
	"time"
)

// line is a link that carries rate bytes a second, with a delay before an acknowledgement, and who sends on it: a small live
// message every second, and old ones as the window allows.
type line struct {
	pace  Pace
	now   time.Time
	rate  int
	delay time.Duration
	free  time.Time // when the link is idle

	unacked, old int
	sent         []carried
	acked        int             // bytes
	worst        time.Duration   // of a live message to its acknowledgement
	live         []time.Duration // of each
}

type carried struct {
	size, ahead int
	old         bool
	at, back    time.Time
}

func newLine(rate int, delay time.Duration) *line {
	return &line{pace: NewPace(), now: time.Unix(0, 0), rate: rate, delay: delay}
}

func (l *line) send(size int, old bool) {
	if l.free.Before(l.now) {
		l.free = l.now
	}
	l.free = l.free.Add(time.Duration(size) * time.Second / time.Duration(l.rate))
	l.unacked += size
	if old {
		l.old += size
	}
	l.sent = append(l.sent, carried{size, l.unacked, old, l.now, l.free.Add(l.delay)})
}

// run lets time pass in steps of 50 ms.
func (l *line) run(d time.Duration) {
	l.acked, l.live = 0, nil
	for i, end := 0, l.now.Add(d); l.now.Before(end); i++ {
		l.now = l.now.Add(50 * time.Millisecond)
		for len(l.sent) > 0 && !l.sent[0].back.After(l.now) {
			m := l.sent[0]
			l.sent = l.sent[1:]
			l.unacked -= m.size
			l.acked += m.size
			if m.old {
				l.old -= m.size
			} else {
				l.live = append(l.live, l.now.Sub(m.at))
			}
			l.pace.Acked(m.size, m.ahead, l.now.Sub(m.at), l.now)
		}
		w := l.pace.Window(l.now)
		if i%20 == 0 && (l.unacked < w || l.unacked == 0) {
			l.send(280, false)
		}
		for n := min(l.pace.Message(l.now), 60<<10); l.pace.OldFits(n, l.old, l.unacked, l.now); {
			l.send(n, true)
		}
	}
}

func TestPaceFillsTheLink(t *testing.T) {
	for _, c := range []struct {
		name  string
		rate  int
		delay time.Duration
		used  float64 // share of the link
		age   time.Duration
	}{
		{"9.6 kbit/s", 1200, 300 * time.Millisecond, 0.9, 4 * time.Second},
		{"9.6 kbit/s far away", 1200, 5 * time.Second, 0.7, 9 * time.Second},
		{"GPRS far away", 5000, 4 * time.Second, 0.8, 8 * time.Second},
		{"LTE", 500000, 60 * time.Millisecond, 0.9, 3 * time.Second},
		{"slow to acknowledge", 500000, 15 * time.Second, 0.3, 25 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLine(c.rate, c.delay)
			l.run(2 * time.Minute)
			l.run(10 * time.Minute)
			used := float64(l.acked) / 600 / float64(c.rate)
			var worst time.Duration
			for _, a := range l.live {
				worst = max(worst, a)
			}
			if used < c.used || worst > c.age || len(l.live) < 500 {
				t.Errorf("used %.2f of the link, a live message took up to %v, %d of 600 live messages", used, worst,
					len(l.live))
			}
		})
	}
}
