package uplink

import (
	"context"
	"errors"
	"slices"
	"time"

	"bordo/agent/inflight"
	"bordo/agent/mqtt"
	"bordo/buffer"
	"bordo/contract"
)

// Bounds of what is held back because its topic is set aside or because it is too large.
const (
	// heldMost is the maximum number of old records of a class that are held back. Beyond it, the rest of the class
	// stays in the store.
	heldMost  = 16384
	aloneMost = 5 * time.Second        // that a suspect subscription keeps the session to itself
	heldExtra = 500 * time.Millisecond // beyond buffer.sync, until the store has written a fresh record
)

// heldBack is a set of records that are held back. They stay leased, so that the store returns the records behind them.
// Their messages are composed again later; only the ids stay in memory.
type heldBack struct {
	fresh []heldFresh          // in the order of their time
	old   map[string]*heldOld  // by topic
	count map[buffer.Class]int // old records
}

// heldFresh are fresh records, which become old ones once the store has written them.
type heldFresh struct {
	ids   []buffer.ID
	until time.Time
	large bool
}

// heldOld are the old records of one topic.
type heldOld struct {
	ids      map[buffer.Class][]buffer.ID
	smallest int // size of the smallest message in bytes: no other can pass before it
	large    int // messages that are too large
}

// subscribed is how a subscription was answered.
type subscribed struct {
	filter string
	err    error
}

// handlersOf lists the subscriptions of a session: the node's own status first, the platform's acknowledgements if they
// count, then those of the owner of the uplink.
func (s *session) handlersOf() []Handler {
	list := []Handler{{s.f.Topics.Status(), s.own.saw}}
	if s.acks.on {
		list = append(list, Handler{s.f.Topics.Ack(), s.acks.take})
	}
	return append(list, s.f.Handlers...)
}

// listen subscribes for every handler and does not wait for the answers. It skips for a while a topic that delivered a
// message that was too large: each subscription would end the session again.
func (s *session) listen() {
	s.asking, s.missing = nil, nil
	for _, h := range s.handlers {
		switch {
		case !s.f.isDeaf(h.Filter):
			s.asking = append(s.asking, h.Filter)
		case h.Filter == s.f.Topics.Status():
			s.unheard = true
		default:
			s.missing = append(s.missing, h.Filter)
		}
	}
}

// subscribeDue sends the subscriptions that are due. A suspect one has the session to itself.
func (s *session) subscribeDue(ctx context.Context) {
	now := time.Now()
	for i := 0; i < len(s.asking); i++ {
		filter := s.asking[i]
		name := subscription + filter
		switch {
		case s.path.blame.Aside(name, now):
			s.notGranted(filter)
		case s.path.blame.Alone(name) && (s.order == 0 || s.inflight > 0 || len(s.asked) > 0):
			continue
		default:
			s.asked, s.askedAt = append(s.asked, name), now
			if s.path.blame.Alone(name) {
				s.aloneUntil = now.Add(aloneMost)
			}
			at := slices.IndexFunc(s.handlers, func(h Handler) bool { return h.Filter == filter })
			s.conn.SubscribeLater(ctx, filter, s.handlers[at].Handle,
				func(err error) { s.answers <- subscribed{filter, err} })
		}
		s.asking = slices.Delete(s.asking, i, i+1)
		i--
	}
}

// answered handles the answer to a subscription. It reports a refusal, and everything else continues.
func (s *session) answered(a subscribed) {
	if a.err != nil && !errors.Is(a.err, mqtt.ErrRefused) && !errors.Is(a.err, mqtt.ErrNoAnswer) {
		return // the connection has ended, perhaps because of this: the subscription stays among what was in flight
	}
	if errors.Is(a.err, mqtt.ErrNoAnswer) && s.lastAck.Before(s.askedAt) {
		return // nor did it answer anything else
	}
	name := subscription + a.filter
	s.asked = slices.DeleteFunc(s.asked, func(n string) bool { return n == name })
	s.aloneUntil = time.Time{}
	if a.err != nil {
		s.notGranted(a.filter)
		s.f.Conditions.Set(contract.NotRouted, "", true, a.err.Error())
		return
	}
	s.path.blame.Acked(name, time.Now())
	s.f.reportPath()
}

// notGranted notes a subscription that this session does without for now.
func (s *session) notGranted(filter string) {
	s.missing = append(s.missing, filter)
	s.unheard = s.unheard || filter == s.f.Topics.Status()
}

// busy reports whether something is in flight that must be alone.
func (s *session) busy(now time.Time) bool { return s.alone > 0 || now.Before(s.aloneUntil) }

// fits reports whether n more bytes may be in flight.
func (s *session) fits(n int, hist bool, now time.Time) bool {
	window := s.path.pace.Window(now)
	switch {
	case s.unacked == 0:
		return true
	case hist:
		return s.path.pace.OldFits(n, s.histUnacked, s.unacked, now)
	case s.path.pace.Burst.Failed > 0: // messages sent as a burst must pass as a burst
		return s.unacked+n <= window
	}
	return s.unacked < window
}

// sendable reports whether m can be sent now. A message that must wait because of its topic or size is held back, and
// reported.
func (s *session) sendable(m *message, now time.Time) (ok, later bool) {
	n := m.size()
	if aside := s.path.blame.Aside(m.topic, now); aside || !s.path.passable(n, now) {
		s.hold(m, !aside, now)
		return false, false
	}
	if !m.hist && !s.fits(n, false, now) {
		return false, true
	}
	if s.path.alone(m.topic, n) && (s.inflight > 0 || len(s.asked) > 0 && s.path.blame.Suspect()) {
		return false, true
	}
	return true, false
}

