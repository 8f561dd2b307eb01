package sim

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"bordo/contract"
	"bordo/drivers/catalogue"
)

// fleetSession is one connection of a node.
type fleetSession struct {
	node     *fleetNode
	sess     string
	client   paho.Client
	conn     net.Conn
	lost     chan error
	outcomes chan fleetOutcome
	inflight int
	late     int            // messages of history among them
	told     bool           // the last status reported a backlog
	first    []fleetMessage // what a session begins with
}

// fleetOutcome is what became of a message.
type fleetOutcome struct {
	fleetMessage
	took time.Duration
	err  error
}

// statusEvery is the interval of a node's status.
const statusEvery = 10 * time.Minute

// run sends until the link is lost or ctx ends. What is unacknowledged then becomes history.
func (s *fleetSession) run(ctx context.Context, next *time.Time) {
	n := s.node
	s.begin()
	history := time.NewTicker(time.Duration(float64(time.Second) / n.fleet.o.HistoryRate))
	defer history.Stop()
	status := time.NewTicker(statusEvery)
	defer status.Stop()
	_, broken := n.fleet.link()
	for ctx.Err() == nil {
		s.sendFresh()
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(*next)):
			n.measure(*next, &n.fresh)
			*next = next.Add(n.fleet.o.Every)
		case <-history.C:
			s.sendHistory()
		case <-status.C:
			s.first = append(s.first, s.status(contract.Online))
		case o := <-s.outcomes:
			s.settle(o)
		case <-broken:
			s.conn.Close() //nolint:errcheck // a cable has no manners
			s.end()
			return
		case <-s.lost:
			n.fleet.lost.Add(1)
			s.end()
			return
		}
	}
	s.goodbye()
}

// begin queues what a session begins with: status, meta, events.
func (s *fleetSession) begin() {
	n := s.node
	s.first = append(s.first, s.status(contract.Online))
	for _, dev := range []string{"inv-1", "meter-1"} {
		m := contract.Meta{Node: n.topics.Node(), Dev: dev, Rev: 1, Maker: "Bordo", Model: "Fleet",
			Every: n.fleet.o.Every.Milliseconds()}
		for _, key := range fleetPoints[dev] {
			if p, ok := catalogue.PointOf(key); ok {
				m.Points = append(m.Points,
					contract.MetaPoint{Key: key, Type: p.Type.String(), Unit: p.Unit, Kind: string(p.Kind),
						Label: contract.Label{It: p.It, En: p.En}})
			}
		}
		if payload, err := m.Encode(); err == nil {
			s.first = append(s.first, fleetMessage{topic: n.topics.Meta(dev), payload: payload, retain: true})
		}
	}
	s.first = append(s.first, n.unsent...)
	n.unsent = nil
	if !n.opened {
		s.first = append(s.first, s.event(1, contract.StoreOpened, map[string]any{"clean": true}))
		n.opened = true
	}
	for _, g := range n.gaps {
		n.seq++
		s.first = append(s.first, s.event(n.seq, contract.StoreGap,
			map[string]any{"ep": n.ep, "class": "reading", "from": g[0], "to": g[1], "n": g[1] - g[0] + 1,
				"why": "evicted"}))
	}
	n.gaps = nil
}

func (s *fleetSession) event(seq uint64, typ string, data map[string]any) fleetMessage {
	n := s.node
	text, err := json.Marshal(data)
	if err != nil {
		panic("sim: event data of ours do not marshal: " + err.Error())
	}
	payload := contract.AppendEvent(nil,
		contract.EventHead{Tenant: n.topics.Tenant(), Node: n.topics.Node(), Dev: contract.NodeDevice,
			Ep: n.ep, Seq: seq, Type: typ, TS: time.Now().UnixMilli(), Clk: contract.ClockSync}, text)
	return fleetMessage{topic: n.topics.Event(contract.NodeDevice), payload: payload}
}

func (s *fleetSession) status(state contract.State) fleetMessage {
	n := s.node
	st := contract.Status{Node: n.topics.Node(), State: state, Sess: s.sess, Boot: n.ep, Ep: n.ep, Next: n.seq + 1,
		Clk: contract.ClockSync,
		Ver: "fleet", TS: time.Now().UnixMilli(), Sim: true}
	k := len(n.history)
	if s.told = k > 0; s.told {
		st.Backlog = []contract.Backlog{{Ep: n.ep, First: n.history[0].seq, Last: n.history[k-1].seq, N: uint64(k)}}
	}
	payload, err := st.Encode()
	if err != nil {
		panic("sim: status of ours does not marshal: " + err.Error())
	}
	return fleetMessage{topic: n.topics.Status(), payload: payload, retain: true}
}

