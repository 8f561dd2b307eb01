package modbus

import (
	"encoding/binary"
	"errors"
	"os"
	"time"

	"bordo/drivers"
	"bordo/drivers/modbus/crc16"
)

// framingProbe records whether the other side of a network line uses another framing than the configured one.
type framingProbe struct {
	wrong  bool // the other side uses the other framing
	silent int  // exchanges without a single byte, as long as nothing was ever received on the line
}

// Error texts for a line whose other side uses the other framing, with the setting to change.
const (
	answersRTU  = "the other side speaks RTU frames, not Modbus TCP: write rtu+tcp:// instead of tcp://"
	answersMBAP = "the other side speaks Modbus TCP, not RTU frames: write tcp:// instead of rtu+tcp://"
)

// framingTimeout is how long to wait for a reply in the other framing.
const framingTimeout = time.Second

// checkFraming finds out whether an exchange failed because the other side uses the other framing. If bytes
// were received, they decide. If not, the request is repeated once in the other framing: after the first
// timeout on the line, then after 8, 64, 512 and so on. Only read requests are repeated.
func (t *transaction) checkFraming(adu []byte, err error) error {
	b := t.bus
	kind := drivers.KindOf(err)
	heardWrong := kind == drivers.Timeout || kind == drivers.Protocol || kind == drivers.Checksum ||
		kind == drivers.Closed
	if !b.line.Stream && !b.line.Tunnel || !heardWrong || t.ctx.Err() != nil ||
		drivers.CauseOf(err) == drivers.WrongTransaction {
		return err
	}
	switch {
	case len(t.heard) > 0:
		b.otherFraming.wrong = b.line.Stream && beginsRTU(t.heard) || b.line.Tunnel && isMBAP(t.heard)
	case !b.everAnswered && !t.keepOnTimeout && t.sent && t.mayReopen() && isReadOnly(t.function(adu)):
		if b.otherFraming.silent++; powerOf8(b.otherFraming.silent) {
			b.otherFraming.wrong = t.tryOtherFraming(adu)
		}
	}
	if !b.otherFraming.wrong {
		return err
	}
	text := answersMBAP
	if b.line.Stream {
		text = answersRTU
	}
	return &drivers.Error{Kind: drivers.Protocol, Cause: drivers.WrongFraming, Lost: drivers.PortLost(err),
		Err: errors.New(text)}
}

// powerOf8 reports whether n is 1, 8, 64, 512 and so on.
func powerOf8(n int) bool {
	for n > 1 && n%8 == 0 {
		n /= 8
	}
	return n == 1
}

// tryOtherFraming repeats a request in the other framing and reports whether a reply arrived. The connection
// must be reopened afterwards.
func (t *transaction) tryOtherFraming(adu []byte) bool {
	b := t.bus
	var ask []byte
	if b.line.Stream {
		ask = append([]byte{}, adu[mbapSize:]...)
		ask = crc16.Append(ask)
	} else {
		pdu := adu[:len(adu)-2]
		ask = append([]byte{0, 1, 0, 0, 0, byte(len(pdu))}, pdu...)
	}
	// A gateway may still be waiting for the rest of a frame that it did not understand.
	if b.broken != nil || b.line.Tunnel {
		if t.reopen() != nil {
			return false
		}
	}
	b.broken = errors.New("it was asked in another framing")
	if err := t.pause(t.firstRequestAt()); err != nil {
		return false
	}
	if err := t.setDeadline(time.Now().Add(framingTimeout)); err != nil {
		return false
	}
	if _, err := b.port.Write(ask); err != nil {
		return false
	}
	for n := 0; n < maxADU; {
		m, err := b.port.Read(b.buf[n:])
		n += m
		heard := b.buf[:n]
		if b.line.Stream {
			if frame, _, _ := findRTU(heard, ask); frame != nil {
				return true
			}
		} else if isMBAP(heard) && heard[mbapSize] == ask[mbapSize] {
			return true
		}
		if err != nil && !(m > 0 && errors.Is(err, os.ErrDeadlineExceeded)) {
			return false
		}
	}
	return false
}

// beginsRTU reports whether the bytes begin with a valid RTU reply.
func beginsRTU(heard []byte) bool {
	if len(heard) < 5 {
		return false
	}
	size := replySize(heard[1]&^exceptionBit, heard[1:])
	return size > 0 && size+3 <= len(heard) && crc16.Sound(heard[:size+3])
}

// isMBAP reports whether the bytes are exactly one frame of Modbus TCP.
func isMBAP(heard []byte) bool {
	return len(heard) >= shortestTCP && heard[2] == 0 && heard[3] == 0 &&
		int(binary.BigEndian.Uint16(heard[4:])) == len(heard)-mbapSize
}
