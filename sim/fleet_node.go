package sim

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"bordo/contract"
	"bordo/drivers/catalogue"
	"bordo/sim/plant"
)

// fleetWindow is the number of a node's messages in flight, like an agent's default.
const fleetWindow = 20

// How a node of a fleet connects: as an agent does.
const (
	fleetKeepAlive  = 30 * time.Second
	fleetConnect    = 15 * time.Second
	fleetBackoffMax = 30 * time.Second
	fleetGoodbye    = 2 * time.Second
)

// fleetNode is one node of a fleet. One goroutine owns it.
type fleetNode struct {
	fleet  *Fleet
	topics contract.Topics
	dice   plant.Dice
	draws  uint64

	nature *physics
	bodies map[string]model // by device id

	ep      string
	seq     uint64
	fresh   []fleetSample // live, not yet sent
	history []fleetSample // samples that were not acknowledged in time, oldest first
	opened  bool          // the first event of the epoch was sent
	gaps    []contract.Range
	unsent  []fleetMessage // events that were not acknowledged
}

// fleetSample is a record that waits.
type fleetSample struct {
	dev string
	seq uint64
	raw []byte
}

// fleetMessage is a publication with the samples in it.
type fleetMessage struct {
	topic   string
	payload []byte
	retain  bool
	hist    bool
	samples []fleetSample
}

// fleetPoints are what a node of a fleet sends of its devices.
var fleetPoints = map[string][]string{
	"inv-1": {"state", "ac_power", "ac_voltage_l1", "ac_current_l1", "frequency", "ac_energy", "dc_power",
		"temperature"},
	"meter-1": {"ac_power", "ac_power_l1", "ac_power_l2", "ac_power_l3", "ac_voltage_l1", "frequency", "import_energy",
		"export_energy"},
}

func newFleetNode(f *Fleet, topics contract.Topics, dice plant.Dice) (*fleetNode, error) {
	n := &fleetNode{fleet: f, topics: topics, dice: dice, bodies: map[string]model{}}
	rated := dice.Between(0, 3000, 100000)
	s := &Scenario{Site: Place{Lat: dice.Between(1, 37, 46.5), Lon: dice.Between(2, 7, 18)}, Clouds: dice.Float(3),
		Load: Load{Base: rated / 20, Peak: rated / 2}}
	var err error
	if n.nature, err = newPhysics(s, dice.Word(4), f.start.Add(-f.o.Backlog), 1); err != nil {
		return nil, err
	}
	nothing := func(FaultKind) (Fault, bool) { return Fault{}, false }
	n.bodies["inv-1"] = newInverterModel(Inverter{Rated: rated, Strings: 2, Energy: dice.Between(5, 100, 500000)},
		nothing)
	n.bodies["meter-1"] = newMeterModel(Meter{Import: dice.Between(6, 100, 100000),
		Export: dice.Between(7, 100, 300000)})
	n.nature.add(n.bodies["inv-1"])
	n.nature.add(n.bodies["meter-1"])
	n.nature.settle()
	// An epoch is new at each start: from the time, and from chance.
	n.ep = fmt.Sprintf("%04s%04s", strconv.FormatUint(uint64(f.start.Unix())/60%(36*36*36*36), 36),
		strconv.FormatUint(dice.Word(uint64(f.start.UnixNano()))%(36*36*36*36), 36))
	n.seq = 1 // the event that the store was opened
	return n, nil
}

// run is the life of a node: connect, send, lose the link, back off.
func (n *fleetNode) run(ctx context.Context) {
	for at := n.nature.start; at.Before(n.fleet.start); at = at.Add(n.fleet.o.Every) {
		n.measure(at, &n.history)
	}
	next := time.Now().Truncate(n.fleet.o.Every).Add(n.fleet.o.Every)
	backoff, tried := 500*time.Millisecond, time.Now()
	for ctx.Err() == nil {
		if down, _ := n.fleet.link(); down > 0 {
			n.idle(ctx, down, &next)
			n.idle(ctx, n.draw(2*time.Second), &next) // all reconnect at about the same time
			tried = time.Now()
			continue
		}
		s, err := n.connect(ctx)
		if err != nil {
			n.fleet.refused.Add(1)
			n.fleet.o.Logger.Debug("not connected", "node", n.topics.Node(), "err", err)
			n.idle(ctx, n.draw(backoff), &next)
			backoff = min(2*backoff, fleetBackoffMax)
			continue
		}
		n.fleet.connected(time.Since(tried))
		backoff = 500 * time.Millisecond
		s.run(ctx, &next)
		n.fleet.online.Add(-1)
		tried = time.Now()
	}
}

