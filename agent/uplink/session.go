package uplink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"bordo/agent/mqtt"
	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// Number of records taken from the store at a time. They are leased and held in memory until they are settled.
const (
	freshAtOnce   = 256
	backlogAtOnce = 2048
)

// batchDelay is the batching delay for new records. Devices are polled in step and answer within milliseconds of each
// other: batched, they cost less CPU than one by one (BENCH.md).
const batchDelay = 10 * time.Millisecond

// statusDelay is the maximum delay of a low-priority status update, which waits for a moment with nothing in flight.
const statusDelay = 2 * time.Second

// echoWait is how long the broker may take to return the node's own status. Brokers acknowledge what their access rules
// then drop: the echo is the only proof that messages are routed.
const echoWait = 10 * time.Second

// slowAck is the PUBACK time above which the history lane slows down, so that it never crowds out live samples. It
// includes the wait behind other messages.
const slowAck = 2 * time.Second

// session is the work on one connection. It publishes messages as the window allows, in this order: retained messages,
// fresh events and samples, then, limited by the bucket, old events, old intervals and old readings. One goroutine runs
// it.
type session struct {
	f    *Uplink
	path *path
	conn *mqtt.Conn
	url  *url.URL // where it leads
	sess string
	comp composer

	live, hist   []*message // composed, their records leased, not yet published
	deliveries   chan delivery
	inflight     int
	full         bool // the window was, and is not half empty yet
	histInflight int  // at most half of the window: live samples always find a place

	unacked, histUnacked int  // bytes in flight, of all and of the history lane
	reserved             bool // an old message waits until nothing is in flight, because it may not have company
	alone                int  // messages in flight that may not have company: 0 or 1
	order                uint64
	held                 heldBack
	histClass            buffer.Class // class of the records in hist
	doubts               []doubted
	proofs               chan uint64
	open, dropped        []*message // when the session ended: in flight, acknowledged in doubt

	handlers      []Handler
	asking, asked []string // subscriptions: due, and sent but not answered
	answers       chan subscribed
	missing       []string  // subscriptions that were not granted
	unheard       bool      // that to the status was not granted: no echo can be expected
	askedAt       time.Time // the last of them
	lastAck       time.Time // of a publication
	statusAcked   bool
	aloneUntil    time.Time

	acks *platformAcks

	own        *ownStatus  // messages on the node's own status topic
	echoed     bool        // this session's status came back
	foreign    []time.Time // the last messages there that this session did not write
	correct    *time.Timer // running while a correction of the status waits
	correctDue bool        // it is running

	batch    *time.Timer // running while what became deliverable waits for more
	batching bool        // it is running
	freshIn  bool        // the live lane may have something

	seen      map[string]uint64 // revisions of the retained messages that the broker has, or that are in flight
	statusDue bool
	// running while a status waits for an empty window; when it fires, the status is published anyway
	deferred        *time.Timer
	deferredDue     bool // it is running
	messages        bucket
	bytes           bucket
	slow            float64   // factor on the history lane's rates
	histFrom        time.Time // no history before
	histEmpty       bool      // nothing was there when last asked
	histSent        bool      // a history message was sent since the last status with a backlog
	reportedBacklog bool      // the last status reported a backlog
	stopping        bool
	failed          error // a publication failed: nothing more is published and the session ends
}

// delivery is what became of a message.
type delivery struct {
	*message
	err   error
	took  time.Duration
	order uint64 // counts publications
	ahead int    // bytes in flight with it when it was sent
	alone bool
}

