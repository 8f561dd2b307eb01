//go:build e2e

package contract

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long anything of the outside world may take.
const patience = 2 * time.Minute

// process is a program of somebody else that runs while a test does. Its output is read line by line.
type process struct {
	cmd   *exec.Cmd
	lines chan string
	done  chan struct{}
}

// start runs a program and ends it, and nothing else, when the test is over.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = testWriter{t}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v (make packages installs what tests need)", cmd.Path, err)
	}
	p := &process{cmd, make(chan string, 1000), make(chan struct{})}
	go func() {
		defer close(p.done)
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		_ = cmd.Wait() //nolint:errcheck // it was ended by us, or its silence fails the test
	}()
	t.Cleanup(p.stop)
	return p
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended by itself
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill() //nolint:errcheck // the same
		<-p.done
	}
}

// next returns the next line of output.
func (p *process) next(t *testing.T) string {
	t.Helper()
	select {
	case s, ok := <-p.lines:
		if !ok {
			t.Fatalf("%s has ended", p.cmd.Path)
		}
		return s
	case <-time.After(patience):
		t.Fatalf("%s says nothing", p.cmd.Path)
	}
	return ""
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// run runs a program to its end and returns what it printed.
func run(t *testing.T, stdin string, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Stdin = strings.NewReader(stdin)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, errs.String())
	}
	return string(out)
}

// broker is a Mosquitto on a port of its own. What it says are the subscriptions that it granted.
type broker struct {
	port   string
	server *process
}

func newBroker(t *testing.T) broker {
	t.Helper()
	port := freePort(t)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nlog_dest stdout\nlog_type subscribe\n", port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not on everybody's path
	}
	server := start(t, exec.Command("stdbuf", "-oL", path, "-c", conf)) // it would keep its lines in a pipe
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			return broker{port, server}
		}
		if time.Now().After(end) {
			t.Fatalf("mosquitto does not listen: %v", err)
		}
	}
}

// freePort holds a port until the test ends: nobody is given it, and whoever asks for it by its number may listen there.
func freePort(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) }) //nolint:errcheck // it never was connected
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(at.(*unix.SockaddrInet4).Port)
}

// subscribed waits until a client listens on a topic.
func (b broker) subscribed(t *testing.T, client, topic string) {
	t.Helper()
	for !strings.HasSuffix(b.server.next(t), client+" 1 "+topic) {
	}
}

// publish sends one message and waits for the broker's acknowledgement.
func (b broker) publish(t *testing.T, topic, payload string, retain bool) {
	t.Helper()
	args := []string{"-h", "127.0.0.1", "-p", b.port, "-q", "1", "-t", topic, "-s"}
	if retain {
		args = append(args, "-r")
	}
	run(t, payload, exec.Command("mosquitto_pub", args...))
}

// nodeModules is a directory with the JavaScript tests and the packages that they need.
func nodeModules(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("testdata/node/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, f := range append(files, "examples/live.mjs") {
		copyFile(t, f, filepath.Join(dir, filepath.Base(f)))
	}
	npm := exec.Command("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error")
	npm.Dir = dir
	run(t, "", npm)
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// absolute is a path for a program that runs elsewhere.
func absolute(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
