package uplink

import (
	"errors"
	"slices"
	"time"

	"bordo/agent/mqtt"
	"bordo/buffer"
)

// doubted is a message that was acknowledged and is not settled yet.
type doubted struct {
	*message
	order uint64
}

func (s *session) publish(m *message) {
	n := m.size()
	if m.topic == s.f.Topics.Status() {
		s.own.wrote(m.payload)
	}
	s.inflight++
	s.unacked += n
	if m.hist {
		s.histInflight++
		s.histUnacked += n
	}
	s.order++
	began := time.Now()
	o := delivery{message: m, order: s.order, ahead: s.unacked, alone: s.path.alone(m.topic, n)}
	if o.alone {
		s.alone++
	}
	s.conn.Publish(mqtt.Message{
		Topic: m.topic, Payload: m.payload, Retain: m.retain && !began.Before(s.path.plain),
		Patience: s.path.pace.Patience(s.unacked),
	}, func(err error) {
		o.err, o.took = err, time.Since(began)
		s.deliveries <- o // holds a whole window: never blocks
	})
}

// settleAll settles an outcome and all that arrived meanwhile.
func (s *session) settleAll(o delivery) {
	for s.settle(o); ; s.settle(o) {
		select {
		case o = <-s.deliveries:
		default:
			return
		}
	}
}

// settle applies an outcome to the store: acknowledged records are forgotten, the others become deliverable again. A
// failed publication ends the session. paho may refuse the next ones for a while before it reports the lost connection,
// and offering the same records repeatedly would achieve nothing.
func (s *session) settle(o delivery) {
	n := o.size()
	s.inflight--
	s.unacked -= n
	if o.hist {
		s.histInflight--
		s.histUnacked -= n
	}
	if o.alone {
		s.alone--
	}
	if o.err != nil {
		if !errors.Is(o.err, mqtt.ErrNotSent) {
			s.open = append(s.open, o.message)
		}
		if s.failed == nil {
			s.failed = o.err
		}
		s.f.Store.Release(o.ids)
		s.histEmpty = false
		if o.retain { // the broker may not have it: publish it again at the next opportunity
			delete(s.seen, o.topic)
		}
		return
	}
	now := time.Now()
	s.lastAck = now
	s.statusAcked = s.statusAcked || o.topic == s.f.Topics.Status()
	if queued := s.path.pace.Acked(n, o.ahead, o.took, now); o.hist && queued > slowAck {
		s.slow = max(s.slow/2, 1.0/16)
	} else if o.hist {
		s.slow = min(s.slow+1.0/32, 1)
	}
	s.prove(o.order-1, now)
	if s.path.doubtful(n) {
		s.doubt(o)
		return
	}
	s.taken(o.message, now)
}

// taken lets go of a message that the broker has taken.
func (s *session) taken(m *message, now time.Time) {
	s.path.pass(m.topic, m.size(), now)
	s.f.reportPath()
	if m.retain && len(m.payload) == 0 {
		s.f.Retained.remove(m.topic)
		s.f.Cleared(m.topic)
	}
	s.forget(s.acks.sent(m.ids))
	s.f.Store.Release(s.acks.surplus())
}

// forget lets go of records that are where they belong.
func (s *session) forget(ids []buffer.ID) {
	if err := s.f.Store.Settle(ids); err != nil {
		s.f.log.Error("settle", "count", len(ids), "err", err)
	}
}

// doubt keeps an acknowledged message until the broker shows that it lives on.
func (s *session) doubt(o delivery) {
	s.doubts = append(s.doubts, doubted{o.message, o.order})
	s.conn.Ping(func() {
		select {
		case s.proofs <- o.order:
		default: // another proof is on its way, and a later acknowledgement serves as well
		}
	})
}

// prove settles what was in doubt and was sent before the publication with the given number.
func (s *session) prove(order uint64, now time.Time) {
	s.doubts = slices.DeleteFunc(s.doubts, func(d doubted) bool {
		if d.order > order {
			return false
		}
		s.taken(d.message, now)
		return true
	})
}
