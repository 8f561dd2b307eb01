package slave

import (
	"encoding/binary"
	"errors"

	"bordo/drivers/modbus"
)

// Exception codes (Modbus Application Protocol V1.1b3, 7).
const (
	illegalFunction = 1
	illegalAddress  = 2
	illegalValue    = 3
	deviceFailure   = 4
)

// Protocol limits.
const (
	maxReadRegisters  = 125
	maxReadBits       = 2000
	maxWriteRegisters = 123
	maxWriteBits      = 1968
)

func exception(function byte, code byte) []byte { return []byte{function | 0x80, code} }

// Answer implements Answerer for functions 1 to 6, 15 and 16. It refuses others with exception 1.
func (d *Device) Answer(pdu []byte) []byte {
	if len(pdu) == 0 {
		return nil
	}
	f, data := pdu[0], pdu[1:]
	switch f {
	case 1, 2, 3, 4:
		if len(data) != 4 {
			return exception(f, illegalValue)
		}
		return d.read(f, number16(data), int(number16(data[2:])))
	case 5, 6:
		if len(data) != 4 {
			return exception(f, illegalValue)
		}
		return d.writeOne(pdu, number16(data), number16(data[2:]))
	case 15, 16:
		if len(data) < 5 || int(data[4]) != len(data)-5 {
			return exception(f, illegalValue)
		}
		return d.writeMany(f, number16(data), int(number16(data[2:])), data[5:])
	}
	return exception(f, illegalFunction)
}

// read handles functions 1 to 4.
func (d *Device) read(f byte, first uint16, count int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	table := map[byte]modbus.Table{1: modbus.Coil, 2: modbus.Discrete, 3: modbus.Holding, 4: modbus.Input}[f]
	limit := min(d.limits.Registers, maxReadRegisters)
	if table.Bits() {
		limit = min(d.limits.Bits, maxReadBits)
	}
	if !d.hasTable(table) {
		return exception(f, illegalFunction)
	}
	if count < 1 || count > limit || d.limits.Even && !table.Bits() && (first&1 != 0 || count&1 != 0) {
		return exception(f, illegalValue)
	}
	if int(first)+count > 65536 {
		return exception(f, illegalAddress)
	}
	size := 2 * count
	if table.Bits() {
		size = (count + 7) / 8
	}
	out := append(make([]byte, 0, 2+size), f, byte(size))
	out = out[:2+size]
	for i := range count {
		a := modbus.Address{Table: table, Number: first + uint16(i)}
		if !d.exists(a) {
			return exception(f, illegalAddress)
		}
		v := d.cells[a]
		if table.Bits() {
			out[2+i/8] |= byte(v&1) << (i % 8)
			continue
		}
		binary.BigEndian.PutUint16(out[2+2*i:], v)
	}
	return out
}

// hasTable reports whether the device has any cell in a table. If not, its function is illegal.
func (d *Device) hasTable(t modbus.Table) bool {
	for a := range d.cells {
		if a.Table == t {
			return true
		}
	}
	return false
}

// writeOne handles functions 5 and 6. A coil value other than on and off (such as a pulse length) is stored
// as on.
func (d *Device) writeOne(pdu []byte, at, value uint16) []byte {
	f, table := pdu[0], modbus.Holding
	if f == 5 {
		table = modbus.Coil
	}
	values := []uint16{value}
	if f == 5 {
		values[0] = 0
		if value != 0 {
			values[0] = 1
		}
	}
	if code := d.write(f, table, at, values); code != 0 {
		return exception(f, code)
	}
	return pdu
}

// writeMany handles functions 15 and 16.
func (d *Device) writeMany(f byte, first uint16, count int, data []byte) []byte {
	table, limit, size := modbus.Holding, maxWriteRegisters, 2*count
	if f == 15 {
		table, limit, size = modbus.Coil, maxWriteBits, (count+7)/8
	}
	if count < 1 || count > limit || size != len(data) {
		return exception(f, illegalValue)
	}
	values := make([]uint16, count)
	for i := range values {
		if f == 15 {
			values[i] = uint16(data[i/8] >> (i % 8) & 1)
		} else {
			values[i] = number16(data[2*i:])
		}
	}
	if code := d.write(f, table, first, values); code != 0 {
		return exception(f, code)
	}
	out := binary.BigEndian.AppendUint16([]byte{f}, first)
	return binary.BigEndian.AppendUint16(out, uint16(count))
}

// write stores values and calls the hook. It returns an exception code, or 0 on success.
func (d *Device) write(f byte, table modbus.Table, first uint16, values []uint16) byte {
	if code := d.writeCells(table, first, values); code != 0 {
		return code
	}
	var err error
	switch {
	case table == modbus.Coil && d.options.OnCoil != nil:
		for i, v := range values {
			err = errors.Join(err, d.options.OnCoil(first+uint16(i), v != 0))
		}
	case table == modbus.Holding && d.options.OnRegisters != nil:
		err = d.options.OnRegisters(first, values)
	}
	var e Exception
	switch {
	case errors.As(err, &e):
		return byte(e)
	case err != nil:
		return deviceFailure
	}
	return 0
}

func (d *Device) writeCells(table modbus.Table, first uint16, values []uint16) byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.hasTable(table) {
		return illegalFunction
	}
	for i := range values {
		a := modbus.Address{Table: table, Number: first + uint16(i)}
		if int(first)+i > 65535 || !d.exists(a) || d.options.Writable != nil && !d.options.Writable(a) {
			return illegalAddress
		}
	}
	d.store(modbus.Address{Table: table, Number: first}, values)
	return 0
}
