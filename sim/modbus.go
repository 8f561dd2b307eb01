package sim

import (
	"context"
	"encoding/binary"
	"time"

	"bordo/drivers/line"
	"bordo/drivers/modbus/slave"
)

// deviceOf names the device that a unit id belongs to.
func (b *bus) deviceOf(unit byte) string {
	if d := b.devices[unit]; d != nil {
		return d.spec.ID
	}
	return ""
}

// serve lets units answer until the port is closed.
func (w *wire) serve(units map[byte]slave.Answerer) error {
	if w.bus.stream {
		return slave.ServeTCP(context.Background(), w, units)
	}
	return slave.ServeRTU(context.Background(), w, units, slave.RTU{})
}

// rude tells whether the request came too early for the device: right after the connection was opened, or without the
// pause that it wants after its last answer. Such a request gets no answer; so does a second client of a device that has
// only one. The caller holds the lock.
func (w *wire) rude(reply []byte) bool {
	unitAt := 0
	if w.bus.stream {
		unitAt = 6
	}
	if w.hushed {
		return true
	}
	if len(reply) <= unitAt {
		return false
	}
	unit := reply[unitAt]
	d := w.bus.devices[unit]
	if d == nil {
		return false
	}
	last, spoken := w.spoke[unit]
	w.spoke[unit] = time.Now().Add(d.manners.ReplyUsual)
	early := w.heard.Sub(w.opened) < d.manners.ConnectWait*leniency/100
	return early || spoken && w.heard.Sub(last) < d.manners.Gap*leniency/100
}

// leniency is how many per cent of a pause a device insists on: clocks differ.
const leniency = 90

// exception makes an exception of a reply.
func (b *bus) exception(frame []byte, unitAt int, code byte) []byte {
	out := append(frame[:unitAt+1], frame[unitAt+1]|0x80, code)
	if b.stream {
		binary.BigEndian.PutUint16(out[4:], 3)
		return out
	}
	out = append(out, 0, 0)
	b.seal(out)
	return out
}

// stranger is a unit id that nobody on the bus has.
func (b *bus) stranger(unit byte) byte {
	for b.devices[unit] != nil {
		unit = unit%247 + 1
	}
	return unit
}

// seal makes the checksum of an RTU frame right again.
func (b *bus) seal(frame []byte) {
	if !b.stream {
		body := len(frame) - 2
		binary.LittleEndian.PutUint16(frame[body:], crc16(frame[:body]))
	}
}

// idleClose is after how much silence a device of the bus closes a connection; 0: never.
func (b *bus) idleClose() (shortest time.Duration) {
	if !b.stream {
		return 0
	}
	for _, d := range b.devices {
		if idle := d.manners.IdleClose; idle > 0 && (shortest == 0 || idle < shortest) {
			shortest = idle
		}
	}
	return shortest
}

// clients is how many connections the devices of the bus take at once; 0: any number.
func (b *bus) clients() (fewest int) {
	if b.endpoint.Scheme == line.Serial {
		return 0
	}
	for _, d := range b.devices {
		if n := d.manners.Clients; n > 0 && (fewest == 0 || n < fewest) {
			fewest = n
		}
	}
	return fewest
}

// replyMax is the latest that a device ever answers.
func (b *bus) replyMax(unit byte) time.Duration {
	if d := b.devices[unit]; d != nil {
		return d.replyMax
	}
	return time.Second
}

// usual is how long a device takes as a rule.
func (b *bus) usual(unit byte) time.Duration {
	if d := b.devices[unit]; d != nil {
		return d.manners.ReplyUsual
	}
	return 0
}

func orCode(code, standard int) int {
	if code == 0 {
		return standard
	}
	return code
}

// crc16 is the checksum of an RTU frame (Modbus over Serial Line V1.02, 6.2.2).
func crc16(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 == 1 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}
