package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
)

// An exception is recognised whatever its MBAP length says, and surplus bytes do not spoil the next reply.
// Nine bytes that count four: github.com/tiagocoutinho/modbus-proxy issue 62. Bytes after the code:
// github.com/yaacov/node-modbus-serial issue 189.
func TestTCPExceptionOfAnyLength(t *testing.T) {
	for name, c := range map[string]struct {
		length uint16
		more   []byte // bytes after the code
		after  []byte // bytes that arrive during the next request
	}{
		"correct length":                         {length: 3},
		"length one too large":                   {length: 4},
		"length one too small":                   {length: 2},
		"length 0":                               {length: 0},
		"length of a complete reply":             {length: 5},
		"length above the largest frame":         {length: 0xFFFF},
		"zeros after it, included in the length": {length: 6, more: []byte{0, 0, 0}},
		"zeros after it":                         {length: 3, more: []byte{0, 0, 0}},
		"a checksum after it":                    {length: 5, more: []byte{0xC0, 0xF1}},
		"the rest arrives later":                 {length: 6, after: []byte{0, 0, 0}},
		"more zeros than a header":               {length: 3, more: make([]byte, 9)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, stream, 0)
				r.serve(func(n int, req []byte) {
					if n%2 == 1 {
						out := append([]byte{req[0], req[1], 0, 0}, binary.BigEndian.AppendUint16(nil, c.length)...)
						r.say(append(append(out, 1, 0x83, 2), c.more...))
						return
					}
					r.say(c.after)
					r.say(mbap(idOf(req), uint16(n)))
				})
				for i := range 3 {
					_, took, err := r.read(t.Context(), 7, 1)
					wantError(t, err, drivers.Exception, false, "exception 2")
					if took != 0 {
						t.Errorf("exception after %v", took)
					}
					got, took, err := r.read(t.Context(), 8, 1)
					if want := fmt.Sprintf("00 %02X", 2*i+2); err != nil || got != want || took != 0 {
						t.Errorf("next reply: %s, %v after %v", got, err, took)
					}
				}
			})
		})
	}
}

// On a serial line, bytes after a valid exception or before its checksum are ignored too.
func TestRTUExceptionOfAnyLength(t *testing.T) {
	for name, refusal := range map[string][]byte{
		"zeros after it":              append(rtu(1, 0x83, 2), 0, 0, 0),
		"zeros in it":                 rtu(1, 0x83, 2, 0, 0, 0),
		"a second exception after it": append(rtu(1, 0x83, 2), rtu(1, 0x83, 2)...),
		"correct frame":               rtu(1, 0x83, 2),
	} {
		for _, l := range []drivers.Line{serial9, {ID: "tunnel", Tunnel: true}} {
			t.Run(name+" "+l.ID, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, l, 0)
					r.serve(func(n int, req []byte) {
						if n == 1 {
							r.say(refusal)
							return
						}
						r.say(rtu(1, 3, 2, 0, 9))
					})
					_, _, err := r.read(t.Context(), 7, 1)
					wantError(t, err, drivers.Exception, false, "exception 2")
					if got, _, err := r.read(t.Context(), 8, 1); err != nil || got != "00 09" {
						t.Errorf("after it: %s, %v", got, err)
					}
				})
			})
		}
	}
}

// With tolerant ids, a reply that arrives twice or late is not taken for the reply to the next request.
func TestTCPTolerantIDsDropLateReplies(t *testing.T) {
	for name, id := range map[string]func(asked uint16) uint16{
		"one more":    func(asked uint16) uint16 { return asked + 1 },
		"previous id": func(asked uint16) uint16 { return asked - 1 },
		"always 0":    func(uint16) uint16 { return 0 },
		"correct id":  func(asked uint16) uint16 { return asked },
	} {
		t.Run(name+", twice", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, drivers.Line{ID: "tcp", Stream: true, TolerantIDs: true}, 0)
				r.serve(func(n int, req []byte) {
					answer := mbap(id(idOf(req)), uint16(n))
					r.say(answer)
					r.say(answer)
				})
				for i := 1; i <= 6; i++ {
					if got, _, err := r.read(t.Context(), uint16(i), 1); err != nil ||
						got != fmt.Sprintf("00 %02X", i) {
						t.Errorf("read %d: %s, %v", i, got, err)
					}
				}
			})
		})
		if name == "always 0" {
			continue // a reply that arrives during the next request cannot be recognised
		}
		t.Run(name+", again during the next request", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, drivers.Line{ID: "tcp", Stream: true, TolerantIDs: true}, 0)
				var last []byte
				r.serve(func(n int, req []byte) {
					if n > 2 {
						r.say(last)
						time.Sleep(10 * time.Millisecond)
					}
					last = mbap(id(idOf(req)), uint16(n))
					r.say(last)
				})
				for i := 1; i <= 6; i++ {
					if got, _, err := r.read(t.Context(), uint16(i), 1); err != nil ||
						got != fmt.Sprintf("00 %02X", i) {
						t.Errorf("read %d: %s, %v", i, got, err)
					}
				}
			})
		})
	}
}

