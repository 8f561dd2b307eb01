package modbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"bordo/drivers"
)

// idleMargin is how long before the device's idle timeout a connection is no longer used: a request that
// crosses the device's close gets no reply.
const idleMargin = 2 * time.Second

// maxForeign is how many replies to other requests are discarded while waiting for one.
const maxForeign = 64

// sendTCP does one exchange of Modbus TCP. After any error except an exception the state of the connection is
// unknown, so it must be reopened.
func (t *transaction) sendTCP(adu []byte) (answer []byte, err error) {
	b := t.bus
	if err := t.pause(later(b.quietUntil, t.firstRequestAt())); err != nil {
		return nil, err
	}
	written := false
	defer func() {
		if err != nil && b.broken == nil && !(written && t.isIntact(err)) {
			b.broken = err
		}
	}()
	if b.txID++; b.txID == 0 {
		b.txID++ // skip 0: padding behind a reply would look like that id
	}
	binary.BigEndian.PutUint16(adu, b.txID)
	if err := t.write(adu, t.timing.TCPReplyMax); err != nil { // the deadline covers the reply too
		return nil, err
	}
	written, t.heard = true, nil
	if t.toleratesIDs() {
		// A late reply can only be excluded by waiting: until then no request is sent, not even on the next
		// connection.
		b.quietUntil = time.Now().Add(t.timing.TCPReplyMax)
	}
	frame, err := t.awaitReply(adu)
	if err != nil {
		return nil, err
	}
	copy(frame, adu[:2])
	t.heard = nil
	t.noteReply()
	b.quietUntil = t.replyAt.Add(t.timing.Gap)
	return frame, nil
}

// awaitReply reads frames until one is the reply to adu. A reply with another transaction id belongs to
// another request, unless the line or the model tolerates that. Then unit, function and length must match,
// and the id must be off by the usual amount.
func (t *transaction) awaitReply(adu []byte) ([]byte, error) {
	b := t.bus
	asked := binary.BigEndian.Uint16(adu)
	foreign := wrongID{asked: asked}
	for range maxForeign {
		frame, err := t.readTCP(adu)
		if err != nil {
			return nil, foreign.explain(err, b)
		}
		got := binary.BigEndian.Uint16(frame)
		fits := checkReply(adu[mbapSize+1:], frame[mbapSize+1:])
		if answered := frame[mbapSize]; answered != adu[mbapSize] {
			fits = &drivers.Error{Kind: drivers.Protocol, Cause: drivers.WrongUnit,
				Err: fmt.Errorf("asked unit %d, unit %d answered", adu[mbapSize], answered)}
			if got != asked {
				t.lateUnit(answered)
			}
		}
		switch {
		case fits == nil && t.toleratesIDs() && b.idOffset.allows(asked, got), fits == nil && !t.toleratesIDs() &&
			got == asked:
			b.idOffset.note(asked, got)
			return frame, nil
		case fits != nil && got == asked:
			return nil, &drivers.Error{Kind: drivers.Protocol, Cause: drivers.CauseOf(fits), Lost: true, Err: fits}
		case fits == nil && !(t.keepOnTimeout && earlier16(got, asked)):
			foreign.seen, foreign.got = true, got
		}
	}
	return nil, foreign.explain(&drivers.Error{Kind: drivers.Protocol, Lost: true,
		Err: fmt.Errorf("%d answers, none to this request", maxForeign)}, b)
}

// idOffset is the difference between the transaction ids of a gateway's replies and those of the requests.
type idOffset struct {
	shift uint16
	times int // consecutive replies with this difference
}

// offsetSureAfter is how many consecutive replies must have the same difference before a reply with another
// one is discarded as a repeated or late reply.
const offsetSureAfter = 2

func (h *idOffset) allows(asked, got uint16) bool {
	return h.times < offsetSureAfter || got-asked == h.shift
}

func (h *idOffset) note(asked, got uint16) {
	if got-asked != h.shift {
		*h = idOffset{shift: got - asked}
	}
	h.times = min(h.times+1, offsetSureAfter)
}

// earlier16 reports whether id was used shortly before than, with wraparound.
func earlier16(id, than uint16) bool { return int16(than-id) > 0 }

// wrongID stores the ids of a reply that matches the request except for its transaction id.
type wrongID struct {
	asked, got uint16
	seen       bool
}

