//go:build e2e

package control

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// connect opens a connection that says what it is told to.
func connect(t *testing.T, path, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // the test is over
	if _, err := io.WriteString(c, text); err != nil {
		t.Logf("%.20q: %v", text, err) // the server may have closed it by now
	}
	return c
}

// answered returns how a connection is answered, "" when it is closed without a word.
func answered(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(4 * patience)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && line == "" {
		if n, ok := err.(net.Error); ok && n.Timeout() { //nolint:errorlint // as net gives it
			return "nothing"
		}
		return ""
	}
	return strings.TrimSpace(line)
}

// Whoever asks is answered within the patience of the client, however many connections say nothing, send their header or their question byte by byte, or do
// not read what they asked for.
func TestIdleConnectionsHoldNobodyUp(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for name, text := range map[string]string{
		"silent":             "",
		"half a header":      "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"half a question":    "POST /v1/ask/talk HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"not reading":        "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
		"not reading a long": "POST /v1/ask/talk HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1",
	} {
		t.Run(name, func(t *testing.T) {
			path := socketIn(t)
			stop := serveAll(t, path, Answers{Status: func() any { return big }, Ask: map[string]Stream{
				"talk": func(ctx context.Context, _ []byte, say func(any) error) error {
					for ctx.Err() == nil {
						if err := say(big); err != nil {
							return err
						}
					}
					return ctx.Err()
				},
				"one": func(_ context.Context, _ []byte, say func(any) error) error { return say(1) },
			}})
			for range maxConns + 8 {
				connect(t, path, text)
			}
			if name == "not reading a long" {
				time.Sleep(notReading)
			}
			began := time.Now()
			got, err := Status(t.Context(), path)
			if err != nil || len(got) != len(big)+3 {
				t.Errorf("status: %d bytes, %v after %v", len(got), err, time.Since(began))
			}
			if got, err := parts(t, t.Context(), path, "one", nil); err != nil || len(got) != 1 {
				t.Errorf("a question: %q, %v", got, err)
			}
			if n := runtime.NumGoroutine(); n > 5*maxConns {
				t.Errorf("%d goroutines", n)
			}
			began = time.Now()
			stop()
			if took := time.Since(began); took > patience+time.Second {
				t.Errorf("the server ended after %v", took)
			}
		})
	}
}

// What is too large is refused before it is read, and what does not come is not waited for.
func TestLimitsOfAQuestion(t *testing.T) {
	t.Parallel()
	path := socketIn(t)
	serveAll(t, path, Answers{Status: func() any { return 1 }, Ask: map[string]Stream{
		"one": func(_ context.Context, _ []byte, say func(any) error) error { return say(1) }}})
	for name, c := range map[string]struct{ text, want string }{
		"a huge body is announced": {"POST /v1/ask/one HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
			"HTTP/1.1 413 Request Entity Too Large"},
		"of a status too": {"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
			"HTTP/1.1 413 Request Entity Too Large"},
		"a body without an end": {"POST /v1/ask/one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + strings.Repeat("x", 0x20000) + "\r\n", "HTTP/1.1 400 Bad Request"},
		"a header without an end": {"GET /v1/status HTTP/1.1\r\nX: " + strings.Repeat("x", 4*maxHeader),
			"HTTP/1.1 431 Request Header Fields Too Large"},
		"no HTTP": {"\x00\x01\x02\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		"a body that does not come": {"POST /v1/ask/one HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
			"HTTP/1.1 400 Bad Request"},
		"a header that does not come": {"GET /v1/status HTTP/1.1\r\nHost:", ""},
		"nothing comes":               {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := answered(t, connect(t, path, c.text)); got != c.want {
				t.Errorf("answered %q, want %q", got, c.want)
			}
		})
	}
}

// More questions than can be answered at once are refused with a reason, and there is room again when one has been answered.
func TestManyLongQuestions(t *testing.T) {
	t.Parallel()
	path := socketIn(t)
	began := make(chan bool, maxAsked)
	serveAll(t, path, Answers{Status: func() any { return 1 }, Ask: map[string]Stream{
		"wait": func(ctx context.Context, _ []byte, _ func(any) error) error {
			began <- true
			<-ctx.Done()
			return ctx.Err()
		}}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, maxAsked)
	for range maxAsked {
		go func() { _, err := parts(t, ctx, path, "wait", nil); ended <- err }()
	}
	for range maxAsked {
		<-began
	}
	if _, err := parts(t, t.Context(), path, "wait", nil); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("one more: %v", err)
	}
	if _, err := Status(t.Context(), path); err != nil {
		t.Errorf("the status meanwhile: %v", err)
	}
	cancel()
	for range maxAsked {
		<-ended
	}
	again, leave := context.WithTimeout(t.Context(), patience)
	defer leave()
	go parts(t, again, path, "wait", nil) //nolint:errcheck // it is left
	select {
	case <-began:
	case <-again.Done():
		t.Error("there is no room afterwards")
	}
}

// A client that is displaced before it was answered asks again.
func TestStatusAsksAgain(t *testing.T) {
	path := socketIn(t)
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test is over
	go func() {
		for i := range 3 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if i == 2 {
				http.ReadRequest(bufio.NewReader(c))                                                  //nolint:errcheck // it is a status
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n1\n") //nolint:errcheck // likewise
			}
			c.Close() //nolint:errcheck // it is given up
		}
	}()
	if got, err := Status(t.Context(), path); err != nil || string(got) != "1\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