func newSession(f *Uplink, p *path, conn *mqtt.Conn, u *url.URL, sess string) *session {
	now := time.Now()
	p.pace.Begin()
	p.held, p.heldSize = 0, 0
	s := &session{
		f: f, path: p, conn: conn, url: u, sess: sess,
		comp:       composer{topics: f.Topics, pack: f.cfg.HistoryGzip},
		deliveries: make(chan delivery, f.cfg.Window),
		proofs:     make(chan uint64, 4),
		answers:    make(chan subscribed, 16),
		acks:       newPlatformAcks(f.cfg.Ack),
		own:        newOwnStatus(sess),
		held:       heldBack{old: make(map[string]*heldOld), count: make(map[buffer.Class]int)},
		correct:    time.NewTimer(time.Hour),
		deferred:   time.NewTimer(statusDelay),
		batch:      time.NewTimer(0),
		batching:   true, // the timer has to run out
		freshIn:    true,
		seen:       make(map[string]uint64),
		statusDue:  true,
		messages:   newBucket(f.cfg.HistoryRate, max(1, f.cfg.HistoryRate), now),
		bytes:      newBucket(float64(f.cfg.HistoryBytes), float64(f.cfg.HistoryBytes), now),
		slow:       1,
		histFrom:   now.Add(rand.N(min(f.cfg.HistoryJitter, f.cfg.ReconnectMax) + 1)),
	}
	s.handlers = s.handlersOf()
	return s
}

// run forwards until the connection is lost or the uplink is stopped. Every record that it took is settled or released
// when it returns.
func (s *session) run(ctx context.Context) error {
	began := time.Now()
	err := s.forward(ctx)
	s.end()
	_, refused := errors.AsType[*mqtt.PacketError](err)
	if errors.Is(err, errSessionEnded) && !refused &&
		s.path.died(err, s.open, s.dropped, s.asked, time.Since(began), time.Now()) {
		err = fmt.Errorf("%w (%w)", err, errExplained)
	}
	s.f.reportPath()
	if errors.Is(err, errSessionEnded) && !s.echoed && !(s.unheard && s.statusAcked && !s.path.barred) {
		return fmt.Errorf("%w (%w)", err, errNotEchoed)
	}
	return err
}

func (s *session) forward(ctx context.Context) error {
	defer s.batch.Stop()
	defer s.deferred.Stop()
	s.correct.Stop()
	defer s.correct.Stop()
	if !s.quiet() {
		return fmt.Errorf("%w: %w", errSessionEnded, s.conn.Err())
	}
	s.listen()
	s.warnOfMemory()
	refresh := time.NewTicker(StatusEvery)
	defer refresh.Stop()
	canary := time.NewTimer(echoWait)
	defer canary.Stop()
	settled := time.NewTimer(longSession)
	defer settled.Stop()
	asked := false
	for {
		s.subscribeDue(ctx)
		again := s.handOver()
		select {
		case o := <-s.deliveries:
			if s.settleAll(o); s.failed != nil {
				return fmt.Errorf("%w: %w", errSessionEnded, cmp.Or(s.conn.Err(), s.failed))
			}
		case <-s.wake():
			s.batching = true
			s.batch.Reset(batchDelay)
		case <-s.batch.C:
			select {
			case <-s.f.Store.Wake(): // consumed: the records are taken now
			default:
			}
			s.batching, s.freshIn, s.histEmpty = false, true, false
		case <-s.f.news:
			s.statusDue = true
		case <-s.deferred.C:
			s.statusDue, s.deferredDue = s.statusDue || s.deferredDue, false
		case <-refresh.C:
			s.refresh()
		case <-s.own.news:
			s.heard(s.own.take())
		case <-s.correct.C:
			s.writeAgain()
		case a := <-s.answers:
			s.answered(a)
		case order := <-s.proofs:
			s.prove(order, time.Now())
		case <-s.acks.news:
			s.forget(s.acks.heard())
			s.histEmpty = false
		case <-canary.C:
			switch {
			case s.echoed, s.unheard, !s.statusAcked:
			case !asked: // brokers have lost a subscription when a session took over from another: ask once more
				asked, s.statusDue = true, true
				s.listen()
				canary.Reset(echoWait)
			default:
				s.f.Conditions.Set(contract.NotRouted, "", true,
					"the broker acknowledged the status and did not send it back within 10 s")
			}
		case <-settled.C:
			s.f.duplicateNode(0)
			s.f.steady(s.url)
			if !s.unheard {
				s.f.Conditions.Set(contract.PacketRefused, "", false, "")
			}
		case <-again:
		case <-s.conn.Lost():
			return fmt.Errorf("%w: %w", errSessionEnded, s.conn.Err())
		case <-s.f.stop:
			s.goodbye()
			return errStopped
		}
	}
}

