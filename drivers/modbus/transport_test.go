package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus/crc16"
)

// rig is one end of a simulated line with a client on it, and the raw other end.
type rig struct {
	t     *testing.T
	bus   *bus
	there *driverstest.End
	m     Timing
}

func newRig(t *testing.T, l drivers.Line, char time.Duration) *rig {
	here, there := driverstest.Wire(char)
	r := &rig{t: t, bus: newBus(l), there: there, m: Timing{ReplyMax: 500 * time.Millisecond, TCPReplyMax: time.Second}}
	r.bus.attach(here)
	t.Cleanup(func() { here.Close(); there.Close() })
	return r
}

var (
	stream  = drivers.Line{ID: "tcp", Stream: true}
	serial9 = drivers.Line{ID: "rtu", Baud: 9600, CharLen: 10}
	char9   = 10 * time.Second / 9600
)

// read reads registers and returns their values in hexadecimal, the error, and the duration.
func (r *rig) read(ctx context.Context, first uint16, count int) (string, time.Duration, error) {
	txn := r.bus.newTransaction(ctx, &r.m)
	defer txn.end()
	start := time.Now()
	a, err := newClient(newPackager(r.bus.line, 1), txn).read(Span{Holding, first, count})
	return fmt.Sprintf("% X", a.Data), time.Since(start), err
}

// serve runs the other end: it passes each request to answer, which writes whatever it likes.
func (r *rig) serve(answer func(n int, req []byte)) {
	size := 8
	if r.bus.line.Stream {
		size = 12
	}
	there := r.there // a test may replace it
	go func() {
		for n := 1; ; n++ {
			req := make([]byte, size)
			if _, err := io.ReadFull(there, req); err != nil {
				return
			}
			answer(n, req)
		}
	}()
}

func (r *rig) say(b []byte) { r.there.Write(b) } //nolint:errcheck // a closed wire ends the test

// mbap frames registers as the reply to a request with function 3.
func mbap(id uint16, words ...uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 0, 0, 0, byte(3+2*len(words)), 1, 3, byte(2*len(words)))
	for _, w := range words {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	return b
}

func idOf(req []byte) uint16 { return binary.BigEndian.Uint16(req) }

// rtu adds unit id and checksum to a PDU.
func rtu(unit byte, pdu ...byte) []byte {
	b := append([]byte{unit}, pdu...)
	return crc16.Append(b)
}

func wantError(t *testing.T, err error, kind drivers.ErrorKind, lost bool, text string) {
	t.Helper()
	if drivers.KindOf(err) != kind || drivers.PortLost(err) != lost || err == nil ||
		!strings.Contains(err.Error(), text) {
		t.Errorf("error %v (kind %v, lost %v), want %v, %v, %q", err, drivers.KindOf(err), drivers.PortLost(err), kind,
			lost, text)
	}
}

func TestTCPDropsForeignReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, stream, 0)
		r.serve(func(n int, req []byte) {
			r.say(mbap(idOf(req)-1, 0xBAD)) // a late reply to the previous request
			time.Sleep(10 * time.Millisecond)
			frame := mbap(idOf(req), uint16(n))
			for _, b := range frame { // byte by byte
				r.say([]byte{b})
			}
		})
		for i := 1; i <= 3; i++ {
			if got, _, err := r.read(t.Context(), 7, 1); err != nil || got != fmt.Sprintf("00 %02X", i) {
				t.Errorf("read %d: %s, %v", i, got, err)
			}
		}
	})
}

