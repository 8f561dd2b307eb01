package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// maxClients bounds the connections of a simulated broker.
const maxClients = 10000

// Publication is a message that the broker took from a client: from this moment on it counts as delivered.
type Publication struct {
	At      time.Time
	Client  string
	Topic   string
	Payload []byte // must not be changed
	QoS     byte
	Retain  bool
	Will    bool // the broker published it in the name of a client that was lost
}

// BrokerOptions are the settings of a broker. The zero value works.
type BrokerOptions struct {
	Seed   uint64
	Faults []Fault // faults of the place "broker"
	Logger *slog.Logger
}

// Broker is an MQTT broker in this process, without password, as open as a test needs it and never more: it listens on
// loopback addresses and on connections in memory only. It works inside testing/synctest with Dial.
type Broker struct {
	server *mqtt.Server
	hook   *brokerHook
	faults *faults
	log    *slog.Logger
	start  time.Time
	acks   atomic.Uint64 // acknowledgements so far
	done   context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	conns     map[*brokerConn]bool   // open
	seats     map[string]*brokerConn // by client id: who was let in under it
	listeners []net.Listener
	watchers  map[int]func(Publication)
	watched   int           // number of watchers so far
	wake      chan struct{} // renewed when the faults change
	quota     quota
}

// NewBroker starts a broker. It runs until Close.
func NewBroker(o BrokerOptions) (*Broker, error) {
	for i, f := range o.Faults {
		if err := f.check("broker"); err != nil {
			return nil, fmt.Errorf("faults[%d]: %w", i, err)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumClients = maxClients
	caps.MaximumMessageExpiryInterval = 0 // nothing expires: a retained message of last week is still retained
	b := &Broker{
		server: mqtt.New(&mqtt.Options{
			Capabilities: caps, InlineClient: true,
			Logger:                 slog.New(slog.DiscardHandler), // it logs each lost connection as a warning
			SysTopicResendInterval: int64((365 * 24 * time.Hour).Seconds()),
		}),
		log: o.Logger, start: time.Now(), conns: map[*brokerConn]bool{}, seats: map[string]*brokerConn{},
		watchers: map[int]func(Publication){},
		wake:     make(chan struct{}),
	}
	b.done, b.stop = context.WithCancel(context.Background())
	b.faults = newFaults(o.Seed, "broker", b.start, o.Faults)
	b.faults.change = b.woken
	b.hook = &brokerHook{broker: b}
	if err := b.server.AddHook(b.hook, nil); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	if err := b.server.AddListener(nowhere{}); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	// Serve is not called: its loop would scan all retained messages every second, which costs a simulated day more
	// than its messages. It only expires messages and delays the wills of MQTT 5, and neither occurs here.
	b.wg.Go(b.watchTimes)
	return b, nil
}

// Close ends all connections, then the broker, and waits until nothing of it is left. It may be called more than once.
func (b *Broker) Close() error {
	if b.done.Err() != nil {
		return nil
	}
	b.stop()
	b.mu.Lock()
	for _, l := range b.listeners {
		l.Close() //nolint:errcheck // nothing to save
	}
	b.mu.Unlock()
	b.HangUp()
	b.wg.Wait()
	if err := b.server.Close(); err != nil {
		return fmt.Errorf("stop broker: %w", err)
	}
	return nil
}

// Dial connects to the broker in memory, whatever the URL says. It has the signature of the agent's System.DialMQTT.
func (b *Broker) Dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := "broker"
	if u != nil {
		name = u.Host
	}
	if b.isGone() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: pipeAddr(name), Err: errGone}
	}
	here, there := pipe(name)
	if !b.serve(there) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: pipeAddr(name), Err: net.ErrClosed}
	}
	return here, nil
}

// errGone is the system's error for a host that does not listen.
var errGone = errors.New("connection refused")

// Listen opens a loopback TCP port (0 for a free one) and returns its URL, mqtt://127.0.0.1:PORT.
func (b *Broker) Listen(ctx context.Context, port int) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", fmt.Errorf("open broker port: %w", err)
	}
	b.mu.Lock()
	b.listeners = append(b.listeners, l)
	b.mu.Unlock()
	b.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			if b.isGone() || !b.serve(c) {
				c.Close() //nolint:errcheck // nothing to save
			}
		}
	})
	return "mqtt://" + l.Addr().String(), nil
}

