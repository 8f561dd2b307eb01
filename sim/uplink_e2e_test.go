//go:build e2e

package sim_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/contract/foreign"
	"bordo/drivers"
	"bordo/drivers/modbus"
	"bordo/sim"
)

// deaf is Debian's mosquitto with rules that let nobody hear anything: a session in which a node does not hear its own
// status is tried again at once when it breaks, where others would be taken for a second box with the same name.
func deaf(t *testing.T) *url.URL {
	t.Helper()
	m := foreign.NewMosquitto(t)
	acl := filepath.Join(m.Dir, "acl")
	if err := os.WriteFile(acl, []byte("topic write bordo/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Configure(t, m.Plain()+"acl_file "+acl+"\n")
	m.Up(t)
	return &url.URL{Scheme: "mqtt", Host: m.Addr()}
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
	text = strings.Replace(text, fmt.Sprintf("mqtt: {url: %q", front),
		fmt.Sprintf("mqtt: {reconnect_max: 100ms, url: %q", front), 1)
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
