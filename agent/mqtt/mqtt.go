// Package mqtt is one connection to a broker, made with one paho client that is never reused.
//
// It promises that a publication's outcome is reported exactly once and that success means a PUBACK on this connection.
// paho guarantees that only with automatic reconnection off and a clean session: with its defaults a token completes
// without error when the link drops. The package keeps no store and does not reconnect: its user owns the records and
// the back-off.
package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Times of a connection. Paho sends a ping after keepAlive without traffic. This package judges the answer, because
// paho does not allow for the data ahead of a ping on a slow link. A dead idle link is detected after 30 to 50 s. A
// broker that accepts publications and never acknowledges them is left after ackTimeout.
const (
	keepAlive      = 30 * time.Second
	pingTimeout    = 10 * time.Second
	writeTimeout   = 10 * time.Second
	ackTimeout     = 20 * time.Second
	connectTimeout = 15 * time.Second
)

// maxQueued bounds the publications that wait for the socket; the caller's window is smaller.
const maxQueued = 256

// Options says how to connect. Dial and URL are required.
type Options struct {
	Dial     func(ctx context.Context, u *url.URL) (net.Conn, error) // the plain stream below TLS
	URL      *url.URL                                                // mqtt:// or mqtts://
	TLS      *tls.Config                                             // for mqtts
	ClientID string
	Username string
	Password string
	Will     Message
	Sent     func(n int) // called with the number of bytes written below TLS; may be nil
}

// Message is a publication.
type Message struct {
	Topic   string
	Payload []byte
	Retain  bool
	QoS     byte // of a received message; Publish always uses 1

	// Patience is how much longer than ackTimeout the acknowledgement of a publication may take, because of the data
	// ahead of it on a slow link.
	Patience time.Duration
}

// ErrRefused is matched by the error of Connect when the broker answered and said no: trying again soon is pointless.
var ErrRefused = errors.New("refused by the broker")

// ErrNotAuthorised is an ErrRefused for which the broker named the user's rights as the reason.
var ErrNotAuthorised = fmt.Errorf("%w: this user may not connect", ErrRefused)

// ErrUnacknowledged ends a connection whose broker swallows a publication: it sent something later, but no
// acknowledgement.
var ErrUnacknowledged = errors.New("the broker did not acknowledge within 20 s")

// ErrSilent ends a connection on which nothing came back any more after something was sent.
var ErrSilent = errors.New("nothing came back from the broker")

// ErrNoAnswer is matched by the error of Subscribe when the broker does not answer the subscription.
var ErrNoAnswer = errors.New("the broker did not answer within 20 s")

// ErrNotSent is matched by the outcome of a publication that was never written.
var ErrNotSent = errors.New("not sent")

// ErrHungUp is matched by the error of Connect when the broker ended the connection instead of answering the login.
var ErrHungUp = errors.New("the broker ended the connection instead of answering the login")

// ErrClosed is the outcome of what was in flight when Close was called.
var ErrClosed = errors.New("connection closed")

// Conn is an open connection. Its methods may be called from several goroutines. Its own goroutines end with the
// connection, the writer at the latest after writeTimeout (paho cannot be called back from a stalled socket).
type Conn struct {
	client paho.Client
	stream *stream
	out    chan outgoing
	lost   chan struct{}
	before int64 // bytes of the TLS handshake

	handing uint64 // the publication that is being handed to paho; of the writer

	mu      sync.Mutex
	cause   error              // why lost is closed
	handed  int64              // bytes of publications so far
	gone    int64              // bytes that had left this machine when watch last looked
	moved   time.Time          // when that grew
	next    uint64             // of pending
	pending map[uint64]*flight // publications whose outcome is not known
	acks    map[string]uint64  // which of them an acknowledgement is for, by paho's key
}

type outgoing struct {
	key uint64
	Message
}

type flight struct {
	since    time.Time // when it was passed to paho, or when it left this machine if it was seen waiting there
	end      int64     // bytes of publications up to its own end
	waits    bool      // it was seen to wait in this machine
	left     bool
	written  bool // it was handed to paho
	patience time.Duration
	done     func(error)
}

// Connect opens a connection and returns it when the broker accepted the login. The error says what to do where the
// broker refused, and matches ErrRefused then.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	c := &Conn{
		out:     make(chan outgoing, maxQueued),
		lost:    make(chan struct{}),
		pending: make(map[uint64]*flight),
		acks:    make(map[string]uint64),
	}
	dialErr := make(chan error, 1)
	c.client = paho.NewClient(c.clientOptions(ctx, o, dialErr))
	token := c.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		c.client.Disconnect(0)
		return nil, ctx.Err()
	}
	if err := token.Error(); err != nil {
		if c.stream != nil {
			err = c.reason(err)
		}
		return nil, c.connectError(o.URL, err, dialErr)
	}
	go c.write()
	go c.watch()
	return c, nil
}

