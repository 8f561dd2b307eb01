package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"bordo/sim/plant"
)

// ProxyOptions are the settings of a proxy. Dial is required.
type ProxyOptions struct {
	// Dial opens the way on: to a broker, or to another proxy. It has the signature of the agent's System.DialMQTT.
	Dial   func(ctx context.Context, u *url.URL) (net.Conn, error)
	Delay  time.Duration // delay of every byte, each way; 0: none
	Rate   int           // bytes a second that clients can send, all of them together; 0: without limit
	Seed   uint64
	Faults []Fault // faults of the place "link"
	Logger *slog.Logger
}

// Proxy is the network between clients and a broker, with its faults. It works inside testing/synctest with Dial, and
// on a loopback port with Listen. It does not interpret what it carries, so TLS may be inside; it can remove
// acknowledgements only where it sees MQTT itself.
type Proxy struct {
	o      ProxyOptions
	faults *faults
	dice   plant.Dice
	log    *slog.Logger
	done   context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup
	chunks atomic.Uint64 // so far, in both directions
	acks   atomic.Uint64

	mu        sync.Mutex
	links     map[*link]bool
	listeners []net.Listener
	struck    map[FaultKind]int
	wake      chan struct{} // renewed when the faults change
	free      time.Time     // when the narrow way is free again
}

// NewProxy makes a proxy. It carries until Close.
func NewProxy(o ProxyOptions) (*Proxy, error) {
	if o.Dial == nil {
		return nil, errors.New("make proxy: nothing to dial")
	}
	for i, f := range o.Faults {
		if err := f.check("link"); err != nil {
			return nil, fmt.Errorf("make proxy: faults[%d]: %w", i, err)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Proxy{o: o, log: o.Logger, dice: plant.NewDice(o.Seed, "proxy"), links: map[*link]bool{},
		struck: map[FaultKind]int{}, wake: make(chan struct{})}
	p.done, p.stop = context.WithCancel(context.Background())
	p.faults = newFaults(o.Seed, "link", time.Now(), o.Faults)
	p.faults.change = p.woken
	return p, nil
}

// Close breaks every connection and waits until nothing of the proxy is left. It may be called more than once.
func (p *Proxy) Close() {
	p.stop()
	p.mu.Lock()
	for _, l := range p.listeners {
		l.Close() //nolint:errcheck // nothing to save
	}
	for l := range p.links {
		l.hangUp()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// Dial connects through the proxy. It has the signature of the agent's System.DialMQTT. While the link is cut it waits,
// like a system that gets no answer.
func (p *Proxy) Dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	name := "link"
	if u != nil {
		name = u.Host
	}
	there, err := p.reach(ctx, u)
	if err != nil {
		return nil, err
	}
	here, client := pipe(name)
	if !p.carry(client, there) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: pipeAddr(name), Err: net.ErrClosed}
	}
	return here, nil
}

// reach opens the way on as soon as the link is there.
func (p *Proxy) reach(ctx context.Context, u *url.URL) (net.Conn, error) {
	for {
		wake, next, cut := p.isOn(LinkCut)
		if !cut {
			break
		}
		if err := untilChange(ctx, p.done, wake, next); err != nil {
			return nil, fmt.Errorf("dial through a link that is cut: %w", err)
		}
	}
	return p.o.Dial(ctx, u)
}

// untilChange waits until something may have changed: wake is closed or next has come (zero: never).
func untilChange(ctx, done context.Context, wake <-chan struct{}, next time.Time) error {
	var timer <-chan time.Time
	if !next.IsZero() {
		timer = time.After(max(0, time.Until(next)))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done.Done():
		return net.ErrClosed
	case <-wake:
	case <-timer:
	}
	return nil
}

// Listen opens a loopback TCP port (0 for a free one), carries every connection on to u and returns the port's URL,
// mqtt://127.0.0.1:PORT.
func (p *Proxy) Listen(ctx context.Context, port int, u *url.URL) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", fmt.Errorf("open proxy port: %w", err)
	}
	p.mu.Lock()
	p.listeners = append(p.listeners, l)
	p.mu.Unlock()
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.wg.Go(func() {
				there, err := p.reach(p.done, u)
				if err != nil || !p.carry(c, there) {
					c.Close() //nolint:errcheck // as if nobody had listened
				}
			})
		}
	})
	return "mqtt://" + l.Addr().String(), nil
}

// Raise lets something go wrong from now on and returns the number by which Clear ends it.
func (p *Proxy) Raise(f Fault) (int, error) {
	if err := f.check("link"); err != nil {
		return 0, fmt.Errorf("raise: %w", err)
	}
	return p.faults.raise(f, time.Now()), nil
}

// Clear ends the fault with a number, or all for 0. A connection that is half open stays so.
func (p *Proxy) Clear(id int) { p.faults.clear(id) }

// Open returns the number of carried connections.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Struck returns how often each kind of fault had an effect: on a chunk, on an acknowledgement, or, for half-open, on a
// connection.
func (p *Proxy) Struck() map[FaultKind]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.struck)
}

// hit draws whether a fault strikes the n-th of something, and counts it.
func (p *Proxy) hit(kind FaultKind, n uint64, now time.Time) (Fault, bool) {
	f, on := p.faults.hit(kind, "", n, now)
	if on {
		p.count(kind)
	}
	return f, on
}

func (p *Proxy) count(kind FaultKind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.struck[kind]++
}

func (p *Proxy) woken() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.wake)
	p.wake = make(chan struct{})
}

// isOn reports whether one of some faults is on, and what to wait for until that can change.
func (p *Proxy) isOn(kinds ...FaultKind) (wake <-chan struct{}, next time.Time, on bool) {
	p.mu.Lock()
	wake = p.wake
	p.mu.Unlock()
	now := time.Now()
	for _, k := range kinds {
		if _, _, is := p.faults.on(k, "", now); is {
			return wake, p.faults.next(now), true
		}
	}
	return wake, time.Time{}, false
}

// carry joins two connections until one of them ends; false when the proxy is closing.
func (p *Proxy) carry(client, server net.Conn) bool {
	l := &link{proxy: p, client: client, server: server}
	_, l.window, _ = p.faults.on(HalfOpen, "", time.Now())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done.Err() != nil {
		server.Close() //nolint:errcheck // nothing to save
		return false
	}
	p.links[l] = true
	var both sync.WaitGroup
	up, down := newStretch(l, true), newStretch(l, false)
	both.Go(func() { up.run(client, server) })
	both.Go(func() { down.run(server, client) })
	p.wg.Go(func() {
		both.Wait()
		l.hangUp()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	})
	return true
}

// due returns when n bytes that a client sends now have passed the bottleneck.
func (p *Proxy) due(n int) time.Time {
	now := time.Now()
	rate := p.o.Rate
	if f, _, on := p.faults.on(LinkNarrow, "", now); on {
		if rate = 100 * f.Code; rate == 0 {
			rate = 1200
		}
	}
	if rate == 0 {
		return now.Add(p.o.Delay)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(rate))
	return p.free.Add(p.o.Delay)
}
