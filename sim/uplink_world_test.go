//go:build world

package sim_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/modbus"
	"bordo/sim"
	"bordo/sim/check"
)

const uplinkDrains = 30 * time.Minute // after a day of faults, at the default bucket

// TestWorldUplink lets the whole agent live for a day at the end of a network on which everything goes wrong, under TLS, with
// a broker that is killed: nothing is lost, an identity has one payload, nothing is invented, and in the end it all arrives.
func TestWorldUplink(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	const day = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		u := newUplink(t, dir, uplinkSite(10*time.Second, 2), sim.BrokerOptions{Seed: *worldFrom, Faults: []sim.Fault{
			{Kind: sim.BrokerGone, Every: 3 * time.Hour, Odds: 0.8, For: 20 * time.Minute},
			{Kind: sim.BrokerGone, At: 7 * time.Hour, For: 2 * time.Hour},
		}})
		inner := u.proxy(sim.ProxyOptions{Dial: u.broker.Dial, Seed: *worldFrom, Faults: []sim.Fault{
			{Kind: sim.PubackEaten, Chance: 0.003}, {Kind: sim.LinkLate, Chance: 0.003, By: 20 * time.Second},
		}})
		a := newTerminator(t, dir)
		outer := u.proxy(sim.ProxyOptions{Dial: a.dialer(inner.Dial), Seed: *worldFrom + 1,
			Delay: 30 * time.Millisecond, Rate: 512 << 10, Faults: []sim.Fault{
				{Kind: sim.LinkLate, Chance: 0.01, By: 8 * time.Second},
				{Kind: sim.LinkStalled, Every: 20 * time.Minute, Odds: 0.7, For: 50 * time.Second},
				{Kind: sim.LinkCut, Every: 2 * time.Hour, Odds: 0.8, For: 12 * time.Minute},
				{Kind: sim.HalfOpen, Every: time.Hour, Odds: 0.8, For: 10 * time.Second},
				{Kind: sim.MidPacket, Chance: 0.002}, {Kind: sim.Corrupt, Chance: 0.002},
			}})
		u.dial = outer.Dial
		u.mqtt = fmt.Sprintf(`{url: "mqtts://10.0.0.9:8883", ca_file: %s}`, a.ca)
		u.watch()
		u.start()
		u.live(day)
		t.Logf("%d sessions in a day, %d values held against the truth; faults: %v, %v", u.sessions,
			u.invented.Values(), inner.Struck(), outer.Struck())
		for k, least := range map[sim.FaultKind]int{sim.LinkLate: 300, sim.HalfOpen: 5, sim.MidPacket: 40,
			sim.Corrupt: 40} {
			if outer.Struck()[k] < least {
				t.Errorf("%s struck %d times only", k, outer.Struck()[k])
			}
		}
		if inner.Struck()[sim.PubackEaten] < 25 || u.sessions < 150 {
			t.Errorf("%d acknowledgements eaten, %d sessions: the faults did not strike",
				inner.Struck()[sim.PubackEaten], u.sessions)
		}
	})
}

// TestWorldUplinkPlain flips bits of a connection without TLS. No more can be claimed then than that the agent lives on and
// converges: a value, a topic or the number of an acknowledgement may have become another one on the way.
func TestWorldUplinkPlain(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	synctest.Test(t, func(t *testing.T) {
		u := newUplink(t, dir, uplinkSite(5*time.Second, 2), sim.BrokerOptions{Seed: *worldFrom})
		p := u.proxy(sim.ProxyOptions{Dial: u.broker.Dial, Seed: *worldFrom,
			Faults: []sim.Fault{{Kind: sim.Corrupt, Chance: 0.02}}})
		u.dial = p.Dial
		u.suite = check.NewSuite("", u.drains, u.bounded)
		u.watchBut(true)
		u.start()
		u.live(3 * time.Hour)
		if u.sessions < 10 {
			t.Errorf("%d sessions: the faults did not strike", u.sessions)
		}
	})
}

