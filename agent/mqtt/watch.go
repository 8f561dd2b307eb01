package mqtt

import (
	"sync"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// pings are the unanswered PINGREQ packets, in order. Paho sends some, Ping others.
type pings struct {
	mu   sync.Mutex
	open []ping
}

type ping struct {
	at   time.Time
	done func() // may be nil
}

func (p *pings) add(done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, ping{time.Now(), done})
}

// answered takes the first one off.
func (p *pings) answered() {
	p.mu.Lock()
	var first ping
	if len(p.open) > 0 {
		first, p.open = p.open[0], p.open[1:]
	}
	p.mu.Unlock()
	if first.done != nil {
		first.done()
	}
}

// oldest returns when the first one was sent.
func (p *pings) oldest() (at time.Time, some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) == 0 {
		return time.Time{}, false
	}
	return p.open[0].at, true
}

// ping writes a PINGREQ behind everything that was written.
func (s *stream) ping(done func()) {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	s.pings.add(done)
	s.flush()
	s.send([]byte{packets.Pingreq << 4, 0})
}

// lastHeard is when something came last.
func (s *stream) lastHeard() time.Time { return s.begun.Add(time.Duration(s.heard.Load())) }

// Ping asks the broker for a sign that it still reads. done is called when the answer has arrived, from the reading
// goroutine, and must not block. It is not called when the connection ends first.
func (c *Conn) Ping(done func()) { go c.stream.ping(done) }

// watch leaves a broker that takes publications and does not acknowledge them, and a link that is dead.
func (c *Conn) watch() {
	tick := time.NewTicker(ackTimeout / 4)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			if err := c.judge(now); err != nil {
				c.client.Disconnect(0)
				c.fail(err)
				return
			}
		case <-c.lost:
			return
		}
	}
}

// judge returns why the connection has to be ended, nil if it need not be. The time to an acknowledgement counts from
// when the publication left this machine. Until then, bytes have to leave from time to time.
func (c *Conn) judge(now time.Time) error {
	heard := c.stream.lastHeard()
	asked, pinged := c.stream.pings.oldest()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.stream.low.left() - c.before; n > c.gone || c.moved.IsZero() {
		c.gone, c.moved = n, now
	}
	var patience time.Duration
	aged := false
	for _, f := range c.pending {
		f.see(c.gone, now)
		since, limit := f.since, ackTimeout+f.patience
		if !f.left {
			since, limit = latest(f.since, c.moved), ackTimeout
		}
		age := now.Sub(since)
		switch {
		case age > limit && pinged: // the ping that went after it is not answered either
			return ErrSilent
		case age > limit:
			return ErrUnacknowledged
		}
		aged = aged || age > limit/2
		patience = max(patience, f.patience)
	}
	if pinged && now.Sub(latest(asked, latest(heard, c.moved))) > pingTimeout+patience {
		return ErrSilent
	}
	if aged && !pinged { // distinguishes a broker that swallows from a dead link
		c.Ping(nil)
	}
	return nil
}

// see records whether a publication has left, given how many bytes have.
func (f *flight) see(gone int64, now time.Time) {
	switch {
	case f.left:
	case gone < f.end:
		f.waits = true
	default:
		f.left = true
		if f.waits {
			f.since = now
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
