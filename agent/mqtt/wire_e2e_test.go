//go:build e2e

package mqtt

import (
	"net"
	"testing"
	"time"
)

// The kernel says what of a TCP connection has not reached the other end.
func TestLeftOverTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := make(chan net.Conn, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			t.Error(err)
		}
		taken <- c
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := &lower{Conn: conn}
	defer l.Close()
	other := <-taken
	defer other.Close()
	if err := l.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := l.Conn.Write(make([]byte, 16<<20)) // more than both buffers hold
	if err == nil {
		t.Fatal("16 MiB went into a connection that nobody reads")
	}
	l.bytes.Add(int64(n))
	if left := l.left(); left <= 0 || left >= int64(n) {
		t.Errorf("%d of %d bytes have left", left, n)
	}
	go func() {
		b := make([]byte, 1<<20)
		for {
			if _, err := other.Read(b); err != nil {
				return
			}
		}
	}()
	for end := time.Now().Add(10 * time.Second); l.left() < int64(n); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d bytes have left after everything was read", l.left(), n)
		}
	}
}
