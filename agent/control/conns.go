package control

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits on who is connected.
const (
	maxConns   = 64              // at once; a further one replaces a connection that is idle or does not read
	maxAsked   = 16              // concurrent questions with answers in parts; more are refused
	notReading = 2 * time.Second // an answer that has waited this long may be cut off in favour of another client
	// how long a question waits for others; those before it may be cut off every notReading
	turnWait = 2 * patience
)

// conns are the open connections of a listener. It accepts every connection, so that no client waits behind idle ones.
// Beyond maxConns it closes the least useful one.
type conns struct {
	net.Listener

	mu    sync.Mutex
	open  map[*conn]bool
	ended bool
}

// conn is a connection. Its fields are under the mutex of conns.
type conn struct {
	net.Conn
	of      *conns
	since   time.Time // accepted, or done with its last question
	asked   bool      // its question has come in full and is being answered
	waiting time.Time // since when a write waits for the client; zero: none does
}

func newConns(l net.Listener) *conns { return &conns{Listener: l, open: make(map[*conn]bool)} }

// Accept implements net.Listener.
func (c *conns) Accept() (net.Conn, error) {
	raw, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	n := &conn{Conn: raw, of: c, since: now}
	c.mu.Lock()
	var least *conn
	if len(c.open) >= maxConns {
		least = c.least(now)
	}
	if least == nil && len(c.open) >= maxConns || c.ended {
		least = n // everybody is being answered
	}
	c.open[n] = true
	delete(c.open, least)
	c.mu.Unlock()
	if least != nil {
		least.Conn.Close() //nolint:errcheck // it is given up
	}
	return n, nil
}

// least returns the least useful connection: the oldest one without a question, or else the one whose client has not
// read its answer for longest. nil when there is neither. Called with mu held.
func (c *conns) least(now time.Time) (least *conn) {
	for n := range c.open {
		if !n.asked && (least == nil || n.since.Before(least.since)) {
			least = n
		}
	}
	if least == nil {
		least = c.unread(now)
	}
	return least
}

// unread returns the connection whose client has not read its answer for longest, and for at least notReading. Called
// with mu held.
func (c *conns) unread(now time.Time) (longest *conn) {
	for n := range c.open {
		if !n.waiting.IsZero() && now.Sub(n.waiting) >= notReading &&
			(longest == nil || n.waiting.Before(longest.waiting)) {
			longest = n
		}
	}
	return longest
}

// cutUnread closes the connection whose client has not read its answer for longest, if there is one.
func (c *conns) cutUnread() {
	c.mu.Lock()
	n := c.unread(time.Now())
	c.mu.Unlock()
	if n != nil {
		n.Close() //nolint:errcheck // it is given up
	}
}

// end closes what has not asked anything, now and from now on: the server waits only for those whom it answers.
func (c *conns) end() {
	c.mu.Lock()
	c.ended = true
	var idle []*conn
	for n := range c.open {
		if !n.asked {
			idle = append(idle, n)
		}
	}
	c.mu.Unlock()
	for _, n := range idle {
		n.Close() //nolint:errcheck // it is given up
	}
}

// Write implements net.Conn and records how long the client makes it wait.
func (n *conn) Write(p []byte) (int, error) {
	n.set(func() { n.waiting = time.Now() })
	defer n.set(func() { n.waiting = time.Time{} })
	return n.Conn.Write(p)
}

// Close implements net.Conn. It may be called more than once.
func (n *conn) Close() error {
	n.of.mu.Lock()
	delete(n.of.open, n)
	n.of.mu.Unlock()
	return n.Conn.Close()
}

// CloseWrite lets a client that still sends read why it is refused, as net/http does with a connection that it ends.
func (n *conn) CloseWrite() error {
	if half, ok := n.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (n *conn) set(change func()) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	change()
}

// connKey is the key of the connection in a request's context.
type connKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection of a request, nil where the listener was not made by Listen.
func connOf(r *http.Request) *conn {
	n, _ := r.Context().Value(connKey{}).(*conn)
	return n
}

// answering marks the connection of a request as one whose question has come in full; done ends that.
func answering(r *http.Request) (done func()) {
	n := connOf(r)
	if n == nil {
		return func() {}
	}
	n.set(func() { n.asked = true })
	return func() { n.set(func() { n.asked, n.since = false, time.Now() }) }
}

// takeTurn waits up to turnWait for room among the questions with answers in parts, and cuts off clients that do not
// read. It returns false when there is no room.
func takeTurn(r *http.Request, free chan struct{}) bool {
	late := time.NewTimer(turnWait)
	defer late.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case free <- struct{}{}:
			return true
		case <-look.C:
			if n := connOf(r); n != nil && len(free) == cap(free) {
				n.of.cutUnread()
			}
			look.Reset(notReading / 8)
		case <-late.C:
			return false
		case <-r.Context().Done():
			return false
		}
	}
}
