package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bordo/contract"
	"bordo/sim/plant"
)

// Limits of a fleet.
const (
	maxFleet       = 5000
	maxFleetMemory = 20000 // samples that one node holds back; past it the oldest go, under a gap
	maxLatencies   = 20000 // kept between two reports
)

// FleetOptions configure a fleet. URL and Nodes are required; the zero value of the rest works.
type FleetOptions struct {
	URL                string // mqtt://HOST:PORT or mqtts://HOST:PORT (the system's certificates)
	Username, Password string
	Nodes              int
	Root, Tenant       string        // "fleet" if Tenant is empty
	Prefix             string        // of the node ids: fleet-0001 ...; "fleet" if empty
	Every              time.Duration // from sample to sample of each of a node's two devices; 0: 10 s
	RampUp             time.Duration // over which the nodes connect at first; 0: 5 s
	Backlog            time.Duration // the unsent history with which every node begins
	HistoryRate        float64       // messages of history per second and node; 0: 20
	StormEvery         time.Duration // interval at which all links break at once; 0: never
	StormFor           time.Duration // and stay down so long; 0: 30 s
	Seed               uint64
	Logger             *slog.Logger

	// Dial opens the stream to the broker; nil: TCP.
	Dial func(ctx context.Context, u *url.URL) (net.Conn, error)
}

// FleetReport is what a broker did to a fleet since it began; the latencies are of the time since the report before.
type FleetReport struct {
	After                    time.Duration
	Nodes, Online            int
	Connects, Refused, Lost  uint64        // sessions that began, that the broker or the network refused, that broke
	Messages, Acked          uint64        // publications sent, and acknowledged
	Samples, Late            uint64        // acknowledged; Late: of them from history
	Bytes                    uint64        // payload of acknowledged messages
	Waiting                  int64         // samples that nodes hold back
	Dropped                  uint64        // samples that were given up for lack of memory, each under a gap
	AckMedian, Ack99, AckMax time.Duration // from a publication to its PUBACK
	ConnectMax               time.Duration // from the first attempt after a break to CONNACK
}

