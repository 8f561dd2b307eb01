package modbus_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus"
)

// tick is the unit of the registers of a ticking host.
const tick = 100 * time.Millisecond

// ticking is a host whose registers below 200 contain the time since began, in ticks. It does not answer
// requests for which loses returns true; n counts the requests from 1.
func ticking(t *testing.T, began time.Time, loses func(n int, req []byte) bool) *host {
	h, n := &host{t: t}, 0
	h.answer = func(conn *driverstest.End, _ int, req []byte) bool {
		if n++; loses(n, req) {
			return true
		}
		count := int(binary.BigEndian.Uint16(req[10:]))
		pdu := []byte{req[7], byte(2 * count)}
		for i := range count {
			value := uint16(7)
			if int(binary.BigEndian.Uint16(req[8:]))+i < 200 {
				value = uint16(time.Since(began) / tick)
			}
			pdu = binary.BigEndian.AppendUint16(pdu, value)
		}
		say(conn, frame(req, pdu))
		return true
	}
	return h
}

// ages returns how long before the report's time its oldest and its newest value were read.
func ages(began time.Time, r drivers.Report) (oldest, newest time.Duration) {
	newest = time.Hour
	for _, rd := range r.Readings {
		age := r.At.Sub(began.Add(time.Duration(rd.Value.Float()) * tick))
		oldest, newest = max(oldest, age), min(newest, age)
	}
	return oldest, newest
}

// Replies are lost all the time, and each loss costs a second. The values of a report must still be close
// enough for one timestamp.
func TestLossesDoNotSpreadAPoll(t *testing.T) {
	for _, every := range []int{2, 3, 5} {
		t.Run(fmt.Sprint("one reply lost in ", every), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, began := twenty(t, "limits: {registers: 1}\ntiming: {tcp_reply_max: 1s}\n"), time.Now()
				h := ticking(t, began, func(n int, _ []byte) bool { return n%every == 0 })
				reports, _ := h.reach(30*time.Minute-time.Second, tcpLine, modbus.Of(p),
					drivers.Device{ID: "d1", Model: p.Model, Unit: 1, Every: 30 * time.Second})
				for i, r := range reports {
					if len(r.Readings) == 0 {
						continue // the first reply was lost: the poll ends
					}
					if oldest, newest := ages(began, r); oldest > 6*time.Second || newest > tick {
						t.Errorf("poll %d: the oldest of %d values was read %v before its time, the newest %v", i+1,
							len(r.Readings), oldest, newest)
					}
				}
			})
		})
	}
}

// Half of the registers are never answered, and they precede others. The others are read as soon as the
// silent ones are known, even if a poll has no time for all.
func TestSpreadPollSkipsSilentBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := twenty(t, "limits: {registers: 1}\ntiming: {tcp_reply_max: 1s}\n"), time.Now()
		h := ticking(t, began, func(_ int, req []byte) bool { return req[9] >= 102 && req[9] < 112 })
		reports, _ := h.reach(85*time.Second, tcpLine, modbus.Of(p),
			drivers.Device{ID: "d1", Model: p.Model, Unit: 1, Every: 30 * time.Second})
		if last := reports[len(reports)-1]; len(reports) != 3 || len(last.Readings) != 10 {
			t.Errorf("%d reports, the last with %s", len(reports), points(last))
		}
	})
}

// A slow device that loses nothing is read completely, however long that takes.
func TestSlowPollIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := twenty(t, "limits: {registers: 1}\ntiming: {tcp_reply_max: 1s}\n"), time.Now()
		h := ticking(t, began, func(int, []byte) bool { time.Sleep(500 * time.Millisecond); return false })
		reports, _ := h.reach(25*time.Second, tcpLine, modbus.Of(p),
			drivers.Device{ID: "d1", Model: p.Model, Unit: 1, Every: 30 * time.Second})
		if len(reports) != 1 || len(reports[0].Readings) != 20 || reports[0].Err != nil {
			t.Fatalf("%d reports, the first with %d values and %v", len(reports), len(reports[0].Readings),
				reports[0].Err)
		}
	})
}

// A long reply is lost for a while, so the poll searches for a limit and finds none. The search does not
// change the time of the values read before it.
func TestLimitSearchDoesNotChangeReportTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := profile(t, `
schema: 1
model: test-two
title: Two tables
kind: meter
verified: paper
bus: baud=9600
timing: {tcp_reply_max: 1s}
points:
  - {point: frequency, at: input:0, type: u16}
  - {point: dc1_power, at: holding:100, type: u16}
  - {point: dc2_power, at: holding:104, type: u16}
  - {point: dc3_power, at: holding:109, type: u16}
  - {point: dc4_power, at: holding:119, type: u16}
readable: [holding:100-119]
`)
		began, long := time.Now(), 0
		h := ticking(t, began, func(_ int, req []byte) bool {
			if req[11] < 10 {
				return false
			}
			long++
			return long < 3
		})
		reports, _ := h.reach(5*time.Second, tcpLine, modbus.Of(p),
			drivers.Device{ID: "d1", Model: p.Model, Unit: 1, Every: 30 * time.Second})
		if len(reports) != 1 || points(reports[0]) != "frequency" || long < 3 {
			t.Fatalf("%d reports, first: %s; %d long requests", len(reports), points(reports[0]), long)
		}
		if oldest, _ := ages(began, reports[0]); oldest > tick {
			t.Errorf("a value is published with a time %v after it was read", oldest)
		}
	})
}