// draw gives a random time up to most.
func (n *fleetNode) draw(most time.Duration) time.Duration {
	n.draws++
	return time.Duration(n.dice.Float(1<<20+n.draws) * float64(most))
}

// idle waits without a link and continues to measure.
func (n *fleetNode) idle(ctx context.Context, d time.Duration, next *time.Time) {
	for end := time.Now().Add(d); ; {
		if until := *next; until.Before(end) {
			if !pause(ctx, time.Until(until)) {
				return
			}
			n.measure(until, &n.history)
			*next = until.Add(n.fleet.o.Every)
			continue
		}
		pause(ctx, time.Until(end))
		return
	}
}

// measure takes a sample of both devices.
func (n *fleetNode) measure(at time.Time, into *[]fleetSample) {
	n.nature.advanceBy(at, n.fleet.o.Every)
	for _, dev := range []string{"inv-1", "meter-1"} {
		var fields []contract.Field
		n.bodies[dev].points(func(point string, v catalogue.Value) {
			if slices.Contains(fleetPoints[dev], point) {
				fields = append(fields, fieldOf(point, v))
			}
		})
		n.seq++
		raw := contract.AppendSample(nil, n.seq, at.UnixMilli(), fields)
		*into = append(*into, fleetSample{dev, n.seq, raw})
		n.fleet.waiting.Add(1)
	}
	n.forget()
}

// fieldOf writes a value as an agent does, without digits that no meter has.
func fieldOf(point string, v catalogue.Value) contract.Field {
	f := contract.Field{Key: point, Kind: contract.KindText, Text: v.Text(), Quality: contract.QualityGood}
	if v.Type() == catalogue.Float {
		f.Kind, f.Text = contract.KindNumber, ""
		f.Num, _ = strconv.ParseFloat(strconv.FormatFloat(v.Float(), 'f', 3, 64), 64)
	}
	return f
}

// forget drops the oldest history when there is too much of it.
func (n *fleetNode) forget() {
	if len(n.history) <= maxFleetMemory {
		return
	}
	cut := maxFleetMemory / 16
	n.gaps = append(n.gaps, contract.Range{n.history[0].seq, n.history[cut-1].seq})
	n.history = append(n.history[:0], n.history[cut:]...)
	n.fleet.dropped.Add(uint64(cut))
	n.fleet.waiting.Add(-int64(cut))
}

// connect opens a session: a client that is never used again.
func (n *fleetNode) connect(ctx context.Context) (*fleetSession, error) {
	s := &fleetSession{node: n, sess: strconv.FormatUint(n.dice.Word(1<<21+uint64(time.Now().UnixNano())), 36),
		lost: make(chan error, 1), outcomes: make(chan fleetOutcome, fleetWindow)}
	o := paho.NewClientOptions().AddBroker("tcp://"+n.fleet.url.Host).SetClientID(n.topics.Node()).SetProtocolVersion(4).
		SetUsername(n.fleet.o.Username).SetPassword(n.fleet.o.Password).
		SetAutoReconnect(false).SetConnectRetry(false).SetCleanSession(true).SetKeepAlive(fleetKeepAlive).
		SetConnectTimeout(fleetConnect).SetWriteTimeout(10*time.Second).
		SetBinaryWill(n.topics.Status(), contract.Will(n.topics.Node(), s.sess), 1, true).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			c, err := n.fleet.o.Dial(ctx, n.fleet.url)
			s.conn = c
			return c, err
		}).
		SetConnectionLostHandler(func(_ paho.Client, err error) { s.lost <- err })
	s.client = paho.NewClient(o)
	token := s.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		s.client.Disconnect(0)
		return nil, ctx.Err()
	}
	if err := token.Error(); err != nil {
		return nil, err
	}
	return s, nil
}

// dialBroker opens TCP, with TLS for mqtts.
func dialBroker(ctx context.Context, u *url.URL) (net.Conn, error) {
	d := &net.Dialer{Timeout: fleetConnect}
	port := or(u.Port(), map[string]string{"mqtt": "1883", "mqtts": "8883"}[u.Scheme])
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "mqtts" {
		t := &tls.Dialer{NetDialer: d, Config: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}}
		return t.DialContext(ctx, "tcp", address)
	}
	return d.DialContext(ctx, "tcp", address)
}
