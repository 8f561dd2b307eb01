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

// What lies between this program and a serial line and delays an answer: a USB adapter hands over what it received every
// 16 ms (FTDI's latency timer); a serial server answers through a network.
const (
	adapterDelay = 20 * time.Millisecond
	tunnelDelay  = 500 * time.Millisecond
)

// bus is what the devices of one line share: the port, and what was heard and may be sent on it. One goroutine uses it.
type bus struct {
	line           drivers.Line
	char           time.Duration // one character; 0 where it is not known
	silence        time.Duration // t3.5
	delay          time.Duration // adapterDelay or tunnelDelay
	port           drivers.Port
	opened         time.Time
	quietUntil     time.Time             // nothing is sent before
	txID           uint16                // transaction id of the last request
	broken         error                 // why the port must be opened again
	lastUsed       time.Time             // when something was last heard on the port, or it was opened
	heardAny       bool                  // something was heard on the port
	echoes         bool                  // the line gives back what is sent on it
	opening        int                   // which opening of the line this is
	connection     int                   // which connection; one that is opened again in place is another, of the same opening
	claimed        map[chainPlace]string // the devices of SunSpec chains that are read, by id
	trace          func(Exchange)        // sees every exchange; nil: nobody wants to
	buf            [2 * maxADU]byte
	longExceptions bool             // of a connection: an exception came with bytes that its length does not tell
	idOffset       idOffset         // of a connection whose answers may carry other transaction ids
	otherFraming   framingProbe     // what was found out about the framing of the other side
	everAnswered   bool             // something was ever answered on the line
	lateUnits      []byte           // units whose answer came after its time, on a connection that was kept
	readingBuf     []orderedReading // of the poll before, to be used again
	filled         int              // of a connection: so many bytes lie in buf,
	consumed       int              // of which the first so many were a frame
}

// newBus reads the line's speed. Above 19200 baud the specification fixes t3.5 at 1.75 ms (Modbus over Serial Line V1.02,
// 2.5.1.1); that is also taken where the speed is not known, because the serial server keeps it.
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

// wireTime is how long n bytes take on the line.
func (b *bus) wireTime(n int) time.Duration { return time.Duration(n) * b.char }

// attach takes over a port. A settling time is of the line, not of the port: a late answer finds a serial port that was
// opened again as well.
func (b *bus) attach(port drivers.Port) {
	if b.port == port {
		return
	}
	b.port = port
	b.resetConnection()
	b.opening++
}

// resetConnection forgets what was true of the connection before.
func (b *bus) resetConnection() {
	now := time.Now()
	b.opened, b.lastUsed, b.heardAny, b.echoes, b.broken = now, now, false, false, nil
	b.filled, b.consumed, b.longExceptions = 0, 0, false
	b.connection++
}

// transaction is the use of the bus for one poll or one command of one device. It is a goburrow Transporter: that interface
// knows no context, so the turn carries the one of the call that it lives in.
type transaction struct {
	ctx           context.Context
	bus           *bus
	timing        *Timing
	replyAt       time.Time // when the last byte of the last answer came
	echoDropped   bool      // the echo of the last request was taken away
	sent          bool      // something of the last request may have reached the device
	requests      int       // requests so far
	keepOnTimeout bool      // a connection is kept after silence: the next answers are told apart by their ids
	heard         []byte    // what came instead of an answer, or of the whole of one; lies in the bus's buffer

	stopCancel func() bool    // stops the end of ctx from cutting the turn short; false when it has begun to
	cancelling sync.WaitGroup // until that is done
}

// newTransaction begins a turn; end must be called. When ctx ends, whatever the turn is doing ends at once.
func (b *bus) newTransaction(ctx context.Context, m *Timing) *transaction {
	t := &transaction{ctx: ctx, bus: b, timing: m}
	port := b.port
	t.cancelling.Add(1)
	t.stopCancel = context.AfterFunc(ctx, func() {
		defer t.cancelling.Done()
		_ = port.SetDeadline(time.Unix(1, 0)) // a port that refuses is gone, which the turn sees by itself
	})
	return t
}

func (t *transaction) end() {
	defer t.hangUp()
	if !t.stopCancel() {
		t.cancelling.Wait() // the port's next deadline must not be overwritten by this one
	}
}

// Exchange is a request and what came of it. Both are whole frames: with unit id and checksum, or with the head of
// Modbus TCP.
type Exchange struct {
	Request, Answer []byte // Answer is nil when none came
	Heard           []byte // what came instead of an answer, without an echo of the request
	Err             error  // why there is no answer
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

// exchange sends a request and waits for its answer. A connection that the device closed before the first byte of an answer
// is opened again and the request repeated, once: a device may close after each answer, or after some idle time. A write is
// repeated only when none of it was sent.
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

// function is the function code of a request.
func (t *transaction) function(adu []byte) byte {
	if t.bus.line.Stream {
		return adu[mbapSize+1]
	}
	return adu[1]
}

// send does one exchange on a connection that is taken to be usable.
func (t *transaction) send(adu []byte) ([]byte, error) {
	if t.bus.line.Stream {
		return t.sendTCP(adu)
	}
	return t.sendRTU(adu)
}

// toleratesIDs tells whether answers may carry another transaction id than their request.
func (t *transaction) toleratesIDs() bool { return t.bus.line.TolerantIDs || t.timing.TolerantIDs }

// noteReply notes that an answer is complete.
func (t *transaction) noteReply() {
	t.replyAt = time.Now()
	t.bus.lastUsed, t.bus.heardAny, t.bus.everAnswered = t.replyAt, true, true
}

// maxLate bounds how many units are remembered that answered too late.
const maxLate = 16

// lateUnit notes a unit that answered after its time.
func (t *transaction) lateUnit(unit byte) {
	if b := t.bus; t.keepOnTimeout && len(b.lateUnits) < maxLate {
		b.lateUnits = append(b.lateUnits, unit)
	}
}

// setDeadline sets the deadline of what comes next. The order matters: the deadline that ends a cancelled turn is set after ctx
// ended, so either it comes after ours, or we see here that ctx ended.
func (t *transaction) setDeadline(at time.Time) error {
	if err := t.bus.port.SetDeadline(at); err != nil {
		return t.portError(err)
	}
	return t.ctx.Err()
}

// portError is the error of a port that does not work any more.
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

// pause waits until at.
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

// firstRequestAt is when a device may be asked for the first time on a port. Somebody may have had an answer of it right before the
// port was opened, so the pause that it wants after an answer counts from there.
func (t *transaction) firstRequestAt() time.Time {
	return t.bus.opened.Add(max(t.timing.ConnectWait, t.timing.Gap))
}

// write sends a frame.
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
		return t.portError(fmt.Errorf("the line took only %d of %d bytes in %v", n, len(adu), within))
	}
	return t.portError(err)
}
