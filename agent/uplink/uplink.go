// Package uplink carries records from the store to an MQTT broker, and incoming messages to their handlers.
//
// It promises that a record is settled only after the broker has acknowledged it on the connection that sent it, that
// fresh records go before old ones, and that a topic, size or subscription that a broker refuses affects nothing else.
// It owns the connection and reconnects by itself. It reports what it learns about the connection as conditions.
package uplink

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/agent/health"
	"bordo/agent/loglimit"
	"bordo/agent/mqtt"
	"bordo/buffer"
	"bordo/contract"
)

// Times of the uplink.
const (
	reconnectFirst = time.Second     // the back-off before the second attempt is up to this long
	refusedWait    = time.Minute     // after a refused login
	shortSession   = 5 * time.Second // a session that ends sooner is suspicious
	longSession    = time.Minute     // a longer session shows that no other box uses this node's id
	// after this many short sessions without a long one, another box may be using this node's id
	duplicateSessions = 3
	muteSessions      = 3                // so many sessions without an echo, and the access rules are in question
	duplicateWait     = time.Minute      // then the next attempt waits for one to five times this long
	StatusEvery       = 10 * time.Minute // the retained status is written again
	flushTime         = time.Second      // when stopping: for fresh records
	goodbyeTime       = 300 * time.Millisecond
)

// Saved is what outlives the agent. Its methods may be called from several goroutines.
type Saved interface {
	// BrokerLimits returns the learned limits of a broker by its URL, the zero value when nothing is known.
	BrokerLimits(url string) BrokerLimits
	SetBrokerLimits(url string, l BrokerLimits)
	// Sent counts n bytes that went to a broker.
	Sent(now time.Time, n int64)
}

// Handler takes the messages that arrive on the topics of a filter.
type Handler struct {
	Filter string // as in SUBSCRIBE: one + may stand for a level
	// Handle must not block: it is called from the goroutine that reads the connection.
	Handle func(mqtt.Message)
}

// Options are what an Uplink works with. All of them are required unless they say otherwise.
type Options struct {
	MQTT       config.MQTT
	Node       string
	Topics     contract.Topics
	Sync       time.Duration                                           // of the store: a fresh record is old after it
	Dial       func(ctx context.Context, u *url.URL) (net.Conn, error) // see mqtt.Options
	Now        func() time.Time                                        // by the wall clock
	TLSTime    func() time.Time                                        // at which certificates are judged
	Logger     *slog.Logger
	Store      *buffer.Store
	Retained   *Retained
	Conditions *health.Conditions
	Saved      Saved
	Status     func(sess string) contract.Status // the current status of the node
	Handlers   []Handler                         // of incoming messages, subscribed to in this order; may be empty

	Connected func()                     // a connection was made
	Cleared   func(topic string)         // an empty retained message was acknowledged
	GiveUp    func(recs []buffer.Record) // discards unreadable records and reports a gap
	// another box seems to use this node's id: the number of consecutive sessions that died immediately
	Conflict func(sessions int)
}

// Uplink carries records from the store to a broker. It owns the connection: one goroutine runs it.
type Uplink struct {
	Options
	cfg  config.MQTT
	log  *slog.Logger
	news chan struct{} // cap 1: status or a retained message changed
	stop chan struct{} // closed: say goodbye and return

	paths map[string]*path // by URL; of who runs the connection
	path  *path            // of the present or the last attempt

	// why a class of the backlog cannot be read, as logged; owned by the goroutine that runs the connection
	unread map[buffer.Class]string
	logged loglimit.Causes // states of the connection; same owner
	// corrected is when the status was last republished because another client had overwritten it; same owner.
	corrected time.Time
	// Until deafUntil, nothing is subscribed where a message arrived that was too large. deafTo is its topic, where
	// known. Same owner.
	deafUntil time.Time
	deafTo    string

	mu     sync.Mutex
	state  BrokerStatus // as `bordo status` shows it
	passed int          // of it; see path.passes
}

