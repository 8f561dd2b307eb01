// Package foreign runs other makers' programs for the end-to-end tests: Mosquitto, PostgreSQL, Python, Node.js,
// Debian's command-line tools. Everything it starts ends with the test that started it, or with the test binary when
// that is killed, and listens on loopback only. When a test fails, the output of its programs is logged.
//
// It is for tests alone and is never linked into a program of this project. "make packages" installs the programs.
package foreign

import (
	"bufio"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything outside the test may take on a busy machine.
const Patience = 2 * time.Minute

// Python is Debian's interpreter, which has Debian's modules: a machine may have another one earlier on its path.
const Python = "/usr/bin/python3"

// Process is a running program and its output. Its methods may be called concurrently.
type Process struct {
	*exec.Cmd
	done chan struct{} // closed once the program has ended and its output is complete
	err  error         // what Wait returned; valid once done is closed

	mu     sync.Mutex
	stdout []string
	stderr []string
	read   int           // lines of stdout that Next has returned
	more   chan struct{} // closed and replaced at each line
}

// Start runs a program until the test ends.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, more: make(chan struct{}), done: make(chan struct{})}
	if p.SysProcAttr == nil {
		p.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.SysProcAttr.Pdeathsig = syscall.SIGKILL
	stdout, err1 := p.StdoutPipe()
	stderr, err2 := p.StderrPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatalf("start %s: %v (make packages installs what tests need)", p.Path, err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.collect(stdout, &p.stdout) })
	reading.Go(func() { p.collect(stderr, &p.stderr) })
	go func() {
		reading.Wait()
		p.err = p.Cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop(syscall.SIGKILL)
		if said := p.Stderr(); t.Failed() {
			t.Logf("%s said:\n%s", p.Name(), strings.Join(said[max(0, len(said)-40):], "\n"))
		}
	})
	return p
}

func (p *Process) collect(from io.Reader, to *[]string) {
	s := bufio.NewScanner(from)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		*to = append(*to, s.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// Name is the program's name without its directory.
func (p *Process) Name() string { return filepath.Base(p.Path) }

// Done is closed once the program has ended and all of its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// More returns a channel that is closed when the next line is printed. Get it before looking at the output.
func (p *Process) More() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.more
}

// Stdout returns the lines printed on standard output so far.
func (p *Process) Stdout() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stdout)
}

// Stderr returns the lines printed on standard error so far.
func (p *Process) Stderr() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stderr)
}

// Stop signals the program and waits until it has ended.
func (p *Process) Stop(sig syscall.Signal) {
	if !p.Ended() {
		p.Process.Signal(sig) //nolint:errcheck // it may have ended in between
	}
	<-p.done
}

// Terminate sends SIGTERM, once a second, until the program has ended. Mosquitto loses a SIGTERM that arrives when it
// listens already and its main loop has not begun.
func (p *Process) Terminate() {
	for !p.Ended() {
		p.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended in between
		select {
		case <-p.done:
		case <-time.After(time.Second):
		}
	}
}

// Line waits for a line on standard output that begins with prefix and returns the rest of it, trimmed.
func (p *Process) Line(t testing.TB, prefix string) string {
	t.Helper()
	var rest string
	p.await(t, "a line "+prefix+" on its output", func() bool {
		i := slices.IndexFunc(p.stdout, func(l string) bool { return strings.HasPrefix(l, prefix) })
		if i >= 0 {
			rest = strings.TrimSpace(strings.TrimPrefix(p.stdout[i], prefix))
		}
		return i >= 0
	})
	return rest
}

// Says waits for a line on standard error that contains text, and returns it.
func (p *Process) Says(t testing.TB, text string) string {
	t.Helper()
	var line string
	p.await(t, text+" in its log", func() bool {
		i := slices.IndexFunc(p.stderr, func(l string) bool { return strings.Contains(l, text) })
		if i >= 0 {
			line = p.stderr[i]
		}
		return i >= 0
	})
	return line
}

// Next waits for the next line on standard output that it has not returned yet. Only one goroutine may call it.
func (p *Process) Next(t testing.TB) string {
	t.Helper()
	var line string
	p.await(t, "another line on its output", func() bool {
		if p.read == len(p.stdout) {
			return false
		}
		line = p.stdout[p.read]
		p.read++
		return true
	})
	return line
}

// await waits until the output is as wanted. ok is called with the lock held.
func (p *Process) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	over := time.After(Patience)
	for {
		ended := p.Ended() // checked before the output, which is complete then
		p.mu.Lock()
		found, more := ok(), p.more
		p.mu.Unlock()
		if found {
			return
		}
		if ended {
			t.Fatalf("%s ended (%v) without %s", p.Name(), p.err, what)
		}
		select {
		case <-more:
		case <-p.done:
		case <-over:
			t.Fatalf("%s: not within %v: %s", p.Name(), Patience, what)
		}
	}
}

// Run runs a program to its end and returns its output.
func Run(t testing.TB, stdin string, cmd *exec.Cmd) string {
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