// serve gives a connection to the broker; false when the broker is closing.
func (b *Broker) serve(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done.Err() != nil {
		return false
	}
	bc := newBrokerConn(c, b)
	b.conns[bc] = true
	b.wg.Go(func() {
		err := b.server.EstablishConnection(nowhereID, bc)
		if err != nil && !errors.Is(err, io.EOF) {
			b.log.Debug("broker connection ended", "err", err)
		}
		bc.finish()
		b.leave(bc)
	})
	return true
}

// sit admits a client under its id: an earlier client with that id is disconnected and has ended when sit returns. The
// server library disconnects it as well, but does not wait: its end may remove the new client and its subscriptions
// from the lists, and two clients then share one id for ever.
func (b *Broker) sit(cl *mqtt.Client) {
	bc := cl.Net.Conn.(*brokerConn)
	for {
		b.mu.Lock()
		held := b.seats[cl.ID]
		if held == nil {
			b.seats[cl.ID], bc.client = bc, cl
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		held.client.Stop(packets.ErrSessionTakenOver)
		<-held.left
	}
}

// leave takes a connection that has ended off the lists.
func (b *Broker) leave(bc *brokerConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, bc)
	if bc.client != nil {
		delete(b.seats, bc.client.ID)
	}
	close(bc.left)
}

// Watch calls f for every accepted publication from now on, in the broker's order, before it is acknowledged. f must
// not block and must not call the broker. The returned function ends it.
func (b *Broker) Watch(f func(Publication)) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.watched
	b.watched++
	b.watchers[id] = f
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, id)
	}
}

// taken passes a publication to the watchers. The lock keeps the order the same for all of them.
func (b *Broker) taken(p Publication) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.watched {
		if f, ok := b.watchers[id]; ok {
			f(p)
		}
	}
}

// Publish sends a message to the subscribers, as a central system does.
func (b *Broker) Publish(topic string, payload []byte, qos byte, retain bool) error {
	if err := b.server.Publish(topic, payload, retain, qos); err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	return nil
}

// Retained gives the retained message of a topic.
func (b *Broker) Retained(topic string) ([]byte, bool) {
	pk, ok := b.server.Topics.Retained.Get(topic)
	if !ok || len(pk.Payload) == 0 {
		return nil, false
	}
	return pk.Payload, true
}

// Connected lists the client ids that are connected now.
func (b *Broker) Connected() []string {
	var ids []string
	for _, c := range b.server.Clients.GetAll() {
		if !c.Net.Inline && !c.Closed() {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// Raise lets something go wrong from now on and returns the number by which Clear ends it.
func (b *Broker) Raise(f Fault) (int, error) {
	if err := f.check("broker"); err != nil {
		return 0, err
	}
	return b.faults.raise(f, time.Now()), nil
}

// Clear ends the fault with a number, or all for 0.
func (b *Broker) Clear(id int) { b.faults.clear(id) }

func (b *Broker) isGone() bool {
	_, _, gone := b.faults.on(BrokerGone, "", time.Now())
	return gone
}

// stalled reports whether nothing arrives now, and what to wait for until that can change.
func (b *Broker) stalled() (wake <-chan struct{}, next time.Time, on bool) {
	b.mu.Lock()
	wake = b.wake
	b.mu.Unlock()
	now := time.Now()
	if _, _, on = b.faults.on(Stalled, "", now); on {
		next = b.faults.next(now)
	}
	return wake, next, on
}

// HangUp breaks every connection without a word, as a network does. New ones are taken.
func (b *Broker) HangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.Close() //nolint:errcheck // nothing to save
	}
}

func (b *Broker) woken() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.wake)
	b.wake = make(chan struct{})
}

// watchTimes does the work at the edges of a fault's window.
func (b *Broker) watchTimes() {
	gone := false
	var stolen uint64
	for {
		now := time.Now()
		b.mu.Lock()
		wake := b.wake
		b.mu.Unlock()
		if on := b.isGone(); on != gone {
			gone = on
			b.log.Info("broker", "gone", gone)
			if gone {
				b.HangUp()
			}
		}
		if _, n, on := b.faults.on(Stolen, "", now); on && n != stolen {
			stolen = n
			b.wg.Go(b.steal)
		}
		var timer <-chan time.Time
		if next := b.faults.next(now); !next.IsZero() {
			timer = time.After(max(0, next.Sub(now)))
		}
		select {
		case <-b.done.Done():
			return
		case <-wake:
		case <-timer:
		}
	}
}

