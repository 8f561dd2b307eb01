//go:build e2e

package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bordo/contract/foreign"
)

// lonely writes the configuration of a node with a port that does not exist and a broker at addr.
func lonely(t *testing.T, addr, more string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "bordo.yaml")
	text := fmt.Sprintf(`version: 1
tenant: cremasco
node: quintano
clock: {trust: system}
control: {socket: %[1]s/run/b.sock}
mqtt: {url: "mqtt://%[2]s"%[3]s}
buffer: {dir: %[1]s/store/buffer, max_size: 16MiB}
lines:
  - {id: bus, port: serial:///dev/bordo-is-not-here, devices: [{id: meter-1, model: eastron-sdm630, unit: 1}]}
`, dir, addr, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", foreign.FreePort(t)) }

// The agent goes on when whoever reads its log has ended.
func TestRunOutlivesTheReaderOfItsLog(t *testing.T) {
	_, path := lonely(t, nobody(t), "")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "bordo"), "run", "--config", path)
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		if err := <-ended; err != nil {
			t.Errorf("the agent: %v", err)
		}
	}()
	w.Close() //nolint:errcheck // the agent has its own
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	r.Close() //nolint:errcheck // as head does
	for over := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, _, _ := bordo(t, "status", "--config", path)
		if strings.Contains(out, "  meter-1  eastron-sdm630  never answered\n") {
			break // it has logged since that the line is down
		}
		if time.Now().After(over) {
			t.Fatalf("the agent does not answer:\n%s", out)
		}
	}
}

func TestRunsWithoutAnything(t *testing.T) {
	t.Parallel() // it mostly waits
	dir, path := lonely(t, nobody(t), "")
	notify := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close() //nolint:errcheck // the test is over
	told := func() string {
		t.Helper()
		manager.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // Read tells
		b := make([]byte, 100)
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		cmd := exec.Command(filepath.Join(bin, "bordo"), "run", "--config", path)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify)
		a := foreign.Start(t, cmd)
		if got := told(); got != "READY=1" {
			t.Errorf("the service manager was told %q", got)
		}
		a.Says(t, "code=line_down device=meter-1")
		out, errs, code := bordo(t, "status", "--config", path)
		for _, want := range []string{"node      quintano, bordo ", ", not connected for ",
			"\nline      bus, serial:///dev/bordo-is-not-here?", "  meter-1  eastron-sdm630  never answered\n"} {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("no %q in the status (%d, %s)\n%s", want, code, errs, out)
			}
		}
		began := time.Now()
		a.Stop(sig)
		if d := time.Since(began); d > promptly || a.ProcessState.ExitCode() != 0 {
			t.Errorf("%v: ended after %v with %v", sig, d, a.ProcessState)
		}
		if got := told(); got != "STOPPING=1" {
			t.Errorf("the service manager was told %q", got)
		}
		if _, err := os.Lstat(filepath.Join(dir, "run", "b.sock")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	}
	_, errs, code := bordo(t, "status", "--config", path)
	if want := "bordo: the agent does not run: nobody answers at " + dir + "/run/b.sock\nstart it with: "; code != 1 ||
		!strings.HasPrefix(errs, want) {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestTwoAgents(t *testing.T) {
	dir, path := lonely(t, nobody(t), "")
	first := runAgent(t, path)
	first.Says(t, "msg=running")
	_, errs, code := bordo(t, "run", "--config", path)
	if want := "bordo: another bordo runs with this configuration: it holds " + dir + "/store\n"; code != 1 ||
		errs != want {
		t.Errorf("exit code %d, %q, want %q", code, errs, want)
	}

	// Another state directory, but the same socket.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.yaml")
	if err := os.WriteFile(other, []byte(strings.ReplaceAll(string(text), dir+"/store", dir+"/other")),
		0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, code = bordo(t, "run", "--config", other)
	if want := "bordo: another bordo runs with this configuration: it answers at " + dir + "/run/b.sock\n"; code != 1 ||
		errs != want {
		t.Errorf("exit code %d, %q, want %q", code, errs, want)
	}
	if _, errs, code := bordo(t, "status", "--config", path); code != 0 {
		t.Errorf("the first agent does not answer any more: %s", errs)
	}
}

func TestStartsAgainAfterKill(t *testing.T) {
	dir, path := lonely(t, nobody(t), "")
	first := runAgent(t, path)
	first.Says(t, "msg=running")
	first.Stop(syscall.SIGKILL)
	if _, err := os.Lstat(filepath.Join(dir, "run", "b.sock")); err != nil {
		t.Fatalf("the killed agent took its socket along: %v", err)
	}
	second := runAgent(t, path)
	second.Says(t, "msg=running")
	if _, errs, code := bordo(t, "status", "--config", path); code != 0 {
		t.Errorf("the second agent does not answer: %s", errs)
	}
}

// stubborn is a broker that accepts every login and subscription and acknowledges no publication.
func stubborn(t *testing.T) (addr string, published <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) //nolint:errcheck // the test is over
	news := make(chan struct{}, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close() //nolint:errcheck // whoever called has gone
				swallow(conn, news)
			}()
		}
	}()
	return l.Addr().String(), news
}

