package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bordo/drivers/line"
)

// ServeOptions are the settings of a site that is served for real. Dir is required when the scenario has a serial line.
type ServeOptions struct {
	Dir     string // where the pseudo terminals are linked, one by each line's id
	Seed    uint64
	Speed   float64 // speed of everything physical, at most 3600; 0 means 1
	Broker  bool    // also an MQTT broker behind a link, on a free loopback port
	Control bool    // also the control API, on a free loopback port
	Logger  *slog.Logger

	families []family // protocols besides Modbus
}

// Endpoint is where a line of a site that is served can be opened.
type Endpoint struct {
	Line    string
	URL     string // as the agent's configuration writes it
	Devices []Device
}

// Server is a site on loopback ports and pseudo terminals.
type Server struct {
	Endpoints []Endpoint
	Broker    string // mqtt:// URL; empty without a broker
	API       string // http:// URL of the control API; empty without one
	Site      *Site

	broker *Broker
	link   *Proxy // in front of the broker; nil without one
	dir    string
	log    *slog.Logger
	done   chan struct{}
	err    error // valid when done is closed

	mu        sync.Mutex
	listeners []net.Listener
	web       *http.Server
	terminals map[*bus]*terminal
	gone      map[*bus]string // the links of serial lines without a terminal
	closing   bool
	wg        sync.WaitGroup
}

// Serve starts to serve a scenario and returns when everything is open. It ends with ctx. Wait returns when all of it
// has ended, and must be called.
func Serve(ctx context.Context, s *Scenario, o ServeOptions) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	site, err := New(s, Options{Seed: o.Seed, Speed: o.Speed, Logger: o.Logger, truthMost: servedTruth,
		families: o.families})
	if err != nil {
		return nil, err
	}
	v := &Server{Site: site, dir: o.Dir, log: o.Logger, done: make(chan struct{}), terminals: map[*bus]*terminal{},
		gone: map[*bus]string{}}
	if err := v.open(ctx, s, o); err != nil {
		return nil, errors.Join(err, v.shut())
	}
	go func() {
		defer close(v.done)
		v.err = errors.Join(site.Run(ctx), v.shut())
	}()
	return v, nil
}

// Wait blocks until the context of Serve has ended and nothing of the site is left.
func (v *Server) Wait() error {
	<-v.done
	return v.err
}

// AgentConfig says how an agent reaches the site; its own files go to dir.
func (v *Server) AgentConfig(dir string) AgentConfig {
	c := AgentConfig{Dir: dir, Broker: v.Broker, Ports: map[string]string{}}
	if c.Broker == "" {
		c.Broker = "mqtt://127.0.0.1:1883"
	}
	for _, e := range v.Endpoints {
		c.Ports[e.Line] = e.URL
	}
	return c
}

func (v *Server) open(ctx context.Context, s *Scenario, o ServeOptions) error {
	for i, b := range v.Site.buses {
		url, err := v.openLine(ctx, b)
		if err != nil {
			return fmt.Errorf("serve line %s: %w", b.id, err)
		}
		v.Endpoints = append(v.Endpoints, Endpoint{Line: b.id, URL: url, Devices: s.Lines[i].Devices})
	}
	if o.Control {
		if err := v.openControl(ctx); err != nil {
			return err
		}
	}
	if !o.Broker {
		return nil
	}
	var err error
	if v.broker, err = NewBroker(BrokerOptions{Seed: o.Seed, Faults: s.Broker.Faults, Logger: o.Logger}); err != nil {
		return err
	}
	if v.link, err = NewProxy(ProxyOptions{Dial: v.broker.Dial, Seed: o.Seed, Faults: s.Link.Faults,
		Logger: o.Logger}); err != nil {
		return err
	}
	v.Broker, err = v.link.Listen(ctx, 0, nil)
	return err
}

