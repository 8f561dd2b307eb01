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
	anyUnit  = 0 // answers for every unit id that is not listed, on TCP
)

// deadliner is what a connection must have so that ctx can end a Read under way.
type deadliner interface{ SetDeadline(time.Time) error }

// ServeTCP answers Modbus TCP requests on one connection until ctx ends (nil), the other side closes it (nil), or it
// fails. It closes nothing. units maps unit ids to what answers; 0 stands for all that are not listed; a unit without an
// entry stays silent.
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

// RTU is the serial side's timing. The zero value answers at once.
type RTU struct {
	// Char is how long a character takes. Set it where the medium itself has no speed (a pseudo terminal): the request is
	// taken to have arrived that late, and the answer goes out at that pace. Leave it 0 on a driverstest.Wire with a speed.
	Char time.Duration
	// Delay is how long the device thinks, from the last byte of the request to the first of its answer; nil: not at all.
	Delay func(unit byte, pdu []byte) time.Duration
}

// ServeRTU answers RTU frames on a serial line, for all devices in units, until ctx ends (nil), the line is closed (nil),
// or it fails. It closes nothing. A broadcast (unit 0) goes to all and is not answered. Damaged frames and those for other
// units are passed over.
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

// answerRTU answers one request.
func answerRTU(ctx context.Context, line io.Writer, units map[byte]Answerer, timing RTU, unit byte, pdu []byte, size int) error {
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

// writePaced writes at the line's speed, in pieces of about a millisecond: timers are not finer.
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

// nextRequest finds the first sound request in what was heard, and what stands after it. What stands before it is noise.
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

// requestSizes gives the sizes that a request which begins so can have.
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

// cancelReads makes a Read under way end with ctx; the function that it returns must be called at the end.
func cancelReads(ctx context.Context, conn any) func() {
	d, ok := conn.(deadliner)
	if !ok {
		return func() {}
	}
	stop := context.AfterFunc(ctx, func() { _ = d.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// serveError is how a server ends: well when it was asked to, or when the other side went away.
func serveError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed), drivers.PortLost(err):
		return nil
	}
	return fmt.Errorf("serve Modbus: %w", err)
}
