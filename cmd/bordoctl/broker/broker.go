// Package broker is the central team's connection to the broker: address and credentials, a subscription that
// reconnects by itself, and a sentence for everything that can be wrong with it.
//
// It only subscribes, under its own client id and with a clean session, so that it disturbs neither a box nor the
// platform. It misses what is published while it is disconnected, and says so.
package broker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"bordo/agent/config"
	"bordo/agent/mqtt"
	"bordo/contract"
)

// Options says where to listen, and as whom.
type Options struct {
	URLs         []string // mqtt:// or mqtts://; tried in turn
	Username     string
	PasswordFile string
	CAFile       string
	CertFile     string
	KeyFile      string

	Root   string // empty: contract.DefaultRoot
	Tenant string // empty: all
	Node   string // empty: all
}

// Flags makes the flags that fill the options.
func (o *Options) Flags(set *flag.FlagSet) {
	set.Func("url", "the broker's `URL`: mqtts://HOST[:8883] or mqtt://HOST[:1883]; several times, or with commas, for several", func(text string) error {
		for one := range strings.SplitSeq(text, ",") {
			if _, err := config.BrokerURL(one); err != nil {
				return err
			}
			o.URLs = append(o.URLs, one)
		}
		return nil
	})
	set.StringVar(&o.Username, "username", "", "the user `NAME` at the broker")
	set.StringVar(&o.PasswordFile, "password-file", "", "a `FILE` with nothing but the password")
	set.StringVar(&o.CAFile, "ca-file", "",
		"a PEM `FILE` with the authorities that the broker's certificate may come from")
	set.StringVar(&o.CertFile, "cert-file", "", "a PEM `FILE` with our own certificate")
	set.StringVar(&o.KeyFile, "key-file", "", "a PEM `FILE` with its key")
	set.StringVar(&o.Root, "root", contract.DefaultRoot, "the first `LEVEL` of the topics")
	set.StringVar(&o.Tenant, "tenant", "", "only this tenant's `ID`")
}

// Check returns what is wrong with the options, in terms of the flags; nil if nothing is.
func (o Options) Check() error {
	if o.Root == "" {
		o.Root = contract.DefaultRoot
	}
	switch {
	case len(o.URLs) == 0:
		return errors.New("which broker? --url mqtts://HOST")
	case o.PasswordFile != "" && o.Username == "":
		return errors.New("--password-file needs --username beside it")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return errors.New("--cert-file and --key-file need each other")
	}
	if err := contract.CheckRoot(o.Root); err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	for _, id := range [][2]string{{"--tenant", o.Tenant}, {"--node", o.Node}} {
		if err := contract.CheckID(id[1]); id[1] != "" && err != nil {
			return fmt.Errorf("%s: %w", id[0], err)
		}
	}
	m, urls, err := o.settings()
	if err != nil {
		return err
	}
	if _, err := m.Password(); err != nil {
		return fmt.Errorf("--password-file: %w", err)
	}
	secure := false
	for _, u := range urls {
		secure = secure || u.Scheme == "mqtts"
		if _, err := m.TLS(u); err != nil {
			return fmt.Errorf("--ca-file, --cert-file, --key-file: %w", err)
		}
	}
	if !secure && o.CAFile+o.CertFile != "" {
		return errors.New("--ca-file and --cert-file work only with mqtts://, and no --url has it")
	}
	return nil
}

// settings are the options as the box's configuration has them: the same files, read in the same way.
func (o Options) settings() (config.MQTT, []*url.URL, error) {
	m := config.MQTT{Username: o.Username, PasswordFile: o.PasswordFile, CAFile: o.CAFile, CertFile: o.CertFile,
		KeyFile: o.KeyFile}
	for _, text := range o.URLs {
		u, err := config.BrokerURL(text)
		if err != nil {
			return m, nil, fmt.Errorf("--url: %w", err)
		}
		m.URLs = append(m.URLs, u)
	}
	return m, m.URLs, nil
}

// Filters are the subscriptions for topics of some kinds; without a kind, for everything below the root.
func (o Options) Filters(kinds ...string) []string {
	if len(kinds) == 0 {
		return []string{strings.TrimSuffix(contract.Filter(o.Root, o.Tenant, o.Node, "#"), "/+")}
	}
	var out []string
	for _, k := range kinds {
		out = append(out, contract.Filter(o.Root, o.Tenant, o.Node, k))
	}
	return out
}

// Event is a message from a Listener: exactly one of a received message, a new connection (URL is set), the end of one
// (Err is set), or the announcement that everything retained was requested again.
type Event struct {
	At      time.Time
	Message *mqtt.Message
	URL     string
	Err     error
	Asked   bool
}

