package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// broker is the least that a broker can be: it accepts logins and, where told to, acknowledges.
type broker struct {
	refuse    byte
	ack       bool
	dropAfter int  // close the connection after so many publications
	deaf      bool // does not answer subscriptions

	mu   sync.Mutex
	seen []string
}

func (b *broker) serve(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // a pipe
	for {
		p, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		if !b.answer(conn, p) {
			return
		}
	}
}

func (b *broker) answer(conn net.Conn, p packets.ControlPacket) bool {
	var reply packets.ControlPacket
	switch m := p.(type) {
	case *packets.ConnectPacket:
		a := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		a.ReturnCode = b.refuse
		reply = a
	case *packets.SubscribePacket:
		if b.deaf {
			return true
		}
		a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		a.MessageID, a.ReturnCodes = m.MessageID, []byte{b.refuse}
		reply = a
	case *packets.PingreqPacket:
		reply = packets.NewControlPacket(packets.Pingresp)
	case *packets.PublishPacket:
		b.mu.Lock()
		b.seen = append(b.seen, m.TopicName)
		n := len(b.seen)
		b.mu.Unlock()
		if b.dropAfter > 0 && n >= b.dropAfter {
			return false
		}
		if !b.ack {
			return true
		}
		a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		a.MessageID = m.MessageID
		reply = a
	case *packets.DisconnectPacket:
		return false
	}
	return reply == nil || reply.Write(conn) == nil
}

func connect(t *testing.T, b *broker) (*Conn, error) {
	t.Helper()
	u, err := url.Parse("mqtt://broker.example:1883")
	if err != nil {
		t.Fatal(err)
	}
	return Connect(t.Context(), Options{
		URL:      u,
		ClientID: "quintano",
		Dial: func(context.Context, *url.URL) (net.Conn, error) {
			here, there := net.Pipe()
			go b.serve(there)
			return here, nil
		},
	})
}

// soon is how long an outcome may take on a link without delay: packets are gathered on their way out and in.
const soon = 20 * time.Millisecond

func TestOutcomeIsToldOnce(t *testing.T) {
	tests := []struct {
		name   string
		broker *broker
		sent   int
		least  int           // publications that must succeed
		most   int           // and that may: an acknowledgement can be overtaken by the end of the connection
		after  time.Duration // when every outcome must be known
	}{
		{"acknowledged", &broker{ack: true}, 5, 5, 5, soon},
		{"dropped before any acknowledgement", &broker{dropAfter: 3}, 5, 0, 0, soon},
		{"dropped in between", &broker{ack: true, dropAfter: 3}, 5, 0, 2, soon},
		{"swallowed", &broker{}, 5, 0, 0, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := connect(t, tt.broker)
				if err != nil {
					t.Fatal(err)
				}
				var mu sync.Mutex
				told := make(map[int]int)
				good := 0
				for i := range tt.sent {
					c.Publish(Message{Topic: fmt.Sprint(i), Payload: []byte("x")}, func(err error) {
						mu.Lock()
						defer mu.Unlock()
						told[i]++
						if err == nil {
							good++
						}
					})
				}
				time.Sleep(tt.after)
				synctest.Wait()
				mu.Lock()
				if len(told) != tt.sent || good < tt.least || good > tt.most {
					t.Errorf("told %d of %d, %d good, want %d to %d", len(told), tt.sent, good, tt.least, tt.most)
				}
				mu.Unlock()
				c.Close(true)
				synctest.Wait()
				for i, n := range told {
					if n != 1 {
						t.Errorf("outcome of publication %d told %d times", i, n)
					}
				}
				time.Sleep(writeTimeout)
			})
		})
	}
}

func TestSwallowingBrokerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := connect(t, &broker{})
		if err != nil {
			t.Fatal(err)
		}
		c.Publish(Message{Topic: "a"}, func(error) {})
		start := time.Now()
		<-c.Lost()
		if !errors.Is(c.Err(), ErrUnacknowledged) {
			t.Errorf("ended with %v", c.Err())
		}
		if d := time.Since(start); d < ackTimeout || d > ackTimeout+ackTimeout/2 {
			t.Errorf("left after %v", d)
		}
		time.Sleep(writeTimeout)
	})
}

func TestRefused(t *testing.T) {
	for _, code := range []byte{packets.ErrRefusedBadUsernameOrPassword, packets.ErrRefusedNotAuthorised,
		packets.ErrRefusedIDRejected} {
		_, err := connect(t, &broker{refuse: code})
		if !errors.Is(err, ErrRefused) {
			t.Errorf("code %d: %v does not match ErrRefused", code, err)
		}
	}
	if _, err := connect(t, &broker{refuse: packets.ErrRefusedServerUnavailable}); err == nil ||
		errors.Is(err, ErrRefused) {
		t.Errorf("a broker that is starting counts as a refusal: %v", err)
	}
}

// A broker that hears TLS on a port without, or the reverse, closes without an answer: the error names the likely cause.
func TestTheOtherKindOfPort(t *testing.T) {
	for scheme, want := range map[string]string{"mqtt": "perhaps this port is for TLS",
		"mqtts": "perhaps this port is without TLS"} {
		for what, answer := range map[string]string{"nothing": "", "a page": "HTTP/1.1 400 Bad Request\r\n\r\n"} {
			if scheme == "mqtt" && answer != "" {
				continue // whatever that is, it is not TLS
			}
			_, err := Connect(t.Context(), Options{
				URL: &url.URL{Scheme: scheme, Host: "broker.test:1883"}, TLS: &tls.Config{ServerName: "broker.test"},
				ClientID: "quintano",
				Dial: func(context.Context, *url.URL) (net.Conn, error) {
					here, there := net.Pipe()
					go func() {
						there.Read(make([]byte, 64<<10)) //nolint:errcheck // what it hears is not for it
						there.Write([]byte(answer))      //nolint:errcheck // the other side may have gone
						there.Close()                    //nolint:errcheck // a pipe
					}()
					return here, nil
				},
			})
			if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrRefused) {
				t.Errorf("%s, %s: %v, want %q", scheme, what, err, want)
			}
		}
	}
}

func TestSubscribe(t *testing.T) {
	b := &broker{}
	c, err := connect(t, b)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(false)
	if err := c.Subscribe(t.Context(), "a/b", func(Message) {}); err != nil {
		t.Errorf("granted subscription: %v", err)
	}
	for _, code := range []byte{0x80, 0x91} {
		b.refuse = code
		if err := c.Subscribe(t.Context(), "a/c", func(Message) {}); !errors.Is(err, ErrRefused) {
			t.Errorf("subscription answered with %#x: %v", code, err)
		}
	}
}

func TestBrokerThatAnswersNoSubscriptionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := connect(t, &broker{deaf: true})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := c.Subscribe(t.Context(), "a/b", func(Message) {}); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("a subscription that nobody answers: %v", err)
		}
		if d := time.Since(start); d != ackTimeout {
			t.Errorf("answered after %v", d)
		}
		if err := c.Err(); err != nil {
			t.Errorf("the connection ended: %v", err)
		}
		c.Close(false)
		time.Sleep(writeTimeout)
	})
}

// The bubble ends only when every goroutine in it has ended.
func TestManyConnectionsLeaveNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i := range 200 {
			c, err := connect(t, &broker{ack: i%2 == 0, dropAfter: 5})
			if err != nil {
				t.Fatal(err)
			}
			for range i % 8 {
				c.Publish(Message{Topic: "a", Payload: []byte("x")}, func(error) {})
			}
			c.Close(i%3 == 0)
		}
		time.Sleep(2 * writeTimeout)
	})
}
