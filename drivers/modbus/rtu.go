package modbus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"bordo/drivers"
)

const (
	// patience is how long a request waits for a line on which others keep sending.
	patience = 2 * time.Second
	// turnaround is the time for all devices to process a broadcast (Modbus over Serial Line V1.02, 2.4.1:
	// 100 to 200 ms).
	turnaround = 200 * time.Millisecond
	broadcast  = 0
)

// sendRTU does one exchange of RTU frames. RTU frames have no transaction id, so a late reply looks like the
// reply to the next request. Therefore nothing is sent after a request until its reply has arrived or
// reply_max has passed.
func (t *transaction) sendRTU(adu []byte) ([]byte, error) {
	b := t.bus
	if err := t.waitForSilence(); err != nil {
		return nil, err
	}
	if err := t.write(adu, t.timing.ReplyMax+b.wireTime(len(adu))+b.delay); err != nil {
		return nil, err
	}
	// Write returns when the bytes are buffered, not when they have been sent
	sent := time.Now().Add(b.wireTime(len(adu)))
	if adu[0] == broadcast {
		b.quietUntil = sent.Add(turnaround)
		t.replyAt = sent
		return adu, nil
	}
	size := expectedReplySize(adu[1:len(adu)-2]) + 3
	due := sent.Add(t.timing.ReplyMax + b.wireTime(size) + b.delay)
	b.quietUntil = due
	frame, err := t.readReply(adu, due)
	if err != nil {
		return nil, err
	}
	t.noteReply()
	b.quietUntil = t.replyAt.Add(max(b.silence, t.timing.Gap))
	return frame, nil
}

// readReply reads until the reply to req is complete or due has passed.
func (t *transaction) readReply(req []byte, due time.Time) ([]byte, error) {
	b := t.bus
	buf, n, total := b.buf[:], 0, 0
	for {
		if err := t.setDeadline(due); err != nil {
			return nil, err
		}
		m, err := t.bus.port.Read(buf[n:])
		n, total = n+m, total+m
		if left := t.dropEcho(buf[:n], req, total); left != n {
			n, total = left, left
		}
		frame, damaged, foreign := findRTU(buf[:n], req)
		switch {
		case frame != nil:
			return frame, nil
		case err == nil:
		case t.ctx.Err() != nil:
			return nil, t.ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.heard = buf[:n]
			if other := otherUnit(buf[:n], req); other != 0 && !damaged && foreign == nil {
				return nil, &drivers.Error{Kind: drivers.Protocol, Cause: drivers.WrongUnit,
					Err: fmt.Errorf("asked unit %d, unit %d answered", req[0], other)}
			}
			if total == 0 && t.echoDropped {
				return nil, &drivers.Error{Kind: drivers.Timeout, Cause: drivers.EchoOnly,
					Err: fmt.Errorf("no answer within %v, only the echo of the request", t.timing.ReplyMax)}
			}
			return nil, noReplyError(total, damaged, foreign, t.timing.ReplyMax)
		default:
			t.heard = buf[:n]
			return nil, t.portError(err)
		}
		// Bytes still on the wire cannot arrive earlier. One read at the end is cheaper than one per byte.
		if lack := missingBytes(buf[:n], req); lack > 1 && b.char > 0 {
			if err := t.pause(earlier(due, time.Now().Add(b.wireTime(lack-1)))); err != nil {
				return nil, err
			}
		}
		if n == len(buf) { // only noise so far: keep what may be the beginning of a reply
			n = copy(buf, buf[n-maxADU+1:])
		}
	}
}

// dropEcho removes the request from the received bytes if the line echoes it, and returns how many bytes
// remain. The reply to a register read never equals its request, so reads reveal an echoing line. From then
// on the first copy after a write is not mistaken for the confirmation, which looks the same.
func (t *transaction) dropEcho(heard, req []byte, total int) int {
	reads := req[1] == 3 || req[1] == 4
	if total != len(heard) || len(heard) < len(req) || !(reads || t.bus.echoes) ||
		!bytes.Equal(heard[:len(req)], req) || t.echoDropped {
		return len(heard)
	}
	t.bus.echoes, t.echoDropped = true, true
	return copy(heard, heard[len(req):])
}

// noReplyError returns the error for what was received instead of a reply.
func noReplyError(n int, damaged bool, foreign error, within time.Duration) error {
	switch {
	case n == 0:
		return &drivers.Error{Kind: drivers.Timeout, Err: fmt.Errorf("no answer within %v", within)}
	case foreign != nil:
		return &drivers.Error{Kind: drivers.Protocol, Err: foreign}
	case damaged:
		return &drivers.Error{Kind: drivers.Checksum, Err: fmt.Errorf("checksum wrong (%d bytes received)", n)}
	}
	return &drivers.Error{Kind: drivers.Checksum, Cause: drivers.Noise,
		Err: fmt.Errorf("%d bytes received that are not a valid reply", n)}
}

// waitForSilence reads and discards until the line may be used: no late reply is possible any more, and the
// line has been silent for t3.5. It fails after patience.
func (t *transaction) waitForSilence() error {
	b := t.bus
	b.quietUntil = later(b.quietUntil, t.firstRequestAt())
	limit := later(time.Now(), b.quietUntil).Add(patience)
	for {
		if err := t.setDeadline(b.quietUntil); err != nil {
			return err
		}
		n, err := b.port.Read(b.buf[:])
		now := time.Now()
		switch {
		case n > 0:
			b.quietUntil = later(b.quietUntil, now.Add(b.silence))
			if now.After(limit) {
				return &drivers.Error{Kind: drivers.Protocol, Cause: drivers.OtherMaster,
					Err: fmt.Errorf("the line was not silent for %v: another master, or noise", patience)}
			}
		case err == nil:
		case t.ctx.Err() != nil:
			return t.ctx.Err()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return t.portError(err)
		case !now.Before(b.quietUntil):
			return nil
		}
	}
}
