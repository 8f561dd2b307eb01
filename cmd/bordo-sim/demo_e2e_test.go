//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// build makes both programs in a directory of the test.
func build(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir+"/", "bordo/cmd/bordo", "bordo/cmd/bordo-sim")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// running lists the processes whose command line has text in it, besides this one.
func running(t *testing.T, text string) (found []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		line, err := os.ReadFile(p)
		if err == nil && bytes.Contains(line, []byte(text)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// startDemo runs the demo into a pipe, with a temporary directory of its own.
func startDemo(t *testing.T, bin string) (cmd *exec.Cmd, lines <-chan string, tmp string) {
	t.Helper()
	tmp = t.TempDir()
	cmd = exec.Command(filepath.Join(bin, "bordo-sim"), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() }) //nolint:errcheck // it has ended by then, or the test failed
	ch := make(chan string, 1000)
	go func() {
		defer close(ch)
		for s := bufio.NewScanner(out); s.Scan(); {
			ch <- s.Text()
		}
	}()
	return cmd, ch, tmp
}

// patience is how long a busy machine may take for anything.
const patience = time.Minute

// await reads lines until each of the texts was in one of them.
func await(t *testing.T, lines <-chan string, texts ...string) {
	t.Helper()
	end := time.After(patience)
	for len(texts) > 0 {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatalf("the demo ended before it showed %q", texts)
			}
			for i := 0; i < len(texts); i++ {
				if strings.Contains(l, texts[i]) {
					texts = append(texts[:i], texts[i+1:]...)
					i--
				}
			}
		case <-end:
			t.Fatalf("not shown within %s: %q", patience, texts)
		}
	}
}

func TestDemoShowsValuesAndLeavesNothing(t *testing.T) {
	bin := build(t)
	// A caught signal is at its default in a child. Under nohup it would be ignored, and the demo would go on.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		cmd, lines, tmp := startDemo(t, bin)
		await(t, lines, "mosquitto_sub -h 127.0.0.1 -p ", " inv-1 state=producing", " barrier-1 state=",
			" meter-1 ac_power=", "kW.h", "node demo is online")
		if got := running(t, tmp); len(got) != 1 {
			t.Errorf("agents running: %q, want one", got)
		}
		start := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		cmd.Process.Signal(sig) //nolint:errcheck // an impatient person's second Ctrl-C; it may be over by then
		for range lines {       // until the pipe is closed
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after %s: %v", sig, err)
		}
		if d := time.Since(start); d > patience {
			t.Errorf("after %s: took %s to end", sig, d)
		}
		if got := running(t, tmp); len(got) != 0 {
			t.Errorf("after %s: still running: %q", sig, got)
		}
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("after %s: left behind: %v", sig, left)
		}
	}
}

// A reader that ends, as head does, and one that stops reading before the demo is told to end: neither keeps it from
// cleaning up.
func TestDemoOutlivesItsReader(t *testing.T) {
	bin := build(t)
	for _, ends := range []bool{true, false} {
		tmp := t.TempDir()
		cmd := exec.Command(filepath.Join(bin, "bordo-sim"), "demo")
		cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
		cmd.Stderr = os.Stderr
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil { // so that it is full soon
			t.Fatal(err)
		}
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() }) //nolint:errcheck // it has ended by then, or the test failed
		w.Close()                                //nolint:errcheck // the child has its own
		if ends {
			if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			r.Close() //nolint:errcheck // head does the same
		} else {
			awaitFull(t, r)
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("a reader that ends (%v): %v", ends, err)
		}
		r.Close() //nolint:errcheck // closed twice at worst
		if got := running(t, tmp); len(got) != 0 {
			t.Errorf("a reader that ends (%v): still running: %q", ends, got)
		}
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("a reader that ends (%v): left behind: %v", ends, left)
		}
	}
}

// awaitFull waits until nothing more goes into a pipe, so that its writer is blocked.
func awaitFull(t *testing.T, r *os.File) {
	t.Helper()
	for end, was := time.Now().Add(patience), -1; time.Now().Before(end); time.Sleep(2 * time.Second) {
		n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		if n > 2048 && n == was {
			return
		}
		was = n
	}
	t.Fatal("the pipe is not full")
}

