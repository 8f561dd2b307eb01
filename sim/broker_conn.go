package sim

import (
	"container/heap"
	"io"
	"net"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// maxPending bounds the packets of one connection that wait for their time. Beyond it the connection is broken, as
// happens eventually to a socket that is never read.
const maxPending = 4096

// brokerConn is the broker's end of a connection. It takes the broker's words apart into MQTT packets, so that single
// acknowledgements can be lost or delayed.
type brokerConn struct {
	net.Conn
	broker *Broker
	rest   []byte        // of a packet that is not complete; written by the server one packet at a time
	client *mqtt.Client  // once it was let in; written under the broker's lock
	left   chan struct{} // closed when nothing of the connection is left

	subscribing uint16 // the number of the SUBSCRIBE that is dealt with; only the goroutine that reads touches it

	mu      sync.Mutex
	pending pendingHeap
	order   uint64
	last    time.Time // when the last packet in order is due
	wake    chan struct{}
	closed  bool
	running bool
	done    chan struct{} // closed when the sender has ended
	gone    chan struct{} // closed when the connection is
}

func newBrokerConn(c net.Conn, b *Broker) *brokerConn {
	return &brokerConn{Conn: c, broker: b, wake: make(chan struct{}, 1), done: make(chan struct{}),
		gone: make(chan struct{}),
		left: make(chan struct{})}
}

// Read implements net.Conn for the server. While the link is stalled what has come waits; if the client gives the
// connection up meanwhile, it never arrives.
func (c *brokerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	held := false
	for err == nil {
		wake, next, stalled := c.broker.stalled()
		if !stalled {
			if end, ok := c.Conn.(*pipeEnd); ok && held && end.abandoned() {
				return 0, io.ErrUnexpectedEOF
			}
			return n, nil
		}
		held = true
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(max(0, time.Until(next)))
		}
		select {
		case <-c.gone:
			return 0, net.ErrClosed
		case <-wake:
		case <-timer:
		}
	}
	return n, err
}

// Write implements net.Conn for the server, which calls it under its own lock.
func (c *brokerConn) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		size := packetSize(c.rest)
		if size == 0 || size > len(c.rest) {
			return len(p), nil
		}
		packet := append([]byte(nil), c.rest[:size]...)
		c.rest = append(c.rest[:0], c.rest[size:]...)
		if err := c.send(packet); err != nil {
			return len(p), err
		}
	}
}

// packetSize is the size of the MQTT packet that b begins with, 0 if that is not known yet.
func packetSize(b []byte) int {
	length, shift := 0, 0
	for i := 1; i < len(b) && i <= 4; i++ {
		length |= int(b[i]&0x7f) << shift
		if b[i]&0x80 == 0 {
			return 1 + i + length
		}
		shift += 7
	}
	return 0
}

// send writes a packet now, later or never.
func (c *brokerConn) send(packet []byte) error {
	now, due, fs := time.Now(), time.Now(), c.broker.faults
	puback := packet[0]>>4 == 4
	if puback {
		n := c.broker.acks.Add(1)
		if _, eaten := fs.hit(AckEaten, "", n, now); eaten {
			return nil
		}
		if f, late := fs.hit(AckLate, "", n, now); late {
			due = now.Add(orDefault(f.By, 10*time.Second))
		}
	}
	if _, _, mute := fs.on(SubscribeMute, "", now); mute && packet[0]>>4 == 9 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, _, slow := fs.on(Slow, "", now); slow {
		due = due.Add(orDefault(f.By, 2*time.Second))
		if c.last.After(due) {
			due = c.last
		}
		c.last = due
	}
	if !due.After(now) && len(c.pending) == 0 {
		_, err := c.Conn.Write(packet)
		return err
	}
	if c.closed || len(c.pending) == maxPending {
		return net.ErrClosed
	}
	c.order++
	heap.Push(&c.pending, pendingPacket{due, c.order, packet})
	if !c.running {
		c.running = true
		c.broker.wg.Go(c.sendLater)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// sendLater writes the packets that wait, each at its time.
func (c *brokerConn) sendLater() {
	defer close(c.done)
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return
		}
		var timer <-chan time.Time
		for len(c.pending) > 0 {
			wait := time.Until(c.pending[0].due)
			if wait > 0 {
				timer = time.After(wait)
				break
			}
			p := heap.Pop(&c.pending).(pendingPacket)
			if _, err := c.Conn.Write(p.bytes); err != nil {
				c.pending = nil // the reader sees that the connection is lost
				break
			}
		}
		c.mu.Unlock()
		select {
		case <-c.wake:
		case <-timer:
		}
	}
}

// Close implements net.Conn.
func (c *brokerConn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.gone)
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return err
}

// finish closes the connection and waits for its sender.
func (c *brokerConn) finish() {
	c.Close() //nolint:errcheck // nothing to save
	c.mu.Lock()
	running := c.running
	c.mu.Unlock()
	if running {
		<-c.done
	}
}

type pendingPacket struct {
	due   time.Time
	order uint64
	bytes []byte
}

// pendingHeap orders packets by due time, and packets due at the same time by the order of writing.
type pendingHeap []pendingPacket

func (h pendingHeap) Len() int { return len(h) }
func (h pendingHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].order < h[j].order
	}
	return h[i].due.Before(h[j].due)
}
func (h pendingHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *pendingHeap) Push(x any) { *h = append(*h, x.(pendingPacket)) }

// Pop implements heap.Interface.
func (h *pendingHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func orDefault(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return d
}
