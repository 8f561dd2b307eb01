package uplink

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bordo/agent/inflight"
	"bordo/agent/mqtt"
)

// BrokerLimits are the learned limits of a broker that outlive the agent.
type BrokerLimits struct {
	Passed int `json:"passed"`           // the largest MQTT packet that was proved, bytes
	Failed int `json:"failed,omitempty"` // the smallest on which sessions died
}

// Times of a path.
const (
	sizeRetry     = 15 * time.Second
	sizeRetryMost = 24 * time.Hour   // until a larger message is tried again, growing from sizeRetry
	freshProof    = 10 * time.Minute // how long a proved size rules out size as the cause of a failure
	plainFor      = 30 * time.Minute // for so long nothing is retained after the broker refused that
	willFirst     = 5 * time.Minute  // until the last will is tried again, growing to willMost
	willMost      = time.Hour
	hangUps       = 2                // consecutive unanswered logins after which the last will is suspected
	heldFor       = 15 * time.Minute // how long a message that was too large is reported
	probeBytes    = 4 << 10          // the size up to which nothing is risked
	fullPacket    = 1500             // bytes of the largest IP packet on Ethernet
	takenLately   = 15 * time.Minute // for so long what the broker took says that it does not refuse the topic
	quotaRest     = time.Minute      // until a quota is filled again
)

// path is what is known of the way to one broker, across sessions. The goroutine that runs the uplink owns it.
type path struct {
	most  int // the largest MQTT packet that may be sent, by the configuration
	pace  inflight.Pace
	size  inflight.Ceiling // of one packet
	blame inflight.Blame

	failed     string    // the topic of the message that was too large last
	confirmed  bool      // a smaller one passed on that topic
	proved     time.Time // when a packet as large as provedSize passed last
	provedSize int
	plain      time.Time // until then nothing is retained
	plainBy    string    // the topic that was the reason
	held       int       // messages that wait because they cannot be made small enough to pass
	heldSize   int       // the smallest of them
	heldAt     time.Time // when that was so last
	sound      bool      // nothing was wrong when that was last reported
	barred     bool      // the broker passes nothing on: what sessions die of says nothing about sizes

	taken    map[string]time.Time // when the broker last took something, by topic
	rest     time.Time            // no connection before this time: a quota may be exhausted
	restedOn string               // the topic that was the reason, until the broker takes something on it

	will     willState
	noWill   time.Time // until then sessions have no last will
	willWait time.Duration
	logins   int // in a row that the broker did not answer or did not authorise

	save func(BrokerLimits)
	kept BrokerLimits
}

// willState is the state of the experiment that shows whether the broker refuses the last will.
type willState uint8

const (
	willUsed    willState = iota // nothing is wrong
	willLeftOut                  // the next login is without
	willAgain                    // that one succeeded: the next is with it again, and decides
)

func newPath(most int, kept BrokerLimits, save func(BrokerLimits), now time.Time) *path {
	p := &path{most: most, pace: inflight.NewPace(),
		size: inflight.Ceiling{FirstWait: sizeRetry, LastWait: sizeRetryMost}, save: save, kept: kept,
		taken: make(map[string]time.Time)}
	p.size.Restore(min(kept.Passed, most), kept.Failed, now)
	return p
}

// packetSize is how large the MQTT packet of a publication is.
func packetSize(topic string, payload []byte) int { return 9 + len(topic) + len(payload) }

func (m *message) size() int { return packetSize(m.topic, m.payload) }

// limit is how large a packet may become that is composed of several records.
func (p *path) limit(now time.Time, hist bool) int {
	n := p.size.Allowed(now, probeBytes, p.most)
	if hist {
		return max(inflight.Small, min(n, p.pace.Message(now)))
	}
	return max(inflight.Small, min(n, p.pace.Window(now)))
}

// passable reports whether a packet that cannot be made smaller may be sent.
func (p *path) passable(n int, now time.Time) bool {
	return n <= inflight.Small || n <= p.most && p.size.MayTry(n, now) && p.pace.Burst.MayTry(n, now)
}