// Even when the demo is killed without a word, the kernel takes the agent with it.
func TestDemoKilledTakesTheAgentAlong(t *testing.T) {
	cmd, lines, tmp := startDemo(t, build(t))
	await(t, lines, "node demo is online")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
	for end := time.Now().Add(patience); len(running(t, tmp)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still running: %q", running(t, tmp))
		}
	}
}

func TestServeWritesAConfigurationThatTheAgentTakes(t *testing.T) {
	bin, dir := build(t), t.TempDir()
	cmd := exec.Command(filepath.Join(bin, "bordo-sim"), "serve", "demo", "--dir", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // waited for
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), "bordo run --config") {
			break
		}
	}
	config := filepath.Join(dir, "bordo.yaml")
	if out, err := exec.Command(filepath.Join(bin, "bordo"), "check", "--config", config).CombinedOutput(); err != nil {
		t.Errorf("bordo check: %v\n%s", err, out)
	}
}

// A site goes into a directory that does not exist yet, also when it has no serial line, and leaves nothing when it cannot
// write what it has to.
func TestServeMakesItsDirectory(t *testing.T) {
	bin, dir := build(t), t.TempDir()
	site, config := filepath.Join(dir, "new", "site"), filepath.Join(dir, "etc", "agent.yaml")
	cmd := exec.Command(filepath.Join(bin, "bordo-sim"), "serve", "night", "--broker", "--dir", site, "--config",
		config)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() }) //nolint:errcheck // it has ended by then, or the test failed
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), "bordo run --config") {
			break
		}
	}
	if out, err := exec.Command(filepath.Join(bin, "bordo"), "check", "--config", config).CombinedOutput(); err != nil {
		t.Errorf("bordo check: %v\n%s", err, out)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}

	site = filepath.Join(dir, "other")
	text, err := exec.Command(filepath.Join(bin, "bordo-sim"), "serve", "demo", "--dir", site, "--config",
		filepath.Join(config, "x")).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "write the agent's configuration: mkdir "+config) {
		t.Errorf("a configuration below a file: %v\n%s", err, text)
	}
	if left, _ := os.ReadDir(site); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	text, err = exec.Command(filepath.Join(bin, "bordo-sim"), "serve", "demo", "--dir", config).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "make the directory for the lines: mkdir "+config) {
		t.Errorf("a file as the directory: %v\n%s", err, text)
	}
}

func TestDoReachesASiteThatIsServed(t *testing.T) {
	bin, dir := build(t), t.TempDir()
	program := filepath.Join(bin, "bordo-sim")
	cmd := exec.Command(program, "serve", "demo", "--dir", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), "bordo run --config") {
			break
		}
	}
	do := func(want string, args ...string) {
		t.Helper()
		out, err := exec.Command(program, append([]string{"do", "--dir", dir}, args...)...).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("do %q: %v\n%s\nwant %q", args, err, out, want)
		}
	}
	do(`{"id":1}`, "press", "barrier-1", "obstacle", "20s")
	do(`{"id":1}`, "cut", "mains")
	do(`{"id":2}`, "raise", "arm", "drop", "chance=0.5", "for=1m")
	do("mains  1       mains-cut             true", "faults")
	do(`"standby"`, "state")
	refused := func(want string, args ...string) {
		t.Helper()
		out, err := exec.Command(program, append([]string{"do", "--dir", dir}, args...)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), want) {
			t.Errorf("do %q: %v\n%s\nwant exit 2 and %q", args, err, out, want)
		}
	}
	refused(`no place "nowhere": must be roof, rs485-a, arm or mains (and broker or link, of a site that is served with --broker)`, "raise", "nowhere", "drop")
	refused(`no device "meter-9": must be meter-1`, "raise", "rs485-a", "silent", "device=meter-9")
	refused("inv-1 is an inverter: obstacle cannot happen to it", "press", "inv-1", "obstacle")
	refused(`no device "gate": must be barrier-1, inv-1, meter-1`, "press", "gate", "obstacle")
	refused("no fault 9 at arm: must be 1 or 2", "clear", "arm", "9")
	do(`{"healed":true}`, "heal")
	do("PLACE  NUMBER  FAULT  DEVICE  ON\n", "faults")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	do("no site is served there", "heal")
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "bordo.yaml" {
		t.Errorf("left behind: %v", left)
	}
}
