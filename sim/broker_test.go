package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// client is a paho client on a simulated broker, set up as an agent does it.
type client struct {
	paho.Client
	mu   sync.Mutex
	got  []string
	lost chan error
}

func connect(t *testing.T, b *Broker, id string) (*client, error) {
	t.Helper()
	c := &client{lost: make(chan error, 1)}
	o := paho.NewClientOptions().AddBroker("tcp://10.0.0.9:1883").SetClientID(id).SetProtocolVersion(4).
		SetAutoReconnect(false).SetConnectRetry(false).SetCleanSession(true).SetKeepAlive(30*time.Second).
		SetWriteTimeout(10*time.Second).SetWill("will/"+id, "lost", 1, true).
		SetCustomOpenConnectionFn(func(u *url.URL, _ paho.ClientOptions) (net.Conn, error) {
			return b.Dial(context.Background(), u)
		}).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got = append(c.got, m.Topic()+"="+string(m.Payload()))
		}).
		SetConnectionLostHandler(func(_ paho.Client, err error) { c.lost <- err })
	c.Client = paho.NewClient(o)
	token := c.Connect()
	token.Wait()
	return c, token.Error()
}

func (c *client) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// record keeps what a broker took.
func record(b *Broker) func() []string {
	var mu sync.Mutex
	var list []string
	b.Watch(func(p Publication) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, fmt.Sprintf("%s %s=%s", p.Client, p.Topic, p.Payload))
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
}

func newTestBroker(t *testing.T, faults ...Fault) *Broker {
	t.Helper()
	b, err := NewBroker(BrokerOptions{Seed: 1, Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() }) //nolint:errcheck // a second close does nothing
	return b
}

func mustConnect(t *testing.T, b *Broker, id string) *client {
	t.Helper()
	c, err := connect(t, b, id)
	if err != nil {
		t.Fatalf("connect %s: %v", id, err)
	}
	return c
}

func TestBrokerCarriesMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestBroker(t)
		taken := record(b)
		reader, writer := mustConnect(t, b, "reader"), mustConnect(t, b, "writer")
		if token := reader.Subscribe("a/#", 1, nil); token.Wait() && token.Error() != nil {
			t.Fatal(token.Error())
		}
		synctest.Wait() // the broker looks for what is retained after it has consented
		for i := range 3 {
			if token := writer.Publish(fmt.Sprintf("a/%d", i), 1, i == 2, fmt.Sprint(i)); token.Wait() &&
				token.Error() != nil {
				t.Fatal(token.Error())
			}
		}
		synctest.Wait() // the last message is acknowledged before it is passed on
		if err := b.Publish("a/down", []byte("x"), 1, false); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := reader.heard(), []string{"a/0=0", "a/1=1", "a/2=2", "a/down=x"}; !slices.Equal(got, want) {
			t.Errorf("subscriber heard %v, want %v", got, want)
		}
		if got, want := taken(), []string{"writer a/0=0", "writer a/1=1", "writer a/2=2"}; !slices.Equal(got, want) {
			t.Errorf("broker took %v, want %v", got, want)
		}
		if got, ok := b.Retained("a/2"); string(got) != "2" || !ok {
			t.Errorf("retained %q, %v", got, ok)
		}
		reader.Disconnect(250)
		writer.Disconnect(250)
	})
}

func TestBrokerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestBroker(t, Fault{Kind: BrokerGone, At: 10 * time.Second, For: 5 * time.Second})
		taken := record(b)
		start := time.Now()
		c := mustConnect(t, b, "box")
		<-c.lost
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("connection broke after %s, want 10s", d)
		}
		if _, err := connect(t, b, "box"); err == nil {
			t.Error("connected to a broker that is gone")
		}
		time.Sleep(5*time.Second - time.Since(start.Add(10*time.Second)))
		mustConnect(t, b, "box").Disconnect(250)
		if got := taken(); !slices.Equal(got, []string{"box will/box=lost"}) {
			t.Errorf("broker took %v, want the will", got)
		}
	})
}

func TestBrokerEatsAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestBroker(t)
		taken := record(b)
		id, err := b.Raise(Fault{Kind: AckEaten})
		if err != nil {
			t.Fatal(err)
		}
		c := mustConnect(t, b, "box")
		if c.Publish("a", 1, false, "1").WaitTimeout(time.Minute) {
			t.Error("an eaten PUBACK arrived")
		}
		b.Clear(id)
		if !c.Publish("a", 1, false, "2").WaitTimeout(time.Second) {
			t.Error("no PUBACK after the fault was cleared")
		}
		if got := taken(); !slices.Equal(got, []string{"box a=1", "box a=2"}) {
			t.Errorf("broker took %v", got)
		}
		c.Disconnect(250)
	})
}

