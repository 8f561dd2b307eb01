package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"bordo/drivers"
)

// idleMargin is how long before a device closes an idle connection it is not used any more: a request that crosses the
// closing is lost without an answer.
const idleMargin = 2 * time.Second

// maxForeign bounds how many answers to other requests are dropped while waiting for one.
const maxForeign = 64

// sendTCP does one exchange of Modbus TCP. Any error but an exception of the device leaves the connection in an unknown
// state, so it must be opened again.
func (t *turn) sendTCP(adu []byte) (answer []byte, err error) {
	b := t.bus
	if limit := t.manners.IdleClose; limit > 0 && time.Since(b.used) >= limit-idleMargin {
		return nil, t.fail(fmt.Errorf("the device closes a connection that was idle for %v", limit))
	}
	if err := t.pause(later(b.quiet, t.welcome())); err != nil {
		return nil, err
	}
	written := false
	defer func() {
		if err != nil && b.broken == nil && !(written && t.intact(err)) {
			b.broken = err
		}
	}()
	b.tx++
	binary.BigEndian.PutUint16(adu, b.tx)
	if err := t.write(adu, t.manners.TCPReplyMax); err != nil { // the deadline holds for the answer as well
		return nil, err
	}
	written, t.heard = true, nil
	for range maxForeign {
		frame, err := t.readTCP()
		if err != nil {
			return nil, err
		}
		req, got := adu[mbapSize+1:], frame[mbapSize+1:]
		ours := frame[0] == adu[0] && frame[1] == adu[1]
		fits := fitsRequest(req, got)
		if frame[mbapSize] != adu[mbapSize] {
			fits = fmt.Errorf("asked unit %d, unit %d answered", adu[mbapSize], frame[mbapSize])
		}
		if !ours && !(t.manners.TolerantIDs && fits == nil) {
			continue // a late answer to an earlier request
		}
		if fits != nil {
			return nil, &drivers.Error{Kind: drivers.Protocol, Lost: true, Err: fits}
		}
		copy(frame, adu[:2])
		t.heard = nil
		t.heardNow()
		b.quiet = t.at.Add(t.manners.Gap)
		return frame, nil
	}
	return nil, &drivers.Error{Kind: drivers.Protocol, Lost: true, Err: fmt.Errorf("%d answers, none to this request", maxForeign)}
}

// intact tells whether a connection may be used on after an error: nothing but the answer is missing.
func (t *turn) intact(err error) bool {
	return t.keep && len(t.heard) == 0 && (t.ctx.Err() != nil || drivers.KindOf(err) == drivers.Timeout)
}

// readTCP reads one frame. It lies in the bus's buffer until the next one is read. The device's bytes are taken as they come,
// so that an answer costs one call; what came behind the frame is the beginning of the next.
func (t *turn) readTCP() ([]byte, error) {
	b := t.bus
	buf, n := b.buf[:], copy(b.buf[:], b.buf[b.taken:b.came])
	b.taken, b.came, t.heard = 0, n, buf[:n]
	for {
		need := mbapSize + 1
		if n >= need {
			length := int(binary.BigEndian.Uint16(buf[4:]))
			if buf[2] != 0 || buf[3] != 0 || length < 3 || length > maxADU-mbapSize {
				return nil, &drivers.Error{Kind: drivers.Protocol, Lost: true, Err: fmt.Errorf("not a Modbus TCP frame: % X", buf[:need])}
			}
			need = mbapSize + length
		}
		if n >= need {
			b.taken, t.heard = need, buf[:need]
			return buf[:need], nil
		}
		if err := t.ctx.Err(); err != nil {
			return nil, err
		}
		m, err := b.port.Read(buf[n:])
		n += m
		b.came, t.heard = n, buf[:n]
		switch {
		case err == nil:
		case t.ctx.Err() != nil:
			return nil, t.ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &drivers.Error{Kind: drivers.Timeout, Lost: !t.keep || n > 0, Err: t.silent(n)}
		default:
			return nil, t.fail(err)
		}
	}
}

func (t *turn) silent(n int) error {
	if n > 0 {
		return fmt.Errorf("only %d bytes of an answer within %v", n, t.manners.TCPReplyMax)
	}
	if n := t.manners.Clients; n > 0 && !t.bus.heard {
		return fmt.Errorf("the connection is accepted but nothing is answered within %v: another client seems to hold this device (it serves %d)", t.manners.TCPReplyMax, n)
	}
	return fmt.Errorf("no answer within %v", t.manners.TCPReplyMax)
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
