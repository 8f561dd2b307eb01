package slave

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"bordo/drivers"
	"bordo/drivers/modbus/crc16"
)

const (
	mbapSize = 7
	maxADU   = 260
	anyUnit  = 0 // TCP: replies for every unit id that is not listed
)

// deadliner is what a connection must implement so that the end of ctx interrupts a Read.
type deadliner interface{ SetDeadline(time.Time) error }

// ServeTCP replies to Modbus TCP requests on one connection. It returns nil when ctx ends or the other side
// closes the connection, and otherwise the error. It does not close conn. units maps unit ids to devices; 0
// serves every id that is not listed. Requests to other units get no reply.
func ServeTCP(ctx context.Context, conn io.ReadWriter, units map[byte]Answerer) error {
	defer cancelReads(ctx, conn)()
	var buf [maxADU]byte
	for {
		if _, err := io.ReadFull(conn, buf[:mbapSize]); err != nil {
			return serveError(ctx, err)
		}
		length := int(binary.BigEndian.Uint16(buf[4:]))
		if buf[2] != 0 || buf[3] != 0 || length < 2 || length > maxADU-6 {
			return fmt.Errorf("serve Modbus TCP: not a frame: % X", buf[:mbapSize])
		}
		if _, err := io.ReadFull(conn, buf[mbapSize:6+length]); err != nil {
			return serveError(ctx, err)
		}
		a, ok := units[buf[6]]
		if !ok {
			a, ok = units[anyUnit]
		}
		if !ok {
			continue
		}
		pdu := a.Answer(buf[mbapSize : 6+length])
		if pdu == nil {
			continue
		}
		out := append(make([]byte, 0, mbapSize+len(pdu)), buf[:mbapSize]...)
		binary.BigEndian.PutUint16(out[4:], uint16(1+len(pdu)))
		if _, err := conn.Write(append(out, pdu...)); err != nil {
			return serveError(ctx, err)
		}
	}
}

// RTU is the timing of the serial side. The zero value replies at once.
type RTU struct {
	// Char is the duration of one character. Set it if the medium has no speed of its own (a pseudo
	// terminal): the request then counts as received that much later, and the reply is sent at that speed.
	// Leave it 0 on a driverstest.Wire with a speed.
	Char time.Duration
	// Delay returns the device's response time, from the last byte of the request to the first of the reply;
	// nil: none.
	Delay func(unit byte, pdu []byte) time.Duration
}

// ServeRTU replies to RTU frames on a serial line for all devices in units. It returns nil when ctx ends or
// the line is closed, and otherwise the error. It does not close line. A broadcast (unit 0) goes to all
// devices and gets no reply. Damaged frames and those for other units are ignored.
func ServeRTU(ctx context.Context, line io.ReadWriter, units map[byte]Answerer, timing RTU) error {
	defer cancelReads(ctx, line)()
	buf := make([]byte, 0, 2*maxADU)
	chunk := make([]byte, maxADU)
	for {
		n, err := line.Read(chunk)
		if err != nil && n == 0 {
			return serveError(ctx, err)
		}
		if buf = append(buf, chunk[:n]...); len(buf) > maxADU {
			buf = append(buf[:0], buf[len(buf)-maxADU:]...)
		}
		for {
			frame, rest := nextRequest(buf)
			if frame == nil {
				break
			}
			unit, pdu := frame[0], append([]byte(nil), frame[1:len(frame)-2]...)
			size := len(frame)
			buf = append(buf[:0], rest...)
			if err := answerRTU(ctx, line, units, timing, unit, pdu, size); err != nil {
				return serveError(ctx, err)
			}
		}
	}
}

// answerRTU handles one request.
func answerRTU(ctx context.Context, line io.Writer, units map[byte]Answerer, timing RTU, unit byte, pdu []byte,
	size int) error {
	if unit == 0 {
		for _, a := range units {
			a.Answer(pdu)
		}
		return nil
	}
	a, ok := units[unit]
	if !ok {
		return nil
	}
	arrived := time.Now().Add(time.Duration(size) * timing.Char)
	answer := a.Answer(pdu)
	if answer == nil {
		return nil
	}
	if timing.Delay != nil {
		arrived = arrived.Add(timing.Delay(unit, pdu))
	}
	if err := pause(ctx, arrived); err != nil {
		return err
	}
	frame := append(append(make([]byte, 0, len(answer)+3), unit), answer...)
	frame = crc16.Append(frame)
	return writePaced(ctx, line, frame, timing.Char)
}

// writePaced writes at the line's speed in pieces of about a millisecond, the resolution of timers.
func writePaced(ctx context.Context, line io.Writer, frame []byte, char time.Duration) error {
	if char == 0 {
		_, err := line.Write(frame)
		return err
	}
	piece := max(1, int(time.Millisecond/char))
	for at := time.Now(); len(frame) > 0; {
		n := min(piece, len(frame))
		at = at.Add(time.Duration(n) * char)
		if err := pause(ctx, at); err != nil {
			return err
		}
		if _, err := line.Write(frame[:n]); err != nil {
			return err
		}
		frame = frame[n:]
	}
	return nil
}

// nextRequest returns the first valid request in the received bytes and what follows it. Bytes before it are
// noise.
func nextRequest(heard []byte) (frame, rest []byte) {
	for i := 0; i+4 <= len(heard); i++ {
		for _, n := range requestSizes(heard[i:]) {
			if f := heard[i:]; n <= len(f) && crc16.Sound(f[:n]) {
				return f[:n], f[n:]
			}
		}
	}
	return nil, heard
}

// requestSizes returns the possible sizes of a request that begins with b.
func requestSizes(b []byte) []int {
	switch b[1] {
	case 1, 2, 3, 4, 5, 6:
		return []int{8}
	case 15, 16:
		if len(b) < 7 {
			return nil
		}
		return []int{9 + int(b[6])}
	}
	sizes := make([]int, 0, len(b))
	for n := 4; n <= len(b); n++ {
		sizes = append(sizes, n)
	}
	return sizes
}

func pause(ctx context.Context, until time.Time) error {
	wait := time.Until(until)
	if wait <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// cancelReads makes a blocked Read fail when ctx ends. The caller must call the returned function when it is
// done.
func cancelReads(ctx context.Context, conn any) func() {
	d, ok := conn.(deadliner)
	if !ok {
		return func() {}
	}
	stop := context.AfterFunc(ctx, func() { _ = d.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// serveError returns nil if ctx ended or the other side closed the connection, and otherwise the error.
func serveError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed),
		drivers.PortLost(err):
		return nil
	}
	return fmt.Errorf("serve Modbus: %w", err)
}
