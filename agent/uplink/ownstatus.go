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

// correctEvery is the minimum interval between two corrections of an overwritten status.
const correctEvery = 10 * time.Second

// overwrites is the number of foreign messages within contract.RaiseWindow that proves another writer on this node's
// status topic. One is normal: the will of a session that has just died may arrive late.
const overwrites = 3

// ownStatus tracks what one session receives on the node's own status topic. A broker, or another client, may send
// faster than the session reads: unread messages are merged.
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

// maxPending bounds ownStatus.pending where no echo returns. The oldest are dropped: the broker keeps the order, so
// they become obsolete first.
const maxPending = 64

// seenStatus is what came since it was last taken.
type seenStatus struct {
	echo    bool   // the own status came back
	foreign int    // messages that this session did not write
	wrong   bool   // the topic then holds something other than the node's status
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
		return // retained before this session, about to be overwritten
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

// isEcho reports whether an online status of this session is one that the session wrote, and removes it from pending
// together with all messages published before it. Those will not return: the broker dropped them, or accepted them
// before the subscription, which is sent independently of the first status. A retained message answers a subscription
// and is never an echo.
func (o *ownStatus) isEcho(sum [sha256.Size]byte, retained bool) bool {
	if i := slices.Index(o.pending, sum); i >= 0 {
		o.pending = slices.Delete(o.pending, 0, i+1)
		o.exact = true
		return true
	}
	if !retained && !o.exact && len(o.pending) > 0 { // the broker may rewrite payloads: accept one echo per message
		o.pending = slices.Delete(o.pending, 0, 1)
		return true
	}
	return retained
}

// foreignStatus describes what another client has written.
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

// heard handles a message on the node's own status topic. A late will of an earlier session, or another client's
// message, must not remain there. It is corrected at most once in correctEvery, because its writer may write again.
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

// writeAgain corrects the status. With messages in flight it would report a backlog and need another correction.
func (s *session) writeAgain() {
	s.f.corrected, s.correctDue = time.Now(), false
	s.statusSoon()
}
