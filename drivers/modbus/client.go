package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	goburrow "github.com/goburrow/modbus"

	"bordo/drivers"
)

// client asks one unit. goburrow makes and takes apart the PDUs and frames; the exchange is the turn's.
type client struct {
	pdu      goburrow.Client
	packager goburrow.Packager
	txn      *transaction
}

// newPackager makes goburrow's handler for a unit. It is never connected: only its packager is used.
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

// read asks for a span. The data lies in the bus's buffer until the next request.
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
		err = &drivers.Error{Kind: drivers.Protocol, Err: fmt.Errorf("asked for %d bytes, got %d", want, len(data))}
	}
	if err != nil {
		return Answer{}, c.fail(fmt.Sprintf("read %v", s), c.txn.bus.line.Stream, err)
	}
	return Answer{Span: s, Data: data}, nil
}

// write writes registers, or one coil whose value goes out as it is.
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

// ask sends any function and returns the data of its answer, which lies in the bus's buffer until the next request.
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

// fail makes any error one of the contract's, with what was being done.
func (c client) fail(op string, stream bool, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	var refused *goburrow.ModbusError
	if errors.As(err, &refused) {
		return &drivers.Error{Op: op, Kind: kindOfException(refused.ExceptionCode), Err: Exception{refused.ExceptionCode}}
	}
	var e *drivers.Error
	if errors.As(err, &e) {
		if e.Op != "" {
			return &drivers.Error{Op: op, Kind: e.Kind, Cause: e.Cause, Lost: e.Lost, Err: e}
		}
		return &drivers.Error{Op: op, Kind: e.Kind, Cause: e.Cause, Lost: e.Lost, Err: e.Err}
	}
	// What goburrow finds wrong with an answer that the transport let through.
	return &drivers.Error{Op: op, Kind: drivers.Protocol, Lost: stream, Err: err}
}

// Exception is a device's refusal.
type Exception struct{ Code byte }

// Error says what the code means (Modbus Application Protocol V1.1b3, 7).
func (e Exception) Error() string {
	what := map[byte]string{
		1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure", 5: "acknowledged, not done yet",
		6: "device busy", 8: "memory parity error", 10: "gateway: no path to the device", 11: "gateway: the device does not answer",
	}[e.Code]
	if what == "" {
		what = "code of the maker"
	}
	return fmt.Sprintf("exception %d (%s)", e.Code, what)
}

// kindOfException sorts refusals: 4, 5, 6, 10 and 11 are about now, the others about the question.
func kindOfException(code byte) drivers.ErrorKind {
	switch code {
	case 4, 5, 6, 10, 11:
		return drivers.Busy
	}
	return drivers.Exception
}

// isRefusal tells whether err means that the device does not have what was asked for.
func isRefusal(err error) bool {
	var e Exception
	return errors.As(err, &e) && (e.Code >= 1 && e.Code <= 3)
}
