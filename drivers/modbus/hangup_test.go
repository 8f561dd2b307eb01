package modbus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// host is a Modbus TCP host with its own behaviour. It passes each request to answer, which writes to the
// connection and returns whether to keep it open.
type host struct {
	t      *testing.T
	answer func(c *driverstest.End, n int, req []byte) bool // n counts the requests of a connection from 1

	mu     sync.Mutex
	opened int // guarded by mu, like all fields below
	asked  []string
	refuse int // number of connections to refuse before accepting one
}

// dial opens a connection.
func (h *host) dial(ctx context.Context) (drivers.Port, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened++
	if h.refuse > 0 {
		h.refuse--
		return nil, &drivers.Error{Op: "open", Kind: drivers.Closed, Lost: true, Err: syscall.ECONNREFUSED}
	}
	here, there := driverstest.Wire(0)
	go h.serve(ctx, there)
	return here, nil
}

func (h *host) serve(ctx context.Context, there *driverstest.End) {
	defer there.Close()
	defer context.AfterFunc(ctx, func() { there.Close() })()
	for n := 1; ; n++ {
		req := make([]byte, 12)
		if _, err := io.ReadFull(there, req); err != nil {
			return
		}
		h.mu.Lock()
		h.asked = append(h.asked, fmt.Sprintf("% X", req[7:]))
		h.mu.Unlock()
		if !h.answer(there, n, req) {
			return
		}
	}
}

// count returns how often a request was received.
func (h *host) count(pdu string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(h.asked), func(s string) bool { return s != pdu }))
}

// frame wraps the PDU of a reply in the header of its request.
func frame(req, pdu []byte) []byte {
	out := append([]byte{}, req[:4]...)
	out = binary.BigEndian.AppendUint16(out, uint16(1+len(pdu)))
	return append(append(out, req[6]), pdu...)
}

// say writes to a connection. An error means that it was closed, which ends the test anyway.
func say(c *driverstest.End, b []byte) { c.Write(b) } //nolint:errcheck // as the comment says

// reach runs a device at the host for a while, on a line whose connection can be reopened in place. It
// returns the reports and how often the line was opened.
func (h *host) reach(d time.Duration, l drivers.Line, driver *modbus.Driver,
	dev drivers.Device) (reports []drivers.Report, lines int) {
	h.t.Helper()
	link, err := driver.Link(l, []drivers.Device{dev})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), d)
	defer cancel()
	for ctx.Err() == nil {
		port, err := line.Reopening(ctx, h.dial)
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		lines++
		link.Run(ctx, port, nil, func(r drivers.Report) {
			reports = append(reports,
				r)
		}) //nolint:errcheck // the loop looks at ctx
		port.Close()
	}
	synctest.Wait()
	return reports, lines
}

var tcpLine = drivers.Line{ID: "l", Stream: true}

// A device may close the connection after each reply, after several, or when idle, or refuse the next
// connection for a moment. Every poll is still complete, and once points are read once.
func TestDeviceThatClosesTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		every time.Duration
		keeps int           // replies per connection; 0: unlimited
		idle  time.Duration // idle time after which the connection is closed
		busy  int           // connections refused after a close
	}{
		"after each reply":            {every: time.Second, keeps: 1},
		"after three":                 {every: time.Second, keeps: 3},
		"after 3 s without a request": {every: 10 * time.Second, idle: 3 * time.Second},
		"after each, refusing the next connection at first": {every: 10 * time.Second, keeps: 1, busy: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := twenty(t, "limits: {registers: 5}\n")
				d := profileDevice(t, p, slave.Options{Identity: drivers.Description{Serial: "77", Firmware: "5"}})
				h := &host{t: t}
				h.answer = func(conn *driverstest.End, n int, req []byte) bool {
					say(conn, frame(req, d.Answer(req[7:])))
					if n != c.keeps {
						if c.idle > 0 {
							conn.SetDeadline(time.Now().Add(c.idle)) //nolint:errcheck // a wire accepts any deadline
						}
						return true
					}
					h.mu.Lock()
					defer h.mu.Unlock()
					h.refuse = c.busy
					return false
				}
				reports, lines := h.reach(30*c.every-c.every/2, tcpLine, modbus.Of(p),
					drivers.Device{ID: "d1", Model: p.Model, Unit: 1, Every: c.every})
				if len(reports) < 29 || lines != 1 {
					t.Errorf("%d reports, the line was opened %d times", len(reports), lines)
				}
				for i, r := range reports {
					if r.Err != nil || len(r.Readings) != 20 {
						t.Errorf("poll %d: %d readings, %v", i+1, len(r.Readings), r.Err)
					}
				}
				if about := reports[0].Description; about == nil || about.Serial != "77" {
					t.Errorf("description %+v", about)
				}
				if n := h.count("03 00 C8 00 02"); n > 2 { // serial number and firmware
					t.Errorf("identity read %d times", n)
				}
			})
		})
	}
}