func TestBrokerIsLate(t *testing.T) {
	for _, kind := range []FaultKind{AckLate, Slow} {
		synctest.Test(t, func(t *testing.T) {
			b := newTestBroker(t)
			c := mustConnect(t, b, "box")
			if _, err := b.Raise(Fault{Kind: kind, By: 3 * time.Second}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			token := c.Publish("a", 1, false, "1")
			if token.Wait(); time.Since(start) != 3*time.Second || token.Error() != nil {
				t.Errorf("%s: PUBACK after %s, %v; want 3s", kind, time.Since(start), token.Error())
			}
			c.Disconnect(250)
		})
	}
}

func TestBrokerRefusesDeniesAndIsStolenFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestBroker(t, Fault{Kind: Refused, For: time.Second},
			Fault{Kind: Denied, At: 2 * time.Second, For: time.Second},
			Fault{Kind: Stolen, At: 4 * time.Second, For: time.Second})
		taken := record(b)
		start := time.Now()
		if _, err := connect(t, b, "box"); err == nil {
			t.Error("connected to a broker that refuses")
		}
		time.Sleep(time.Second)
		c := mustConnect(t, b, "box")
		time.Sleep(1500 * time.Millisecond)
		if token := c.Publish("a", 1, false, "1"); !token.WaitTimeout(time.Second) || token.Error() != nil {
			t.Error("a denied publication must be acknowledged all the same")
		}
		if got := taken(); len(got) != 0 {
			t.Errorf("a denied publication was taken: %v", got)
		}
		<-c.lost
		if d := time.Since(start); d != 4*time.Second {
			t.Errorf("session stolen after %s, want 4s", d)
		}
	})
}

// What the broker has under way to a client has numbers of its own: they are no reason to refuse a subscription.
func TestBrokerGrantsEverySubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestBroker(t)
		for i := range 3 {
			if err := b.Publish(fmt.Sprintf("kept/%d", i), []byte("x"), 1, true); err != nil {
				t.Fatal(err)
			}
		}
		o := paho.NewClientOptions().AddBroker("tcp://10.0.0.9:1883").SetClientID("reader").SetProtocolVersion(4).SetAutoAckDisabled(true).
			SetCustomOpenConnectionFn(func(u *url.URL, _ paho.ClientOptions) (net.Conn,
				error) {
				return b.Dial(context.Background(), u)
			})
		c := paho.NewClient(o)
		if token := c.Connect(); token.Wait() && token.Error() != nil {
			t.Fatal(token.Error())
		}
		heard := make(chan string, 10)
		for _, filter := range []string{"kept/+", "a", "b", "c"} {
			token := c.Subscribe(filter, 1,
				func(_ paho.Client, m paho.Message) { heard <- m.Topic() }).(*paho.SubscribeToken)
			if token.Wait(); token.Error() != nil || token.Result()[filter] != 1 {
				t.Errorf("%s: %v, code %d", filter, token.Error(), token.Result()[filter])
			}
			synctest.Wait() // what is retained has come, and stays unacknowledged
		}
		for _, topic := range []string{"a", "b", "c"} {
			if err := b.Publish(topic, []byte("x"), 1, false); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(heard); n != 6 {
			t.Errorf("heard %d messages, want 6", n)
		}
		c.Disconnect(250)
	})
}

// Of clients that come at once under one id, one stays, and has what it subscribes to.
func TestBrokerLetsOneLiveUnderAnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestBroker(t)
		for range 50 {
			clients := make([]*client, 4)
			var wg sync.WaitGroup
			for i := range clients {
				wg.Go(func() {
					clients[i], _ = connect(t, b, "box") // or it is thrown out before its CONNACK
					clients[i].Subscribe("down", 1, nil)
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
			if err := b.Publish("down", []byte("x"), 1, false); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			open, heard := 0, 0
			for _, c := range clients {
				if c.IsConnectionOpen() {
					open++
				}
				heard += len(c.heard())
				c.Disconnect(250)
			}
			if open != 1 || heard != 1 {
				t.Fatalf("%d are connected and %d have heard, want 1 and 1", open, heard)
			}
		}
	})
}

func TestBrokerOptionsAreChecked(t *testing.T) {
	if _, err := NewBroker(BrokerOptions{Faults: []Fault{{Kind: Drop}}}); err == nil {
		t.Error("a fault of a line was taken for one of the broker")
	}
	b := newTestBroker(t)
	b.Close() //nolint:errcheck // checked below
	if _, err := b.Dial(context.Background(), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial a closed broker: %v", err)
	}
}

// What is under way on a stalled link arrives when the link recovers in time, and never when the connection breaks.
func TestBrokerStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestBroker(t, Fault{Kind: Stalled, At: 10 * time.Second, For: 5 * time.Second},
			Fault{Kind: Stalled, At: 30 * time.Second, For: time.Minute})
		taken := record(b)
		start := time.Now()
		c := mustConnect(t, b, "box")
		time.Sleep(12 * time.Second)
		token := c.Publish("a", 1, false, "1")
		if token.Wait(); time.Since(start) != 15*time.Second || token.Error() != nil {
			t.Errorf("PUBACK after %s, %v; want 15s", time.Since(start), token.Error())
		}
		time.Sleep(20 * time.Second)
		lost := c.Publish("a", 1, false, "2")
		if lost.WaitTimeout(5 * time.Second) {
			t.Error("acknowledged over a stalled link")
		}
		c.Disconnect(0)
		time.Sleep(2 * time.Minute)
		if got := taken(); !slices.Equal(got, []string{"box a=1", "box will/box=lost"}) {
			t.Errorf("broker took %v", got)
		}
	})
}