// Times of a listener.
const (
	dialTimeout = 15 * time.Second
	backOffMax  = 30 * time.Second
	refusedWait = time.Minute // after a refused login
)

// queueLen bounds the messages that wait to be looked at: at most 60 KiB each, mostly some hundred bytes.
const queueLen = 8192

// Listener is a subscription. One goroutine runs it.
type Listener struct {
	o       Options
	filters []string
	events  chan Event

	mu       sync.Mutex
	conn     *mqtt.Conn // nil without a connection
	overflow bool
}

// Listen makes a listener; Check has found the options good.
func Listen(o Options, filters []string) *Listener {
	return &Listener{o: o, filters: filters, events: make(chan Event, queueLen)}
}

// Events returns the channel of all events, in order. It is never closed.
func (l *Listener) Events() <-chan Event { return l.events }

// Overflow reports whether messages have arrived faster than they were processed: a broker may drop what it cannot
// deliver.
func (l *Listener) Overflow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.overflow
}

// Run listens until ctx ends, and reconnects with full jitter after a lost connection. The error says why there never
// was a connection, and what to do; nil otherwise.
func (l *Listener) Run(ctx context.Context) error {
	var failures []error
	urls := len(l.o.URLs)
	for turn, attempt, ever := 0, 0, false; ctx.Err() == nil; turn++ {
		conn, err := l.connect(ctx, turn%urls)
		if err == nil {
			ever, attempt = true, 0
			err = l.hold(ctx, conn)
		} else {
			attempt++
		}
		if ctx.Err() != nil {
			return nil
		}
		if !ever {
			if failures = append(failures, err); len(failures) == urls {
				return errors.Join(failures...)
			}
			continue
		}
		l.tell(ctx, Event{Err: err})
		if !pause(ctx, backOff(attempt, errors.Is(err, mqtt.ErrRefused))) {
			return nil
		}
	}
	return nil
}

// backOff returns the wait after a number of consecutive failures.
func backOff(attempt int, refused bool) time.Duration {
	if refused {
		return refusedWait + mathrand.N(refusedWait)
	}
	return mathrand.N(min(backOffMax, time.Second<<min(attempt, 16)) + 1)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// connect logs in at one URL, reports that before the first message, and subscribes.
func (l *Listener) connect(ctx context.Context, i int) (*mqtt.Conn, error) {
	m, urls, err := l.o.settings()
	if err != nil {
		return nil, err
	}
	u := urls[i]
	password, err := m.Password()
	if err != nil {
		return nil, err
	}
	secure, err := m.TLS(u)
	if err != nil {
		return nil, err
	}
	var id [5]byte
	rand.Read(id[:]) //nolint:errcheck // it never fails
	conn, err := mqtt.Connect(ctx, mqtt.Options{
		URL: u, TLS: secure, ClientID: "bordoctl-" + hex.EncodeToString(id[:]), Username: l.o.Username,
		Password: password.Reveal(),
		Dial: func(ctx context.Context, u *url.URL) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", u.Host)
		},
	})
	if err != nil {
		return nil, l.o.explain(u, err)
	}
	l.tell(ctx, Event{URL: u.String()})
	if err := l.subscribe(ctx, conn); err != nil {
		conn.Close(true)
		return nil, l.o.explain(u, err)
	}
	return conn, nil
}

func (l *Listener) subscribe(ctx context.Context, conn *mqtt.Conn) error {
	for _, f := range l.filters {
		if err := conn.Subscribe(ctx, f, func(m mqtt.Message) { l.tell(ctx, Event{Message: &m}) }); err != nil {
			return err
		}
	}
	return nil
}

// hold keeps a connection until it is lost or ctx ends.
func (l *Listener) hold(ctx context.Context, conn *mqtt.Conn) error {
	l.mu.Lock()
	l.conn = conn
	l.mu.Unlock()
	select {
	case <-conn.Lost():
	case <-ctx.Done():
	}
	l.mu.Lock()
	l.conn = nil
	l.mu.Unlock()
	err := conn.Err()
	conn.Close(true)
	return err
}

// tell sends an event. It blocks while the receiver is busy; the broker then has to hold back its messages.
func (l *Listener) tell(ctx context.Context, e Event) {
	e.At = time.Now()
	select {
	case l.events <- e:
		return
	default:
	}
	l.mu.Lock()
	l.overflow = true
	l.mu.Unlock()
	select {
	case l.events <- e:
	case <-ctx.Done():
	}
}

// Ask subscribes once more, so that the broker sends everything retained again; an event reports its consent. It
// returns immediately and does nothing without a connection.
func (l *Listener) Ask(ctx context.Context) {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn == nil {
		return
	}
	go func() {
		if l.subscribe(ctx, conn) == nil {
			l.tell(ctx, Event{Asked: true})
		}
	}()
}