// alone reports whether a packet may be in flight only by itself: if the session dies then, the cause is known.
func (p *path) alone(topic string, n int) bool {
	return p.blame.Alone(topic) || n > max(probeBytes, p.size.Passed)
}

// doubtful reports whether an acknowledgement of a packet of this size does not yet prove that the broker accepted it.
// Some brokers acknowledge an oversized packet, drop it and end the session.
func (p *path) doubtful(n int) bool { return n > inflight.Small && n > p.size.Passed }

// pass notes that a packet of a size was taken.
func (p *path) pass(topic string, n int, now time.Time) {
	p.blame.Acked(topic, now)
	p.taken[topic] = now
	if p.restedOn == topic {
		p.restedOn = ""
	}
	p.confirmed = p.confirmed || topic == p.failed
	if n > p.size.Passed || n >= p.provedSize || now.Sub(p.proved) > freshProof {
		p.proved, p.provedSize = now, n
	}
	p.size.Pass(n)
	p.keep()
}

// keep saves the learned limits when they have changed enough: a handful of times per broker.
func (p *path) keep() {
	now := BrokerLimits{Passed: p.size.Passed, Failed: p.size.Failed}
	if now.Failed == p.kept.Failed && now.Passed < 2*p.kept.Passed && now.Passed >= p.kept.Passed ||
		now.Passed <= inflight.Small && now.Failed == 0 {
		return
	}
	p.kept = now
	p.save(now)
}

// died draws conclusions from what was in flight when a session ended: open was not acknowledged, dropped was
// acknowledged and may not have been accepted. It reports whether this explains the end.
func (p *path) died(err error, open, dropped []*message, subscribing []string, lived time.Duration,
	now time.Time) bool {
	topics, total := slices.Clone(subscribing), 0
	for _, m := range open {
		total += m.size()
		if !slices.Contains(topics, m.topic) {
			topics = append(topics, m.topic)
		}
	}
	if errors.Is(err, mqtt.ErrSilent) {
		p.pace.Silent(total, now)
		return false
	}
	if len(dropped) > 0 && len(topics) == 0 {
		p.tooLarge(slices.MaxFunc(dropped, func(a, b *message) int { return a.size() - b.size() }), now)
		return true
	}
	if len(topics) == 1 && len(open) == 1 && p.doubtful(open[0].size()) {
		p.tooLarge(open[0], now)
		return true
	}
	for _, m := range dropped { // with others in flight it is not clear which it was
		if !slices.Contains(topics, m.topic) {
			topics = append(topics, m.topic)
		}
	}
	culprit, explained := p.blame.Died(topics, lived <= shortSession, now)
	if culprit != "" {
		p.accuse(culprit, open, now)
	}
	return explained
}

// tooLarge notes that a session died of the size of a message.
func (p *path) tooLarge(m *message, now time.Time) {
	p.size.Fail(m.size(), now)
	p.failed, p.confirmed = m.topic, false
	p.keep()
}

// usedUp reports whether sessions may die on a topic because a quota is exhausted: the broker accepted something on it
// a while ago. A pause decides: if the broker then refuses the first message too, the cause is the topic.
func (p *path) usedUp(topic string, now time.Time) bool {
	at, ok := p.taken[topic]
	if !ok || now.Sub(at) > takenLately || p.restedOn == topic {
		return false
	}
	p.restedOn, p.rest = topic, now.Add(quotaRest)
	p.blame.Doubt(topic)
	return true
}

// accuse handles a topic on which sessions die: the message may be too large, or the broker refuses to retain it, or
// refuses the topic.
func (p *path) accuse(topic string, open []*message, now time.Time) {
	for _, m := range open {
		if m.topic != topic {
			continue
		}
		n := m.size()
		switch fresh := now.Sub(p.proved) < freshProof && n <= p.provedSize; {
		case n > inflight.Small && !fresh:
			p.tooLarge(m, now)
			p.blame.Doubt(topic)
			return
		case !p.blame.IsSure(topic, now):
			return
		case p.usedUp(topic, now):
			return
		case m.retain && !now.Before(p.plain):
			p.plain, p.plainBy = now.Add(plainFor), topic
			p.blame.Doubt(topic)
			return
		case p.plainBy == topic: // nor does it pass without being retained
			p.plain = time.Time{}
		}
	}
	if !p.blame.IsSure(topic, now) {
		return
	}
	p.blame.Convict(topic, now)
	if p.failed == topic { // it was not a matter of size
		p.size.Restore(p.size.Passed, 0, now)
		p.keep()
	}
}

