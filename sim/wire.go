package sim

import (
	"cmp"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"bordo/drivers/line"
	"bordo/sim/plant"
)

// maxLate bounds the messages of one connection that are still to come.
const maxLate = 16

// bus is the medium of one line: it counts its exchanges and applies faults to them, whatever protocol its devices use.
type bus struct {
	id       string
	endpoint line.Endpoint
	faults   *faults
	dice     plant.Dice
	protocol protocol        // and its devices
	n        atomic.Uint64   // exchanges so far
	onGone   func(gone bool) // called when the cable is unplugged and plugged in again; may be nil
}

func (b *bus) isGone(now time.Time) bool {
	_, _, gone := b.faults.on(Gone, "", now)
	return gone
}

// hit reports whether a fault affects an exchange with a device, which is nil for an unused address.
func (b *bus) hit(kind FaultKind, d device, x exchange) (Fault, bool) {
	id := ""
	if d != nil {
		id = d.about().spec.ID
	}
	return b.faults.hit(kind, id, x.n, x.at)
}

// wire is one open connection of a bus, seen from the devices. What they send passes through the bus's faults. One
// goroutine may read and one send.
type wire struct {
	port connection
	bus  *bus
	char time.Duration // of a character, where the port does not take its time itself; else 0

	understood func() bool // whether the master uses the settings of the line; nil: it always does

	opened time.Time
	others int // connections of the bus that were open before this one

	mu      sync.Mutex
	request []byte    // bytes received since the last exchange
	heard   time.Time // when it began
	pending map[*time.Timer]bool
	closed  bool
	late    sync.WaitGroup
}

func newWire(port connection, b *bus, char time.Duration) *wire {
	return &wire{port: port, bus: b, char: char, opened: time.Now(), pending: map[*time.Timer]bool{}}
}

// SetDeadline sets the time at which Read stops waiting.
func (w *wire) SetDeadline(t time.Time) error { return w.port.SetDeadline(t) }

// Read implements io.Reader for the devices' side.
func (w *wire) Read(p []byte) (int, error) {
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

// fits reports whether the two ends of a serial line have the same settings. Otherwise neither understands the other:
// frames fail their parity or checksum, and a device that receives none does not answer.
func (w *wire) fits() bool { return w.understood == nil || w.understood() }

// exchange is one turn on a line: what was received, followed by a message of a device.
type exchange struct {
	n       uint64    // counts those of the line, from 1
	at      time.Time // when the device speaks
	request []byte    // received since the previous exchange; empty when a device sends unsolicited
	heard   time.Time // when that began
}

// exchange begins the next exchange. ok is false when the master's settings differ from those of the line: then neither
// side understands the other, and nothing is to be sent.
func (w *wire) exchange() (x exchange, ok bool) {
	if !w.fits() {
		return exchange{}, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x = exchange{n: w.bus.n.Add(1), at: time.Now(), request: w.request, heard: w.heard}
	w.request = nil
	return x, true
}

// message is what a device says in one exchange, whole. It belongs to send then.
type message struct {
	from    device // nil: no device whose faults could apply
	data    []byte
	fragile int           // number of leading bytes that can be damaged; 0: all
	usual   time.Duration // usual reply time of the device
	latest  time.Duration // maximum reply time; 0: a second
}

// send applies the faults of the bus to a message and puts the result on the wire: immediately, or, without waiting for
// it, when its time has come.
func (w *wire) send(x exchange, m message) error {
	frame, delay := w.bus.spoil(m, x)
	delay += time.Duration(len(x.request)+len(frame)) * w.char
	switch {
	case len(frame) == 0:
		return nil
	case delay > 0:
		w.sendLater(frame, delay)
		return nil
	}
	_, err := w.port.Write(frame)
	return err
}

// sendLater writes a message when its time has come, while the devices go on listening.
func (w *wire) sendLater(frame []byte, delay time.Duration) {
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

// close prevents further writes and waits for the current one. The port is closed before.
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

// spoil applies the faults of a bus to the bytes of a message. It returns what to send, and with what delay.
func (b *bus) spoil(m message, x exchange) (frame []byte, delay time.Duration) {
	hit := func(kind FaultKind) (Fault, bool) { return b.hit(kind, m.from, x) }
	frame = m.data
	if _, drop := hit(Drop); drop || len(frame) == 0 {
		return nil, 0
	}
	if _, garble := hit(Garble); garble {
		b.garble(frame[:cmp.Or(min(m.fragile, len(frame)), len(frame))], x.n)
	}
	if _, truncate := hit(Truncate); truncate && len(frame) > 1 {
		frame = frame[:1+int(b.dice.Word(8*x.n)%uint64(len(frame)-1))]
	}
	if _, noise := hit(Noise); noise {
		frame = append(b.noise(x.n), frame...)
	}
	if _, echo := hit(Echo); echo {
		frame = append(append([]byte(nil), x.request...), frame...)
	}
	if f, late := hit(Late); late {
		delay = f.By
		if delay == 0 {
			delay = time.Duration(b.dice.Between(8*x.n+1, 0.3, 1) * float64(cmp.Or(m.latest, time.Second)))
		}
		return frame, delay
	}
	return frame, m.usual
}

// garble flips one to three bits: as many as the checksum of Modbus RTU is sure to notice.
func (b *bus) garble(frame []byte, n uint64) {
	flips := 1 + b.dice.Word(8*n+2)%3
	for i := range flips {
		w := b.dice.Word(8*n + 3 + i)
		frame[w>>3%uint64(len(frame))] ^= 1 << (w & 7)
	}
}

// noise returns up to six random bytes.
func (b *bus) noise(n uint64) []byte {
	w := b.dice.Word(8*n + 6)
	return binary.BigEndian.AppendUint64(nil, b.dice.Word(8*n+7))[:1+w%6]
}