// explain replaces the error of a missing reply by one that names the wrong id, if such a reply arrived. It
// also resets the id difference learned so far.
func (s *wrongID) explain(err error, b *bus) error {
	kind := drivers.KindOf(err)
	if !s.seen || kind != drivers.Timeout && kind != drivers.Protocol && kind != drivers.Closed {
		return err
	}
	b.idOffset = idOffset{}
	text := "answers with another transaction id (asked %d, answered %d)"
	if !b.line.TolerantIDs {
		text += ": when this gateway always does that, write ?ids=tolerant at the end of the port"
	}
	return &drivers.Error{Kind: drivers.Protocol, Cause: drivers.WrongTransaction, Lost: true,
		Err: fmt.Errorf(text, s.asked, s.got)}
}

// isIntact reports whether the connection is still usable after an error because only the reply is missing.
func (t *transaction) isIntact(err error) bool {
	return t.keepOnTimeout && !t.toleratesIDs() && len(t.heard) == 0 &&
		(t.ctx.Err() != nil || drivers.KindOf(err) == drivers.Timeout)
}

// shortestTCP is the shortest Modbus TCP frame: MBAP header, unit id, function and one byte.
const shortestTCP = mbapSize + 3

// readTCP reads one frame. It stays valid in the bus's buffer until the next call. readTCP takes all bytes
// that are available, so that a reply needs only one read; bytes after the frame are the beginning of the
// next one.
//
// An exception is accepted whatever its MBAP length says: some devices count a byte too many and others pad
// it. The rest of such a frame is unknown, so the next reply is located by its header.
func (t *transaction) readTCP(req []byte) ([]byte, error) {
	b := t.bus
	buf, n := b.buf[:], copy(b.buf[:], b.buf[b.consumed:b.filled])
	b.consumed, b.filled, t.heard = 0, n, buf[:n]
	for {
		if b.longExceptions && !t.toleratesIDs() {
			n = copy(buf, fromHead(buf[:n], req))
			b.filled, t.heard = n, buf[:n]
		}
		need := shortestTCP
		if n >= need {
			length := int(binary.BigEndian.Uint16(buf[4:]))
			switch refused := buf[mbapSize+1] == req[mbapSize+1]|exceptionBit; {
			case buf[2] != 0 || buf[3] != 0 || !refused && (length < 3 || length > maxADU-mbapSize):
				return nil, &drivers.Error{Kind: drivers.Protocol, Lost: true,
					Err: fmt.Errorf("not a Modbus TCP frame: % X", buf[:mbapSize+1])}
			case refused:
				b.longExceptions = b.longExceptions || length != 3
				binary.BigEndian.PutUint16(buf[4:], 3)
			default:
				need = mbapSize + length
			}
		}
		if n >= need {
			b.consumed, t.heard = need, buf[:need]
			return buf[:need], nil
		}
		if err := t.ctx.Err(); err != nil {
			return nil, err
		}
		m, err := b.port.Read(buf[n:])
		n += m
		b.filled, t.heard = n, buf[:n]
		switch {
		case err == nil:
		case t.ctx.Err() != nil:
			return nil, t.ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &drivers.Error{Kind: drivers.Timeout, Lost: !t.keepOnTimeout || n > 0, Err: t.timeoutError(n)}
		default:
			return nil, t.portError(err)
		}
	}
}

// fromHead discards what precedes the header of the reply to req. If there is none, it keeps a possible
// beginning of it.
func fromHead(heard, req []byte) []byte {
	head := []byte{req[0], req[1], 0, 0}
	if i := bytes.Index(heard, head); i >= 0 {
		return heard[i:]
	}
	for n := min(len(head)-1, len(heard)); n > 0; n-- {
		if bytes.HasSuffix(heard, head[:n]) {
			return heard[len(heard)-n:]
		}
	}
	return nil
}

func (t *transaction) timeoutError(n int) error {
	if n > 0 {
		return fmt.Errorf("only %d bytes of an answer within %v", n, t.timing.TCPReplyMax)
	}
	if n := t.timing.Clients; n > 0 && !t.bus.heardAny {
		return fmt.Errorf(
			"the connection is accepted but nothing is answered within %v: "+
				"another client seems to hold this device (it serves %d)", t.timing.TCPReplyMax, n)
	}
	return fmt.Errorf("no answer within %v", t.timing.TCPReplyMax)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
