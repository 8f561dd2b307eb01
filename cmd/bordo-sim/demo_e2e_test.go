//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, lines, tmp := startDemo(t, bin)
		await(t, lines, "mosquitto_sub -h 127.0.0.1 -p ", " inv-1 state=producing", " barrier-1 state=", " meter-1 ac_power=", "kW.h", "node demo is online")
		if got := running(t, tmp); len(got) != 1 {
			t.Errorf("agents running: %q, want one", got)
		}
		start := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		for range lines { // until the pipe is closed
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
	do("no place", "raise", "nowhere", "drop")
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
