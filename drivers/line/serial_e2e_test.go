//go:build e2e

package line_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"bordo/drivers"
	"bordo/drivers/line"
)

// openPTY opens a pseudo terminal and the port on its slave side.
func openPTY(t *testing.T, settings string) (master *os.File, port drivers.Port, path string) {
	t.Helper()
	m, s, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	path = s.Name()
	port = openPort(t, path, settings)
	if err := s.Close(); err != nil { // only the port holds the slave now: closing it hangs up the master and back
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, port, path
}

func openPort(t *testing.T, path, settings string) drivers.Port {
	t.Helper()
	e, err := line.Parse("serial://" + path + settings)
	if err != nil {
		t.Fatal(err)
	}
	p, err := line.Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// prompt is what a busy machine may take for something that takes no time.
const prompt = 30 * time.Second

// timed calls f and fails when it does not take between low and low + prompt. It returns how long f took.
func timed(t *testing.T, what string, low time.Duration, f func()) time.Duration {
	t.Helper()
	done := make(chan time.Duration, 1)
	start := time.Now()
	go func() { f(); done <- time.Since(start) }()
	select {
	case d := <-done:
		if d < low || d > low+prompt {
			t.Errorf("%s took %v, want %v to %v", what, d, low, low+prompt)
		}
		return d
	case <-time.After(low + 2*prompt):
		buf := make([]byte, 1<<16)
		t.Fatalf("%s hangs:\n%s", what, buf[:runtime.Stack(buf, true)])
	}
	return 0
}

// later calls f in a moment, when the test waits for what it does. The test ends only after f has.
func later(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { defer close(done); f() })
	t.Cleanup(func() { <-done })
}

func TestSerialDeadlineInMilliseconds(t *testing.T) {
	_, port, _ := openPTY(t, "?baud=9600")
	for _, d := range []time.Duration{2 * time.Millisecond, 7 * time.Millisecond, 30 * time.Millisecond,
		250 * time.Millisecond} {
		best := time.Hour
		for range 200 { // one of them finds the machine idle
			if best <= d+40*time.Millisecond { // the terminal's own time-outs have steps of 100 ms
				break
			}
			best = min(best, timed(t, fmt.Sprint("a read with ", d), d, func() {
				port.SetDeadline(time.Now().Add(d))
				n, err := port.Read(make([]byte, 10))
				if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("read %d, %v", n, err)
				}
			}))
		}
		if best > d+40*time.Millisecond {
			t.Errorf("a read with a deadline of %v took %v at best", d, best)
		}
	}
}

// arrived reads from a port whose deadline has passed until something has come through the buffers of the system, which takes
// its time.
func arrived(port drivers.Port, b []byte) (n int, err error) {
	for over := time.Now().Add(prompt); time.Now().Before(over); time.Sleep(time.Millisecond) {
		if n, err = port.Read(b); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return n, err
}

func TestSerialReadGivesWhatIsThere(t *testing.T) {
	master, port, _ := openPTY(t, "")
	if _, err := master.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	port.SetDeadline(time.Unix(1, 0))
	b := make([]byte, 10)
	if n, err := arrived(port, b); string(b[:n]) != "hello" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if n, err := port.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("then %q, %v", b[:n], err)
	}
}