// sendFresh sends what a session begins with, then live samples, one message for each.
func (s *fleetSession) sendFresh() {
	for s.inflight < fleetWindow && len(s.first) > 0 {
		m := s.first[0]
		s.first = s.first[1:]
		s.publish(m)
	}
	n := s.node
	for s.inflight < fleetWindow && len(n.fresh) > 0 {
		x := n.fresh[0]
		n.fresh = n.fresh[1:]
		s.publish(s.batch([]fleetSample{x}, false))
	}
}

// sendHistory sends one message of history: samples of one device, as many as fit.
func (s *fleetSession) sendHistory() {
	n := s.node
	if s.inflight == fleetWindow || len(n.history) == 0 {
		return
	}
	dev, size := n.history[0].dev, 0
	var take, leave []fleetSample
	for i, x := range n.history {
		if x.dev != dev {
			leave = append(leave, x)
			continue
		}
		if len(take) == contract.MaxSamples || size+len(x.raw) > contract.MaxPayload-1024 {
			leave = append(leave, n.history[i:]...)
			break
		}
		take, size = append(take, x), size+len(x.raw)+1
	}
	n.history = leave
	s.publish(s.batch(take, true))
}

// batch makes a message of samples of one device.
func (s *fleetSession) batch(samples []fleetSample, hist bool) fleetMessage {
	n, dev := s.node, samples[0].dev
	payload := contract.NewBatch(nil, contract.Envelope{Node: n.topics.Node(), Dev: dev, Ep: n.ep, Hist: hist,
		Clk: contract.ClockSync, Sent: time.Now().UnixMilli()}).Bytes()
	payload = payload[:len(payload)-len("]}")]
	for i, x := range samples {
		if i > 0 {
			payload = append(payload, ',')
		}
		payload = append(payload, x.raw...)
	}
	topic := n.topics.Tele(dev)
	if hist {
		topic = n.topics.Hist(dev)
	}
	return fleetMessage{topic: topic, payload: append(payload, ']', '}'), hist: hist, samples: samples}
}

// publish sends a message to the broker. Its outcome arrives on outcomes, which has room for everything in flight.
func (s *fleetSession) publish(m fleetMessage) {
	s.inflight++
	if m.hist {
		s.late++
	}
	s.node.fleet.messages.Add(1)
	began := time.Now()
	token := s.client.Publish(m.topic, 1, m.retain, m.payload)
	go func() {
		<-token.Done()
		s.outcomes <- fleetOutcome{m, time.Since(began), token.Error()}
	}()
}

// settle applies the outcome of a message: what was not acknowledged waits again.
func (s *fleetSession) settle(o fleetOutcome) {
	n := s.node
	s.inflight--
	if o.hist {
		s.late--
	}
	if o.err == nil {
		n.fleet.acknowledged(o.fleetMessage, o.took)
		n.fleet.waiting.Add(-int64(len(o.samples)))
		if s.told && s.late == 0 && len(n.history) == 0 { // not only when the next status is due
			s.first = append(s.first, s.status(contract.Online))
		}
		return
	}
	n.history = append(n.history, o.samples...)
	if len(o.samples) == 0 && !o.retain { // an event; the next session publishes status and meta again
		n.unsent = append(n.unsent, o.fleetMessage)
	}
}

// end waits for the outcomes of what was in flight, and sorts what waits.
func (s *fleetSession) end() {
	s.client.Disconnect(0)
	for s.inflight > 0 {
		s.settle(<-s.outcomes)
	}
	n := s.node
	for _, m := range s.first {
		if !m.retain {
			n.unsent = append(n.unsent, m)
		}
	}
	n.history = append(n.history, n.fresh...)
	n.fresh = nil
	slices.SortFunc(n.history, func(a, b fleetSample) int { return int(int64(a.seq) - int64(b.seq)) })
	n.forget()
}

// goodbye announces that the node leaves, and waits briefly for what is in flight.
func (s *fleetSession) goodbye() {
	s.first = append(s.first, s.status(contract.Offline))
	s.told = false // this was the last word
	over := time.After(fleetGoodbye)
	for s.sendFresh(); s.inflight > 0; s.sendFresh() {
		select {
		case o := <-s.outcomes:
			s.settle(o)
		case <-s.lost:
			s.end()
			return
		case <-over:
			s.end()
			return
		}
	}
	s.client.Disconnect(100)
}
