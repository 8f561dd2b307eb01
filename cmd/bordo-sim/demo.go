package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"bordo/cmd/commandline"
	"bordo/sim"
)

// stopWithin is how long the agent may take to stop before it is killed: the demo promises to end within 2 s.
const stopWithin = 1500 * time.Millisecond

// shownWithin is how long the view may take to finish its output.
const shownWithin = 200 * time.Millisecond

func demoCommand() commandline.Command {
	return commandline.Command{
		Name: "demo", Brief: "the real agent on a simulated site, live, until Ctrl-C",
		Text: `Starts a site with an inverter, a meter and a barrier, a broker, and the real agent, and shows what arrives at the broker: a
table at a terminal, otherwise a line for each sample. It ends with Ctrl-C, a hang-up, or the reader of its output, and leaves
nothing behind.`,
		Flags: func(set *flag.FlagSet) commandline.Action {
			agent := set.String("bordo", "",
				"the `FILE` of the agent (otherwise the one beside this program, or in PATH)")
			seed := set.Uint64("seed", 1, "another life: what is drawn is drawn from `N`")
			return func(ctx context.Context, c commandline.Console,
				_ []string) error {
				return demo(ctx, c, *agent, *seed)
			}
		},
	}
}

// demo shows the real agent on the scenario demo: simulator and broker in this process, the agent as a child, and a
// view that shows only what arrives on the broker.
func demo(ctx context.Context, c commandline.Console, agent string, seed uint64) (err error) {
	binary, err := findAgent(agent)
	if err != nil {
		return err
	}
	scenario, err := sim.LoadScenario("demo")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bordo-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	ctx, cancel := context.WithCancel(ctx)
	server, err := sim.Serve(ctx, scenario, sim.ServeOptions{Dir: dir, Seed: seed, Broker: true})
	if err != nil {
		cancel()
		return err
	}
	defer func() { cancel(); err = errors.Join(err, server.Wait()) }()

	config := filepath.Join(dir, "bordo.yaml")
	if err := os.WriteFile(config, scenario.Config(server.AgentConfig(dir)), 0o600); err != nil {
		return fmt.Errorf("write the agent's configuration: %w", err)
	}
	v, err := newView(ctx, server.Broker, c.Out)
	if err != nil {
		return err
	}
	child, err := startAgent(binary, config, filepath.Join(dir, "agent.log"))
	if err != nil {
		return errors.Join(err, v.close())
	}
	err = show(ctx, v, child)
	return errors.Join(err, child.stop(), v.close())
}

// show runs the view until ctx or the agent ends.
func show(ctx context.Context, v *view, child *agentProcess) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		<-child.done
		cancel(errAgentEnded)
	}()
	shown := make(chan error, 1)
	go func() { shown <- v.run(ctx) }()
	select {
	case err := <-shown:
		if err != nil && ctx.Err() == nil {
			return err
		}
	case <-ctx.Done():
		select {
		case <-shown:
		case <-time.After(shownWithin): // blocked by a reader that does not read; only the end of the process frees it
		}
	}
	if errors.Is(context.Cause(ctx), errAgentEnded) {
		return fmt.Errorf("%w: %w\n%s", errAgentEnded, child.err, child.lastWords())
	}
	return nil
}

var errAgentEnded = errors.New("the agent ended by itself")

// findAgent finds the agent's binary: as given, beside this one, or in PATH.
func findAgent(given string) (string, error) {
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", wrong("--bordo: %w", err)
		}
		return filepath.Abs(given)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "bordo")
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	path, err := exec.LookPath("bordo")
	if err != nil {
		return "", wrong("no agent found: build bordo beside bordo-sim, or name it with --bordo")
	}
	return path, nil
}

// agentProcess is the agent as a child of this process.
type agentProcess struct {
	cmd  *exec.Cmd
	log  string        // the file that takes its output
	done chan struct{} // closed when it has ended
	err  error         // how; valid when done is closed
}

func startAgent(binary, config, log string) (*agentProcess, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	defer out.Close() //nolint:errcheck // the child has its own
	p := &agentProcess{log: log, done: make(chan struct{})}
	p.cmd = exec.Command(binary, "run", "--config", config)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// A Ctrl-C at the terminal goes to this process, which stops the child. The kernel ends the child when this process
	// dies.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The death signal is sent when the thread that started the child ends, so that thread must be kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	return p, nil
}

// stop lets the agent end, and kills it when it does not.
func (p *agentProcess) stop() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the agent: %w", err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopWithin):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the agent: %w", err)
	}
	<-p.done
	return fmt.Errorf("the agent did not stop within %s and was killed", stopWithin)
}

// lastWords gives the end of the agent's log.
func (p *agentProcess) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