// TestWorldUplinkFresh checks that live samples stay fresh while a backlog drains at the default bucket through a link of
// 4 Mbit/s and 30 ms. The twelve devices are polled together, so the 99th of a hundred samples would be the worst of 70
// polls: 190 to 340 ms in 14 runs, while the 95th stays between 143 and 148 ms.
func TestWorldUplinkFresh(t *testing.T) {
	t.Parallel()
	dir := storeDir(t)
	synctest.Test(t, func(t *testing.T) {
		u := newUplink(t, dir, uplinkSite(2*time.Second, 12), sim.BrokerOptions{Seed: *worldFrom})
		p := u.proxy(sim.ProxyOptions{Dial: u.broker.Dial, Seed: *worldFrom, Delay: 30 * time.Millisecond,
			Rate: 512 << 10})
		u.dial = p.Dial
		u.watch()
		u.start()
		time.Sleep(time.Minute)
		id, err := p.Raise(sim.Fault{Kind: sim.LinkCut})
		if err != nil {
			t.Fatal(err)
		}
		u.broker.HangUp()
		time.Sleep(3 * time.Hour)
		p.Clear(id)
		back := time.Now()
		u.live(time.Minute)
		ages, took := u.freshness(back)
		if len(ages) < 300 || took < time.Minute {
			t.Fatalf("%d live samples while it drained for %v: too few to tell", len(ages), took)
		}
		p50, p95, oldest := ages[len(ages)/2], ages[len(ages)*95/100], ages[len(ages)-1]
		t.Logf("drained for %v; age of %d live samples: median %v, 95th of a hundred %v, oldest %v",
			took.Round(time.Second), len(ages), p50, p95, oldest)
		if p95 > 250*time.Millisecond || oldest > time.Second {
			t.Errorf("the 95th of a hundred live samples was %v old, the oldest %v", p95, oldest)
		}
	})
}

// TestWorldUplinkReconnects: two hundred connections later there is no goroutine more and no memory. It is not parallel:
// it counts what the whole process has.
func TestWorldUplinkReconnects(t *testing.T) {
	dir := storeDir(t)
	synctest.Test(t, func(t *testing.T) {
		u := newUplink(t, dir, nil, sim.BrokerOptions{Seed: *worldFrom})
		p := u.proxy(sim.ProxyOptions{Dial: u.broker.Dial, Seed: *worldFrom})
		u.dial = p.Dial
		u.watchBut(true)
		u.start()
		time.Sleep(30 * time.Minute)
		routines, heap := settled()
		u.sessions = 0
		breaks := []sim.Fault{{Kind: sim.HalfOpen}, {Kind: sim.MidPacket, Chance: 1}, {Kind: sim.LinkStalled},
			{Kind: sim.LinkCut}}
		for i := range 210 { // now and then one break goes under in another
			if i%5 == 4 {
				u.broker.HangUp()
				time.Sleep(90 * time.Second)
				continue
			}
			f := breaks[i%5]
			f.For = 75 * time.Second
			if _, err := p.Raise(f); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Minute)
		}
		time.Sleep(10 * time.Minute)
		after, grown := settled()
		t.Logf("%d sessions: goroutines %d, before %d; heap %d kB, before %d kB; %d connections at the proxy",
			u.sessions, after, routines, grown>>10, heap>>10, p.Open())
		if u.sessions < 200 {
			t.Errorf("%d sessions only", u.sessions)
		}
		if after > routines {
			buf := make([]byte, 1<<20)
			t.Errorf("%d goroutines, before %d:\n%s", after, routines, buf[:runtime.Stack(buf, true)])
		}
		if grown > heap+1<<20 {
			t.Errorf("the heap grew from %d to %d bytes", heap, grown)
		}
		u.end()
	})
}