func (c *Conn) clientOptions(ctx context.Context, o Options, dialErr chan<- error) *paho.ClientOptions {
	p := paho.NewClientOptions()
	p.AddBroker(o.URL.String())
	p.SetClientID(o.ClientID)
	p.SetUsername(o.Username)
	p.SetPassword(o.Password)
	p.SetProtocolVersion(4)
	p.SetCleanSession(true)
	p.SetAutoReconnect(false)
	p.SetConnectRetry(false)
	p.SetOrderMatters(true)
	p.SetKeepAlive(keepAlive)
	p.SetPingTimeout(365 * 24 * time.Hour) // watch decides
	p.SetWriteTimeout(writeTimeout)
	p.SetConnectTimeout(connectTimeout)
	p.SetStore(ackStore{c})
	p.SetDefaultPublishHandler(func(paho.Client, paho.Message) {})
	p.SetConnectionLostHandler(func(_ paho.Client, err error) { c.fail(err) })
	if o.Will.Topic != "" {
		p.SetBinaryWill(o.Will.Topic, o.Will.Payload, 1, o.Will.Retain)
	}
	p.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		conn, low, err := open(ctx, o)
		if err != nil {
			select {
			case dialErr <- err:
			default:
			}
			return nil, err
		}
		c.stream = newStream(conn)
		c.stream.low = low
		c.before = low.bytes.Load()
		return c.stream, nil
	})
	return p
}

// open dials and, for mqtts, shakes hands. It also returns the connection below TLS.
func open(ctx context.Context, o Options) (net.Conn, *lower, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	dialled, err := o.Dial(ctx, o.URL)
	if err != nil {
		return nil, nil, err
	}
	low := &lower{Conn: dialled, sent: o.Sent}
	if o.URL.Scheme != "mqtts" {
		return low, low, nil
	}
	t := tls.Client(low, o.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		dialled.Close() //nolint:errcheck // the handshake's error is the one that tells
		if _, plain := errors.AsType[tls.RecordHeaderError](err); plain || brokenOff(err) {
			err = fmt.Errorf("the other side does not speak TLS, perhaps this port is without TLS: %w", err)
		}
		return nil, nil, fmt.Errorf("tls with %s: %w", o.URL.Host, err)
	}
	return t, low, nil
}

func (c *Conn) connectError(u *url.URL, err error, dialErr <-chan error) error {
	select {
	case d := <-dialErr:
		return fmt.Errorf("connect to %s: %w", u.Host, d)
	default:
	}
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword):
		return fmt.Errorf("connect to %s: %w: user name or password is wrong", u.Host, ErrRefused)
	case errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return fmt.Errorf("connect to %s: %w", u.Host, ErrNotAuthorised)
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return fmt.Errorf("connect to %s: %w: the client id is not accepted", u.Host, ErrRefused)
	}
	if s := c.stream; s != nil && s.hungUp.Load() {
		hint := ""
		if u.Scheme == "mqtt" {
			hint = "; perhaps this port is for TLS"
		}
		return fmt.Errorf("connect to %s: %w%s (%w)", u.Host, ErrHungUp, hint, err)
	}
	return fmt.Errorf("connect to %s: %w", u.Host, err)
}

