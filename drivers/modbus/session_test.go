package modbus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// served connects answerers to a wire and returns the other end.
func served(t *testing.T, stream bool, char time.Duration, units map[byte]slave.Answerer,
	delay func(byte, []byte) time.Duration) *driverstest.End {
	t.Helper()
	here, there := driverstest.Wire(char)
	ended := make(chan error, 1)
	go func() {
		if stream {
			ended <- slave.ServeTCP(t.Context(), there, units)
		} else {
			ended <- slave.ServeRTU(t.Context(), there, units, slave.RTU{Delay: delay})
		}
	}()
	t.Cleanup(func() {
		here.Close() //nolint:errcheck // ends the server
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return here
}

func named(t *testing.T, model string) *slave.Device {
	t.Helper()
	d, err := slave.Named(model, slave.Options{Identity: drivers.Description{Serial: "22041234"}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var hasty = modbus.Timing{ReplyMax: 200 * time.Millisecond, TCPReplyMax: 200 * time.Millisecond}

func TestSessionOnlyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := served(t, true, 0, map[byte]slave.Answerer{1: slave.AnswererFunc(func(pdu []byte) []byte {
			t.Errorf("the device received % X", pdu)
			return pdu
		})}, nil)
		s := modbus.NewSession(drivers.Line{Stream: true}, port, hasty)
		for _, function := range []byte{0, 5, 6, 8, 15, 16, 22, 23} {
			if _, err := s.Ask(t.Context(), 1, function, []byte{0, 0, 0, 1}); drivers.KindOf(err) != drivers.Protocol {
				t.Errorf("function %d: %v", function, err)
			}
		}
	})
}

func TestSessionReadsAndTraces(t *testing.T) {
	for _, line := range []drivers.Line{{Stream: true}, {Baud: 9600, CharLen: 10}} {
		synctest.Test(t, func(t *testing.T) {
			meter := named(t, "eastron-sdm630")
			if err := meter.Set("frequency", catalogue.Number(50)); err != nil {
				t.Fatal(err)
			}
			s := modbus.NewSession(line, served(t, line.Stream, 0, map[byte]slave.Answerer{7: meter}, nil), hasty)
			var seen []string
			s.Trace = func(x modbus.Exchange) {
				seen = append(seen,
					fmt.Sprintf("% X > % X %v", x.Request, x.Answer, x.Err))
			}
			a, err := s.Read(t.Context(), 7, modbus.Span{Table: modbus.Input, First: 0x46, Count: 2})
			if err != nil || fmt.Sprintf("% X", a.Data) != "42 48 00 00" {
				t.Errorf("got % X, %v", a.Data, err)
			}
			if _, err := s.Read(t.Context(), 7,
				modbus.Span{Table: modbus.Input, First: 0x8000, Count: 200}); err == nil {
				t.Error("200 registers were read in one request")
			}
			want := "07 04 00 46 00 02 90 78 > 07 04 04 42 48 00 00 09 EA <nil>"
			if line.Stream {
				want = "00 01 00 00 00 06 07 04 00 46 00 02 > 00 01 00 00 00 07 07 04 04 42 48 00 00 <nil>"
			}
			if len(seen) != 1 || seen[0] != want {
				t.Errorf("traced %q, want %q", seen, want)
			}
		})
	}
}

// A timeout costs the connection in a poll, but not in a session that probes unit ids which may not exist.
func TestSessionKeepsTheConnectionAfterATimeout(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			port := served(t, true, 0, map[byte]slave.Answerer{1: named(t, "eastron-sdm630")}, nil)
			s := modbus.NewSession(drivers.Line{Stream: true}, port, hasty)
			s.KeepTCP = keep
			span := modbus.Span{Table: modbus.Input, First: 0, Count: 2}
			_, err := s.Read(t.Context(), 9, span)
			if drivers.KindOf(err) != drivers.Timeout || drivers.PortLost(err) == keep {
				t.Errorf("keep %v: timeout: %v, lost %v", keep, err, drivers.PortLost(err))
			}
			if _, err = s.Read(t.Context(), 1, span); (err == nil) != keep {
				t.Errorf("keep %v: then %v", keep, err)
			}
		})
	}
}

// A late reply is not taken for the reply to the next request, although the connection is kept.
func TestSessionDropsALateReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		port := served(t, true, 0, map[byte]slave.Answerer{1: slave.AnswererFunc(func([]byte) []byte {
			if n++; n == 1 {
				time.Sleep(300 * time.Millisecond)
			}
			return []byte{3, 2, 0, byte(n)}
		})}, nil)
		s := modbus.NewSession(drivers.Line{Stream: true}, port, hasty)
		s.KeepTCP = true
		span := modbus.Span{Table: modbus.Holding, First: 0, Count: 1}
		if _, err := s.Read(t.Context(), 1, span); drivers.KindOf(err) != drivers.Timeout {
			t.Fatalf("the first: %v", err)
		}
		if a, err := s.Read(t.Context(), 1, span); err != nil || a.Data[1] != 2 {
			t.Errorf("got % X, %v, want the second reply", a.Data, err)
		}
	})
}

func TestSessionStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := modbus.NewSession(drivers.Line{Baud: 9600, CharLen: 10}, served(t, false, 0, nil, nil),
			modbus.Timing{ReplyMax: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := s.Read(ctx, 1, modbus.Span{Table: modbus.Holding, Count: 1}); !errors.Is(err,
			context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Listen(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("listen: %v", err)
		}
		if d := time.Since(began); d > 40*time.Millisecond {
			t.Errorf("stopped after %v", d)
		}
	})
}

func TestSessionListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := driverstest.Wire(time.Millisecond)
		s := modbus.NewSession(drivers.Line{Baud: 9600, CharLen: 10}, here, hasty)
		go func() {
			time.Sleep(100 * time.Millisecond)
			there.Write([]byte("somebody")) //nolint:errcheck // a wire accepts everything
		}()
		if heard, err := s.Listen(t.Context(), time.Second); err != nil || string(heard) != "somebody" {
			t.Errorf("received %q, %v", heard, err)
		}
	})
}

// Bytes received instead of a reply are traced, without the echo of the request.
func TestSessionTracesUnexpectedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := driverstest.Wire(0)
		go func() {
			buf := make([]byte, 64)
			n, _ := there.Read(buf)
			there.Write(append(buf[:n], "junk"...)) //nolint:errcheck // a wire accepts everything
		}()
		s := modbus.NewSession(drivers.Line{Baud: 9600, CharLen: 10}, here, hasty)
		var last modbus.Exchange
		s.Trace = func(x modbus.Exchange) { last = x }
		_, err := s.Read(t.Context(), 1, modbus.Span{Table: modbus.Holding, Count: 1})
		if drivers.KindOf(err) != drivers.Checksum || string(last.Heard) != "junk" || !s.Echo() {
			t.Errorf("got %v, received %q, echo %v", err, last.Heard, s.Echo())
		}
	})
}

// A borrowed port remains part of its line. If a session is cancelled during a request, the next poll waits
// until the pending reply can no longer arrive, since it would look like the poll's own.
func TestSessionOnABorrowedLineKeepsItsSilences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := named(t, "eastron-sdm630")
		asked, slow, block := 0, false, []byte(nil) // the first block of a poll, as the driver requests it
		unit := slave.AnswererFunc(func(pdu []byte) []byte {
			if number := int(pdu[1])<<8 + int(pdu[2]); pdu[0] == 4 && number == 0 {
				asked++
				block = pdu
				meter.Set("ac_voltage_l1", catalogue.Number(float64(asked))) //nolint:errcheck // it has the point
			}
			return meter.Answer(pdu)
		})
		port := served(t, false, 0, map[byte]slave.Answerer{1: unit}, func(byte, []byte) time.Duration {
			if slow {
				slow = false
				return 450 * time.Millisecond
			}
			return 0
		})
		line := drivers.Line{ID: "l", Baud: 9600, CharLen: 10}
		link, err := modbus.New().Link(line,
			[]drivers.Device{{ID: "m", Model: "eastron-sdm630", Unit: 1, Every: 100 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		in := make(chan drivers.Request, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended, polls := make(chan error, 1), 0
		go func() {
			ended <- link.Run(ctx, port, in, func(r drivers.Report) {
				polls++
				for _, x := range r.Readings {
					if x.Point == "ac_voltage_l1" && x.Value.Float() != float64(asked) {
						t.Errorf("poll %d returned the reply to request %v, but sent request %d", polls, x.Value, asked)
					}
				}
				if r.Err != nil {
					t.Error(r.Err)
				}
			})
		}()
		for i := range 20 {
			time.Sleep(time.Duration(i) * 97 * time.Millisecond)
			answer := make(chan error, 1)
			in <- drivers.Request{Answer: func(a drivers.Answer) { answer <- a.Err },
				Borrow: func(ctx context.Context, p drivers.Port) error {
					ctx, stop := context.WithTimeout(ctx, 20*time.Millisecond)
					defer stop()
					slow = true
					_, err := modbus.NewSession(line, p, modbus.Timing{ReplyMax: 500 * time.Millisecond}).
						Read(ctx, 1, modbus.Span{Table: modbus.Input, First: uint16(block[1])<<8 + uint16(block[2]),
							Count: int(block[4])})
					return err
				}}
			if err := <-answer; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("borrow %d: %v", i, err)
			}
		}
		cancel()
		<-ended
		if polls < 20 {
			t.Errorf("%d polls", polls)
		}
	})
}

// Capture polls with the timing of a running line and returns every frame.
func TestCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := named(t, "eastron-sdm630")
		if err := meter.Set("ac_power", catalogue.Number(1252)); err != nil {
			t.Fatal(err)
		}
		port := served(t, false, 0, map[byte]slave.Answerer{3: meter}, nil)
		rep, all, err := modbus.New().Capture(t.Context(), drivers.Line{Baud: 9600, CharLen: 10}, port,
			drivers.Device{ID: "m", Model: "eastron-sdm630", Unit: 3,
				DriverState: []byte(`{"quarantined":[{"point":"ac_power","at":"input:0x0034","times":1}]}`)})
		if err != nil || rep.Err != nil || rep.Description == nil || rep.Description.Serial != "22041234" {
			t.Fatalf("got %+v, %v", rep, err)
		}
		if len(all) < 2 {
			t.Errorf("%d exchanges", len(all))
		}
		for _, x := range all {
			if x.Request[0] != 3 || x.Answer[0] != 3 || x.Err != nil {
				t.Errorf("exchange % X > % X %v", x.Request, x.Answer, x.Err)
			}
		}
		if _, _, err := modbus.New().Capture(t.Context(), drivers.Line{}, port,
			drivers.Device{Model: "none"}); err == nil {
			t.Error("an unknown model was captured")
		}
	})
}
