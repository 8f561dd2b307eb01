package modbus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// A stop command is sent after at most the one request in progress, whatever else uses the line: an open
// command that is being confirmed, a scan that has borrowed the line, or a poll of a device with many
// requests or of a dead device.
func TestStopGoesFirst(t *testing.T) {
	const stop = "05 00 00 FF 00"
	for name, c := range map[string]struct {
		at    time.Duration // when the stop command is given; 0: 100 ms after the request to the dead device
		scan  time.Duration // when a scan borrows the line; 0: none
		limit time.Duration // from the command to its first byte at the drive
	}{
		"while the barrier opens": {at: 7*time.Second + 930*time.Millisecond, limit: 50 * time.Millisecond},
		"during a scan": {at: 9 * time.Second, scan: 7 * time.Second,
			limit: 400 * time.Millisecond},
		"during the poll of a meter":        {at: 10*time.Second + 250*time.Millisecond, limit: 300 * time.Millisecond},
		"during a request to a dead device": {limit: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, d := barrier(t, func(d *slave.Device, n uint16) error {
					if n == 1 {
						d.Set("state", catalogue.Words("opening")) //nolint:errcheck // checked elsewhere
						time.AfterFunc(12*time.Second,
							func() { d.Set("state", catalogue.Words("open")) }) //nolint:errcheck // checked elsewhere
					}
					return nil
				})
				start := time.Now()
				var stopped time.Duration
				s.units[1] = slave.AnswererFunc(func(pdu []byte) []byte {
					if pdu[0] == 5 && pdu[2] == 0 {
						stopped = time.Since(start)
					}
					return d.Answer(pdu)
				})
				s.add("eastron-sdm630", 2, 5*time.Second, device(t, "eastron-sdm630", slave.Options{}))
				s.devices = append(s.devices,
					drivers.Device{ID: "d3", Model: "eastron-sdm630", Unit: 3, Every: 5 * time.Second})
				command := func(action string) {
					cmd := drivers.Command{Device: "d1", Action: action, Deadline: time.Now().Add(10 * time.Second)}
					s.in <- drivers.Request{Device: "d1", Command: &cmd, Answer: func(a drivers.Answer) {
						if o := a.Result.Outcome; o != drivers.Accepted {
							t.Errorf("%s: %+v", action, a.Result)
						}
					}}
				}
				time.AfterFunc(5500*time.Millisecond, func() { command("barrier.open") })
				if c.scan > 0 {
					time.AfterFunc(c.scan, func() {
						s.in <- drivers.Request{Borrow: func(ctx context.Context, port drivers.Port) error {
							session := modbus.NewSession(s.line, port, modbus.Timing{ReplyMax: time.Second})
							for unit := 10; unit < 100; unit++ {
								if _, err := session.Read(ctx, unit,
									modbus.Span{Table: modbus.Holding, First: 0, Count: 1}); ctx.Err() != nil {
									return err
								}
							}
							return nil
						}, Answer: func(a drivers.Answer) {
							if drivers.KindOf(a.Err) != drivers.Busy {
								t.Errorf("the scan ended with %v", a.Err)
							}
						}}
					})
				}
				at := c.at
				s.units[3] = slave.AnswererFunc(func([]byte) []byte {
					if now := time.Since(start); at == 0 && now > 8*time.Second {
						at = now + 100*time.Millisecond
						time.AfterFunc(100*time.Millisecond, func() { command("barrier.stop") })
					}
					return nil
				})
				if at > 0 {
					time.AfterFunc(at, func() { command("barrier.stop") })
				}
				s.run(30 * time.Second)
				if wait := stopped - at; stopped == 0 || wait > c.limit {
					t.Errorf("%s sent after %v, want at most %v", stop, wait, c.limit)
				} else {
					t.Logf("after %v", wait)
				}
			})
		})
	}
}
