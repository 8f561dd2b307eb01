//go:build e2e

package sim_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/drivers"
	"bordo/drivers/modbus"
	"bordo/sim"
)

// deaf is Debian's mosquitto with rules that let nobody hear anything: a session in which a node does not hear its own
// status is tried again at once when it breaks, where others would be taken for a second box with the same name.
func deaf(t *testing.T) *url.URL {
	t.Helper()
	dir := t.TempDir()
	addr := freePort(t)
	for name, text := range map[string]string{
		"acl":  "topic write bordo/#\n",
		"conf": fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nacl_file %s/acl\nuser root\n", addr.Port, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	m := exec.Command(path, "-c", filepath.Join(dir, "conf"))
	m.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Process.Kill() //nolint:errcheck // it may have ended
		m.Wait()         //nolint:errcheck // killed
	})
	eventually(t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close() //nolint:errcheck // it was only a question
		}
		return err == nil
	})
	return &url.URL{Scheme: "mqtt", Host: addr.String()}
}

// freePort holds a port until the test ends: nobody is given it, and whoever asks for it by its number may listen there.
func freePort(t *testing.T) *net.TCPAddr {
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
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*unix.SockaddrInet4).Port}
}

// eventually waits for something that takes real time.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for over := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(over) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// used is what this process holds.
type used struct {
	routines, files int
	heap            uint64
}

func use(t *testing.T) used {
	t.Helper()
	runtime.GC()
	runtime.GC() // the second frees what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return used{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// TestUplinkReconnectsForReal breaks two hundred connections of the real agent to a real broker, on real sockets, wherever
// they happen to be: no goroutine, no socket and no memory may be left of them.
func TestUplinkReconnectsForReal(t *testing.T) {
	broker := deaf(t)
	tcp := func(ctx context.Context, u *url.URL) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", u.Host)
	}
	p, err := sim.NewProxy(sim.ProxyOptions{Dial: tcp, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	front, err := p.Listen(t.Context(), 0, broker)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := sim.LoadScenario("lte-rural")
	if err != nil {
		t.Fatal(err)
	}
	site, err := sim.New(spec, sim.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	text := string(spec.Config(sim.AgentConfig{Dir: t.TempDir(), Broker: front, Memory: true}))
	text = strings.Replace(text, fmt.Sprintf("mqtt: {url: %q", front), fmt.Sprintf("mqtt: {reconnect_max: 100ms, url: %q", front), 1)
	cfg, err := config.Parse("uplink.yaml", []byte(text), []drivers.Driver{modbus.New()})
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(cfg, agent.System{OpenPort: site.OpenPort, DialMQTT: tcp, Wall: site.Host().Wall,
		DiskFree: site.Host().DiskFree, Logger: slog.New(slog.DiscardHandler), Version: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	siteOver, agentOver := make(chan error, 1), make(chan error, 1)
	go func() { siteOver <- site.Run(ctx) }()
	go func() { agentOver <- a.Run(ctx) }()
	calm := func() bool { return a.Status().Broker.Connected && p.Open() == 1 }
	eventually(t, "the agent is connected", calm)
	time.Sleep(5 * time.Second) // what begins once has begun

	before := use(t)
	id, err := p.Raise(sim.Fault{Kind: sim.MidPacket, Chance: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "200 broken connections", func() bool { return p.Struck()[sim.MidPacket] >= 200 })
	p.Clear(id)
	eventually(t, "the agent is connected again", calm)
	var after used
	eventually(t, fmt.Sprintf("as little is used as before (%+v)", before), func() bool {
		after = use(t)
		return after.routines <= before.routines && after.files <= before.files && after.heap <= before.heap+1<<20
	})
	t.Logf("before %+v, after %d broken connections %+v", before, p.Struck()[sim.MidPacket], after)

	cancel()
	for _, over := range []chan error{agentOver, siteOver} {
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
}