// New makes an Uplink. It connects to nothing before Run.
func New(o Options) *Uplink {
	return &Uplink{Options: o, cfg: o.MQTT, log: o.Logger, news: make(chan struct{}, 1), stop: make(chan struct{})}
}

// Stop lets Run say goodbye and return. It may be called once.
func (f *Uplink) Stop() { close(f.stop) }

// BrokerStatus is the state of the connection to the broker.
type BrokerStatus struct {
	URL       string    `json:"url"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`              // of this state
	Attempts  int       `json:"attempts,omitempty"` // failed ones since then
	Error     string    `json:"error,omitempty"`

	// size of the largest message that passes, where a larger one is known to fail, in bytes
	Passed int `json:"message_passed,omitempty"`
}

// Run connects, forwards and connects again until Stop is called. ctx cuts everything short.
func (f *Uplink) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // a stop also ends a wait or an attempt to connect
		select {
		case <-f.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	var off backOff
	wait := time.Duration(0)
	for clock.Sleep(ctx, wait) {
		u := f.cfg.URLs[off.failures%len(f.cfg.URLs)]
		began := time.Now()
		err := f.connectAndForward(ctx, u)
		if errors.Is(err, errStopped) || ctx.Err() != nil {
			return
		}
		wait = off.next(f.cfg, err, time.Since(began))
		if bad, ok := errors.AsType[*mqtt.PacketError](err); ok {
			f.refused(bad)
		}
		if p := f.paths[f.cfg.URLs[off.failures%len(f.cfg.URLs)].String()]; p != nil {
			wait = max(wait, time.Until(p.rest))
		}
		f.duplicateNode(off.short)
		if off.mute >= muteSessions && (f.reportPath() || f.path.blame.IsMany()) {
			f.path.barred = true
			f.reportPath()
			f.Conditions.Set(contract.NotRouted, "", true,
				"the broker ends each session before it passes anything on: may this user write "+f.Topics.Status()+"?")
		}
		f.disconnected(u, err, wait)
	}
}

// duplicateNode records how many consecutive sessions died immediately: two boxes with one identity disconnect each
// other.
func (f *Uplink) duplicateNode(sessions int) {
	suspected := sessions >= duplicateSessions
	if f.Conditions.Set(contract.TwinSuspected, "", suspected,
		fmt.Sprintf("%d sessions ended within %v", sessions, shortSession)) && suspected {
		f.Conflict(sessions)
	}
}

// overwritten records that another client has just written this node's status. The condition lasts until that stops.
func (f *Uplink) overwritten(what string) {
	f.Conditions.Set(contract.StatusOverwritten, "", true, what)
	f.Conditions.Set(contract.StatusOverwritten, "", false, "")
}

// refused notes that the broker sent what no client may receive.
func (f *Uplink) refused(bad *mqtt.PacketError) {
	f.Conditions.Set(contract.PacketRefused, "", true, bad.Error())
	if bad.TooLarge {
		f.deafUntil, f.deafTo = time.Now().Add(StatusEvery), bad.Topic
	}
}

// isDeaf reports whether a filter is left alone because a message came from a topic of it that is too large.
func (f *Uplink) isDeaf(filter string) bool {
	if !time.Now().Before(f.deafUntil) {
		return false
	}
	filters := []string{f.Topics.Status(), f.Topics.Ack()}
	for _, h := range f.Handlers {
		filters = append(filters, h.Filter)
	}
	known := slices.ContainsFunc(filters, func(filter string) bool { return matches(filter, f.deafTo) })
	return !known || matches(filter, f.deafTo)
}

// matches reports whether a topic matches a filter, in which + stands for one level.
func matches(filter, topic string) bool {
	want, got := strings.Split(filter, "/"), strings.Split(topic, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool { return w == "+" || w == g })
}

// readBacklog logs that the backlog cannot be read, and that it can again, when that changes: a disk that does not give
// something is asked at every turn.
func (f *Uplink) readBacklog(class buffer.Class, err error) {
	was, bad := f.unread[class]
	switch {
	case err != nil && loglimit.Cause(err.Error()) != was:
		f.log.Error("read backlog", "class", class, "err", err)
		if f.unread == nil {
			f.unread = map[buffer.Class]string{}
		}
		f.unread[class] = loglimit.Cause(err.Error())
	case err == nil && bad:
		f.log.Info("backlog can be read again", "class", class)
		delete(f.unread, class)
	}
}

