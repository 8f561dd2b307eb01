package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent/loglimit"
	"bordo/contract"
	"bordo/drivers"
)

// A broker that cannot be reached for one of three reasons in turn, each with a port or a time that is never the same, costs
// the log a line for each reason an hour.
func TestAlternatingCausesOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		attempts := 0
		n.dial = func(context.Context, *url.URL) (net.Conn, error) {
			attempts++
			return nil, []error{
				fmt.Errorf("read tcp 10.0.0.7:%d->10.0.0.9:1883: connection reset by peer", 40000+attempts),
				fmt.Errorf("x509: certificate has expired or is not yet valid: current time %s is before 2027-01-01T00:00:00Z", time.Now().Format(time.RFC3339)),
				errors.New("dial tcp 10.0.0.9:1883: connect: connection refused"),
			}[attempts%3]
		}
		n.start()
		time.Sleep(2*time.Hour - time.Second)
		n.stop()
		if lines := n.logged("broker not connected"); attempts < 100 || len(lines) < 3 || len(lines) > 6 {
			t.Errorf("%d lines for %d attempts", len(lines), attempts)
		}
		if lines := n.logged("10.0.0.7"); len(lines) > 0 {
			t.Errorf("the local port is logged: %s", lines[0])
		}
	})
}

// A broker that accepts each connection and closes it soon is logged like one that refuses. Once a session lasts, the log says
// so, and the next outage is logged at once.
func TestSessionsThatEndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		sessions := 0
		n.dial = func(ctx context.Context, u *url.URL) (net.Conn, error) {
			conn, err := n.broker.Dial(ctx, u)
			if err == nil {
				sessions++
				time.AfterFunc(10*time.Second, func() { conn.Close() }) //nolint:errcheck // the broker sees it
			}
			return conn, err
		}
		n.start()
		time.Sleep(time.Hour - time.Second)
		lines := append(n.logged("broker not connected"), n.logged("broker connected")...)
		if sessions < 50 || len(lines) > 4 {
			t.Errorf("%d lines of %d sessions:\n%s", len(lines), sessions, strings.Join(lines, "\n"))
		}
		n.dial = n.broker.Dial
		n.stop()
		n.start()
		time.Sleep(2 * time.Minute)
		for range 2 {
			before := len(n.logged("broker not connected"))
			n.broker.HangUp()
			time.Sleep(2 * time.Minute)
			if now := len(n.logged("broker not connected")); now != before+1 {
				t.Errorf("an outage after a steady session is logged %d times", now-before)
			}
		}
		lines = n.logged("roker ") // the first letter may be a capital
		if last := lines[len(lines)-1]; !strings.Contains(last, "broker connected") {
			t.Errorf("the last line of a node that is connected: %s", last)
		}
		n.stop()
	})
}

// A port that opens and breaks all the time costs a bounded number of lines.
func TestFlappingPortIsLoggedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		n.start()
		for range 360 {
			n.portFails(errors.New("no such device"))
			n.faults.fail("dev-1", &drivers.Error{Op: "count", Kind: drivers.Closed, Lost: true})
			time.Sleep(5 * time.Second)
			n.portFails(nil)
			n.faults.fail("dev-1", nil)
			time.Sleep(15 * time.Second)
		}
		n.stop()
		if told := n.told(contract.LineDown, "dev-1"); told != "+" {
			t.Errorf("told %s", told)
		}
		if lines := n.logged("line open"); len(lines) < loglimit.PerHour || len(lines) > 2*loglimit.PerHour+1 {
			t.Errorf("%d lines in two hours", len(lines))
		}
	})
}