// settled counts goroutines and the bytes that are in use.
func settled() (routines int, heap uint64) {
	synctest.Wait()
	runtime.GC()
	runtime.GC() // the second frees what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

// uplinkSite has inverters on a line of their own and a meter, all well.
func uplinkSite(every time.Duration, inverters int) *sim.Scenario {
	s := &sim.Scenario{Version: 1, Name: "uplink", Site: sim.Place{Name: "Uplink", Lat: 45.36, Lon: 9.69},
		Sun: sim.Sun{From: "2026-06-21T05:00"}, Load: sim.Load{Base: 500, Peak: 8000}}
	roof := sim.Line{ID: "roof", Port: "tcp://10.0.0.1:502"}
	for i := range inverters {
		roof.Devices = append(roof.Devices,
			sim.Device{ID: fmt.Sprintf("inv-%d", i), Model: "sunspec", Unit: 1 + i, Every: every,
				Inverter: &sim.Inverter{Rated: 10000, Strings: 1}})
	}
	s.Lines = []sim.Line{roof, {ID: "mains", Port: "tcp://10.0.0.2:502",
		Devices: []sim.Device{{ID: "meter", Model: "eastron-sdm630", Unit: 1, Every: every, Meter: &sim.Meter{}}}}}
	return s
}

// uplink is an agent with a network that fails between it and its broker.
type uplink struct {
	t      *testing.T
	spec   *sim.Scenario // nil: there is no site, only the node itself
	dir    string
	mqtt   string // of the configuration
	site   *sim.Site
	broker *sim.Broker
	dial   func(context.Context, *url.URL) (net.Conn, error)
	agent  *agent.Agent
	stop   func() error
	ctx    context.Context
	cancel context.CancelFunc
	run    sync.WaitGroup
	links  []*sim.Proxy
	stacks stacks

	mu       sync.Mutex
	suite    *check.Suite
	invented *check.NothingInvented
	drains   *check.Drains
	bounded  *check.Bounded
	sessions int
	last     string // session
	aged     []liveSample
	hist     []time.Time // of backfilled messages
}

type liveSample struct {
	at  time.Time
	age time.Duration
}

func newUplink(t *testing.T, dir string, spec *sim.Scenario, o sim.BrokerOptions) *uplink {
	t.Helper()
	u := &uplink{t: t, dir: dir, spec: spec, mqtt: `{url: "mqtt://10.0.0.9:1883"}`}
	var err error
	if u.broker, err = sim.NewBroker(o); err != nil {
		t.Fatal(err)
	}
	if spec == nil {
		spec = uplinkSite(time.Second, 0)
		spec.Lines = spec.Lines[1:]
		u.spec = spec
		spec.Lines[0].Port = "tcp://10.0.0.3:502"
		quiet := *spec
		quiet.Lines = nil // the agent's line leads nowhere
		spec = &quiet
	}
	if u.site, err = sim.New(spec, sim.Options{Seed: o.Seed}); err != nil {
		t.Fatal(err)
	}
	site := check.World(u.site)
	u.drains = check.NewDrains(uplinkDrains)
	u.bounded = check.NewBounded(map[string]float64{"goroutines": maxRoutines})
	u.invented = check.NewNothingInvented(site, pollSpan)
	u.suite = check.NewSuite("", check.NewAtLeastOnce(), check.NewIdentityOnce(), u.invented, u.drains, u.bounded)
	u.ctx, u.cancel = context.WithCancel(context.Background())
	u.run.Go(func() { u.site.Run(u.ctx) }) //nolint:errcheck // always nil
	return u
}

// proxy puts a stretch of network into the way.
func (u *uplink) proxy(o sim.ProxyOptions) *sim.Proxy {
	u.t.Helper()
	p, err := sim.NewProxy(o)
	if err != nil {
		u.t.Fatal(err)
	}
	u.links = append(u.links, p)
	return p
}

func (u *uplink) watch() { u.watchBut(false) }

// watchBut lets the checkers see what the broker takes. With damage, what cannot be read is left out.
func (u *uplink) watchBut(damage bool) {
	u.broker.Watch(func(p sim.Publication) {
		m, err := check.Read("", p)
		u.mu.Lock()
		defer u.mu.Unlock()
		if err != nil && damage {
			return
		}
		u.suite.See(p)
		switch {
		case err != nil:
		case m.Status != nil && m.Status.State == contract.Online && m.Status.Sess != u.last:
			u.last = m.Status.Sess
			u.sessions++
		case m.Batch != nil && m.Batch.Hist:
			u.hist = append(u.hist, p.At)
		case m.Batch != nil:
			for _, s := range m.Batch.Samples {
				u.aged = append(u.aged, liveSample{p.At, p.At.Sub(time.UnixMilli(s.TS))})
			}
		}
	})
}

func (u *uplink) start() {
	u.t.Helper()
	text := string(u.spec.Config(sim.AgentConfig{Dir: filepath.Join(u.dir, "node"), Broker: "mqtt://10.0.0.9:1883",
		Memory: true}))
	lines := strings.Split(text, "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "mqtt: ") })
	lines[at] = "mqtt: " + u.mqtt
	cfg, err := config.Parse("uplink.yaml", []byte(strings.Join(lines, "\n")), []drivers.Driver{modbus.New()})
	if err != nil {
		u.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if *worldLog {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if u.agent, err = agent.New(cfg, agent.System{OpenPort: u.site.OpenPort, DialMQTT: u.dial, Wall: u.site.Host().Wall,
		DiskFree: u.site.Host().DiskFree, Logger: log, Version: "uplink"}); err != nil {
		u.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- u.agent.Run(ctx) }()
	u.stop = func() error { cancel(); return <-ended }
}

// live lets the faults work for so long, then heals everything, waits until the backlog is gone, and judges.
func (u *uplink) live(faulty time.Duration) {
	u.t.Helper()
	for end := time.Now().Add(faulty); time.Now().Before(end); time.Sleep(min(5*time.Minute, time.Until(end))) {
		u.bounded.Measure("goroutines", float64(u.stacks.count()))
	}
	u.broker.Clear(0)
	for _, p := range u.links {
		p.Clear(0)
	}
	u.mu.Lock()
	u.drains.Healed(time.Now())
	u.mu.Unlock()
	for limit := time.Now().Add(uplinkDrains); time.Now().Before(limit) && !u.drained(); time.Sleep(time.Second) {
	}
	u.end()
	for _, v := range u.suite.Judge() {
		u.t.Errorf("%s", v)
	}
	if u.t.Failed() {
		u.t.Logf("again: go test -tags world ./sim -run '%s$' -world.from=%d -world.log", u.t.Name(), *worldFrom)
	}
}

func (u *uplink) drained() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.drains.Drained()
}

// end stops everything; the bubble ends only when no goroutine is left.
func (u *uplink) end() {
	if err := u.stop(); err != nil {
		u.t.Errorf("the agent ended with %v", err)
	}
	time.Sleep(time.Second) // its goodbye is on the way
	u.cancel()
	u.run.Wait()
	for _, p := range u.links {
		p.Close()
	}
	if err := u.broker.Close(); err != nil {
		u.t.Error(err)
	}
}

// freshness gives the ages of the live samples that came while backfill came, youngest first, and how long that was. The
// first second belongs to what had been waiting.
func (u *uplink) freshness(back time.Time) (ages []time.Duration, took time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first, last := u.hist[0].Add(time.Second), u.hist[len(u.hist)-1]
	for _, s := range u.aged {
		if s.at.After(first) && s.at.Before(last) && s.at.After(back) {
			ages = append(ages, s.age)
		}
	}
	slices.Sort(ages)
	return ages, last.Sub(first)
}

// terminator takes TLS off a connection, as a broker's front does.
type terminator struct {
	ca     string // path of the certificate that agents trust
	config *tls.Config
}

func newTerminator(t *testing.T, dir string) *terminator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// The bubble's clock stands in 2000; the agent judges by the date of its build at the earliest.
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 9)},
		NotBefore:   time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &terminator{ca: filepath.Join(dir, "ca.pem"), config: &tls.Config{MinVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	if err := os.WriteFile(a.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// dialer gives connections under TLS whose other side goes on in plain.
func (a *terminator) dialer(on func(context.Context, *url.URL) (net.Conn, error)) func(context.Context,
	*url.URL) (net.Conn, error) {
	return func(ctx context.Context, u *url.URL) (net.Conn, error) {
		server, err := on(ctx, u)
		if err != nil {
			return nil, err
		}
		here, there := net.Pipe()
		secured := tls.Server(there, a.config)
		go func() {
			defer server.Close()
			defer there.Close()
			io.Copy(server, secured) //nolint:errcheck // the connection has ended, whatever way
		}()
		go func() {
			defer server.Close()
			defer there.Close()
			io.Copy(secured, server) //nolint:errcheck // likewise
		}()
		return here, nil
	}
}
