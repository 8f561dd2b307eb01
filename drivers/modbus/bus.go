package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"bordo/drivers"
)

// Delays between this program and a serial line. A USB adapter delivers received bytes every 16 ms (FTDI's
// latency timer); a serial server adds a network round trip.
const (
	adapterDelay = 20 * time.Millisecond
	tunnelDelay  = 500 * time.Millisecond
)

// bus is the state that the devices of one line share: the port and what is known about it. One goroutine
// uses it.
type bus struct {
	line       drivers.Line
	char       time.Duration // duration of one character; 0: unknown
	silence    time.Duration // t3.5, the silence between two frames
	delay      time.Duration // adapterDelay or tunnelDelay
	port       drivers.Port
	opened     time.Time
	quietUntil time.Time             // no request is sent before this time
	txID       uint16                // transaction id of the last request
	broken     error                 // why the port must be reopened before the next request; nil: it is usable
	lastUsed   time.Time             // when the port was opened or last delivered a reply
	heardAny   bool                  // a reply has arrived since the port was opened
	echoes     bool                  // the line echoes what is sent on it
	opening    int                   // counts how often the line was opened
	connection int                   // counts connections; reopening in place changes it but not opening
	claimed    map[chainPlace]string // SunSpec devices that are being read, with the device id that reads each
	trace      func(Exchange)        // called with every exchange unless nil
	buf        [2 * maxADU]byte
	// longExceptions is set once an exception on this connection had a wrong length; replies are then
	// located by their header.
	longExceptions bool
	idOffset       idOffset         // offset of the transaction ids in replies, where the line tolerates other ids
	otherFraming   framingProbe     // whether the other side uses the other framing
	everAnswered   bool             // a reply has ever arrived on this line
	lateUnits      []byte           // units that replied after their timeout on a connection that was kept
	readingBuf     []orderedReading // buffer of the previous poll, reused
	filled         int              // number of valid bytes in buf
	consumed       int              // number of bytes in buf that the last frame used
}

// newBus derives the timing from the line's speed. Above 19200 baud the specification fixes t3.5 at 1.75 ms
// (Modbus over Serial Line V1.02, 2.5.1.1). The same value is used when the speed is unknown, because the
// serial server then keeps the silence itself.
func newBus(l drivers.Line) *bus {
	b := &bus{line: l, silence: 1750 * time.Microsecond, delay: adapterDelay}
	if l.Tunnel {
		b.delay = tunnelDelay
	}
	if l.Baud > 0 {
		bits := l.CharLen
		if bits == 0 {
			bits = 11
		}
		b.char = time.Duration(bits) * time.Second / time.Duration(l.Baud)
		if l.Baud <= 19200 {
			b.silence = 7 * b.char / 2
		}
	}
	return b
}

// wireTime returns how long n bytes take on the line.
func (b *bus) wireTime(n int) time.Duration { return time.Duration(n) * b.char }

// attach makes port the bus's port. The quiet time is not reset, because it belongs to the line: a late reply
// also arrives on a serial port that was reopened.
func (b *bus) attach(port drivers.Port) {
	if b.port == port {
		return
	}
	b.port = port
	b.resetConnection()
	b.opening++
}

// resetConnection clears everything that was known about the previous connection.
func (b *bus) resetConnection() {
	now := time.Now()
	b.opened, b.lastUsed, b.heardAny, b.echoes, b.broken = now, now, false, false, nil
	b.filled, b.consumed, b.longExceptions = 0, 0, false
	b.connection++
}

// transaction is one poll or command of one device on the bus. It implements goburrow's Transporter. That
// interface takes no context, so the transaction stores the context of the call that created it.
type transaction struct {
	ctx           context.Context
	bus           *bus
	timing        *Timing
	replyAt       time.Time // when the last byte of the last reply arrived
	echoDropped   bool      // the echo of the last request was removed
	sent          bool      // part of the last request may have reached the device
	requests      int       // requests sent so far
	keepOnTimeout bool      // keep the connection after a timeout; later replies are matched by transaction id
	heard         []byte    // bytes received instead of a valid reply; points into the bus's buffer

	stopCancel func() bool    // cancels the deadline that ctx sets; returns false if it is already being set
	cancelling sync.WaitGroup // done once that deadline is set
}

// newTransaction begins a transaction; the caller must call end. When ctx ends, the port operation in
// progress fails at once.
func (b *bus) newTransaction(ctx context.Context, m *Timing) *transaction {
	t := &transaction{ctx: ctx, bus: b, timing: m}
	port := b.port
	t.cancelling.Add(1)
	t.stopCancel = context.AfterFunc(ctx, func() {
		defer t.cancelling.Done()
		_ = port.SetDeadline(time.Unix(1, 0)) // an error means that the port is lost, which the next operation reports
	})
	return t
}

func (t *transaction) end() {
	defer t.hangUp()
	if !t.stopCancel() {
		t.cancelling.Wait() // otherwise it could overwrite the deadline of the next transaction
	}
}

