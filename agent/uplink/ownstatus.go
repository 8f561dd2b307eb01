package uplink

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"time"

	"bordo/agent/mqtt"
	"bordo/contract"
)

// correctEvery is how often at most the status is written again because somebody else has overwritten it.
const correctEvery = 10 * time.Second

// overwrites is how many foreign messages within contract.RaiseWindow mean that somebody writes this node's status. One is
// normal: the will of a session that has just died may come late.
const overwrites = 3

// ownStatus follows what one session sees on the node's own status topic. A broker, or somebody else, may send more than the
// session can read: what has not been taken is summed up.
type ownStatus struct {
	sess string
	news chan struct{} // cap 1

	mu        sync.Mutex
	pending   [][sha256.Size]byte // hashes of published messages that have not come back, oldest first
	exact     bool                // one came back unchanged: this broker does not rewrite payloads
	latest    [sha256.Size]byte   // hash of the message that was published last
	published bool
	seen      seenStatus
}

// maxPending limits ownStatus.pending where nothing comes back. The oldest are dropped: the broker keeps the order, so they
// are the first to be obsolete.
const maxPending = 64

// seenStatus is what came since it was last taken.
type seenStatus struct {
	echo    bool   // the own status came back
	foreign int    // messages that this session did not write
	wrong   bool   // and what they left behind is not the node's status
	what    string // the last of them
}

func newOwnStatus(sess string) *ownStatus {
	return &ownStatus{sess: sess, news: make(chan struct{}, 1)}
}

// wrote notes that a status is about to be published.
func (o *ownStatus) wrote(payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.latest, o.published = sha256.Sum256(payload), true
	o.pending = append(o.pending, o.latest)
	o.pending = o.pending[max(0, len(o.pending)-maxPending):]
}

// saw takes a message on the topic. It does not block.
func (o *ownStatus) saw(m mqtt.Message) {
	st, err := contract.DecodeStatus(m.Payload)
	o.mu.Lock()
	defer o.mu.Unlock()
	own := err == nil && st.Sess == o.sess
	switch {
	case own && st.State == contract.Offline:
		return // its goodbye
	case own && st.State == contract.Online:
		o.seen.echo = true
		sum := sha256.Sum256(m.Payload)
		if o.isEcho(sum, m.Retain) {
			break
		}
		o.seen.foreign++
		o.seen.what = "a copy of this node's own status"
		o.seen.wrong = o.seen.wrong || sum != o.latest
	case m.Retain && !o.published:
		return // what was retained before: it is about to be overwritten
	default:
		o.seen.foreign++
		o.seen.wrong = true
		o.seen.what = foreignStatus(m.Payload, st, err)
	}
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// isEcho reports whether an online status of this session is what the session wrote, and removes it from pending. The messages
// published before it are removed with it: they will not come back. The broker dropped them, or took them before the
// subscription, which is sent independently of the first status. A retained message answers a subscription and is never a copy.
func (o *ownStatus) isEcho(sum [sha256.Size]byte, retained bool) bool {
	if i := slices.Index(o.pending, sum); i >= 0 {
		o.pending = slices.Delete(o.pending, 0, i+1)
		o.exact = true
		return true
	}
	if !retained && !o.exact && len(o.pending) > 0 { // perhaps the broker rewrites payloads: accept one echo for each message
		o.pending = slices.Delete(o.pending, 0, 1)
		return true
	}
	return retained
}

// foreignStatus says what somebody else has written.
func foreignStatus(payload []byte, st contract.Status, err error) string {
	switch {
	case len(payload) == 0:
		return "the retained status was deleted"
	case err != nil:
		return fmt.Sprintf("%d bytes that are no status", len(payload))
	}
	return fmt.Sprintf("%q of session %.40q", st.State, st.Sess)
}

// take returns what came since the last call.
func (o *ownStatus) take() seenStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.seen
	o.seen = seenStatus{}
	return seen
}

// heard looks at what came on the node's own status topic. A late will of an earlier session, or what somebody else writes,
// must not stay there; it is corrected at most once in correctEvery, because whoever wrote it may write again.
func (s *session) heard(seen seenStatus) {
	if seen.echo {
		s.echoed = true
		s.path.barred = false
		s.f.Conditions.Set(contract.NotRouted, "", false, "")
		s.f.Conditions.Set(contract.PacketRefused, "", false, "")
	}
	if seen.foreign == 0 {
		return
	}
	now := time.Now()
	for range min(seen.foreign, overwrites) {
		s.foreign = append(s.foreign, now)
	}
	s.foreign = s.foreign[max(0, len(s.foreign)-overwrites):]
	if len(s.foreign) == overwrites && now.Sub(s.foreign[0]) < contract.RaiseWindow {
		s.f.overwritten(seen.what)
	}
	if !seen.wrong || s.correctDue {
		return
	}
	if wait := s.f.corrected.Add(correctEvery).Sub(now); wait > 0 {
		s.correctDue = true
		s.correct.Reset(wait)
		return
	}
	s.writeAgain()
}

// writeAgain corrects the status. With a message under way it would tell a backlog, and have to be followed by another one.
func (s *session) writeAgain() {
	s.f.corrected, s.correctDue = time.Now(), false
	s.statusSoon()
}
