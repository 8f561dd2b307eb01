package sim

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what a proxy holds in one direction: beyond them the sender has to wait, as with the buffers of a socket.
const (
	stretchRoom  = 64
	stretchChunk = 16 << 10
)

// largestPacket is what passes a black hole.
const largestPacket = 1300

// link is a connection that a proxy carries.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	window         uint64      // of the half-open fault that was on when it began: that one does not strike it
	dead           atomic.Bool // half open: what is sent is lost, and neither side notices
	once           sync.Once
}

// hangUp ends both sides.
func (l *link) hangUp() {
	l.once.Do(func() {
		l.client.Close() //nolint:errcheck // nothing to save
		l.server.Close() //nolint:errcheck // nothing to save
	})
}

// stretch is one direction of a link.
type stretch struct {
	link   *link
	up     bool // from the client to the server
	chunks chan chunk
	last   time.Time // when the last chunk in order is due
	mqtt   bool      // what the server says is MQTT itself
	began  bool
	rest   []byte // of a packet that is not complete
	lost   bool   // in a black hole
}

// chunk is what one read returned.
type chunk struct {
	due   time.Time
	bytes []byte
	cut   bool // the connection is reset after it
}

func newStretch(l *link, up bool) *stretch {
	return &stretch{link: l, up: up, chunks: make(chan chunk, stretchRoom)}
}

// run carries from one side to the other until that is over.
func (s *stretch) run(from, to net.Conn) {
	var writing sync.WaitGroup
	writing.Go(func() { s.write(from, to) })
	buf := make([]byte, stretchChunk)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			s.take(append([]byte(nil), buf[:n]...))
		}
		if err != nil {
			break
		}
	}
	close(s.chunks)
	writing.Wait()
}

// take applies the faults to what was read and queues the rest.
func (s *stretch) take(b []byte) {
	p, now := s.link.proxy, time.Now()
	n := p.chunks.Add(1)
	if _, w, on := p.faults.on(HalfOpen, "", now); on && w != s.link.window && s.link.dead.CompareAndSwap(false, true) {
		p.count(HalfOpen)
	}
	if _, _, on := p.faults.on(BlackHole, "", now); on && s.up && len(b) > largestPacket {
		s.lost = true // TCP repeats it endlessly, and nothing behind it arrives
		p.count(BlackHole)
	}
	if s.link.dead.Load() || s.lost {
		return
	}
	if !s.up {
		if b = s.withoutEaten(b, now); len(b) == 0 {
			return
		}
	}
	c := chunk{bytes: b, due: now.Add(p.o.Delay)}
	if s.up {
		c.due = p.due(len(b))
	}
	if f, late := p.hit(LinkLate, n, now); late {
		c.due = c.due.Add(time.Duration(p.dice.Float(3*n) * float64(orDefault(f.By, 5*time.Second))))
	}
	if c.due.Before(s.last) {
		c.due = s.last
	}
	s.last = c.due
	if _, hit := p.hit(Corrupt, n, now); hit {
		bit := int(p.dice.Float(3*n+1) * float64(8*len(b)))
		b[bit/8] ^= 1 << (bit % 8)
	}
	if _, hit := p.hit(MidPacket, n, now); hit {
		c.bytes, c.cut = b[:int(p.dice.Float(3*n+2)*float64(len(b)))], true
	}
	s.chunks <- c
}

// withoutEaten removes the acknowledgements that are to be lost, where the server speaks MQTT: its first packet is a
// CONNACK.
func (s *stretch) withoutEaten(b []byte, now time.Time) []byte {
	const connack, puback = 2, 4
	if !s.began {
		s.began, s.mqtt = true, b[0]>>4 == connack
	}
	if !s.mqtt {
		return b
	}
	s.rest = append(s.rest, b...)
	var out []byte
	for {
		size := packetSize(s.rest)
		if size == 0 || size > len(s.rest) {
			return out
		}
		packet := s.rest[:size]
		eaten := false
		if packet[0]>>4 == puback {
			_, eaten = s.link.proxy.hit(PubackEaten, s.link.proxy.acks.Add(1), now)
		}
		if !eaten {
			out = append(out, packet...)
		}
		s.rest = append([]byte(nil), s.rest[size:]...)
	}
}

// write forwards what is queued, each chunk at its time. The end of a direction is signalled to the other side after
// everything before it has arrived; a half-open link signals nothing.
func (s *stretch) write(from, to net.Conn) {
	p := s.link.proxy
	broken := false // the receiver is lost
	for c := range s.chunks {
		for !broken && !s.link.dead.Load() {
			wake, next, held := p.isOn(LinkStalled, LinkCut)
			if !held && !time.Now().Before(c.due) {
				break
			}
			if !held {
				next = c.due
			}
			broken = untilChange(context.Background(), p.done, wake, next) != nil
		}
		if broken || s.link.dead.Load() {
			continue
		}
		if _, err := to.Write(c.bytes); err != nil {
			broken = true // signalled to the other direction, after what it still carries
		}
		if c.cut {
			broken = true
			s.link.hangUp()
		}
	}
	if !s.link.dead.Load() {
		s.link.hangUp()
	}
	from.Close() //nolint:errcheck // it has ended
}