// After a cancelled request to a gateway with wrong ids, no request is sent until its reply can no longer
// arrive.
func TestTCPTolerantIDsWaitAfterACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, drivers.Line{ID: "tcp", Stream: true, TolerantIDs: true}, 0)
		r.serve(func(n int, _ []byte) {
			if n == 1 {
				r.say(mbap(0, 7))
			}
		})
		if got, _, err := r.read(t.Context(), 1, 1); err != nil || got != "00 07" || time.Until(r.bus.quietUntil) > 0 {
			t.Errorf("read %s, %v, the next request waits for %v", got, err, time.Until(r.bus.quietUntil))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r.read(ctx, 2, 1) //nolint:errcheck // cancelled
		if wait := time.Until(r.bus.quietUntil); wait != r.m.TCPReplyMax-50*time.Millisecond {
			t.Errorf("the line waits for %v", wait)
		}
	})
}

// A wrong unit id is reported as such, over TCP and on a serial line.
func TestWrongUnitIsReported(t *testing.T) {
	for _, l := range []drivers.Line{stream, serial9} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, l, 0)
			r.serve(func(_ int, req []byte) {
				if l.Stream {
					b := mbap(idOf(req), 7)
					b[6] = 2
					r.say(b)
					return
				}
				r.say(rtu(2, 3, 2, 0, 7))
			})
			_, _, err := r.read(t.Context(), 7, 1)
			wantError(t, err, drivers.Protocol, l.Stream, "asked unit 1, unit 2 answered")
			if drivers.CauseOf(err) != drivers.WrongUnit {
				t.Errorf("cause %v", drivers.CauseOf(err))
			}
		})
	}
}

// Bytes in the other framing are reported as such.
func TestWrongFramingIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		line   drivers.Line
		answer func(req []byte) []byte
		want   string
	}{
		"RTU over TCP": {stream, func([]byte) []byte { return rtu(1, 3, 2, 0, 7) },
			"write rtu+tcp:// instead of tcp://"},
		"an RTU exception": {stream, func([]byte) []byte { return rtu(0, 0x81, 1) },
			"write rtu+tcp:// instead of tcp://"},
		"Modbus TCP": {drivers.Line{ID: "t", Tunnel: true},
			func(req []byte) []byte { return mbap(idOf(req), 7) }, "write tcp:// instead of rtu+tcp://"},
		"a Modbus TCP exception": {drivers.Line{ID: "t", Tunnel: true},
			func(req []byte) []byte { return []byte{req[0], req[1], 0, 0, 0, 3, req[6], 0xC4, 1} },
			"write tcp:// instead of rtu+tcp://"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, c.line, 0)
				r.serve(func(_ int, req []byte) { r.say(c.answer(req)) })
				_, _, err := r.read(t.Context(), 0, 2)
				wantError(t, err, drivers.Protocol, c.line.Stream, c.want)
				if drivers.CauseOf(err) != drivers.WrongFraming {
					t.Errorf("cause %v", drivers.CauseOf(err))
				}
			})
		})
	}
}

// reopenable is one end of a wire. Reopening it creates a new wire with serve at the other end.
type reopenable struct {
	drivers.Port
	open func() drivers.Port
}

// Reopen implements drivers.Reopener.
func (r *reopenable) Reopen(context.Context) error {
	r.Port.Close()
	r.Port = r.open()
	return nil
}

// If the other side is silent, the driver tries the other framing: at first once, then less and less often.
func TestSilentLineTriesTheOtherFraming(t *testing.T) {
	for _, l := range []drivers.Line{stream, {ID: "tunnel", Tunnel: true}} {
		t.Run(l.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked [][]byte
				r := newRig(t, l, 0)
				answers := true
				p := &reopenable{}
				p.open = func() drivers.Port {
					here, there := driverstest.Wire(0)
					t.Cleanup(func() { here.Close(); there.Close() })
					go func() {
						for {
							head := make([]byte, 8)
							if _, err := io.ReadFull(there, head); err != nil {
								return
							}
							if head[2] == 0 && head[3] == 0 && head[5] == 6 {
								head = append(head, 0, 0, 0, 0)
								io.ReadFull(there, head[8:]) //nolint:errcheck // ends when the wire is closed
							}
							asked = append(asked, head)
							isRTU := len(head) == 8
							if answers && isRTU == l.Stream {
								answer := rtu(head[0], 3, 2, 0, 7)
								if !isRTU {
									answer = mbap(idOf(head), 7)
								}
								there.Write(answer) //nolint:errcheck // ends when the wire is closed
							}
						}
					}()
					return here
				}
				p.Port = p.open()
				r.bus.attach(p)
				_, _, err := r.read(t.Context(), 7, 1)
				if drivers.CauseOf(err) != drivers.WrongFraming || drivers.PortLost(err) || len(asked) != 2 {
					t.Errorf("%v after %d requests", err, len(asked))
				}
				_, _, err = r.read(t.Context(), 7, 1) // remembered without another request
				if drivers.CauseOf(err) != drivers.WrongFraming || len(asked) != 3 {
					t.Errorf("%v after %d requests", err, len(asked))
				}
				r.bus.otherFraming, answers, asked = framingProbe{}, false, nil
				for range 70 {
					_, _, err := r.read(t.Context(), 7, 1)
					wantError(t, err, drivers.Timeout, false, "no answer")
				}
				otherwise := slices.DeleteFunc(asked, func(b []byte) bool { return (len(b) == 8) != l.Stream })
				if len(otherwise) != 3 { // after 1, 8 and 64 timeouts
					t.Errorf("%d requests in the other framing", len(otherwise))
				}
			})
		})
	}
}