// A device that accepts each connection and closes it at the first request counts as silent. It is polled
// less and less often, and the error says why.
func TestDeviceThatAlwaysHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twenty(t, "")
		h := &host{t: t, answer: func(*driverstest.End, int, []byte) bool { return false }}
		reports, _ := h.reach(10*time.Minute-time.Second/2, tcpLine, modbus.Of(p),
			drivers.Device{ID: "d1", Model: p.Model, Unit: 1, Every: time.Second})
		if len(reports) > 30 || h.opened > 4*len(reports)+8 {
			t.Errorf("%d reports, %d connections in 10 minutes", len(reports), h.opened)
		}
		for _, r := range reports {
			if drivers.CauseOf(r.Err) != drivers.HungUp || len(r.Readings) != 0 {
				t.Errorf("%d readings, %v", len(r.Readings), r.Err)
			}
		}
	})
}

// A write is never repeated if part of it was sent: the device may have executed it before closing the
// connection.
func TestWriteIsNotRepeated(t *testing.T) {
	for name, closes := range map[string]byte{"at the write": 6, "after each reply": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := profile(t, `
schema: 1
model: test-limit
title: Limit
kind: inverter
verified: paper
links: [tcp]
identify: [{at: holding:1, type: u16, in: [7]}]
points: [{point: ac_power, at: holding:0, type: u16}]
commands:
  - {action: power.limit, steps: [{at: holding:9, function: 6, value: 1}]}
`)
				d := profileDevice(t, p, slave.Options{})
				h := &host{t: t}
				h.answer = func(conn *driverstest.End, _ int, req []byte) bool {
					if req[7] == closes {
						return false
					}
					say(conn, frame(req, d.Answer(req[7:])))
					return closes != 0
				}
				link, err := modbus.Of(p).Link(tcpLine,
					[]drivers.Device{{ID: "d1", Model: p.Model, Unit: 1, Every: time.Hour}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				port, err := line.Reopening(ctx, h.dial)
				if err != nil {
					t.Fatal(err)
				}
				in, results := make(chan drivers.Request, 1), make(chan drivers.Result, 1)
				in <- drivers.Request{Device: "d1",
					Command: &drivers.Command{ID: "1", Device: "d1", Action: "power.limit"},
					Answer: func(a drivers.Answer) {
						results <- a.Result
						cancel()
					}}
				link.Run(ctx, port, in, func(drivers.Report) {}) //nolint:errcheck // it was cancelled
				port.Close()
				r, n := <-results, h.count("06 00 09 00 01")
				crossed := r.Outcome == drivers.Unknown && n == 0 // the request met the hangup after the reply before it
				if closes == 0 && !crossed && (r.Outcome != drivers.Done || n != 1) ||
					closes != 0 && (r.Outcome != drivers.Unknown || n != 1) {
					t.Errorf("%+v, written %d times", r, n)
				}
				synctest.Wait()
			})
		})
	}
}

