package sim

import (
	"bytes"
	"context"
	"io"
	"math/bits"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

// behind is a proxy with an echo behind it that remembers what it heard.
type behind struct {
	*Proxy
	heard chan []byte // what each connection said, when it has ended
}

func newBehind(t *testing.T, greeting []byte, o ProxyOptions) *behind {
	t.Helper()
	b := &behind{heard: make(chan []byte, 8)}
	o.Dial = func(context.Context, *url.URL) (net.Conn, error) {
		here, there := pipe("server")
		go func() {
			defer there.Close()
			there.Write(greeting) //nolint:errcheck // the client notices
			var all bytes.Buffer
			io.Copy(there, io.TeeReader(there, &all)) //nolint:errcheck // the end is the end
			b.heard <- all.Bytes()
		}()
		return here, nil
	}
	p, err := NewProxy(o)
	if err != nil {
		t.Fatal(err)
	}
	b.Proxy = p
	t.Cleanup(p.Close)
	return b
}

func (b *behind) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := b.Dial(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// say writes a text and returns how long it took until it came back, and what did; by then it is given up.
func say(t *testing.T, c net.Conn, text string, patience time.Duration) (string, time.Duration) {
	t.Helper()
	began := time.Now()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // a pipe
	got := make([]byte, len(text))
	n, _ := io.ReadFull(c, got)
	return string(got[:n]), time.Since(began)
}

func TestProxyCarries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBehind(t, nil, ProxyOptions{Delay: 30 * time.Millisecond, Rate: 1000})
		c := p.dial(t)
		if got, took := say(t, c, "hello", time.Second); got != "hello" || took != 65*time.Millisecond {
			t.Errorf("%q came back after %v, want 30 ms each way and a millisecond for each byte", got, took)
		}
		c.Write([]byte("and goodbye")) //nolint:errcheck // a pipe
		c.Close()
		if got := <-p.heard; string(got) != "helloand goodbye" {
			t.Errorf("the server heard %q", got)
		}
		synctest.Wait()
		if p.Open() != 0 {
			t.Errorf("%d connections after the end", p.Open())
		}
	})
}

func TestProxyLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBehind(t, nil, ProxyOptions{Seed: 1, Faults: []Fault{{Kind: LinkLate, Chance: 0.5, By: time.Second}}})
		c := p.dial(t)
		late, order := 0, byte(0)
		for range 100 {
			got, took := say(t, c, string([]byte{order}), 3*time.Second)
			if got != string([]byte{order}) || took > 2*time.Second {
				t.Fatalf("%q for %q after %v", got, []byte{order}, took)
			}
			if took > 0 {
				late++
			}
			order++
		}
		if late < 60 || late > 90 { // three of four: each way has a chance of a half
			t.Errorf("%d of 100 came late", late)
		}
	})
}

func TestProxyHolds(t *testing.T) {
	for _, kind := range []FaultKind{LinkStalled, LinkCut} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newBehind(t, nil, ProxyOptions{Faults: []Fault{{Kind: kind, At: time.Second, For: time.Minute}}})
				c := p.dial(t)
				say(t, c, "before", time.Second)
				time.Sleep(11 * time.Second)
				began := time.Now()
				p.dial(t)
				if waited := time.Since(began) > 0; waited != (kind == LinkCut) {
					t.Errorf("a new connection took %v", time.Since(began))
				}
				if kind == LinkStalled {
					if got, took := say(t, c, "held", time.Hour); got != "held" || took != 50*time.Second {
						t.Errorf("%q after %v, want it when the fault is over", got, took)
					}
				}
			})
		})
	}
}

func TestProxyCutGivesUpWithTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBehind(t, nil, ProxyOptions{Faults: []Fault{{Kind: LinkCut}}})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if c, err := p.Dial(ctx, nil); err == nil {
			c.Close()
			t.Error("a link that is cut let somebody through")
		}
	})
}

func TestProxyHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBehind(t, nil, ProxyOptions{Faults: []Fault{{Kind: HalfOpen, At: time.Second, For: time.Minute}}})
		old := p.dial(t)
		say(t, old, "before", time.Second)
		time.Sleep(10 * time.Second)
		if got, _ := say(t, old, "lost", time.Hour); got != "" {
			t.Errorf("a dead connection said %q", got)
		}
		fresh := p.dial(t)
		if got, _ := say(t, fresh, "new", time.Second); got != "new" {
			t.Errorf("a new connection said %q", got)
		}
		old.Close()
		synctest.Wait()
		if p.Open() != 2 {
			t.Errorf("%d connections: the server was told of the end of one", p.Open())
		}
	})
}

func TestProxyResetsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBehind(t, nil, ProxyOptions{Faults: []Fault{{Kind: MidPacket}}})
		c := p.dial(t)
		if got, _ := say(t, c, "a whole packet", time.Second); got != "" {
			t.Errorf("%q came back", got)
		}
		if got := string(<-p.heard); len(got) == len("a whole packet") {
			t.Errorf("the server heard all of %q", got)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the client was not told")
		}
	})
}

func TestProxyEatsAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBehind(t, []byte{0x20, 2, 0, 0},
			ProxyOptions{Seed: 1, Faults: []Fault{{Kind: PubackEaten, Chance: 0.5}}})
		c := p.dial(t)
		io.ReadFull(c, make([]byte, 4)) //nolint:errcheck // the CONNACK
		var stream []byte
		for i := range 100 { // comes back as what a broker says
			stream = append(stream, 0x40, 2, 0, byte(i), 0xd0, 0)
		}
		c.Write(stream[:301]) //nolint:errcheck // a pipe
		synctest.Wait()
		c.Write(stream[301:]) //nolint:errcheck // a pipe
		c.SetReadDeadline(time.Now().Add(time.Second))
		got, _ := io.ReadAll(c)
		acks, pongs := bytes.Count(got, []byte{0x40, 2}), bytes.Count(got, []byte{0xd0, 0})
		if acks < 35 || acks > 65 || pongs != 100 {
			t.Errorf("%d of 100 acknowledgements and %d of 100 other packets came", acks, pongs)
		}
	})
}

func TestProxyFlipsOneBit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBehind(t, nil, ProxyOptions{Seed: 3, Faults: []Fault{{Kind: Corrupt}}})
		c := p.dial(t)
		flipped := map[int]int{}
		for range 50 {
			got, _ := say(t, c, "\x00\x00\x00\x00", time.Second)
			n := 0
			for i := range got {
				n += bits.OnesCount8(got[i])
			}
			flipped[n]++
		}
		if flipped[2] < 35 || flipped[2]+flipped[0] != 50 { // one each way, now and then the same
			t.Errorf("bits flipped of there and back: %v", flipped)
		}
	})
}

func TestProxyRefusesOtherPlaces(t *testing.T) {
	dial := func(context.Context, *url.URL) (net.Conn, error) { return nil, net.ErrClosed }
	if _, err := NewProxy(ProxyOptions{Dial: dial, Faults: []Fault{{Kind: AckEaten}}}); err == nil {
		t.Error("a fault of the broker was taken")
	}
	if _, err := NewProxy(ProxyOptions{}); err == nil {
		t.Error("a proxy without anything behind it was made")
	}
	p, err := NewProxy(ProxyOptions{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Raise(Fault{Kind: Kill}); err == nil {
		t.Error("a fault of the box was raised")
	}
}
