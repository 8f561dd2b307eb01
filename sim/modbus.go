package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/crc16"
	"bordo/drivers/modbus/slave"
)

// modbusLine is the devices of a line that speaks Modbus.
type modbusLine struct {
	bus    *bus
	stream bool                   // Modbus TCP; false: RTU, on a serial line or in a TCP stream
	units  map[byte]*modbusDevice // by unit id
	order  []device
}

var _ protocol = (*modbusLine)(nil)

// endpointOf reads the port URL of a line. Modbus is the only protocol that scenarios have on TCP, so a missing port is
// that of Modbus.
func endpointOf(port string) (line.Endpoint, error) {
	e, err := line.Parse(port)
	return e.WithPort(modbus.TCPPort), err
}

func newModbusLine(s *Site, b *bus, specs []Device) (protocol, error) {
	l := &modbusLine{bus: b, stream: b.endpoint.Scheme == line.TCP, units: map[byte]*modbusDevice{}}
	for _, spec := range specs {
		d, err := newModbusDevice(s, l, spec)
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", spec.ID, err)
		}
		l.units[byte(spec.Unit)] = d
		l.order = append(l.order, d)
	}
	return l, nil
}

// devices implements protocol.
func (l *modbusLine) devices() []device { return l.order }

// serve implements protocol.
func (l *modbusLine) serve(ctx context.Context, w *wire) error {
	units := make(map[byte]slave.Answerer, len(l.units))
	for unit, d := range l.units {
		units[unit] = d
	}
	p := &modbusPort{wire: w, line: l, spoke: map[byte]time.Time{}, hushed: l.clients() > 0 && w.others >= l.clients()}
	if l.stream {
		return slave.ServeTCP(ctx, p, units)
	}
	return slave.ServeRTU(ctx, p, units, slave.RTU{})
}

// modbusPort is a connection as the Modbus servers use it. It applies the timing of the devices, and the faults that
// need knowledge of Modbus.
type modbusPort struct {
	*wire
	line   *modbusLine
	hushed bool               // another client holds the device: this one gets no answer
	spoke  map[byte]time.Time // when each unit's last reply ended
}

// Read implements io.Reader. A device that closes idle connections does it here.
func (p *modbusPort) Read(b []byte) (int, error) {
	if idle := p.line.idleClose(); idle > 0 {
		if err := p.SetDeadline(time.Now().Add(idle)); err != nil {
			return 0, err
		}
	}
	return p.wire.Read(b)
}

// Write takes one reply, whole.
func (p *modbusPort) Write(reply []byte) (int, error) {
	x, ok := p.exchange()
	if !ok || p.rude(reply, x) {
		return len(reply), nil
	}
	if err := p.send(x, p.line.message(reply, x)); err != nil {
		return 0, err
	}
	return len(reply), nil
}

// unitAt returns the position of the unit id in a frame.
func (l *modbusLine) unitAt() int {
	if l.stream {
		return 6
	}
	return 0
}

// rude reports whether the request came too early for the device: right after the connection was opened, or without the
// pause that it needs after its last answer. Such a request gets no answer, like one of a second client of a device
// that accepts only one.
func (p *modbusPort) rude(reply []byte, x exchange) bool {
	if p.hushed {
		return true
	}
	if len(reply) <= p.line.unitAt() {
		return false
	}
	unit := reply[p.line.unitAt()]
	d := p.line.units[unit]
	if d == nil {
		return false
	}
	last, spoken := p.spoke[unit]
	p.spoke[unit] = time.Now().Add(d.manners.ReplyUsual)
	early := x.heard.Sub(p.opened) < d.manners.ConnectWait*leniency/100
	return early || spoken && x.heard.Sub(last) < d.manners.Gap*leniency/100
}

// leniency is the percentage of a pause that a device insists on: clocks differ.
const leniency = 90

// message converts a reply into what is sent: unchanged, or altered by the faults of Modbus.
func (l *modbusLine) message(reply []byte, x exchange) message {
	m := message{data: append([]byte(nil), reply...)}
	if len(reply) < l.unitAt()+3 {
		return m
	}
	if l.stream { // TCP has its own checksum: only the header can be wrong, through a bad gateway
		m.fragile = 6
	}
	if d := l.units[reply[l.unitAt()]]; d != nil {
		m.from, m.usual, m.latest = d, d.manners.ReplyUsual, d.replyMax
	}
	hit := func(kind FaultKind) (Fault, bool) { return l.bus.hit(kind, m.from, x) }
	if f, exception := hit(Exception); exception {
		m.data = l.exception(m.data, byte(orCode(f.Code, 4)))
	} else if _, busy := hit(Busy); busy {
		m.data = l.exception(m.data, 6)
	}
	if _, wrong := hit(WrongUnit); wrong {
		m.data[l.unitAt()] = l.stranger(m.data[l.unitAt()])
		l.seal(m.data)
	}
	return m
}

// exception makes an exception of a reply.
func (l *modbusLine) exception(frame []byte, code byte) []byte {
	out := append(frame[:l.unitAt()+1], frame[l.unitAt()+1]|0x80, code)
	if l.stream {
		binary.BigEndian.PutUint16(out[4:], 3)
		return out
	}
	out = append(out, 0, 0)
	l.seal(out)
	return out
}

// stranger returns a unit id that no device of the line has.
func (l *modbusLine) stranger(unit byte) byte {
	for l.units[unit] != nil {
		unit = unit%247 + 1
	}
	return unit
}

// seal makes the checksum of an RTU frame right again.
func (l *modbusLine) seal(frame []byte) {
	if !l.stream {
		body := len(frame) - 2
		binary.LittleEndian.PutUint16(frame[body:], crc16.Sum(frame[:body]))
	}
}

// idleClose returns the silence after which a device of the line closes a connection; 0: never.
func (l *modbusLine) idleClose() (shortest time.Duration) {
	if !l.stream {
		return 0
	}
	for _, d := range l.units {
		if idle := d.manners.IdleClose; idle > 0 && (shortest == 0 || idle < shortest) {
			shortest = idle
		}
	}
	return shortest
}

// clients returns how many connections the devices of the line accept at once; 0: any number.
func (l *modbusLine) clients() (fewest int) {
	if l.bus.endpoint.Scheme == line.Serial {
		return 0
	}
	for _, d := range l.units {
		if n := d.manners.Clients; n > 0 && (fewest == 0 || n < fewest) {
			fewest = n
		}
	}
	return fewest
}

func orCode(code, standard int) int {
	if code == 0 {
		return standard
	}
	return code
}
