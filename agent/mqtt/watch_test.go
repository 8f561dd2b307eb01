package mqtt

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// trickle is a socket that takes some bytes before each deadline, then none.
type trickle struct {
	net.Conn
	mu    sync.Mutex
	until time.Time
	taken int
	most  int
}

func (c *trickle) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return nil
}

func (c *trickle) Write(p []byte) (int, error) {
	c.mu.Lock()
	n := min(len(p), 100, c.most-c.taken)
	c.taken += n
	wait := time.Until(c.until)
	c.mu.Unlock()
	if n == len(p) {
		return n, nil
	}
	time.Sleep(wait)
	return n, os.ErrDeadlineExceeded
}

// A write lasts as long as bytes are taken, and ends writeTimeout after the last.
func TestWriteLastsWhileItMakesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, most := range []int{1000, 450} {
			l := &lower{Conn: &trickle{most: most, until: time.Now().Add(writeTimeout)}}
			began := time.Now()
			n, err := l.Write(make([]byte, 1000))
			took := time.Since(began)
			if most == 1000 && (n != 1000 || err != nil || took != 9*writeTimeout) {
				t.Errorf("%d bytes in %v, %v", n, took, err)
			}
			if most == 450 && (n != 450 || !errors.Is(err, os.ErrDeadlineExceeded) || took != 6*writeTimeout) {
				t.Errorf("stalled: %d bytes in %v, %v", n, took, err)
			}
		}
	})
}

// A broker that answers pings and no publication is told from a link on which nothing comes back.
func TestSilenceIsToldFromSwallowing(t *testing.T) {
	for _, c := range []struct {
		name   string
		silent bool
		want   error
	}{{"swallowed", false, ErrUnacknowledged}, {"silent", true, ErrSilent}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u, err := url.Parse("mqtt://broker.example:1883")
				if err != nil {
					t.Fatal(err)
				}
				hole := &hole{}
				conn, err := Connect(t.Context(),
					Options{URL: u, ClientID: "quintano", Dial: func(context.Context, *url.URL) (net.Conn, error) {
						here, there := net.Pipe()
						go (&broker{}).serve(there)
						hole.Conn = here
						return hole, nil
					}})
				if err != nil {
					t.Fatal(err)
				}
				hole.mu.Lock()
				hole.open = c.silent
				hole.mu.Unlock()
				var outcome error
				conn.Publish(Message{Topic: "a", Patience: 30 * time.Second}, func(err error) { outcome = err })
				began := time.Now()
				<-conn.Lost()
				synctest.Wait()
				if d := time.Since(began); !errors.Is(outcome, c.want) || d < ackTimeout+30*time.Second ||
					d > ackTimeout+40*time.Second {
					t.Errorf("%v after %v", outcome, d)
				}
				time.Sleep(writeTimeout)
			})
		})
	}
}

// hole swallows what is written once it is open.
type hole struct {
	net.Conn
	mu   sync.Mutex
	open bool
}

func (h *hole) Write(p []byte) (int, error) {
	h.mu.Lock()
	open := h.open
	h.mu.Unlock()
	if open {
		return len(p), nil
	}
	return h.Conn.Write(p)
}
