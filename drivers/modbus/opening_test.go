package modbus

import (
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
)

// Another program may have received a reply from the device right before the port was opened.
func TestFirstRequestKeepsThePause(t *testing.T) {
	for _, l := range []drivers.Line{stream, serial9} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, l, 0)
			r.m.Gap = 400 * time.Millisecond
			began := time.Now()
			r.serve(func(_ int, req []byte) {
				if since := time.Since(began); since < r.m.Gap {
					t.Errorf("%s: first request after %v", l.ID, since)
				}
				if l.Stream {
					r.say(mbap(idOf(req), 1))
				} else {
					r.say(rtu(1, 3, 2, 0, 1))
				}
			})
			if got, _, err := r.read(t.Context(), 7, 1); err != nil || got != "00 01" {
				t.Errorf("%s: %s, %v", l.ID, got, err)
			}
		})
	}
}

// Bytes after a reply are the beginning of the next one, but not on another connection.
func TestTCPDiscardsBytesOfTheOldConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, stream, 0)
		r.serve(func(_ int, req []byte) { r.say(append(mbap(idOf(req), 1), mbap(idOf(req)+1, 0xBAD)[:10]...)) })
		if got, _, err := r.read(t.Context(), 7, 1); err != nil || got != "00 01" {
			t.Errorf("%s, %v", got, err)
		}
		here, there := driverstest.Wire(0)
		t.Cleanup(func() { here.Close(); there.Close() })
		r.bus.attach(here)
		r.there = there
		r.serve(func(_ int, req []byte) { r.say(mbap(idOf(req), 2)) })
		if got, _, err := r.read(t.Context(), 7, 1); err != nil || got != "00 02" {
			t.Errorf("on a new connection: %s, %v", got, err)
		}
	})
}