// A gateway loses replies that exceed its buffer: it stays silent, closes the connection, returns exception
// 11, or truncates them. The first poll still returns all values, and the limit is learned.
func TestGatewayLosesLongReplies(t *testing.T) {
	for _, n := range []int{10, 20, 50} {
		for _, how := range []string{"silent", "closes", "exception 11", "cut off"} {
			for _, model := range []string{"sunspec", "test-twenty", "growatt-tlx"} {
				t.Run(fmt.Sprint(model, " ", n, " ", how), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						driver, d := builtIn, slave.Answerer(nil)
						id := drivers.Description{Maker: "Foreign Maker", Serial: "SN0001", Firmware: "5"}
						switch model {
						case "test-twenty":
							p := twenty(t, "")
							id.Maker, id.Serial = "", "77"
							driver, d = modbus.Of(p), profileDevice(t, p, slave.Options{Identity: id})
						case "growatt-tlx":
							id.Firmware = ""
							d = device(t, model, slave.Options{Identity: id})
						default:
							d = device(t, model, slave.Options{Identity: id})
						}
						h := &host{t: t}
						h.answer = func(conn *driverstest.End, _ int, req []byte) bool {
							out := frame(req, d.Answer(req[7:]))
							if int(binary.BigEndian.Uint16(req[10:])) <= n {
								say(conn, out)
								return true
							}
							switch how {
							case "closes":
								return false
							case "exception 11":
								say(conn, frame(req, []byte{req[7] | 0x80, 11}))
							case "cut off":
								say(conn, out[:2*n])
							}
							return true
						}
						began := time.Now()
						reports, _ := h.reach(89*time.Second, tcpLine, driver,
							drivers.Device{ID: "d1", Model: model, Unit: 1, Every: 10 * time.Second})
						if len(reports) == 0 || len(reports[0].Readings) < 5 || reports[0].At.Sub(began) > time.Minute {
							t.Fatalf("after %v: %v", reports[0].At.Sub(began), reports[0].Err)
						}
						last := reports[len(reports)-1]
						if last.Err != nil {
							t.Errorf("last poll: %v", last.Err)
						}
						about := reports[len(reports)-1].Description
						for _, r := range reports {
							if r.Description != nil {
								about = r.Description
							}
						}
						if about == nil || about.Serial != id.Serial || len(about.Quarantined) > 0 {
							t.Errorf("description %+v", about)
						}
						if l := savedState(t, reports); l.Registers > n || l.Registers < n/3 && model == "sunspec" {
							t.Errorf("saved state %+v", l)
						}
					})
				})
			}
		}
	}
}

// A learned limit is checked once a day, because the gateway may have been replaced.
func TestLimitExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, began, long := device(t, "sunspec", slave.Options{}), time.Now(), 0
		h := &host{t: t}
		h.answer = func(conn *driverstest.End, _ int, req []byte) bool {
			n := int(binary.BigEndian.Uint16(req[10:]))
			if n > 20 && time.Since(began) < time.Hour {
				return true
			}
			if n > 20 {
				long++
			}
			say(conn, frame(req, d.Answer(req[7:])))
			return true
		}
		dev := drivers.Device{ID: "d1", Model: "sunspec", Unit: 1, Every: 10 * time.Minute}
		reports, _ := h.reach(23*time.Hour-time.Second, tcpLine, builtIn, dev)
		if l := savedState(t, reports); l.Registers == 0 || l.Registers > 20 || long > 0 {
			t.Errorf("after 23 hours: saved state %+v, %d long requests", l, long)
		}
		reports, _ = h.reach(26*time.Hour-time.Second, tcpLine, builtIn,
			drivers.Device{ID: "d1", Model: "sunspec", Unit: 1, Every: dev.Every, DriverState: lastSavedState(reports)})
		if l := savedState(t, reports); l.Registers != 0 || long == 0 {
			t.Errorf("a day later: saved state %+v, %d long requests", l, long)
		}
	})
}

// lastSavedState returns the last saved state in the reports.
func lastSavedState(reports []drivers.Report) (out []byte) {
	for _, r := range reports {
		if r.DriverState != nil {
			out = r.DriverState
		}
	}
	return out
}

// Random losses, or a register that silences the device, are not taken for a limit.
func TestRandomLossIsNotALimit(t *testing.T) {
	for name, loses := range map[string]func(n int, req []byte) bool{
		"the third request": func(n int, _ []byte) bool { return n == 3 },
		"two requests":      func(n int, _ []byte) bool { return n == 4 || n == 5 },
		"every request for one register": func(_ int, req []byte) bool {
			first, n := int(req[9]), int(req[11])
			return first <= 113 && 113 < first+n
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := twenty(t, "")
				d := profileDevice(t, p, slave.Options{})
				h, n := &host{t: t}, 0
				h.answer = func(conn *driverstest.End, _ int, req []byte) bool {
					if n++; !loses(n, req) {
						say(conn, frame(req, d.Answer(req[7:])))
					}
					return true
				}
				reports, _ := h.reach(5*time.Minute-time.Second, tcpLine, modbus.Of(p),
					drivers.Device{ID: "d1", Model: p.Model, Unit: 1, Every: 10 * time.Second})
				want := 20
				if strings.Contains(name, "register") {
					want = 19
				}
				if last := reports[len(reports)-1]; len(last.Readings) != want || last.Err != nil {
					t.Errorf("last poll: %d readings, %v", len(last.Readings), last.Err)
				}
				if l := savedState(t, reports); l.Registers != 0 {
					t.Errorf("saved state %+v", l)
				}
			})
		})
	}
}

func hexOf(b []byte) string { return fmt.Sprintf("% X", b) }
