package loglimit_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent/loglimit"
)

// Texts of the same cause are the same, those of different causes are not. They are as Go, its resolver and crypto/x509 write
// them.
func TestCause(t *testing.T) {
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"local port": {"read tcp 10.0.0.7:43210->10.0.0.9:1883: read: connection reset by peer",
			"read tcp 10.0.0.7:43211->10.0.0.9:1883: read: connection reset by peer", true},
		"local port, IPv6": {"read tcp [fe80::1%eth0]:43210->[fe80::2%eth0]:502: i/o timeout",
			"read tcp [fe80::1%eth0]:50000->[fe80::2%eth0]:502: i/o timeout", true},
		"time of a certificate": {
			"tls with h:8883: x509: certificate has expired or is not yet valid: current time 2026-12-01T03:00:00Z is before 2027-01-01T00:00:00Z",
			"tls with h:8883: x509: certificate has expired or is not yet valid: current time 2026-12-01T03:01:07+01:00 is before 2027-01-01T00:00:00Z", true},
		"address of several": {"dial tcp 192.0.2.1:1883: connect: connection refused",
			"dial tcp 192.0.2.2:1883: connect: connection refused", true},
		"A and AAAA": {"dial tcp 192.0.2.1:1883: connect: no route to host",
			"dial tcp [2001:db8::17]:1883: connect: no route to host", true},
		"resolver": {"lookup broker.example on 9.9.9.9:53: read udp 10.0.0.7:5000->9.9.9.9:53: i/o timeout",
			"lookup broker.example on 1.1.1.1:53: read udp 10.0.0.7:5001->1.1.1.1:53: i/o timeout", true},
		"duration":   {"no answer after 1.503s", "no answer after 987ms", true},
		"identifier": {"session 9f3a01bb2c is gone", "session 0c55d1fe87 is gone", true},
		"uuid": {"request 5f0c9a2e-7a1b-4d3c-9f00-aabbccddeeff failed",
			"request 00000000-7a1b-4d3c-9f00-aabbccddee00 failed", true},
		"file": {"open /var/lib/bordo/buffer/000123.sst: input/output error",
			"open /var/lib/bordo/buffer/000124.sst: input/output error", true},
		"order of parts": {"read 0x0000+2: timeout\nread 0x0048+2: exception 2",
			"read 0x0048+2: exception 2\nread 0x0000+2: timeout", true},
		"another cause": {"dial tcp 192.0.2.1:1883: connect: connection refused",
			"dial tcp 192.0.2.1:1883: i/o timeout", false},
		"another exception": {"read holding 0x0048+2: exception 2", "read holding 0x0048+2: exception 4", false},
		"another register":  {"read holding 0x0048+2: timeout", "read holding 0x0148+2: timeout", false},
		"another host":      {"connect to a.example:1883: EOF", "connect to b.example:1883: EOF", false},
		"another side of time": {"x509: current time 2026-12-01T03:00:00Z is before 2027-01-01T00:00:00Z",
			"x509: current time 2026-12-01T03:00:00Z is after 2026-01-01T00:00:00Z", false},
		"words of hexadecimals": {"deadbeef is not served", "facade is not served", false},
	} {
		if a, b := loglimit.Cause(c.a), loglimit.Cause(c.b); (a == b) != c.same {
			t.Errorf("%s: %q and %q", name, a, b)
		}
	}
	want := "tls: read tcp 10.0.0.9:8883: x509: current time is before 2027-01-01T00:00:00Z"
	if got := loglimit.Stable("tls: read tcp 10.0.0.7:43210->10.0.0.9:8883: x509: current time 2026-12-01T03:00:00Z is before 2027-01-01T00:00:00Z"); got != want {
		t.Errorf("logged as %q", got)
	}
}