// login notes how an attempt to connect ended that did not bring a session; the next one may be an experiment.
func (p *path) login(err error, now time.Time) {
	if !errors.Is(err, mqtt.ErrHungUp) && !errors.Is(err, mqtt.ErrNotAuthorised) {
		p.logins = 0
		if p.will == willLeftOut {
			p.will = willUsed
		}
		return
	}
	p.logins++
	switch {
	case p.will == willAgain: // without it works, with it does not
		p.will = willUsed
		p.willWait = min(max(willFirst, 2*p.willWait), willMost)
		p.noWill = now.Add(p.willWait)
	case p.will == willLeftOut:
		p.will = willUsed
	case p.logins%hangUps == 0 && !now.Before(p.noWill):
		p.will = willLeftOut
	}
}

// withWill reports whether the next login announces the last will.
func (p *path) withWill(now time.Time) bool { return p.will != willLeftOut && !now.Before(p.noWill) }

// passes returns how large a message passes, where that is limited; 0 where it is not.
func (p *path) passes() int {
	switch {
	case p.isBlackHole():
		return p.pace.Burst.Passed
	case p.sizeIsLimited():
		return p.size.Passed
	}
	return 0
}

// isBlackHole reports whether large packets get lost on the way. A path that carried more than one full packet at a
// time is no black hole: there the link itself failed.
func (p *path) isBlackHole() bool {
	b := p.pace.Burst
	return b.Failed > 0 && b.Strikes > 1 && b.Passed < fullPacket
}

func (p *path) sizeIsLimited() bool { return p.size.Failed > 0 && (p.confirmed || p.size.Strikes > 1) }

// limited says in words that only small messages pass, "" when that is not so.
func (p *path) limited(now time.Time) string {
	if p.barred {
		return ""
	}
	var out []string
	if p.sizeIsLimited() {
		out = append(out, fmt.Sprintf("messages of %d bytes pass, one of %d bytes ends the session: the broker refuses larger ones", p.size.Passed, p.size.Failed))
	}
	if b := p.pace.Burst; p.isBlackHole() {
		out = append(out, fmt.Sprintf("nothing large is acknowledged: %d bytes at a time pass, of %d bytes none is; check the MTU of the path to the broker", b.Passed, b.Failed))
	}
	if p.held > 0 && now.Sub(p.heldAt) < heldFor {
		out = append(out, fmt.Sprintf("%d messages of one record each wait because they are too large, the smallest has %d bytes", p.held, p.heldSize))
	}
	return strings.Join(out, "; ")
}

// refused says in words what the broker refuses by ending the session, "" when that is nothing.
func (p *path) refused(now time.Time) string {
	var out []string
	for _, v := range p.blame.Verdicts() {
		what, topic := "on the topic", v.Topic
		if t, ok := strings.CutPrefix(topic, subscription); ok {
			what, topic = "on the subscription to", t
		}
		if strings.HasSuffix(topic, "/") {
			topic += "+"
		}
		out = append(out, what+" "+topic)
	}
	if now.Before(p.plain) && !p.blame.Suspect() {
		out = append(out, "on retained messages (sent without retain meanwhile)")
	}
	if now.Before(p.noWill) {
		out = append(out, "on a login with a last will (left out meanwhile)")
	}
	if len(out) == 0 {
		return ""
	}
	return "the broker ends the session " + strings.Join(out, ", ") + "; tried again after 5 min to 1 h"
}

// isSound reports cheaply whether nothing is wrong.
func (p *path) isSound(now time.Time) bool {
	return p.size.Failed == 0 && p.pace.Burst.Failed == 0 && p.held == 0 && p.blame.Clear() && now.After(p.plain) &&
		now.After(p.noWill)
}

// subscription marks a topic as that of a subscription.
const subscription = "subscribe "