// backOff computes the wait before the next attempt, always with full jitter so that a fleet does not return at one
// moment. Without a refusal or a duplicate node, neither this wait nor the random wait before the history lane begins
// ever exceeds reconnect_max: with half a second there, the backlog flows a second after the broker is back.
type backOff struct {
	failures int // attempts in a row that brought no session
	short    int // sessions that died as soon as they began, without a long one in between
	mute     int // sessions in a row in which the own status did not come back
}

func (b *backOff) next(cfg config.MQTT, err error, lived time.Duration) time.Duration {
	// neither a duplicate node nor missing rights: a fault of the broker
	if _, bad := errors.AsType[*mqtt.PacketError](err); bad {
		if lived > longSession {
			b.failures = 0
		}
		b.failures++
		return mathrand.N(min(cfg.ReconnectMax, reconnectFirst<<min(b.failures, 16)) + 1)
	}
	switch {
	case errors.Is(err, mqtt.ErrRefused):
		b.failures++
		return refusedWait + mathrand.N(refusedWait)
	case !errors.Is(err, errSessionEnded):
		b.failures++
		return mathrand.N(min(cfg.ReconnectMax, reconnectFirst<<min(b.failures, 16)) + 1)
	}
	if errors.Is(err, errNotEchoed) {
		b.mute++
	}
	if errors.Is(err, errExplained) { // the next session will do better: no other box uses this node's id
		b.failures, b.short = 0, 0
		return mathrand.N(min(cfg.ReconnectJitter, cfg.ReconnectMax) + 1)
	}
	if errors.Is(err, errNotEchoed) { // not a twin: that one lets a session begin
		b.failures++
		return mathrand.N(min(cfg.ReconnectMax, reconnectFirst<<min(b.failures, 16)) + 1)
	}
	b.failures, b.mute = 0, 0
	switch {
	case lived <= shortSession:
		b.short++
	case lived > longSession:
		b.short = 0
	}
	if b.short >= duplicateSessions {
		return duplicateWait + mathrand.N(4*duplicateWait)
	}
	return mathrand.N(min(cfg.ReconnectJitter, cfg.ReconnectMax) + 1)
}

// These errors say how a session ended; errNotEchoed and errExplained come together with errSessionEnded.
var (
	errStopped      = errors.New("stopped")
	errSessionEnded = errors.New("connection lost")
	errNotEchoed    = errors.New("the own status did not come back")
	errExplained    = errors.New("for a reason that was in flight")
)

func (f *Uplink) connectAndForward(ctx context.Context, u *url.URL) error {
	sess, err := sessionID()
	if err != nil {
		return err
	}
	password, err := f.cfg.Password()
	if err != nil {
		return err
	}
	tlsConfig, err := f.cfg.TLS(u)
	if err != nil {
		return err
	}
	if tlsConfig != nil {
		tlsConfig.Time = f.TLSTime
	}
	p := f.pathTo(u)
	o := mqtt.Options{
		Dial:     f.Dial,
		URL:      u,
		TLS:      tlsConfig,
		ClientID: f.Node,
		Username: f.cfg.Username,
		Password: password.Reveal(),
		Sent:     func(n int) { f.Saved.Sent(f.Now(), int64(n)) },
	}
	conn, err := f.login(ctx, p, o, sess)
	if err != nil {
		if over := ended(f.cfg, f.TLSTime()); over != nil && tlsConfig != nil {
			return fmt.Errorf("%w (%w)", err, over)
		}
		return err
	}
	f.connected(u)
	f.Connected()
	return newSession(f, p, conn, u, sess).run(ctx)
}