// A cause that lasts is logged once, causes that alternate once an hour each, and however many there are, a bounded number.
func TestCauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			causes int
			most   int // in five hours
		}{{1, 1}, {2, 10}, {3, 15}, {1000, 5 * loglimit.PerHour}} {
			var l loglimit.Causes
			logged, repeats, attempts := 0, 0, 0
			for end := time.Now().Add(5 * time.Hour); time.Now().Before(end); time.Sleep(7 * time.Second) {
				if n, ok := l.New(fmt.Sprintf("cause %s on port %d", strings.Repeat("x", attempts%c.causes),
					40000+attempts)); ok {
					logged, repeats = logged+1, repeats+n
				}
				attempts++
			}
			if logged > c.most || logged < min(c.causes, c.most) {
				t.Errorf("%d causes: %d lines for %d attempts, at most %d wanted", c.causes, logged, attempts, c.most)
			}
			if c.causes == 2 && repeats < attempts/2 {
				t.Errorf("%d repeats of %d attempts are told", repeats, attempts)
			}
		}
	})
}

func TestCausesAreForgotten(t *testing.T) {
	var l loglimit.Causes
	l.New("refused")
	if _, ok := l.New("refused"); ok {
		t.Error("logged twice")
	}
	l.Reset("connected")
	if _, ok := l.New("connected"); ok || !l.Last("connected") {
		t.Error("the state is not the last one")
	}
	if _, ok := l.New("refused"); !ok {
		t.Error("a new outage is not logged")
	}
}

// lines is a log with a limit before it.
func lines() (*slog.Logger, func() []string) {
	var b bytes.Buffer
	log := slog.New(loglimit.NewHandler(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return log, func() []string { return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") }
}

// Whatever the code above does, a subject has its share of an hour, and what is left out is counted.
func TestHandlerBoundsASubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, written := lines()
		for i := range 2 * 3600 {
			log.Info("line open", "line", "roof", "n", i)
			if i == 0 {
				log.Info("line open", "line", "bus")
				log.With("line", "arm").Info("line open")
			}
			time.Sleep(time.Second)
		}
		got := written()
		if len(got) != 2*loglimit.PerHour+2 {
			t.Fatalf("%d lines:\n%s", len(got), strings.Join(got, "\n"))
		}
		if last := got[loglimit.PerHour+1]; !strings.Contains(last, "left out for a while") {
			t.Errorf("the last one of an hour: %s", last)
		}
		if next := got[loglimit.PerHour+2]; !strings.Contains(next, "left_out=3588") {
			t.Errorf("the first one of the next: %s", next)
		}
	})
}

// An error that repeats is written once an hour, without what varies in it; a warning may come back, because it says that a
// state changed.
func TestHandlerOfErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, written := lines()
		for i := range 60 {
			log.Error("save state", "err", fmt.Errorf("write tcp 10.0.0.7:%d->10.0.0.9:1883: broken pipe", 40000+i))
			log.Warn("condition raised", "code", fmt.Sprint("c", i%20), "err", "timeout")
			time.Sleep(time.Minute)
		}
		log.Error("save state", "err", errors.New("no space left on device"))
		log.Error("save state", "err", errors.New("write tcp 10.0.0.7:5->10.0.0.9:1883: broken pipe"))
		var errs []string
		for _, l := range written() {
			if strings.Contains(l, "save state") {
				errs = append(errs, l)
			}
		}
		if len(errs) != 3 || !strings.Contains(errs[0], "write tcp 10.0.0.9:1883: broken pipe") ||
			!strings.Contains(errs[1], "left_out=59") {
			t.Errorf("errors:\n%s", strings.Join(errs, "\n"))
		}
		if n := len(written()) - len(errs); n != 60 {
			t.Errorf("%d warnings", n)
		}
	})
}

// Debugging is not limited, and a log without end does not take memory without end.
func TestHandlerOfDebug(t *testing.T) {
	log, written := lines()
	for i := range 1000 {
		log.Debug("request", "frame", "01 03")
		log.Info("subject", "name", fmt.Sprint("n", i))
	}
	if n := len(written()); n != 2000 {
		t.Errorf("%d lines", n)
	}
}