// hold keeps a message back. Fresh records become old ones once the store has written them: their samples are then
// published on another topic.
func (s *session) hold(m *message, large bool, now time.Time) {
	if large {
		s.path.heldAt = now
		if s.path.held++; s.path.heldSize == 0 || m.size() < s.path.heldSize {
			s.path.heldSize = m.size()
		}
		s.f.reportPath()
	}
	if m.retain { // the next status publishes it again
		delete(s.seen, m.topic)
		s.unheard = s.unheard || m.topic == s.f.Topics.Status()
		if large {
			s.path.held--
		}
		return
	}
	if !m.hist {
		s.held.fresh = append(s.held.fresh, heldFresh{m.ids, now.Add(s.f.Sync + heldExtra), large})
		return
	}
	h := s.held.old[m.topic]
	if h == nil {
		h = &heldOld{ids: make(map[buffer.Class][]buffer.ID), smallest: m.size()}
		s.held.old[m.topic] = h
	}
	h.ids[s.histClass] = append(h.ids[s.histClass], m.ids...)
	h.smallest = min(h.smallest, m.size())
	if large {
		h.large++
	}
	s.held.count[s.histClass] += len(m.ids)
}

// letGo releases what was held back long enough, everything at the end of a session, and returns when the next release
// is due (0: nothing waits). What is still held at the end counts as held until the next session begins.
func (s *session) letGo(now time.Time, all bool) (next time.Duration) {
	let := 0
	for len(s.held.fresh) > 0 && (all || !now.Before(s.held.fresh[0].until)) {
		h := s.held.fresh[0]
		s.held.fresh = s.held.fresh[1:]
		s.f.Store.Release(h.ids)
		if h.large {
			let++
		}
	}
	for topic, h := range s.held.old {
		if !all && (s.path.blame.Aside(topic, now) || !s.path.passable(h.smallest, now)) {
			continue
		}
		delete(s.held.old, topic)
		for class, ids := range h.ids {
			s.held.count[class] -= len(ids)
			s.f.Store.Release(ids)
		}
		let += h.large
	}
	if !all {
		s.path.held -= let
	}
	if len(s.held.fresh) > 0 {
		return s.held.fresh[0].until.Sub(now)
	}
	return 0
}

// quiet lets the beginning of a session pass without sending anything, to find out whether the broker ends sessions
// because of what is sent. It returns false when the session has ended meanwhile.
func (s *session) quiet() bool {
	if !s.path.blame.Quiet() {
		return true
	}
	timer := time.NewTimer(shortSession + time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.path.blame.Calm(time.Now())
		return true
	case <-s.conn.Lost():
		return false
	case <-s.f.stop:
		return true
	}
}

// shrink makes a status small enough to pass: what people can also read elsewhere goes first.
func (s *session) shrink(st contract.Status) ([]byte, error) {
	payload, err := st.Encode()
	limit := s.path.limit(time.Now(), false) - packetSize(s.f.Topics.Status(), nil)
	if s.path.size.Failed == 0 && s.path.pace.Burst.Failed == 0 {
		limit = max(limit, probeBytes)
	}
	if err != nil || len(payload) <= limit {
		return payload, err
	}
	st.Site, st.Cfg, st.HW = nil, "", ""
	for i := range st.Health {
		if r := []rune(st.Health[i].Detail); len(r) > 80 {
			st.Health[i].Detail = string(r[:79]) + "…"
		}
	}
	for {
		payload, err = st.Encode()
		if err != nil || len(payload) <= max(limit, inflight.Small/2) || len(st.Health) == 0 {
			return payload, err
		}
		st.Health = st.Health[:len(st.Health)-1]
	}
}

// nextOld returns the next message of the history lane, nil when the window has no room now. Messages composed for a
// faster link or a more generous broker are composed again.
func (s *session) nextOld(now time.Time) *message {
	for len(s.hist) > 0 {
		m := s.hist[0]
		if len(m.ids) > 1 && m.size() > 2*s.path.limit(now, true) {
			s.giveBack()
			return nil
		}
		ok, later := s.sendable(m, now)
		s.reserved = later
		switch {
		case later || ok && !s.fits(m.size(), true, now):
			return nil
		case ok:
			return shift(&s.hist)
		}
		shift(&s.hist) // held back
	}
	s.histEmpty = false
	return nil
}

// nextLiveUnlessReserved is nextLive unless an old message has reserved the window.
func (s *session) nextLiveUnlessReserved() *message {
	if s.reserved {
		return nil
	}
	return s.nextLive()
}

// giveBack returns composed, unsent records to the store.
func (s *session) giveBack() {
	for _, m := range s.hist {
		s.f.Store.Release(m.ids)
	}
	s.hist, s.histEmpty = nil, false
}

// leaseMost is the useful number of old records per lease. It is smaller on a slow link, because the message size is
// adapted to the link when they are composed.
func (s *session) leaseMost() int {
	return min(backlogAtOnce, max(64, s.path.pace.Window(time.Now())/16))
}

// refresh runs periodically: it publishes the status and repeats subscriptions that were refused.
func (s *session) refresh() {
	now := time.Now()
	s.path.size.Forget(now, StatusEvery)
	s.path.pace.Burst.Forget(now, StatusEvery)
	if s.path.held > 0 {
		s.path.heldAt = now
	}
	s.f.reportPath()
	s.statusDue = s.statusDue || !s.path.blame.Clear() // including the other retained messages that were set aside
	s.statusSoon()
	if !s.echoed {
		s.unheard = false
		s.listen()
		return
	}
	for _, filter := range s.missing {
		if !slices.Contains(s.asking, filter) && !s.f.isDeaf(filter) {
			s.asking = append(s.asking, filter)
		}
	}
	s.missing = slices.DeleteFunc(s.missing, func(filter string) bool { return slices.Contains(s.asking, filter) })
}
