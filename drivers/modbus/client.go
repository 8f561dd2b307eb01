package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	goburrow "github.com/goburrow/modbus"

	"bordo/drivers"
)

// client sends requests to one unit. goburrow encodes and decodes PDUs and frames; the transaction exchanges
// them.
type client struct {
	pdu      goburrow.Client
	packager goburrow.Packager
	txn      *transaction
}

// newPackager returns goburrow's handler for a unit. Only its packager is used; it is never connected.
func newPackager(l drivers.Line, unit int) goburrow.Packager {
	if l.Stream {
		p := goburrow.NewTCPClientHandler("")
		p.SlaveId = byte(unit)
		return p
	}
	p := goburrow.NewRTUClientHandler("")
	p.SlaveId = byte(unit)
	return p
}

func newClient(p goburrow.Packager, t *transaction) client {
	return client{pdu: goburrow.NewClient2(p, t), packager: p, txn: t}
}

// read requests a span. The data stays valid until the next request because it lies in the bus's buffer.
func (c client) read(s Span) (Answer, error) {
	var data []byte
	var err error
	switch first, count := s.First, uint16(s.Count); s.Table {
	case Coil:
		data, err = c.pdu.ReadCoils(first, count)
	case Discrete:
		data, err = c.pdu.ReadDiscreteInputs(first, count)
	case Input:
		data, err = c.pdu.ReadInputRegisters(first, count)
	case Holding:
		data, err = c.pdu.ReadHoldingRegisters(first, count)
	}
	want := 2 * s.Count
	if s.Table.Bits() {
		want = (s.Count + 7) / 8
	}
	if err == nil && len(data) != want {
		err = &drivers.Error{Kind: drivers.Protocol,
			Err: fmt.Errorf("requested %d bytes, received %d", want, len(data))}
	}
	if err != nil {
		return Answer{}, c.fail(fmt.Sprintf("read %v", s), c.txn.bus.line.Stream, err)
	}
	return Answer{Span: s, Data: data}, nil
}

// write writes registers, or one coil with its raw value.
func (c client) write(function byte, at Address, values []uint16) error {
	data := binary.BigEndian.AppendUint16(nil, at.Number)
	switch function {
	case 5, 6:
		data = binary.BigEndian.AppendUint16(data, values[0])
	case 15:
		data = append(data, 0, 1, 1, 0)
		if values[0] != 0 {
			data[5] = 1
		}
	case 16:
		data = binary.BigEndian.AppendUint16(data, uint16(len(values)))
		data = append(data, byte(2*len(values)))
		for _, v := range values {
			data = binary.BigEndian.AppendUint16(data, v)
		}
	}
	_, err := c.ask(function, data)
	if err != nil {
		return c.fail(fmt.Sprintf("write %v", at), c.txn.bus.line.Stream, err)
	}
	return nil
}

// ask sends any function and returns the data of the reply, which stays valid until the next request.
func (c client) ask(function byte, data []byte) ([]byte, error) {
	adu, err := c.packager.Encode(&goburrow.ProtocolDataUnit{FunctionCode: function, Data: data})
	if err != nil {
		return nil, err
	}
	answer, err := c.txn.Send(adu)
	if err != nil {
		return nil, err
	}
	if err := c.packager.Verify(adu, answer); err != nil {
		return nil, err
	}
	pdu, err := c.packager.Decode(answer)
	if err != nil {
		return nil, err
	}
	if pdu.FunctionCode == function|exceptionBit && len(pdu.Data) > 0 {
		return nil, &goburrow.ModbusError{FunctionCode: pdu.FunctionCode, ExceptionCode: pdu.Data[0]}
	}
	return pdu.Data, nil
}

// fail turns any error into a drivers.Error (or wraps ctx's error) with the operation op.
func (c client) fail(op string, stream bool, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	var refused *goburrow.ModbusError
	if errors.As(err, &refused) {
		return &drivers.Error{Op: op, Kind: kindOfException(refused.ExceptionCode),
			Err: Exception{refused.ExceptionCode}}
	}
	var e *drivers.Error
	if errors.As(err, &e) {
		if e.Op != "" {
			return &drivers.Error{Op: op, Kind: e.Kind, Cause: e.Cause, Lost: e.Lost, Err: e}
		}
		return &drivers.Error{Op: op, Kind: e.Kind, Cause: e.Cause, Lost: e.Lost, Err: e.Err}
	}
	// goburrow rejected a reply that the transport had accepted.
	return &drivers.Error{Op: op, Kind: drivers.Protocol, Lost: stream, Err: err}
}

// Exception is a Modbus exception: the device refused the request.
type Exception struct{ Code byte }

// Error returns the meaning of the code (Modbus Application Protocol V1.1b3, 7).
func (e Exception) Error() string {
	what := map[byte]string{
		1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure",
		5: "acknowledged, still processing",
		6: "device busy", 8: "memory parity error", 10: "gateway: no path to the device",
		11: "gateway: the device does not answer",
	}[e.Code]
	if what == "" {
		what = "vendor-specific code"
	}
	return fmt.Sprintf("exception %d (%s)", e.Code, what)
}

// kindOfException classifies exceptions: 4, 5, 6, 10 and 11 concern the moment, the others the request
// itself.
func kindOfException(code byte) drivers.ErrorKind {
	switch code {
	case 4, 5, 6, 10, 11:
		return drivers.Busy
	}
	return drivers.Exception
}

// isRefusal reports whether err means that the device does not have the requested registers (exceptions 1 to
// 3).
func isRefusal(err error) bool {
	var e Exception
	return errors.As(err, &e) && (e.Code >= 1 && e.Code <= 3)
}