// swallow answers CONNECT and SUBSCRIBE and takes everything else without a word. It tells of the first publication.
func swallow(conn net.Conn, news chan<- struct{}) {
	const connect, publish, subscribe = 1, 3, 8
	r := bufio.NewReader(conn)
	for {
		head, err := r.ReadByte()
		if err != nil {
			return
		}
		length := 0
		for shift := 0; ; shift += 7 {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			length |= int(b&0x7f) << shift
			if b < 0x80 {
				break
			}
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		switch head >> 4 {
		case connect:
			conn.Write([]byte{0x20, 2, 0, 0}) //nolint:errcheck // Read tells
		case subscribe:
			conn.Write([]byte{0x90, 3, body[0], body[1], 1}) //nolint:errcheck // Read tells
		case publish:
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}
}

func TestSecondSignalLeavesAtOnce(t *testing.T) {
	addr, published := stubborn(t)
	_, path := lonely(t, addr, "")
	a := runAgent(t, path)
	a.Says(t, "msg=running")
	select {
	case <-published: // and never acknowledged: stopping waits for it
	case <-time.After(patience):
		t.Fatal("nothing was published")
	}
	a.Process.Signal(syscall.SIGTERM) //nolint:errcheck // the log tells
	a.Says(t, "msg=stopping")
	began := time.Now()
	a.Stop(syscall.SIGTERM)
	if d := time.Since(began); d > promptly || a.ProcessState.ExitCode() != 1 {
		t.Errorf("ended after %v with %v", d, a.ProcessState)
	}
	said := a.Stderr()
	if last := said[len(said)-1]; last != "bordo: left at once, on the second signal" {
		t.Errorf("the last word was %q", last)
	}
}

// A secret that cannot be read keeps the broker away, not the readings; check refuses it.
func TestRunsWithoutItsPassword(t *testing.T) {
	const reason = "read /tmp/bordo-is-not-here/none: no such file or directory"
	dir, path := lonely(t, nobody(t), ", username: u, password_file: /tmp/bordo-is-not-here/none")
	_, errs, code := bordo(t, "check", "--config", path)
	if code != 2 || !strings.HasPrefix(errs, path+":6:") ||
		!strings.HasSuffix(errs, ": mqtt.password_file: "+reason+"\n") {
		t.Errorf("exit code %d, %q", code, errs)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("check made %v (%v)", entries, err)
	}
	a := runAgent(t, path)
	a.Says(t, "msg=running")
	if l := a.Says(t, "level=ERROR msg=configuration"); !strings.Contains(l, ": mqtt.password_file: "+reason) {
		t.Errorf("got %s", l)
	}
	a.Says(t, "msg=\"broker not connected\" url=mqtt://")
	out, _, _ := bordo(t, "status", "--config", path)
	if !strings.Contains(out, reason) {
		t.Errorf("the status does not tell why:\n%s", out)
	}
}

// A socket that cannot be had costs the status, not the readings.
func TestRunsWithoutItsSocket(t *testing.T) {
	dir, path := lonely(t, nobody(t), "")
	if err := os.WriteFile(filepath.Join(dir, "run"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := runAgent(t, path)
	a.Says(t, "msg=\"nobody can ask this agent\"")
	a.Says(t, "msg=running")
	a.Stop(syscall.SIGTERM)
	if a.ProcessState.ExitCode() != 0 {
		t.Errorf("ended with %v", a.ProcessState)
	}
}
