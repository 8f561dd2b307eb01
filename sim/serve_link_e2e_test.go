//go:build e2e

package sim

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// soon is how long an answer may take that is to come, and how long nothing comes where none is to.
const soon = 500 * time.Millisecond

// answer waits for an answer of so many bytes; nil when none comes.
func answer(t *testing.T, c net.Conn, size int) []byte {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	n, err := c.Read(b)
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
	want := func(what string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s: heard % x, want % x", what, got, want)
		}
	}

	raise(LinkCut)
	c := dial("cut")
	want("connect through a link that is cut", answer(t, c, 4), nil)
	heal()
	want("connect when it is mended", answer(t, c, 4), connack)

	raise(PubackEaten)
	tell(t, c, publish)
	want("publish while acknowledgements are eaten", answer(t, c, 4), nil)
	heal()
	tell(t, c, publish)
	want("publish again", answer(t, c, 4), puback)

	raise(HalfOpen)
	tell(t, c, ping)
	want("ping on a connection that is half open", answer(t, c, 2), nil)
	other := dial("other")
	want("connect anew", answer(t, other, 4), connack)
	heal()
	tell(t, c, ping)
	want("ping on it later", answer(t, c, 2), nil)
	tell(t, other, ping)
	want("ping on the new one", answer(t, other, 2), pong)
}
