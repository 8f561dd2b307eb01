package foreign

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Mosquitto is a broker on its own loopback port. The Process is nil until Up.
type Mosquitto struct {
	Port int
	Dir  string // its own; a store may go there
	Conf string // path of its configuration
	*Process
}

// NewMosquitto reserves port and directory of a broker. Call Configure next, then Up.
func NewMosquitto(t testing.TB) *Mosquitto {
	t.Helper()
	dir := t.TempDir()
	return &Mosquitto{Port: FreePort(t), Dir: dir, Conf: filepath.Join(dir, "mosquitto.conf")}
}

// StartMosquitto starts a broker without TLS that anybody may use, with settings in addition.
func StartMosquitto(t testing.TB, settings string) *Mosquitto {
	t.Helper()
	m := NewMosquitto(t)
	m.Configure(t, m.Plain()+settings)
	m.Up(t)
	return m
}

// Plain returns the beginning of a configuration: a listener without TLS that anybody may use.
func (m *Mosquitto) Plain() string {
	return fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nuser root\n", m.Port)
}

// Configure writes the whole configuration. It applies from the next Up on.
func (m *Mosquitto) Configure(t testing.TB, text string) {
	t.Helper()
	if err := os.WriteFile(m.Conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Addr is the broker's host:port.
func (m *Mosquitto) Addr() string { return fmt.Sprintf("127.0.0.1:%d", m.Port) }

// Up starts the broker and waits until it accepts connections.
func (m *Mosquitto) Up(t testing.TB) {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not on everybody's path
	}
	m.Process = Start(t, exec.Command(path, "-c", m.Conf))
	for over := time.Now().Add(Patience); time.Now().Before(over); {
		if c, err := net.Dial("tcp", m.Addr()); err == nil {
			c.Close() //nolint:errcheck // nothing was sent
			return
		}
		select {
		case <-m.Done():
			t.Fatalf("mosquitto ended: %v", m.err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("mosquitto does not listen")
}

// Down ends the broker.
func (m *Mosquitto) Down() { m.Terminate() }

// FreePort reserves a loopback port until the test ends: the kernel assigns it to no other program, and a program that
// asks for it by number may listen on it.
func FreePort(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) }) //nolint:errcheck // it never was connected
	if err := errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at.(*syscall.SockaddrInet4).Port
}
