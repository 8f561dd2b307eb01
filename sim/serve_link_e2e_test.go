//go:build e2e

package sim

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// silence is how long nothing comes where no answer is to come.
const silence = 500 * time.Millisecond

// hear reads an answer of so many bytes, what has come of it when time is over.
func hear(t *testing.T, c net.Conn, size int, within time.Duration) []byte {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	n, err := io.ReadFull(c, b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return b[:n]
}

// tell writes a packet.
func tell(t *testing.T, c net.Conn, packet []byte) {
	t.Helper()
	if _, err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
}

// The network before the broker of a site that is served fails as it is told to, and heals.
func TestServedLinkFails(t *testing.T) {
	v := serve(t, mustLoad(t, "demo"))
	var (
		connack = []byte{0x20, 2, 0, 0}
		publish = []byte{0x32, 7, 0, 1, 'a', 0, 9, 'x', 'y'}
		puback  = []byte{0x40, 2, 0, 9}
		ping    = []byte{0xC0, 0}
		pong    = []byte{0xD0, 0}
	)
	dial := func(id string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(v.Broker, "mqtt://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing to save
		tell(t, c, connectPacket(id))
		return c
	}
	raise := func(kind FaultKind) {
		t.Helper()
		if _, err := v.Raise("link", Fault{Kind: kind}); err != nil {
			t.Fatal(err)
		}
	}
	heal := func() {
		t.Helper()
		if n, err := v.Clear("link", 0); err != nil || n != 1 {
			t.Fatalf("cleared %d faults: %v", n, err)
		}
	}
	want := func(what string, c net.Conn, want []byte) {
		t.Helper()
		if got := hear(t, c, len(want), patience); !bytes.Equal(got, want) {
			t.Errorf("%s: heard % x, want % x", what, got, want)
		}
	}
	nothing := func(what string, c net.Conn) {
		t.Helper()
		if got := hear(t, c, 1, silence); len(got) > 0 {
			t.Errorf("%s: heard % x", what, got)
		}
	}

	raise(LinkCut)
	c := dial("cut")
	nothing("connect through a link that is cut", c)
	heal()
	want("connect when it is mended", c, connack)

	raise(PubackEaten)
	tell(t, c, publish)
	wait(t, "an acknowledgement is eaten", func() bool { return v.link.Struck()[PubackEaten] == 1 })
	nothing("publish while acknowledgements are eaten", c)
	heal()
	tell(t, c, publish)
	want("publish again", c, puback)

	raise(HalfOpen)
	tell(t, c, ping)
	nothing("ping on a connection that is half open", c)
	other := dial("other")
	want("connect anew", other, connack)
	heal()
	tell(t, c, ping)
	nothing("ping on it later", c)
	tell(t, other, ping)
	want("ping on the new one", other, pong)
}