// String formats a report in one line.
func (r FleetReport) String() string {
	return fmt.Sprintf("%s  online %d/%d  connects %d refused %d lost %d  messages %d acked %d  samples %d (%d late)  waiting %d dropped %d  ack %s / %s / %s  connect %s",
		r.After.Truncate(time.Second), r.Online, r.Nodes, r.Connects, r.Refused, r.Lost, r.Messages, r.Acked, r.Samples,
		r.Late,
		r.Waiting, r.Dropped, round(r.AckMedian), round(r.Ack99), round(r.AckMax), round(r.ConnectMax))
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// Fleet simulates many nodes in one process, each with a real MQTT connection, its own plant and messages of the
// contract: a load for a central system. Like a node, it keeps what it could not deliver and sends it later. It has no
// disk, so that its backlog is lost when it ends.
type Fleet struct {
	o     FleetOptions
	url   *url.URL
	start time.Time
	nodes []*fleetNode

	connects, refused, lost, messages, acked, samples, late, bytes, dropped atomic.Uint64
	online                                                                  atomic.Int64
	waiting                                                                 atomic.Int64

	mu         sync.Mutex
	latencies  []time.Duration
	connectMax time.Duration
	down       chan struct{} // closed, and renewed, when all links break
	upAgain    time.Time
}

// NewFleet prepares a fleet; nothing is connected yet.
func NewFleet(o FleetOptions) (*Fleet, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "mqtt" && u.Scheme != "mqtts" || u.Host == "" {
		return nil, fmt.Errorf("make fleet: url must be mqtt://HOST:PORT or mqtts://HOST:PORT (got %q)", o.URL)
	}
	if o.Nodes < 1 || o.Nodes > maxFleet {
		return nil, fmt.Errorf("make fleet: nodes must be 1 to %d (got %d)", maxFleet, o.Nodes)
	}
	if o.Every < 0 || o.RampUp < 0 || o.Backlog < 0 || o.StormEvery < 0 || o.StormFor < 0 ||
		!between(o.HistoryRate, 0, math.MaxFloat64) {
		return nil, errors.New("make fleet: no time and no rate may be negative")
	}
	if o.StormFor > 0 && o.StormEvery == 0 {
		return nil, errors.New("make fleet: how long a storm lasts needs how often one comes (storm-every)")
	}
	f := &Fleet{o: o, url: u, start: time.Now(), down: make(chan struct{})}
	f.o.Tenant, f.o.Prefix = or(o.Tenant, "fleet"), or(o.Prefix, "fleet")
	f.o.Every, f.o.RampUp, f.o.StormFor = orDefault(o.Every, 10*time.Second), orDefault(o.RampUp, 5*time.Second),
		orDefault(o.StormFor, 30*time.Second)
	if f.o.HistoryRate == 0 {
		f.o.HistoryRate = 20
	}
	if f.o.Dial == nil {
		f.o.Dial = dialBroker
	}
	if f.o.Logger == nil {
		f.o.Logger = slog.New(slog.DiscardHandler)
	}
	for i := range o.Nodes {
		id := fmt.Sprintf("%s-%04d", f.o.Prefix, i+1)
		topics, err := contract.NewTopics(o.Root, f.o.Tenant, id)
		if err != nil {
			return nil, fmt.Errorf("make fleet: %w", err)
		}
		n, err := newFleetNode(f, topics, plant.NewDice(o.Seed, id))
		if err != nil {
			return nil, fmt.Errorf("make fleet: %w", err)
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Run lets the fleet live until ctx ends; then every node says goodbye. It waits for all of them.
func (f *Fleet) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for i, n := range f.nodes {
		wg.Go(func() {
			if pause(ctx, time.Duration(i)*f.o.RampUp/time.Duration(len(f.nodes))) {
				n.run(ctx)
			}
		})
	}
	if f.o.StormEvery > 0 {
		wg.Go(func() {
			for pause(ctx, f.o.StormEvery) {
				f.Storm(f.o.StormFor)
			}
		})
	}
	wg.Wait()
	return nil
}

// Storm breaks all links at once, for a while. Measurements of that time wait.
func (f *Fleet) Storm(during time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upAgain = time.Now().Add(during)
	close(f.down)
	f.down = make(chan struct{})
}

// link returns how long there is no link yet, and the channel that is closed when it breaks.
func (f *Fleet) link() (wait time.Duration, broken <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Until(f.upAgain), f.down
}

// Report returns what happened so far.
func (f *Fleet) Report() FleetReport {
	r := FleetReport{After: time.Since(f.start), Nodes: len(f.nodes), Online: int(f.online.Load()),
		Connects: f.connects.Load(), Refused: f.refused.Load(), Lost: f.lost.Load(), Messages: f.messages.Load(),
		Acked:   f.acked.Load(),
		Samples: f.samples.Load(), Late: f.late.Load(), Bytes: f.bytes.Load(), Waiting: f.waiting.Load(),
		Dropped: f.dropped.Load()}
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.latencies)
	if n := len(f.latencies); n > 0 {
		r.AckMedian, r.Ack99, r.AckMax = f.latencies[n/2], f.latencies[n*99/100], f.latencies[n-1]
	}
	r.ConnectMax = f.connectMax
	f.latencies, f.connectMax = f.latencies[:0], 0
	return r
}

// acknowledged counts a message.
func (f *Fleet) acknowledged(m fleetMessage, took time.Duration) {
	f.acked.Add(1)
	f.bytes.Add(uint64(len(m.payload)))
	f.samples.Add(uint64(len(m.samples)))
	if m.hist {
		f.late.Add(uint64(len(m.samples)))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.latencies) < maxLatencies {
		f.latencies = append(f.latencies, took)
	}
}

// connected counts a session.
func (f *Fleet) connected(took time.Duration) {
	f.connects.Add(1)
	f.online.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connectMax = max(f.connectMax, took)
}

// pause waits; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(0, d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