// wake signals new records in the store; nil while a batch is gathered anyway.
func (s *session) wake() <-chan struct{} {
	if s.batching {
		return nil
	}
	return s.f.Store.Wake()
}

// handOver publishes what is due, in batches, as long as the window allows. A full window reopens when half of it is
// acknowledged: one message per acknowledgement would cost a write, and a wake-up of the broker, each. The returned
// channel, if not nil, signals when the history lane may continue.
func (s *session) handOver() <-chan time.Time {
	if s.full && s.inflight > s.f.cfg.Window/2 && s.histInflight == 0 {
		return nil
	}
	s.conn.Cork()
	again := s.fill()
	s.conn.Uncork()
	s.full = s.inflight >= s.f.cfg.Window
	return again
}

// fill publishes what is due until the window is full.
func (s *session) fill() <-chan time.Time {
	now := time.Now()
	wake := s.letGo(now, false)
	for s.inflight < s.f.cfg.Window && s.failed == nil && !s.busy(now) && s.fits(0, false, now) &&
		!(s.reserved && s.inflight > 0) {
		if m := s.nextLiveUnlessReserved(); m != nil {
			ok, later := s.sendable(m, now)
			if later {
				s.live = append([]*message{m}, s.live...)
				return nil
			}
			if ok {
				s.publish(m)
			}
			continue
		}
		s.reserved = false
		m, wait := s.nextHist()
		if m == nil {
			if wait > 0 && (wake == 0 || wait < wake) {
				wake = wait
			}
			break
		}
		s.publish(m)
	}
	if d := s.aloneUntil.Sub(now); d > 0 && (wake == 0 || d < wake) {
		wake = d
	}
	if wake > 0 {
		return time.After(wake)
	}
	return nil
}

func (s *session) nextLive() *message {
	if s.statusDue {
		s.statusDue = false
		if m := s.statusMessage(contract.Online); m != nil {
			s.live = append([]*message{m}, append(s.f.Retained.since(s.seen), s.live...)...)
		}
	}
	if len(s.live) == 0 && (s.freshIn || s.stopping) {
		s.f.Now() // detects a clock that was set, which corrects records that nothing outside has seen
		recs := s.f.Store.Fresh(freshAtOnce)
		s.live, s.freshIn = s.compose(recs, false), len(recs) == freshAtOnce
	}
	if s.deferredDue && s.inflight == 0 && len(s.live) == 0 && !s.batching && !s.stopping {
		s.deferredDue = false
		if m := s.statusMessage(contract.Online); m != nil {
			return m
		}
	}
	return shift(&s.live)
}

// statusSoon publishes the status as soon as nothing is in flight. Records in flight count as backlog, so a status
// published in step with the polls would never show an empty one.
func (s *session) statusSoon() {
	if !s.deferredDue {
		s.deferredDue = true
		s.deferred.Reset(statusDelay)
	}
}

// nextHist returns the next message of the history lane, or how long to wait for it; nil and 0 when there is none.
func (s *session) nextHist() (*message, time.Duration) {
	if s.stopping || s.histInflight >= max(1, s.f.cfg.Window/2) || len(s.acks.waiting) > awaitingHist {
		return nil, 0
	}
	now := time.Now()
	if d := s.histFrom.Sub(now); d > 0 {
		return nil, d
	}
	if len(s.hist) == 0 && !s.histEmpty {
		s.hist = s.takeBacklog()
		s.histEmpty = len(s.hist) == 0
	}
	if len(s.hist) == 0 {
		// the backlog is empty: report it
		if s.histInflight == 0 && (s.histSent || s.reportedBacklog && s.inflight == 0 &&
			len(s.f.Store.Summary()) == 0) {
			s.histSent = false
			s.statusSoon()
			return s.nextLive(), 0
		}
		return nil, 0
	}
	if d := max(s.messages.wait(now, s.slow), s.bytes.wait(now, s.slow)); d > 0 {
		return nil, d
	}
	m := s.nextOld(now)
	if m == nil {
		return nil, 0
	}
	s.messages.take(costOf(len(m.payload)))
	s.bytes.take(float64(len(m.payload)))
	s.histSent = true
	return m, 0
}

