package sim

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"bordo/drivers/line"
	"bordo/sim/plant"
)

// maxLate bounds the replies of one connection that are still to come.
const maxLate = 16

// bus is the medium of one line: it counts its exchanges and lets things go wrong with them.
type bus struct {
	id       string
	endpoint line.Endpoint
	stream   bool // Modbus TCP; false: RTU, on a serial line or in a TCP stream
	faults   *faults
	dice     plant.Dice
	devices  map[byte]*modbusDevice // by unit id
	order    []*modbusDevice        // as in the scenario
	n        atomic.Uint64          // exchanges so far
	onGone   func(gone bool)        // told when the cable is pulled and put back; may be nil
}

func (b *bus) isGone(now time.Time) bool {
	_, _, gone := b.faults.on(Gone, "", now)
	return gone
}

// wire is one open connection of a bus, seen from the devices. What they write passes through the bus's faults.
type wire struct {
	port connection
	bus  *bus
	char time.Duration // of a character, where the port does not take its time itself; else 0

	understood func() bool // whether the master uses the settings of the line; nil: it always does

	opened time.Time
	hushed bool // another client holds the device: this one gets no answer

	mu      sync.Mutex
	request []byte             // what was heard since the last reply
	heard   time.Time          // when it began
	spoke   map[byte]time.Time // when each unit's last reply ended
	pending map[*time.Timer]bool
	closed  bool
	late    sync.WaitGroup
}

func newWire(port connection, b *bus, char time.Duration) *wire {
	return &wire{port: port, bus: b, char: char, opened: time.Now(), spoke: map[byte]time.Time{}, pending: map[*time.Timer]bool{}}
}

// SetDeadline belongs to a connection; the servers ask for it.
func (w *wire) SetDeadline(t time.Time) error { return w.port.SetDeadline(t) }

// Read implements io.Reader for the devices' side. A device that closes idle connections does it here.
func (w *wire) Read(p []byte) (int, error) {
	if idle := w.bus.idleClose(); idle > 0 {
		if err := w.port.SetDeadline(time.Now().Add(idle)); err != nil {
			return 0, err
		}
	}
	n, err := w.port.Read(p)
	for err == nil && !w.fits() {
		n, err = w.port.Read(p) // noise to the devices
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.request) == 0 {
		w.heard = time.Now()
	}
	if w.request = append(w.request, p[:n]...); len(w.request) > 512 {
		w.request = w.request[len(w.request)-512:]
	}
	return n, err
}

// fits tells whether the two ends of a serial line have the same settings. Otherwise neither understands the other: frames
// fail their parity or checksum, and a device that hears none says nothing.
func (w *wire) fits() bool { return w.understood == nil || w.understood() }

// Write takes one reply, whole.
func (w *wire) Write(reply []byte) (int, error) {
	if !w.fits() {
		return len(reply), nil
	}
	now := time.Now()
	n := w.bus.n.Add(1)
	w.mu.Lock()
	request, rude := w.request, w.rude(reply)
	w.request = nil
	w.mu.Unlock()
	if rude {
		return len(reply), nil
	}
	frame, delay := w.bus.spoil(reply, request, n, now)
	delay += time.Duration(len(request)+len(frame)) * w.char
	switch {
	case len(frame) == 0:
		return len(reply), nil
	case delay > 0:
		w.writeLater(frame, delay)
		return len(reply), nil
	}
	if _, err := w.port.Write(frame); err != nil {
		return 0, err
	}
	return len(reply), nil
}

// writeLater writes a reply when its time has come, while the devices go on listening.
func (w *wire) writeLater(frame []byte, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.pending) == maxLate {
		return
	}
	w.late.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(delay, func() {
		defer w.late.Done()
		w.mu.Lock()
		_, mine := w.pending[timer]
		delete(w.pending, timer)
		w.mu.Unlock()
		if mine && w.fits() {
			w.port.Write(frame) //nolint:errcheck // a port that is gone is seen by the reader
		}
	})
	w.pending[timer] = true
}

// close lets nothing be written any more and waits for what is being written. The port is closed before.
func (w *wire) close() {
	w.mu.Lock()
	w.closed = true
	for timer := range w.pending {
		if timer.Stop() {
			w.late.Done()
		}
	}
	clear(w.pending)
	w.mu.Unlock()
	w.late.Wait()
}

// spoil lets the faults of a bus act on a reply: it returns what is to be sent, and how much later.
func (b *bus) spoil(reply, request []byte, n uint64, now time.Time) (frame []byte, delay time.Duration) {
	unitAt := 0
	if b.stream {
		unitAt = 6
	}
	if len(reply) < unitAt+3 {
		return reply, 0
	}
	name := b.deviceOf(reply[unitAt])
	hit := func(kind FaultKind) (Fault, bool) { return b.faults.hit(kind, name, n, now) }
	if _, drop := hit(Drop); drop {
		return nil, 0
	}
	frame = append([]byte(nil), reply...)
	if f, exception := hit(Exception); exception {
		frame = b.exception(frame, unitAt, byte(orCode(f.Code, 4)))
	} else if _, busy := hit(Busy); busy {
		frame = b.exception(frame, unitAt, 6)
	}
	if _, wrong := hit(WrongUnit); wrong {
		frame[unitAt] = b.stranger(frame[unitAt])
		b.seal(frame)
	}
	if _, garble := hit(Garble); garble {
		b.garble(frame, n)
	}
	if _, truncate := hit(Truncate); truncate {
		frame = frame[:1+int(b.dice.Word(8*n)%uint64(len(frame)-1))]
	}
	if _, noise := hit(Noise); noise {
		frame = append(b.noise(n), frame...)
	}
	if _, echo := hit(Echo); echo {
		frame = append(append([]byte(nil), request...), frame...)
	}
	if f, late := hit(Late); late {
		delay = f.By
		if delay == 0 {
			delay = time.Duration(b.dice.Between(8*n+1, 0.3, 1) * float64(b.replyMax(reply[unitAt])))
		}
		return frame, delay
	}
	return frame, b.usual(reply[unitAt])
}

// garble flips one to three bits: as many as the checksum of RTU is sure to notice. TCP has a checksum of its own, so
// that on a stream only the header can come out wrong, through a bad gateway; the unit is another fault.
func (b *bus) garble(frame []byte, n uint64) {
	size := uint64(len(frame))
	if b.stream {
		size = 6
	}
	flips := 1 + b.dice.Word(8*n+2)%3
	for i := range flips {
		w := b.dice.Word(8*n + 3 + i)
		frame[w>>3%size] ^= 1 << (w & 7)
	}
}

// noise makes up to six bytes of nobody.
func (b *bus) noise(n uint64) []byte {
	w := b.dice.Word(8*n + 6)
	return binary.BigEndian.AppendUint64(nil, b.dice.Word(8*n+7))[:1+w%6]
}