// Exchange is one request and its result. Request and Answer are whole frames: with unit id and checksum, or
// with the MBAP header of Modbus TCP.
type Exchange struct {
	Request, Answer []byte // Answer is nil when no valid reply arrived
	Heard           []byte // bytes received instead of a reply, without the echo of the request
	Err             error  // why there is no valid reply
}

// Send implements goburrow's Transporter.
func (t *transaction) Send(adu []byte) ([]byte, error) {
	t.sent, t.echoDropped, t.heard = false, false, nil
	t.requests++
	answer, err := t.exchange(adu)
	if err == nil {
		t.bus.otherFraming = framingProbe{}
	} else {
		err = t.checkFraming(adu, err)
	}
	if t.bus.trace != nil {
		t.bus.trace(Exchange{slices.Clone(adu), slices.Clone(answer), slices.Clone(t.heard), err})
	}
	return answer, err
}

// exchange sends a request and waits for the reply. If the device closed the connection before the first byte
// of a reply, exchange reopens it and repeats the request once: some devices close after each reply, others
// when idle. A write is repeated only if no byte of it was sent.
func (t *transaction) exchange(adu []byte) ([]byte, error) {
	if err := t.ensureConnected(); err != nil {
		return nil, err
	}
	answer, err := t.send(adu)
	if err == nil || !t.mayReopen() || drivers.KindOf(err) != drivers.Closed || t.ctx.Err() != nil {
		return answer, t.keepPort(err)
	}
	if len(t.heard) > 0 || t.sent && !isReadOnly(t.function(adu)) {
		return nil, t.keepPort(err)
	}
	if lost := t.reopen(); lost != nil {
		return nil, lost
	}
	answer, err = t.send(adu)
	return answer, t.keepPort(err)
}

// function returns the function code of a request frame.
func (t *transaction) function(adu []byte) byte {
	if t.bus.line.Stream {
		return adu[mbapSize+1]
	}
	return adu[1]
}

// send does one exchange on a connection that is assumed to be open.
func (t *transaction) send(adu []byte) ([]byte, error) {
	if t.bus.line.Stream {
		return t.sendTCP(adu)
	}
	return t.sendRTU(adu)
}

// toleratesIDs reports whether a reply may carry a transaction id that differs from its request's.
func (t *transaction) toleratesIDs() bool { return t.bus.line.TolerantIDs || t.timing.TolerantIDs }

// noteReply records the time at which a reply was complete.
func (t *transaction) noteReply() {
	t.replyAt = time.Now()
	t.bus.lastUsed, t.bus.heardAny, t.bus.everAnswered = t.replyAt, true, true
}

// maxLate is how many late units a bus stores.
const maxLate = 16

// lateUnit stores a unit that replied after its timeout.
func (t *transaction) lateUnit(unit byte) {
	if b := t.bus; t.keepOnTimeout && len(b.lateUnits) < maxLate {
		b.lateUnits = append(b.lateUnits, unit)
	}
}

// setDeadline sets the deadline of the next port operation and returns ctx's error if ctx has ended. The
// order matters: cancellation sets its own deadline after ctx has ended. So either that deadline replaces
// ours, or ctx.Err reports the end here.
func (t *transaction) setDeadline(at time.Time) error {
	if err := t.bus.port.SetDeadline(at); err != nil {
		return t.portError(err)
	}
	return t.ctx.Err()
}

// portError marks the port as unusable and wraps err as a lost port.
func (t *transaction) portError(err error) error {
	t.bus.broken = err
	var e *drivers.Error
	if errors.As(err, &e) && e.Lost {
		if e.Kind == drivers.Closed && (t.bus.line.Stream || t.bus.line.Tunnel) {
			return &drivers.Error{Op: e.Op, Kind: e.Kind, Cause: drivers.HungUp, Lost: true, Err: e.Err}
		}
		return err
	}
	return &drivers.Error{Kind: drivers.Closed, Lost: true, Err: err}
}

// pause waits until at, or until ctx ends.
func (t *transaction) pause(at time.Time) error {
	wait := time.Until(at)
	if wait <= 0 {
		return t.ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-t.ctx.Done():
		return t.ctx.Err()
	case <-timer.C:
		return nil
	}
}

// firstRequestAt returns the earliest time for the first request on a newly opened port. Another program may
// have received a reply from the device just before, so the pause between a reply and the next request counts
// from the opening.
func (t *transaction) firstRequestAt() time.Time {
	return t.bus.opened.Add(max(t.timing.ConnectWait, t.timing.Gap))
}

// write sends a frame and fails if the port does not accept it within the given time.
func (t *transaction) write(adu []byte, within time.Duration) error {
	if err := t.setDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	n, err := t.bus.port.Write(adu)
	t.sent = n > 0
	switch {
	case err == nil:
		return nil
	case t.ctx.Err() != nil:
		return t.ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return t.portError(fmt.Errorf("wrote only %d of %d bytes in %v", n, len(adu), within))
	}
	return t.portError(err)
}