// steal connects once under the id of each connected client, so that the broker throws that client out.
func (b *Broker) steal() {
	for _, id := range b.Connected() {
		c, err := b.Dial(b.done, nil)
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // a pipe
		if _, err := c.Write(connectPacket(id)); err == nil {
			io.ReadFull(c, make([]byte, 4)) //nolint:errcheck // CONNACK, or not: the harm is done
		}
		c.Close() //nolint:errcheck // nothing to save
	}
}

// connectPacket is an MQTT 3.1.1 CONNECT with a clean session and nothing else.
func connectPacket(id string) []byte {
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 30, byte(len(id) >> 8), byte(len(id))}, id...)
	return append([]byte{0x10, byte(len(body))}, body...)
}

// nowhereID names the listener that the server library wants to have; connections come from Dial and Listen.
const nowhereID = "sim"

// nowhere is a listener that hears nothing.
type nowhere struct{}

var _ listeners.Listener = nowhere{}

func (nowhere) Init(*slog.Logger) error        { return nil }
func (nowhere) Serve(listeners.EstablishFn)    {}
func (nowhere) ID() string                     { return nowhereID }
func (nowhere) Address() string                { return nowhereID }
func (nowhere) Protocol() string               { return "sim" }
func (nowhere) Close(closer listeners.CloseFn) { closer(nowhereID) }

// brokerHook sees what clients do.
type brokerHook struct {
	mqtt.HookBase
	broker *Broker
}

func (*brokerHook) ID() string { return "sim" }

func (*brokerHook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablish, mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnWillSent,
		mqtt.OnSubscribe, mqtt.OnPacketEncode:
		return true
	}
	return false
}

// OnConnectAuthenticate lets everybody in, but for the fault.
func (h *brokerHook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	if _, _, on := h.broker.faults.on(WillClosed, "", time.Now()); on && pk.Connect.WillFlag {
		cl.Net.Conn.Close() //nolint:errcheck // nothing to save
		return false
	}
	_, _, refused := h.broker.faults.on(Refused, "", time.Now())
	return !refused
}

// OnSessionEstablish is called before an accepted client is admitted.
func (h *brokerHook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) { h.broker.sit(cl) }

// OnACLCheck allows everything.
func (*brokerHook) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// OnPublish is called before the acknowledgement is written: what is recorded here was accepted.
func (h *brokerHook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil
	}
	now := time.Now()
	if _, _, denied := h.broker.faults.on(Denied, "", now); denied {
		return pk, packets.CodeSuccessIgnore
	}
	if h.broker.refuses(cl, &pk, now) {
		return pk, packets.ErrRejectPacket
	}
	h.broker.taken(Publication{At: now, Client: cl.ID, Topic: pk.TopicName, Payload: pk.Payload,
		QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain})
	return pk, nil
}

// OnSubscribe hides the packet id of a SUBSCRIBE from the server library, which would refuse an id that it uses itself
// towards this client, such as for an unacknowledged retained message. Both sides count independently (MQTT 3.1.1,
// 2.3.1), so a client that subscribes one filter after the other would lose some of them.
func (h *brokerHook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if bc, ok := cl.Net.Conn.(*brokerConn); ok {
		if f, _, on := h.broker.faults.on(SubscribeClosed, "", time.Now()); on && subscribesTo(pk, f.Point) {
			bc.Close() //nolint:errcheck // nothing to save
		}
		if _, _, on := h.broker.faults.on(SubscribeMute, "", time.Now()); on {
			pk.Filters = nil
		}
		bc.subscribing, pk.PacketID = pk.PacketID, 0
	}
	return pk
}

// OnPacketEncode restores the packet id in the answer to a SUBSCRIBE: the library writes it before it reads on.
func (*brokerHook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if bc, ok := cl.Net.Conn.(*brokerConn); ok && pk.FixedHeader.Type == packets.Suback {
		pk.PacketID = bc.subscribing
	}
	return pk
}

// OnWillSent reports a will.
func (h *brokerHook) OnWillSent(cl *mqtt.Client, pk packets.Packet) {
	h.broker.taken(Publication{At: time.Now(), Client: cl.ID, Topic: pk.TopicName, Payload: pk.Payload,
		QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain, Will: true})
}