func TestTCPIsLostAfterAnyError(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(r *rig, req []byte)
		kind   drivers.ErrorKind
		text   string
	}{
		"silence": {func(*rig, []byte) {}, drivers.Timeout, "no answer within 1s"},
		"half a reply": {func(r *rig, q []byte) { r.say(mbap(idOf(q), 1)[:9]) }, drivers.Timeout,
			"only 9 bytes"},
		"another protocol": {func(r *rig, q []byte) { r.say([]byte("HTTP/1.1 400")) }, drivers.Protocol,
			"not a Modbus TCP frame"},
		"another unit": {func(r *rig, q []byte) { b := mbap(idOf(q), 1); b[6] = 2; r.say(b) }, drivers.Protocol,
			"unit 2 answered"},
		"another function": {func(r *rig, q []byte) { b := mbap(idOf(q), 1); b[7] = 4; r.say(b) }, drivers.Protocol,
			"received 04"},
		"more than requested": {func(r *rig, q []byte) { r.say(mbap(idOf(q), 1, 2)) }, drivers.Protocol,
			"requested 2 bytes, received 4"},
		"only foreign replies": {func(r *rig, q []byte) {
			for range maxForeign {
				r.say(mbap(idOf(q)+1, 1, 2))
			}
		}, drivers.Protocol, "none to this request"},
		"only a reply with another id": {func(r *rig, q []byte) { r.say(mbap(idOf(q)+1, 1)) }, drivers.Protocol,
			"answers with another transaction id (asked 1, answered 2)"},
		"the end": {func(r *rig, q []byte) { r.there.Close() }, drivers.Closed, "hung up"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, stream, 0)
				asked := 0
				r.serve(func(n int, req []byte) { asked = n; c.answer(r, req) })
				_, _, err := r.read(t.Context(), 7, 1)
				wantError(t, err, c.kind, true, c.text)
				if !strings.Contains(err.Error(), "read holding:0x0007") {
					t.Errorf("%v does not name the operation", err)
				}
				_, took, err := r.read(t.Context(), 7, 1)
				wantError(t, err, drivers.Closed, true, "")
				if synctest.Wait(); asked != 1 || took != 0 {
					t.Errorf("a lost connection was reused: %d requests, %v", asked, took)
				}
			})
		})
	}
}

func TestTCPExceptionKeepsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, stream, 0)
		r.serve(func(n int, req []byte) {
			r.say([]byte{req[0], req[1], 0, 0, 0, 3, 1, 0x83, []byte{0, 1, 2, 3, 4, 5, 6, 10, 11, 128}[n]})
		})
		for _, kind := range []drivers.ErrorKind{drivers.Exception, drivers.Exception, drivers.Exception, drivers.Busy,
			drivers.Busy, drivers.Busy, drivers.Busy, drivers.Busy, drivers.Exception} {
			_, _, err := r.read(t.Context(), 7, 1)
			wantError(t, err, kind, false, "exception")
		}
	})
}

func TestTCPTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, stream, 0)
		r.m = Timing{TCPReplyMax: time.Second, ConnectWait: 1500 * time.Millisecond, Gap: 850 * time.Millisecond,
			IdleClose: 2 * time.Minute, Clients: 1}
		r.serve(func(n int, req []byte) { r.say(mbap(idOf(req), 1)) })
		if _, took, err := r.read(t.Context(), 7, 1); err != nil || took != 1500*time.Millisecond {
			t.Errorf("first read after %v, %v", took, err)
		}
		if _, took, err := r.read(t.Context(), 7, 1); err != nil || took != 850*time.Millisecond {
			t.Errorf("second read after %v, %v", took, err)
		}
		time.Sleep(119 * time.Second)
		_, _, err := r.read(t.Context(), 7, 1)
		wantError(t, err, drivers.Closed, true, "idle")
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, stream, 0)
		r.m.Clients = 1
		_, _, err := r.read(t.Context(), 7, 1)
		wantError(t, err, drivers.Timeout, true, "another client seems to hold this device")
	})
}

func TestTCPTolerantIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, stream, 0)
		r.m.TolerantIDs = true
		r.serve(func(n int, req []byte) {
			r.say(mbap(0, 1, 2, 3)) // another length: a reply to someone else
			r.say(mbap(0, 7))
		})
		if got, _, err := r.read(t.Context(), 7, 1); err != nil || got != "00 07" {
			t.Errorf("read %s, %v", got, err)
		}
	})
}

func TestCancelEndsARead(t *testing.T) {
	for _, l := range []drivers.Line{stream, serial9} {
		t.Run(l.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, l, 0)
				r.m.ReplyMax, r.m.TCPReplyMax = time.Hour, time.Hour
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				_, took, err := r.read(ctx, 7, 1)
				if !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
					t.Errorf("returned %[2]v after %[1]v", took, err)
				}
				_, took, err = r.read(ctx, 7, 1)
				if !errors.Is(err, context.DeadlineExceeded) && !drivers.PortLost(err) || took != 0 {
					t.Errorf("with a cancelled context: %[2]v after %[1]v", took, err)
				}
			})
		})
	}
}

func TestRTUTakesTheTimeOfTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, serial9, char9)
		r.serve(func(_ int, req []byte) { r.say(rtu(1, 3, 2, 0, 7)) })
		silence := 35 * char9 / 10
		for i, want := range []time.Duration{(8 + 7) * char9, silence + (8+7)*char9} {
			got, took, err := r.read(t.Context(), 7, 1)
			if err != nil || got != "00 07" || took < want || took > want+10*time.Microsecond {
				t.Errorf("read %d: %s, %v in %v, want %v", i+1, got, err, took, want)
			}
		}
	})
}

func TestRTUExceptionInTwoPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, serial9, char9)
		r.serve(func(n int, req []byte) {
			frame := rtu(1, 0x83, 2)
			if n == 2 {
				frame = rtu(1, 3, 2, 0, 9)
			}
			r.say(frame[:4])
			time.Sleep(30 * time.Millisecond)
			r.say(frame[4:])
		})
		_, _, err := r.read(t.Context(), 7, 1)
		wantError(t, err, drivers.Exception, false, "exception 2")
		if got, _, err := r.read(t.Context(), 7, 1); err != nil || got != "00 09" {
			t.Errorf("after it: %s, %v", got, err)
		}
	})
}

func TestRTUFailures(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(r *rig)
		kind   drivers.ErrorKind
		text   string
	}{
		"silence": {func(*rig) {}, drivers.Timeout, "no answer within 500ms"},
		"damaged": {func(r *rig) { b := rtu(1, 3, 2, 0, 7); b[3] ^= 1; r.say(b) }, drivers.Checksum,
			"checksum wrong"},
		"noise": {func(r *rig) { r.say(bytes.Repeat([]byte{0x55}, 2000)) }, drivers.Checksum,
			"not a valid reply"},
		"another unit": {func(r *rig) { r.say(rtu(2, 3, 2, 0, 7)) }, drivers.Protocol, "asked unit 1, unit 2 answered"},
		"other length": {func(r *rig) { r.say(rtu(1, 3, 4, 0, 7, 0, 8)) }, drivers.Protocol,
			"requested 2 bytes, received 4"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, serial9, 0)
				r.serve(func(n int, req []byte) {
					if n == 1 {
						c.answer(r)
						return
					}
					r.say(rtu(1, 3, 2, 0, 9))
				})
				_, _, err := r.read(t.Context(), 7, 1)
				wantError(t, err, c.kind, false, c.text)
				if got, _, err := r.read(t.Context(), 8, 1); err != nil || got != "00 09" {
					t.Errorf("after it: %s, %v", got, err)
				}
			})
		})
	}
}

// The reply to a failed request arrives as late as the model allows. It must never be taken for the reply to
// the next request, although its content does not distinguish it.
func TestRTULateReplyIsNeverTakenForTheNext(t *testing.T) {
	for late := 10 * time.Millisecond; late <= 500*time.Millisecond; late += 35 * time.Millisecond {
		for _, garble := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, serial9, char9)
				r.serve(func(n int, req []byte) {
					if n%2 == 1 {
						// Damaged bytes come first: the exchange has failed while the reply is still on its
						// way.
						if garble {
							r.say([]byte{1, 3, 2, 0xFF})
						}
						time.AfterFunc(late, func() { r.say(rtu(1, 3, 2, 0xBA, 0xAD)) })
						return
					}
					r.say(rtu(1, 3, 2, 0, byte(n)))
				})
				for i := range 4 {
					got, _, err := r.read(t.Context(), uint16(i), 1)
					if i%2 == 1 && (err != nil || got == "BA AD") {
						t.Errorf("%v late, garbled %v: read %d: %s, %v", late, garble, i, got, err)
					}
				}
			})
		}
	}
}

// After a cancelled exchange the line must become silent, as after a failed one.
func TestRTUWaitsAfterACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, serial9, char9)
		r.serve(func(n int, req []byte) {
			if n == 1 {
				time.AfterFunc(400*time.Millisecond, func() { r.say(rtu(1, 3, 2, 0xBA, 0xAD)) })
				return
			}
			r.say(rtu(1, 3, 2, 0, 7))
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r.read(ctx, 1, 1) //nolint:errcheck // cancelled
		if got, took, err := r.read(t.Context(), 2, 1); err != nil || got != "00 07" {
			t.Errorf("read %s, %v after %v", got, err, took)
		}
	})
}

func TestRTUWaitsForSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, serial9, char9)
		r.serve(func(_ int, req []byte) { r.say(rtu(1, 3, 2, 0, 7)) })
		time.Sleep(time.Second)
		r.say(bytes.Repeat([]byte{0x55}, 100)) // another master is sending
		if got, took, err := r.read(t.Context(), 1, 1); err != nil || got != "00 07" || took < 100*char9 {
			t.Errorf("read %s, %v after %v", got, err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, serial9, char9)
		quiet := make(chan struct{})
		go func() {
			defer close(quiet)
			for {
				if _, err := r.there.Write([]byte{0x55}); err != nil {
					return
				}
				time.Sleep(2 * char9)
			}
		}()
		time.Sleep(time.Second)
		_, took, err := r.read(t.Context(), 1, 1)
		wantError(t, err, drivers.Protocol, false, "another master")
		if took > 3*time.Second {
			t.Errorf("failed after %v", took)
		}
		r.there.Close()
		<-quiet
	})
}

func TestRTUGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, serial9, 0)
		r.m.Gap = 850 * time.Millisecond
		r.serve(func(_ int, req []byte) { r.say(rtu(1, 3, 2, 0, 7)) })
		r.read(t.Context(), 1, 1) //nolint:errcheck // only the next read is checked
		if _, took, err := r.read(t.Context(), 1, 1); err != nil || took < 850*time.Millisecond ||
			took > 860*time.Millisecond {
			t.Errorf("next request sent after %v, %v", took, err)
		}
	})
}

func TestRTUEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, serial9, char9)
		dead := false
		r.serve(func(_ int, req []byte) {
			r.say(req)
			time.Sleep(20 * time.Millisecond)
			switch {
			case dead:
			case req[1] == 5:
				r.say(req)
			default:
				r.say(rtu(1, 3, 2, 0, 7))
			}
		})
		if got, _, err := r.read(t.Context(), 1, 1); err != nil || got != "00 07" || !r.bus.echoes {
			t.Fatalf("read %s, %v, echo seen %v", got, err, r.bus.echoes)
		}
		write := func() error {
			txn := r.bus.newTransaction(t.Context(), &r.m)
			defer txn.end()
			return newClient(newPackager(serial9, 1), txn).write(5, Address{Coil, 1}, []uint16{coilOn})
		}
		if err := write(); err != nil {
			t.Errorf("write: %v", err)
		}
		dead = true
		wantError(t, write(), drivers.Timeout, false, "no answer") // our own echo is not a confirmation
	})
}

func TestRTUBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, serial9, char9)
		r.serve(func(_ int, req []byte) {
			if req[0] == 1 {
				r.say(rtu(1, 3, 2, 0, 7))
			}
		})
		txn := r.bus.newTransaction(t.Context(), &r.m)
		start := time.Now()
		if err := newClient(newPackager(serial9, 0), txn).write(6, Address{Holding, 1}, []uint16{1}); err != nil ||
			time.Since(start) != 0 {
			t.Errorf("broadcast: %v after %v", err, time.Since(start))
		}
		txn.end()
		if _, took, err := r.read(t.Context(), 1, 1); err != nil || took < turnaround {
			t.Errorf("next request sent after %v, %v", took, err)
		}
	})
}

func TestTunnelDelayIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, drivers.Line{ID: "tunnel", Tunnel: true}, 0)
		r.serve(func(_ int, req []byte) {
			time.Sleep(900 * time.Millisecond) // 500 ms of the device and 400 ms of the network
			r.say(rtu(1, 3, 2, 0, 7))
		})
		if got, _, err := r.read(t.Context(), 1, 1); err != nil || got != "00 07" {
			t.Errorf("read %s, %v", got, err)
		}
	})
}

// Any bytes on the line give an error or a reply, never a panic or a hang.
func FuzzTransport(f *testing.F) {
	f.Add(mbap(1, 7), true)
	f.Add(rtu(1, 3, 2, 0, 7), false)
	f.Fuzz(func(t *testing.T, received []byte, tcp bool) {
		if len(received) > 2000 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			l := serial9
			if tcp {
				l = stream
			}
			r := newRig(t, l, 0)
			r.serve(func(int, []byte) { r.say(received) })
			got, took, err := r.read(t.Context(), 7, 1)
			if err == nil && len(got) != 5 || took > 5*time.Second {
				t.Errorf("read %s, %v after %v", got, err, took)
			}
		})
	})
}
