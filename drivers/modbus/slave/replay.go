package slave

import (
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/golden"
)

// Replay is a device that replies with the registers of a recorded conversation. It refuses other registers
// with exception 2, and all writes.
type Replay struct {
	cells map[modbus.Address]uint16
}

var _ Answerer = (*Replay)(nil)

// NewReplay returns the device recorded in f and its unit id.
func NewReplay(f *golden.File) (unit byte, r *Replay) {
	unit, cells := f.Registers()
	return unit, &Replay{cells}
}

// Answer implements Answerer.
func (r *Replay) Answer(pdu []byte) []byte {
	const illegalFunction, illegalAddress, illegalValue = 1, 2, 3
	if len(pdu) == 0 {
		return nil
	}
	table := map[byte]modbus.Table{1: modbus.Coil, 2: modbus.Discrete, 3: modbus.Holding, 4: modbus.Input}[pdu[0]]
	if table == 0 {
		return []byte{pdu[0] | 0x80, illegalFunction}
	}
	if len(pdu) != 5 {
		return []byte{pdu[0] | 0x80, illegalValue}
	}
	first, count := number16(pdu[1:]), int(number16(pdu[3:]))
	limit, size := 125, 2*count
	if table.Bits() {
		limit, size = 2000, (count+7)/8
	}
	if count == 0 || count > limit {
		return []byte{pdu[0] | 0x80, illegalValue}
	}
	out := append(make([]byte, 0, 2+size), pdu[0], byte(size))
	out = out[:2+size]
	for i := range count {
		v, ok := r.cells[modbus.Address{Table: table, Number: first + uint16(i)}]
		switch {
		case !ok || int(first)+i > 0xFFFF:
			return []byte{pdu[0] | 0x80, illegalAddress}
		case table.Bits():
			out[2+i/8] |= byte(v&1) << (i % 8)
		default:
			out[2+2*i], out[3+2*i] = byte(v>>8), byte(v)
		}
	}
	return out
}
