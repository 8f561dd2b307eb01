package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"bordo/agent/config"
	"bordo/agent/loglimit"
	"bordo/agent/mqtt"
	"bordo/buffer"
	"bordo/contract"
)

// Times of the forwarder.
const (
	reconnectFirst    = time.Second      // the back-off before the second attempt is up to this long
	refusedWait       = time.Minute      // after a refused login
	shortSession      = 5 * time.Second  // a session that ends sooner is suspicious
	longSession       = time.Minute      // a session that lasts longer is a sign that nobody else uses this node's id
	duplicateSessions = 3                // so many short sessions without a long one, and another box may be using this node's id
	muteSessions      = 3                // so many sessions without an echo, and the access rules are in question
	duplicateWait     = time.Minute      // then the next attempt waits for one to five times this long
	statusEvery       = 10 * time.Minute // the retained status is written again
	flushTime         = time.Second      // at the stop: for what is fresh
	goodbyeTime       = 300 * time.Millisecond
)

// forwarder carries records from the store to a broker. It owns the connection: one goroutine runs it.
type forwarder struct {
	cfg           config.MQTT
	node          string
	topics        contract.Topics
	sys           System
	now           func() time.Time // by the wall clock
	tlsTime       func() time.Time // at which certificates are judged
	log           *slog.Logger
	store         *buffer.Store
	retained      *retained // what is retained: one meta a device
	saved         *stateStore
	cleared       func(topic string)                // an empty retained message was acknowledged
	status        func(sess string) contract.Status // the node's status as it is now
	giveUp        func(recs []buffer.Record)        // records that nobody can read: a gap event and away
	notRouted     func(on bool, detail string)      // a condition of the node
	duplicateNode func(sessions int)                // how many sessions in a row died as soon as they began
	connectedTo   func()                            // a connection was made

	packetRefused func(on bool, detail string) // a condition of the node, as is
	overwritten   func(what string)            // that somebody else has written its status just now
	news          chan struct{}                // cap 1: status or shelf changed
	stop          chan struct{}                // closed: say goodbye and return

	sync     time.Duration                 // of the store: a fresh record is old after it
	pathNews func(limited, refused string) // what passes on the way to the broker, in words; "" is nothing wrong

	paths map[string]*path // by URL; of who runs the connection
	path  *path            // of the present or the last attempt

	unread map[buffer.Class]string // why a class of the backlog cannot be read, as it was logged; of who runs the connection
	logged loglimit.Causes         // states of the connection; likewise
	// corrected is when the status was last written again because somebody else had overwritten it; likewise.
	corrected time.Time
	// Until deafUntil nothing is subscribed where a message came from that is too large; deafTo is its topic, where that is
	// known; likewise.
	deafUntil time.Time
	deafTo    string

	mu     sync.Mutex
	state  BrokerStatus // as `bordo status` shows it
	passed int          // of it; see path.passes
}

// run connects, forwards and connects again until stop is closed. ctx cuts everything short.
func (f *forwarder) run(ctx context.Context) {
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
	for pause(ctx, wait) {
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
			f.notRouted(true, "the broker ends each session before it passes anything on: may this user write "+f.topics.Status()+"?")
		}
		f.disconnected(u, err, wait)
	}
}

// refused notes that the broker sent what no client may receive.
func (f *forwarder) refused(bad *mqtt.PacketError) {
	f.packetRefused(true, bad.Error())
	if bad.TooLarge {
		f.deafUntil, f.deafTo = time.Now().Add(statusEvery), bad.Topic
	}
}

// isDeaf tells whether a topic is left alone because a message came from it that is too large.
func (f *forwarder) isDeaf(topic string) bool {
	if !time.Now().Before(f.deafUntil) {
		return false
	}
	known := f.deafTo == f.topics.Status() || f.deafTo == f.topics.Ack()
	return !known || topic == f.deafTo
}