// login connects. When a login without the last will succeeds, another with it follows immediately: it shows whether
// the will was the reason, or the broker has just come back.
func (f *Uplink) login(ctx context.Context, p *path, o mqtt.Options, sess string) (*mqtt.Conn, error) {
	for {
		o.Will = mqtt.Message{}
		if p.withWill(time.Now()) {
			o.Will = mqtt.Message{Topic: f.Topics.Status(), Payload: contract.Will(f.Node, sess), Retain: true}
		}
		experiment := p.will
		conn, err := mqtt.Connect(ctx, o)
		switch {
		case err != nil:
			p.login(err, time.Now())
			if experiment == willAgain && p.will == willUsed && !p.withWill(time.Now()) {
				continue // now known: connect without
			}
			f.reportPath()
			return nil, err
		case experiment == willLeftOut:
			conn.Close(true)
			p.will = willAgain
			continue
		}
		p.will, p.logins = willUsed, 0
		if o.Will.Topic != "" {
			p.willWait = 0
		}
		f.reportPath()
		return conn, nil
	}
}

// pathTo returns what is known of the way to a broker.
func (f *Uplink) pathTo(u *url.URL) *path {
	key := u.String()
	f.path = f.paths[key]
	if f.path == nil {
		if f.paths == nil {
			f.paths = make(map[string]*path)
		}
		f.path = newPath(int(f.cfg.MaxMessage), f.Saved.BrokerLimits(key),
			func(l BrokerLimits) { f.Saved.SetBrokerLimits(key, l) }, time.Now())
		f.paths[key] = f.path
	}
	return f.path
}

// reportPath reports faults of the way to the broker as conditions, and returns whether there are none.
func (f *Uplink) reportPath() (sound bool) {
	p, now := f.path, time.Now()
	if p == nil || p.sound && p.isSound(now) {
		return true
	}
	limited, refused := p.limited(now), p.refused(now)
	f.Conditions.Set(contract.MessageLimited, "", limited != "", limited)
	f.Conditions.Set(contract.TopicRefused, "", refused != "", refused)
	f.mu.Lock()
	f.passed = p.passes()
	f.mu.Unlock()
	p.sound = limited == "" && refused == "" && !p.blame.Suspect()
	return p.sound
}

func sessionID() (string, error) {
	var b [5]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(b[:]), nil
}

func (f *Uplink) connected(u *url.URL) {
	f.mu.Lock()
	was := f.state
	f.state = BrokerStatus{URL: u.String(), Connected: true, Since: f.Now()}
	f.mu.Unlock()
	if _, ok := f.logged.New(connectedTo(u)); ok {
		f.log.Info("broker connected", "url", u.String(), "attempts", was.Attempts+1)
	}
}

// steady records that a session has lasted: later states are logged as new. A broker that accepts connections and soon
// ends each of them does not get that far, and is logged once.
func (f *Uplink) steady(u *url.URL) {
	if !f.logged.Last(connectedTo(u)) {
		f.log.Info("broker connected", "url", u.String(), "for", longSession)
	}
	f.logged.Reset(connectedTo(u))
}

// connectedTo is the logged state of a connection to a broker, as opposed to the causes of a missing one.
func connectedTo(u *url.URL) string { return "connected to " + u.Host }

// disconnected notes the state and logs its causes, not their repetitions.
func (f *Uplink) disconnected(u *url.URL, err error, wait time.Duration) {
	f.mu.Lock()
	was := f.state
	f.state = BrokerStatus{URL: u.String(), Since: was.Since, Error: err.Error(), Attempts: was.Attempts + 1}
	if was.Connected || was.Since.IsZero() {
		f.state.Since, f.state.Attempts = f.Now(), 1
	}
	attempts := f.state.Attempts
	f.mu.Unlock()
	if repeats, ok := f.logged.New(u.Host + ": " + err.Error()); ok {
		args := []any{"url", u.String(), "err", err, "attempts", attempts, "again_in", wait.Round(time.Millisecond)}
		if repeats > 0 {
			args = append(args, "repeats", repeats)
		}
		f.log.Warn("broker not connected", args...)
	}
}

func (f *Uplink) Status() BrokerStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.state
	st.Passed = f.passed
	return st
}

// PublishStatus wakes the session because status or meta changed.
func (f *Uplink) PublishStatus() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}