func TestSerialPassesEveryByte(t *testing.T) {
	master, port, _ := openPTY(t, "?baud=115200&parity=even&stop=2")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	port.SetDeadline(time.Now().Add(prompt))
	if n, err := port.Write(all); n != 256 || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	got := make([]byte, 0, 512)
	buf := make([]byte, 512)
	for len(got) < 256 {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != string(all) {
		t.Errorf("the other side got % X", got)
	}
	if _, err := master.Write(all); err != nil {
		t.Fatal(err)
	}
	for got = got[:0]; len(got) < 256; {
		n, err := port.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != string(all) {
		t.Errorf("we got % X", got)
	}
}

func TestSerialReadIsCancelledByTheDeadline(t *testing.T) {
	_, port, _ := openPTY(t, "")
	for _, first := range []time.Time{{}, time.Now().Add(time.Hour)} {
		port.SetDeadline(first)
		timed(t, "a cancelled read", 45*time.Millisecond, func() {
			later(t, func() { port.SetDeadline(time.Unix(1, 0)) })
			if _, err := port.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v", err)
			}
		})
	}
}

func TestSerialCloseEndsARead(t *testing.T) {
	_, port, _ := openPTY(t, "")
	timed(t, "a read whose port is closed", 45*time.Millisecond, func() {
		later(t, func() {
			timed(t, "Close", 0, func() { port.Close() })
		})
		if _, err := port.Read(make([]byte, 1)); !drivers.PortLost(err) || !errors.Is(err, os.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	})
	if err := port.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := port.Write([]byte{1}); !drivers.PortLost(err) {
		t.Errorf("write after Close: %v", err)
	}
	if err := port.SetDeadline(time.Time{}); !drivers.PortLost(err) {
		t.Errorf("deadline after Close: %v", err)
	}
}

func TestSerialWriteThatNobodyReadsEnds(t *testing.T) {
	_, port, _ := openPTY(t, "")
	port.SetDeadline(time.Now().Add(200 * time.Millisecond))
	timed(t, "a write into a full terminal", 0, func() {
		var err error
		for i := 0; err == nil && i < 1<<14; i++ {
			_, err = port.Write(make([]byte, 256))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
	})
	port.SetDeadline(time.Time{})
	timed(t, "a write that is closed", 0, func() {
		later(t, func() { port.Close() })
		var err error
		for i := 0; err == nil && i < 1<<14; i++ {
			_, err = port.Write(make([]byte, 256))
		}
		if !drivers.PortLost(err) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestSerialUnplug(t *testing.T) {
	master, port, path := openPTY(t, "")
	port.SetDeadline(time.Now().Add(2 * prompt))
	timed(t, "a read of an unplugged port", 45*time.Millisecond, func() {
		later(t, func() { master.Close() })
		_, err := port.Read(make([]byte, 1))
		if !drivers.PortLost(err) || drivers.KindOf(err) != drivers.Closed ||
			!strings.Contains(err.Error(), "unplugged") || !strings.Contains(err.Error(), path) {
			t.Errorf("read: %v", err)
		}
	})
	for range 100 {
		if _, err := port.Read(make([]byte, 1)); !drivers.PortLost(err) {
			t.Fatalf("read again: %v", err) // never a time-out that a caller would repeat without end
		}
	}
	if _, err := port.Write([]byte{1}); !drivers.PortLost(err) {
		t.Errorf("write: %v", err)
	}
}

// Also while nobody reads.
func TestSerialUnplugIsNoticed(t *testing.T) {
	master, port, _ := openPTY(t, "")
	gone := port.(drivers.Closer).Done()
	select {
	case <-gone:
		t.Fatal("gone before it was unplugged")
	case <-time.After(100 * time.Millisecond):
	}
	timed(t, "noticing", 45*time.Millisecond, func() {
		later(t, func() { master.Close() })
		<-gone
	})
	_, port, _ = openPTY(t, "")
	gone = port.(drivers.Closer).Done()
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
		t.Error("a port that we closed was told to be gone")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestSerialIsExclusive(t *testing.T) {
	_, port, path := openPTY(t, "")
	e, err := line.Parse("serial://" + path + "?baud=19200")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := line.Open(t.Context(), e); !drivers.PortLost(err) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a second open: %v", err)
	}
	port.Close()
	again, err := line.Open(t.Context(), e)
	if err != nil {
		t.Fatalf("open after Close: %v", err)
	}
	again.Close()
}

func TestSerialSettings(t *testing.T) {
	for settings, want := range map[string]uint32{
		"?baud=9600":                       unix.B9600 | unix.CS8,
		"?baud=19200&parity=even":          unix.B19200 | unix.CS8 | unix.PARENB,
		"?baud=38400&parity=odd":           unix.B38400 | unix.CS8 | unix.PARENB | unix.PARODD,
		"?baud=115200&stop=2":              unix.B115200 | unix.CS8 | unix.CSTOPB,
		"?baud=300&bits=7&parity=even":     unix.B300 | unix.CS7 | unix.PARENB,
		"?baud=1000000&stop=2&parity=none": unix.B1000000 | unix.CS8 | unix.CSTOPB,
	} {
		t.Run(settings, func(t *testing.T) {
			master, _, _ := openPTY(t, settings)
			ts, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS) // of a pty: that of the slave
			if err != nil {
				t.Fatal(err)
			}
			// A pseudo terminal has no wire: it keeps the speed and PARODD, and drops size and PARENB. INPCK stands for parity there.
			if parity := ts.Iflag&unix.INPCK != 0; parity != (want&unix.PARENB != 0) ||
				ts.Cflag&unix.PARODD != want&unix.PARODD {
				t.Errorf("parity shows as INPCK %v, cflag %o; want cflag %o", parity, ts.Cflag, want)
			}
			if ts.Cflag&unix.CBAUD != want&unix.CBAUD {
				t.Errorf("speed is %o, want %o", ts.Cflag&unix.CBAUD, want&unix.CBAUD)
			}
		})
	}
}

func TestSerialOpenExplains(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/dev/bordo-nope": "no such port",
		plain:             "not a serial port",
		dir:               "not a serial port",
		"/dev/null":       "not a serial port",
	} {
		e, err := line.Parse("serial://" + path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = line.Open(t.Context(), e)
		if !drivers.PortLost(err) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("open %s: %v", path, err)
		}
	}
}

func TestSerialLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	m, s, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	defer s.Close()
	e, err := line.Parse("serial://" + s.Name())
	if err != nil {
		t.Fatal(err)
	}
	nothing, err := line.Parse("serial:///dev/null")
	if err != nil {
		t.Fatal(err)
	}
	before := count()
	for range 50 {
		p, err := line.Open(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		line.Open(t.Context(), nothing) //nolint:errcheck // fails, that is the point
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// A pseudo terminal has no UART: it counts nothing and cannot switch a transmitter, and says so.
func TestNoUARTBehindPTY(t *testing.T) {
	_, p, path := openPTY(t, "?baud=9600")
	if c, err := p.(line.Counting).Counters(); err == nil {
		t.Errorf("counters of a pseudo terminal: %+v", c)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := line.Parse("serial://" + path + "?baud=9600&rs485=on")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := line.Open(t.Context(), e); err == nil {
		t.Error("RS-485 on a pseudo terminal is accepted")
	} else if !strings.Contains(err.Error(), "rs485=on") {
		t.Errorf("refusal: %v", err)
	}
}
