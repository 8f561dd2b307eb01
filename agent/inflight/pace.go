package inflight

import "time"

// Bounds of the bytes that may be unacknowledged.
const (
	windowFirst = 8 << 10 // on a link of which nothing is known
	windowAgain = 16 << 10
	windowMost  = 16 << 20
)

// queueTarget is how long bytes may wait on the way before an acknowledgement, beyond the link's own delay. A live
// message waits behind them.
const queueTarget = 2 * time.Second

// slowest is the assumed rate of a link before any measurement, in bytes a second: 9.6 kbit/s with the overhead of TCP
// and TLS.
const slowest = 800

// Bounds of a measurement.
const (
	baseSpan    = time.Minute     // the shortest delay is that of one to two of these
	patienceMax = 2 * time.Minute // for the bytes ahead of a message
)

// Pace decides how many bytes may be unacknowledged, from the time that acknowledgements take. It needs nothing from
// the operating system, so it also sees the queue of a modem. A delay that does not depend on the queue (a satellite,
// GPRS, a broker that is slow to acknowledge) does not narrow the window.
type Pace struct {
	Burst Ceiling // bytes unacknowledged when nothing came back any more

	window  float64
	cut     time.Time // when the window was last narrowed
	base    [2]time.Duration
	turned  time.Time // when base[0] began
	perByte time.Duration
}

// NewPace returns the pace for a link of which nothing is known.
func NewPace() Pace {
	return Pace{window: windowFirst, Burst: Ceiling{FirstWait: time.Minute, LastWait: time.Hour}}
}

// Begin prepares for a new session: the link may have changed meanwhile.
func (p *Pace) Begin() { p.window = min(p.window, windowAgain) }

// Window returns how many bytes may be unacknowledged now.
func (p *Pace) Window(now time.Time) int {
	w := max(Small, int(p.window))
	if p.Burst.Failed > 0 {
		w = min(w, max(Small, p.Burst.Allowed(now, Small, windowMost)))
	}
	return w
}

// Message returns the maximum size of a message of old records now: a live message has to wait behind it.
func (p *Pace) Message(now time.Time) int { return max(Small, p.Window(now)/4) }

// OldFits reports whether another message of old records may be sent: they leave a quarter of the window to live ones.
func (p *Pace) OldFits(n, old, unacknowledged int, now time.Time) bool {
	w := p.Window(now)
	return unacknowledged == 0 || old+n <= 3*w/4 && unacknowledged+n <= w
}

// Patience returns how much longer than usual an acknowledgement may take with this many bytes unacknowledged.
func (p *Pace) Patience(ahead int) time.Duration {
	per := 4 * p.perByte
	if p.perByte == 0 {
		per = time.Second / slowest
	}
	return min(time.Duration(ahead)*per, patienceMax)
}

// Acked records an acknowledgement, after took, of a message of size bytes. ahead is how many bytes were unacknowledged
// when it was sent, including it. It returns how long the message waited behind others.
func (p *Pace) Acked(size, ahead int, took time.Duration, now time.Time) (queued time.Duration) {
	if ahead <= Small {
		p.delay(took, now)
	}
	if ahead > Small/2 {
		per := took / time.Duration(ahead)
		p.perByte += (per - p.perByte) / 4
		if p.perByte == 0 {
			p.perByte = 1
		}
	}
	p.Burst.Pass(ahead)
	queued = max(0, took-p.shortest())
	switch {
	case queued > queueTarget && now.Add(-took).After(p.cut):
		p.window = max(Small, min(p.window, float64(ahead))*max(0.5, float64(queueTarget)/float64(queued)))
		p.cut = now
	case queued < queueTarget/2 && 4*ahead >= p.Window(now):
		p.window = min(p.window+float64(size), windowMost)
	}
	return queued
}

// delay records how long a message took with hardly anything before it. A shorter delay counts immediately, a longer
// one once it has lasted.
func (p *Pace) delay(took time.Duration, now time.Time) {
	if p.turned.IsZero() || now.Sub(p.turned) > baseSpan {
		p.base[1], p.base[0] = p.base[0], took
		p.turned = now
	}
	p.base[0] = min(p.base[0], took)
}

// shortest is the link's own delay.
func (p *Pace) shortest() time.Duration {
	if p.base[1] == 0 {
		return p.base[0]
	}
	return min(p.base[0], p.base[1])
}

// Silent records that nothing came back any more after unacknowledged bytes were sent: the next session begins with one
// small message at a time.
func (p *Pace) Silent(unacknowledged int, now time.Time) {
	p.window = Small
	if unacknowledged > Small {
		p.Burst.Fail(unacknowledged, now)
	}
}