// readBacklog logs that the backlog cannot be read, and that it can again, when that changes: a disk that does not give
// something is asked at every turn.
func (f *forwarder) readBacklog(class buffer.Class, err error) {
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

// backOff decides how long to wait before the next attempt, always with full jitter so that a fleet does not come back at
// one moment. Without a refusal or a twin that is never longer than reconnect_max, and neither is the random wait before the
// history lane begins: who sets that to half a second has the backlog flowing a second after the broker is back.
type backOff struct {
	failures int // attempts in a row that brought no session
	short    int // sessions that died as soon as they began, without a long one in between
	mute     int // sessions in a row in which the own status did not come back
}

func (b *backOff) next(cfg config.MQTT, err error, lived time.Duration) time.Duration {
	if _, bad := errors.AsType[*mqtt.PacketError](err); bad { // neither a twin nor a question of rights: the broker's fault
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
	if errors.Is(err, errExplained) { // the next session will do better: nobody else is using this node's id
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

// These errors tell run how a session ended; errNotEchoed and errExplained come with errSessionEnded.
var (
	errStopped      = errors.New("stopped")
	errSessionEnded = errors.New("connection lost")
	errNotEchoed    = errors.New("the own status did not come back")
	errExplained    = errors.New("for a reason that was in flight")
)

func (f *forwarder) connectAndForward(ctx context.Context, u *url.URL) error {
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
		tlsConfig.Time = f.tlsTime
	}
	p := f.pathTo(u)
	o := mqtt.Options{
		Dial:     f.sys.DialMQTT,
		URL:      u,
		TLS:      tlsConfig,
		ClientID: f.node,
		Username: f.cfg.Username,
		Password: password.Reveal(),
		Sent:     func(n int) { f.saved.sent(f.now(), int64(n)) },
	}
	conn, err := f.login(ctx, p, o, sess)
	if err != nil {
		if over := ended(f.cfg, f.tlsTime()); over != nil && tlsConfig != nil {
			return fmt.Errorf("%w (%w)", err, over)
		}
		return err
	}
	f.connected(u)
	f.connectedTo()
	return newSession(f, p, conn, u, sess).run(ctx)
}

// login connects. When a login without the last will succeeds, another with it follows at once: that one tells whether the
// will was the reason, or the broker has only come back.
func (f *forwarder) login(ctx context.Context, p *path, o mqtt.Options, sess string) (*mqtt.Conn, error) {
	for {
		o.Will = mqtt.Message{}
		if p.withWill(time.Now()) {
			o.Will = mqtt.Message{Topic: f.topics.Status(), Payload: contract.Will(f.node, sess), Retain: true}
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
func (f *forwarder) pathTo(u *url.URL) *path {
	key := u.String()
	f.path = f.paths[key]
	if f.path == nil {
		if f.paths == nil {
			f.paths = make(map[string]*path)
		}
		f.path = newPath(int(f.cfg.MaxMessage), f.saved.brokerLimits(key), func(l brokerLimits) { f.saved.setBrokerLimits(key, l) }, time.Now())
		f.paths[key] = f.path
	}
	return f.path
}

// reportPath tells what is wrong with the way to the broker, and whether nothing is.
func (f *forwarder) reportPath() (sound bool) {
	p, now := f.path, time.Now()
	if p == nil || p.sound && p.isSound(now) {
		return true
	}
	limited, refused := p.limited(now), p.refused(now)
	f.pathNews(limited, refused)
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

func (f *forwarder) connected(u *url.URL) {
	f.mu.Lock()
	was := f.state
	f.state = BrokerStatus{URL: u.String(), Connected: true, Since: f.now()}
	f.mu.Unlock()
	if _, ok := f.logged.New(connectedTo(u)); ok {
		f.log.Info("broker connected", "url", u.String(), "attempts", was.Attempts+1)
	}
}

// steady notes that a session has lasted: what happens from now on is logged as new. A broker that accepts connections and
// ends each of them soon does not get that far, and is logged once.
func (f *forwarder) steady(u *url.URL) {
	if !f.logged.Last(connectedTo(u)) {
		f.log.Info("broker connected", "url", u.String(), "for", longSession)
	}
	f.logged.Reset(connectedTo(u))
}

// connectedTo is the state of a connection to a broker, as opposed to the causes why there is none.
func connectedTo(u *url.URL) string { return "connected to " + u.Host }

// disconnected notes the state and logs its causes, not their repetitions.
func (f *forwarder) disconnected(u *url.URL, err error, wait time.Duration) {
	f.mu.Lock()
	was := f.state
	f.state = BrokerStatus{URL: u.String(), Since: was.Since, Error: err.Error(), Attempts: was.Attempts + 1}
	if was.Connected || was.Since.IsZero() {
		f.state.Since, f.state.Attempts = f.now(), 1
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

func (f *forwarder) brokerStatus() BrokerStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.state
	st.Passed = f.passed
	return st
}

// publishStatus wakes the session because status or meta changed.
func (f *forwarder) publishStatus() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// retained holds the retained messages that stand beside status: topic to payload, with a revision each.
type retained struct {
	mu    sync.Mutex
	order []string
	items map[string]retainedMessage
}

type retainedMessage struct {
	payload []byte
	rev     uint64
}

// put sets a topic's payload and tells whether that changed anything.
func (s *retained) put(topic string, payload []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.items[topic]
	if ok && string(old.payload) == string(payload) {
		return false
	}
	if !ok {
		s.order = append(s.order, topic)
	}
	if s.items == nil {
		s.items = make(map[string]retainedMessage)
	}
	s.items[topic] = retainedMessage{payload, old.rev + 1}
	return true
}

// remove forgets a topic.
func (s *retained) remove(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, topic)
	s.order = slices.DeleteFunc(s.order, func(t string) bool { return t == topic })
}

// since returns what has changed against the revisions in seen, and notes the new ones there.
func (s *retained) since(seen map[string]uint64) []*message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*message
	for _, topic := range s.order {
		if it := s.items[topic]; seen[topic] != it.rev {
			seen[topic] = it.rev
			out = append(out, &message{topic: topic, payload: it.payload, retain: true})
		}
	}
	return out
}
