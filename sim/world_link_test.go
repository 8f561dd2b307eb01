//go:build world

package sim_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/url"
	"sync"

	"bordo/agent"
)

// The kinds of MQTT packets that a link looks at.
const (
	publishPacket = 3
	pubackPacket  = 4
)

// packet is one MQTT packet, whole.
type packet []byte

func (p packet) kind() byte { return p[0] >> 4 }

// body is what stands after the fixed header.
func (p packet) body() []byte {
	n := 1
	for p[n]&0x80 != 0 {
		n++
	}
	return p[n+1:]
}

// topic is that of a publication.
func (p packet) topic() string {
	b := p.body()
	return string(b[2 : 2+binary.BigEndian.Uint16(b)])
}

// id is the number of a publication of QoS 1, or of the one that is acknowledged.
func (p packet) id() uint16 {
	b := p.body()
	if p.kind() == publishPacket {
		b = b[2+binary.BigEndian.Uint16(b):]
	}
	return binary.BigEndian.Uint16(b)
}

// whole is how long the first packet in b is, 0 if it is not there yet.
func whole(b []byte) int {
	size, shift := 0, 0
	for i := 1; i < len(b) && i <= 4; i++ {
		size |= int(b[i]&0x7f) << shift
		if shift += 7; b[i]&0x80 == 0 {
			if i+1+size <= len(b) {
				return i + 1 + size
			}
			return 0
		}
	}
	return 0
}

// link is a connection to a broker with somebody in the middle, who sees each packet and says what goes on instead of it.
type link struct {
	net.Conn
	up, down func(p packet) []packet // to the broker, to the node; nil: everything goes on

	mu           sync.Mutex
	sent         []byte // by the node, not yet a packet
	heard, ready []byte // from the broker: not yet a packet, and for the node
}

// Write implements net.Conn.
func (l *link) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, b...)
	for n := whole(l.sent); n > 0; n = whole(l.sent) {
		out := []packet{packet(l.sent[:n:n])}
		if l.up != nil {
			out = l.up(out[0])
		}
		for _, p := range out {
			if _, err := l.Conn.Write(p); err != nil {
				return 0, err
			}
		}
		l.sent = append([]byte(nil), l.sent[n:]...)
	}
	return len(b), nil
}

// Read implements net.Conn. One goroutine reads.
func (l *link) Read(b []byte) (int, error) {
	for len(l.ready) == 0 {
		room := make([]byte, 4096)
		n, err := l.Conn.Read(room)
		if err != nil {
			return 0, err
		}
		l.heard = append(l.heard, room[:n]...)
		for n := whole(l.heard); n > 0; n = whole(l.heard) {
			out := []packet{packet(l.heard[:n:n])}
			if l.down != nil {
				out = l.down(out[0])
			}
			for _, p := range out {
				l.ready = append(l.ready, p...)
			}
			l.heard = append([]byte(nil), l.heard[n:]...)
		}
	}
	n := copy(b, l.ready)
	l.ready = l.ready[n:]
	return n, nil
}

// linked puts somebody into the middle of each connection to the broker.
func linked(made func() *link) func(agent.System) agent.System {
	return func(s agent.System) agent.System {
		dial := s.DialMQTT
		s.DialMQTT = func(ctx context.Context, u *url.URL) (net.Conn, error) {
			c, err := dial(ctx, u)
			if err != nil {
				return nil, err
			}
			l := made()
			l.Conn = c
			return l, nil
		}
		return s
	}
}