func (s *session) takeBacklog() []*message {
	for _, c := range contract.Classes() {
		class := record.ClassOf(c)
		for s.held.count[class] < heldMost {
			recs := s.lease(class)
			if len(recs) == 0 {
				break
			}
			if m := s.compose(s.unknown(recs), true); len(m) > 0 {
				s.histClass = class
				return m
			}
		}
	}
	return nil
}

// lease takes as many old records as are worth a message for each device: the store reads a few blocks at a time, and a
// block of a few seconds holds only one sample or two of a device.
func (s *session) lease(class buffer.Class) (out []buffer.Record) {
	most := s.leaseMost()
	for len(out) < most {
		recs, err := s.f.Store.Backlog(class, most-len(out))
		s.f.readBacklog(class, err)
		if len(recs) == 0 {
			break
		}
		out = append(out, recs...)
	}
	return out
}

// unknown returns the records that the platform has not said it has; the others are settled without being sent again.
func (s *session) unknown(recs []buffer.Record) []buffer.Record {
	if len(s.acks.ok) == 0 {
		return recs
	}
	var out []buffer.Record
	var known []buffer.ID
	for _, r := range recs {
		if s.acks.stored(r.ID) {
			known = append(known, r.ID)
		} else {
			out = append(out, r)
		}
	}
	s.forget(known)
	return out
}

// compose builds messages from leased records. A record that cannot be composed is a defect of the agent or of the
// flash. It is reported and discarded, so that it does not block the records behind it.
func (s *session) compose(recs []buffer.Record, hist bool) []*message {
	if len(recs) == 0 {
		return nil
	}
	s.comp.limit = s.path.limit(time.Now(), hist)
	out, broken, err := s.comp.compose(recs, hist, s.f.Now().UnixMilli())
	if err != nil {
		s.f.log.Error("compose", "count", len(broken), "err", err)
		s.f.GiveUp(broken)
	}
	return out
}

func (s *session) statusMessage(state contract.State) *message {
	st := s.f.Options.Status(s.sess)
	st.State = state
	s.reportedBacklog = len(st.Backlog) > 0
	payload, err := s.shrink(st)
	if err != nil {
		s.f.log.Error("encode status", "err", err)
		return nil
	}
	return &message{topic: s.f.Topics.Status(), payload: payload, retain: true}
}

// goodbye sends what is fresh, for at most flushTime, and then the offline status. Messages that are not acknowledged
// in time stay in the store.
func (s *session) goodbye() {
	s.stopping = true
	s.statusDue, s.deferredDue = false, false
	s.drain(flushTime, func() bool { s.handOver(); return s.inflight == 0 })
	if m := s.statusMessage(contract.Offline); m != nil && s.inflight < s.f.cfg.Window && s.failed == nil {
		s.publish(m)
		s.drain(goodbyeTime, func() bool { return s.inflight == 0 })
	}
}

// drain settles outcomes until done says so, the connection is lost, or the time is over.
func (s *session) drain(atMost time.Duration, done func() bool) {
	over := time.NewTimer(atMost)
	defer over.Stop()
	for !done() {
		select {
		case o := <-s.deliveries:
			if s.settle(o); s.failed != nil {
				return
			}
		case <-s.conn.Lost():
			return
		case <-over.C:
			return
		}
	}
}

// end closes the connection, waits for every outcome (Close reports them) and returns unpublished records to the store.
func (s *session) end() {
	s.conn.Close(s.stopping)
	for s.inflight > 0 {
		s.settle(<-s.deliveries)
	}
	for _, d := range s.doubts { // the broker said that it has them, and ended the session
		s.f.Store.Release(d.ids)
		s.dropped = append(s.dropped, d.message)
	}
	s.letGo(time.Now(), true)
	for _, m := range append(s.live, s.hist...) {
		s.f.Store.Release(m.ids)
	}
	s.live, s.hist = nil, nil
	s.f.Store.Release(s.acks.all())
}

func shift(list *[]*message) *message {
	if len(*list) == 0 {
		return nil
	}
	m := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	return m
}