// openControl opens the control API.
func (v *Server) openControl(ctx context.Context) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open the control port: %w", err)
	}
	v.API = "http://" + l.Addr().String()
	v.web = &http.Server{Handler: v.Control(), ReadHeaderTimeout: 5 * time.Second}
	v.wg.Go(func() {
		if err := v.web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			v.log.Error("control API ended", "err", err)
		}
	})
	return nil
}

// openLine opens a line where its scheme wants it and returns its URL.
func (v *Server) openLine(ctx context.Context, b *bus) (string, error) {
	e := b.endpoint
	if e.Scheme == line.Serial {
		if v.dir == "" {
			return "", errors.New("a directory for pseudo terminals is needed")
		}
		path, err := filepath.Abs(filepath.Join(v.dir, b.id))
		if err != nil {
			return "", err
		}
		e.Path = path
		b.onGone = func(gone bool) { v.plug(b, path, !gone) }
		return e.String(), v.plugIn(b, path)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	v.mu.Lock()
	v.listeners = append(v.listeners, l)
	v.mu.Unlock()
	v.wg.Go(func() { v.accept(l, b) })
	e.Host = l.Addr().String()
	return e.String(), nil
}

// accept takes connections of a line until its listener is closed.
func (v *Server) accept(l net.Listener, b *bus) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if b.isGone(time.Now()) {
			c.Close() //nolint:errcheck // as if nobody had listened
			continue
		}
		if err := v.Site.attach(b, c.(*net.TCPConn), charTime(b.endpoint), nil); err != nil {
			v.log.Warn("connection refused", "line", b.id, "err", err)
			c.Close() //nolint:errcheck // nothing to save
		}
	}
}

// plug reconnects a serial line's cable or removes it for good: the site has hung up already.
func (v *Server) plug(b *bus, path string, in bool) {
	if !in {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.terminals, b) // closed by the site
		if v.closing {
			return
		}
		if err := relink(nowhereTerminal, path); err != nil {
			v.log.Error("link of a line that is gone", "line", b.id, "err", err)
		}
		v.gone[b] = path
		return
	}
	if err := v.plugIn(b, path); err != nil {
		v.log.Error("line does not come back", "line", b.id, "err", err)
	}
}

// plugIn makes the pseudo terminal of a line.
func (v *Server) plugIn(b *bus, path string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return net.ErrClosed
	}
	t, err := openTerminal(path)
	if err != nil {
		return err
	}
	if err = t.set(b.endpoint); err == nil {
		err = v.Site.attach(b, t, charTime(b.endpoint), v.understands(b, t))
	}
	if err != nil {
		return errors.Join(err, t.Close())
	}
	v.terminals[b] = t
	delete(v.gone, b)
	return nil
}

// understands reports whether a terminal is open with the settings of its line, and logs when that changes.
func (v *Server) understands(b *bus, t *terminal) func() bool {
	var mu sync.Mutex
	was := b.endpoint // what the last master had set
	return func() bool {
		set := t.settings(b.endpoint)
		mu.Lock()
		defer mu.Unlock()
		if set != was && !sameSettings(b.endpoint, set) {
			v.log.Info("devices do not understand the master", "line", b.id, "baud", b.endpoint.Baud, "parity",
				b.endpoint.Parity,
				"master_baud", set.Baud, "master_parity", set.Parity)
		}
		was = set
		return sameSettings(b.endpoint, set)
	}
}

// shut closes everything and waits for it.
func (v *Server) shut() error {
	v.mu.Lock()
	v.closing = true
	for _, l := range v.listeners {
		l.Close() //nolint:errcheck // nothing to save
	}
	for _, path := range v.gone {
		os.Remove(path) //nolint:errcheck // a link that leads nowhere does no harm
	}
	v.mu.Unlock()
	if v.web != nil {
		v.web.Close() //nolint:errcheck // nothing to save
	}
	v.wg.Wait()
	v.Site.open.finish() // closes the terminals too
	if v.link != nil {
		v.link.Close()
	}
	if v.broker != nil {
		return v.broker.Close()
	}
	return nil
}
