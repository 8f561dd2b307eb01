package uplink_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent/config"
	"bordo/agent/health"
	"bordo/agent/mqtt"
	"bordo/agent/record"
	"bordo/agent/uplink"
	"bordo/buffer"
	"bordo/contract"
	"bordo/sim"
)

// nothingSaved is an agent without a disk.
type nothingSaved struct{}

func (nothingSaved) BrokerLimits(string) uplink.BrokerLimits     { return uplink.BrokerLimits{} }
func (nothingSaved) SetBrokerLimits(string, uplink.BrokerLimits) {}
func (nothingSaved) Sent(time.Time, int64)                       {}

// Every handler gets what arrives on its topics, retained or not, also after the connection was lost. A subscription that the
// broker refuses by ending the session costs the others nothing.
func TestHandlers(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprintf("refused %v", refused), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testHandlers(t, refused) })
		})
	}
}

func testHandlers(t *testing.T, refused bool) {
	broker, err := sim.NewBroker(sim.BrokerOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close() //nolint:errcheck // the test is over
	if refused {
		if _, err := broker.Raise(sim.Fault{Kind: sim.SubscribeClosed, Point: "access"}); err != nil {
			t.Fatal(err)
		}
	}
	topics, err := contract.NewTopics("", "cremasco", "quintano")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("test.yaml",
		[]byte("version: 1\ntenant: cremasco\nnode: quintano\nmqtt: {url: \"mqtt://127.0.0.1:1883\"}\nlines: []\n"),
		nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := buffer.Open(t.TempDir(), buffer.Options{Codec: record.NewCodec()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // the test is over
	var mu sync.Mutex
	var heard []string
	hear := func(m mqtt.Message) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, fmt.Sprintf("%s %s %v", m.Topic, m.Payload, m.Retain))
	}
	up := uplink.New(uplink.Options{
		MQTT: cfg.MQTT, Node: "quintano", Topics: topics, Sync: time.Second,
		Dial: func(ctx context.Context, u *url.URL) (net.Conn, error) { return broker.Dial(ctx, u) },
		Now:  time.Now, TLSTime: time.Now, Logger: slog.New(slog.DiscardHandler), Store: store,
		Retained:   &uplink.Retained{},
		Conditions: health.New(time.Now, func(health.Change) {}), Saved: nothingSaved{},
		Status: func(sess string) contract.Status {
			return contract.Status{Node: "quintano", Sess: sess, State: contract.Online, Ep: "k3f9x2q7", Next: 1,
				TS: time.Now().UnixMilli()}
		},
		Handlers: []uplink.Handler{{Filter: topics.Cmd(), Handle: hear},
			{Filter: topics.AccessFilter(), Handle: hear}},
		Connected: func() {}, Cleared: func(string) {}, GiveUp: func([]buffer.Record) {}, Conflict: func(int) {},
	})
	publish := func(topic, payload string, retain bool) {
		if err := broker.Publish(topic, []byte(payload), 1, retain); err != nil {
			t.Error(err)
		}
	}
	publish(topics.Access(1), "list", true)
	ended := make(chan struct{})
	go func() { up.Run(t.Context()); close(ended) }()
	time.Sleep(time.Minute)
	publish(topics.Cmd(), "first", false)
	time.Sleep(time.Second)
	broker.HangUp()
	time.Sleep(time.Minute)
	publish(topics.Cmd(), "second", false)
	time.Sleep(time.Second)
	up.Stop()
	<-ended

	mu.Lock()
	defer mu.Unlock()
	count := map[string]int{}
	for _, h := range heard {
		count[h]++
	}
	lists := 2 // one for each connection
	if refused {
		lists = 0
	}
	if count[topics.Cmd()+" first false"] != 1 || count[topics.Cmd()+" second false"] != 1 ||
		count[topics.Access(1)+" list true"] != lists {
		t.Errorf("heard %q", heard)
	}
}