// brokenOff reports whether the other side closed the connection during the TLS handshake, as a broker does on a port
// without TLS.
func brokenOff(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// Publish sends m with QoS 1. It blocks only until paho has the message. done is called exactly once, from another
// goroutine, and must not block: with nil when the broker acknowledged, with an error when the outcome will remain
// unknown.
func (c *Conn) Publish(m Message, done func(error)) {
	c.mu.Lock()
	if c.cause != nil {
		err := fmt.Errorf("%w: %w", ErrNotSent, c.cause)
		c.mu.Unlock()
		go done(err)
		return
	}
	c.next++
	key := c.next
	c.handed += int64(len(m.Topic) + len(m.Payload))
	c.pending[key] = &flight{since: time.Now(), end: c.handed, patience: m.Patience, done: done}
	c.mu.Unlock()
	c.stream.handed.Add(1)
	select {
	case c.out <- outgoing{key: key, Message: m}:
	case <-c.lost: // fail has reported it, or is about to
	}
}

// Cork announces that publications follow, and Uncork that these were all for now: they are written together. Called by
// one goroutine.
func (c *Conn) Cork() { c.stream.cork() }

// Uncork ends what Cork began.
func (c *Conn) Uncork() { c.stream.uncork() }

// Subscribe subscribes to a topic filter with QoS 1 and waits for the broker's consent. When the broker does not answer
// within ackTimeout, the error matches ErrNoAnswer and the connection continues. handle is called in order, from one
// goroutine, and must not block.
func (c *Conn) Subscribe(ctx context.Context, filter string, handle func(Message)) error {
	token := c.client.Subscribe(filter, 1, func(_ paho.Client, m paho.Message) {
		handle(Message{Topic: m.Topic(), Payload: m.Payload(), Retain: m.Retained(), QoS: m.Qos()})
	})
	late := time.NewTimer(ackTimeout)
	defer late.Stop()
	select {
	case <-token.Done():
	case <-late.C:
		return fmt.Errorf("subscribe %s: %w", filter, ErrNoAnswer)
	case <-c.lost:
		return fmt.Errorf("subscribe %s: %w", filter, c.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("subscribe %s: %w", filter, c.reason(err))
	}
	// 0x80; some brokers use the codes of MQTT 5
	if t, ok := token.(*paho.SubscribeToken); ok && t.Result()[filter] > 2 {
		return fmt.Errorf("subscribe %s: %w", filter, ErrRefused)
	}
	return nil
}

// SubscribeLater is Subscribe without waiting: done is called exactly once, from another goroutine, and must not block.
func (c *Conn) SubscribeLater(ctx context.Context, filter string, handle func(Message), done func(error)) {
	go func() { done(c.Subscribe(ctx, filter, handle)) }()
}

// Lost is closed when the connection has ended, for whatever reason; Err returns the reason.
func (c *Conn) Lost() <-chan struct{} { return c.lost }

// Err returns why the connection ended, nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Close ends the connection. With polite, a DISCONNECT is sent first (for at most 200 ms) and the broker drops the
// will; without it, the broker sees a broken link. Everything in flight gets its outcome before Close returns.
func (c *Conn) Close(polite bool) {
	if polite && c.client.IsConnectionOpen() {
		c.client.Disconnect(200)
	} else {
		c.client.Disconnect(0)
	}
	c.fail(ErrClosed)
}

// fail ends the connection once and reports every publication whose outcome is open.
func (c *Conn) fail(err error) {
	if err == nil {
		err = ErrClosed
	}
	err = c.reason(err)
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	c.cause = err
	open := c.pending
	c.pending = make(map[uint64]*flight)
	c.mu.Unlock()
	close(c.lost)
	for _, f := range open {
		if !f.written {
			f.done(fmt.Errorf("%w: %w", ErrNotSent, err))
			continue
		}
		f.done(err)
	}
}

// reason returns why this side ended the connection, where it did, and otherwise the given error: for many consequences
// paho only says that it is not connected.
func (c *Conn) reason(err error) error {
	if broken := c.stream.err(); broken != nil {
		return broken
	}
	return err
}

func (c *Conn) finish(key uint64, err error) {
	c.mu.Lock()
	f := c.pending[key]
	delete(c.pending, key)
	c.mu.Unlock()
	if f != nil {
		f.done(err)
	}
}

// write passes publications to paho in order. Paho's Publish may block for writeTimeout on a stalled link, and then
// only this goroutine waits.
func (c *Conn) write() {
	for {
		select {
		case m := <-c.out:
			c.handing = m.key
			c.mu.Lock()
			if f := c.pending[m.key]; f != nil {
				f.written = true
			}
			c.mu.Unlock()
			if err := c.client.Publish(m.Topic, 1, m.Retain, m.Payload).Error(); err != nil {
				c.finish(m.key, c.reason(err))
			}
		case <-c.lost:
			return
		}
	}
}

// ackStore is paho's store of messages in flight. It keeps none of them (the records live in the buffer), only which
// publication each acknowledgement belongs to. Paho puts a publication in before it sends it, and removes it when its
// PUBACK has arrived, so that no goroutine has to wait for each token.
type ackStore struct{ c *Conn }

var _ paho.Store = ackStore{}

// Put implements paho.Store. Paho also puts received messages and subscriptions in.
func (s ackStore) Put(key string, p packets.ControlPacket) {
	if _, ok := p.(*packets.PublishPacket); !ok || !strings.HasPrefix(key, "o.") { // "i." is what has come
		return
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.acks[key] = s.c.handing
}

// Del implements paho.Store.
func (s ackStore) Del(key string) {
	s.c.mu.Lock()
	pub, ok := s.c.acks[key]
	delete(s.c.acks, key)
	s.c.mu.Unlock()
	if ok {
		s.c.finish(pub, nil)
	}
}

// Open implements paho.Store.
func (ackStore) Open() {}

// Get implements paho.Store.
func (ackStore) Get(string) packets.ControlPacket { return nil }

// All implements paho.Store.
func (ackStore) All() []string { return nil }

// Close implements paho.Store.
func (ackStore) Close() {}

// Reset implements paho.Store.
func (ackStore) Reset() {}
