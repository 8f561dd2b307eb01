package modbus_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/modbus/slave"
)

// replacedMeter replies for a unit id: first as one meter, later as another.
type replacedMeter struct {
	began  time.Time
	answer func(since time.Duration, identity bool, pdu []byte) []byte
	asked  []time.Duration // times of requests for the serial number
}

// Answer implements slave.Answerer. Only the serial number of an SDM630 lies at holding 0xFC00.
func (e *replacedMeter) Answer(pdu []byte) []byte {
	since := time.Since(e.began)
	if pdu[0] == 3 {
		e.asked = append(e.asked, since)
	}
	return e.answer(since, pdu[0] == 3, pdu)
}

// identityLog formats the replacements and serial numbers in the reports, each with its time.
func identityLog(reports []drivers.Report, began time.Time) string {
	var out []string
	for _, r := range reports {
		at := r.At.Sub(began).Truncate(time.Minute)
		for _, e := range r.Events {
			if e.Type == "bordo.device.replaced.v1" {
				out = append(out, fmt.Sprintf("%v: %v for %v", at, e.Data["serial"], e.Data["serial_before"]))
			}
		}
		if r.Description != nil {
			out = append(out, fmt.Sprintf("%v: is %s", at, r.Description.Serial))
		}
	}
	return strings.Join(out, ", ")
}

// A meter that is replaced while the port stays open is noticed after its silence, or within an hour. An
// identity that is read wrongly once, or cannot be read, is not a replacement.
func TestReplacementWhileThePortStaysOpen(t *testing.T) {
	const known = "0s: is 1001"
	for _, x := range []struct {
		name   string
		answer func(first, second slave.Answerer) func(time.Duration, bool, []byte) []byte
		want   string
		most   int // how often the serial number may be read in 2h10m
	}{
		{"after some minutes of silence", func(first, second slave.Answerer) func(time.Duration, bool, []byte) []byte {
			return func(at time.Duration, _ bool, pdu []byte) []byte {
				switch {
				case at < 10*time.Minute:
					return first.Answer(pdu)
				case at < 13*time.Minute:
					return nil
				}
				return second.Answer(pdu)
			}
		}, known + ", 13m0s: 2002 for 1001, 13m0s: is 2002", 5},
		{"between two polls", func(first, second slave.Answerer) func(time.Duration, bool, []byte) []byte {
			return func(at time.Duration, _ bool, pdu []byte) []byte {
				if at < 10*time.Minute {
					return first.Answer(pdu)
				}
				return second.Answer(pdu)
			}
		}, known + ", 1h0m0s: 2002 for 1001, 1h0m0s: is 2002", 5},
		{"a garbled serial number for half a second",
			func(first, second slave.Answerer) func(time.Duration, bool, []byte) []byte {
				garbled := 0
				return func(at time.Duration, identity bool, pdu []byte) []byte {
					if at > time.Minute && identity && garbled == 0 {
						garbled++
						return second.Answer(pdu)
					}
					return first.Answer(pdu)
				}
			}, known, 6},
		{"another serial number each time",
			func(first, second slave.Answerer) func(time.Duration, bool, []byte) []byte {
				n := 0
				return func(at time.Duration, identity bool, pdu []byte) []byte {
					a := first.Answer(pdu)
					if at > time.Minute && identity && len(a) == 6 {
						n++
						a[5] = byte(n)
					}
					return a
				}
			}, known, 13},
		{"zeros while starting", func(first, second slave.Answerer) func(time.Duration, bool, []byte) []byte {
			return func(at time.Duration, identity bool, pdu []byte) []byte {
				a := first.Answer(pdu)
				if at > time.Minute && identity {
					copy(a[2:], make([]byte, 4))
				}
				return a
			}
		}, known, 3},
		{"no reply to that request", func(first, second slave.Answerer) func(time.Duration, bool, []byte) []byte {
			return func(at time.Duration, identity bool, pdu []byte) []byte {
				if at > time.Minute && identity {
					return nil
				}
				return first.Answer(pdu)
			}
		}, known, 7},
		{"refused", func(first, second slave.Answerer) func(time.Duration, bool, []byte) []byte {
			return func(at time.Duration, identity bool, pdu []byte) []byte {
				if at > time.Minute && identity {
					return []byte{0x83, 2}
				}
				return first.Answer(pdu)
			}
		}, known, 3},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				meter := func(serial string) slave.Answerer {
					return device(t, "eastron-sdm630", slave.Options{Identity: drivers.Description{Serial: serial}})
				}
				e := &replacedMeter{began: time.Now(), answer: x.answer(meter("1001"), meter("2002"))}
				s := serialSite(t)
				s.add("eastron-sdm630", 1, 30*time.Second, e)
				s.run(2*time.Hour + 10*time.Minute)
				if got := identityLog(s.reports, e.began); got != x.want {
					t.Errorf("log %s\nwant %s", got, x.want)
				}
				if len(e.asked) > x.most {
					t.Errorf("serial number read at %v", e.asked)
				}
				for _, r := range s.reports {
					if r.Err != nil && !strings.Contains(x.name, "silence") {
						t.Errorf("%v: %v", r.At.Sub(e.began), r.Err)
					}
				}
			})
		})
	}
}

// Until another serial number was read twice, readings are uncertain. A garbled serial number affects one
// poll.
func TestReadingsAreUncertainUntilIdentityIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := device(t, "eastron-sdm630", slave.Options{Identity: drivers.Description{Serial: "1001"}})
		second := device(t, "eastron-sdm630", slave.Options{Identity: drivers.Description{Serial: "2002"}})
		n := 0
		e := &replacedMeter{began: time.Now()}
		e.answer = func(at time.Duration, identity bool, pdu []byte) []byte {
			if at > time.Minute && identity {
				if n++; n == 1 {
					return second.Answer(pdu)
				}
			}
			return first.Answer(pdu)
		}
		s := serialSite(t)
		s.add("eastron-sdm630", 1, 30*time.Second, e)
		s.run(time.Hour + 5*time.Minute)
		var unsure []time.Duration
		for _, r := range s.reports {
			if r.Readings[0].Quality != drivers.Good {
				unsure = append(unsure, r.At.Sub(e.began).Truncate(time.Minute))
			}
		}
		if fmt.Sprint(unsure) != "[1h0m0s]" {
			t.Errorf("uncertain at %v", unsure)
		}
	})
}

// An identity requested by the caller is read at once, and a failure is reported. New firmware is not a
// replacement.
func TestIdentifyOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		about := drivers.Description{Maker: "Maker", Model: "M", Serial: "SN-1", Firmware: "1.0"}
		old := device(t, "sunspec", slave.Options{Identity: about})
		about.Firmware = "1.1"
		updated := device(t, "sunspec", slave.Options{Identity: about})
		mute := false
		s := tcpSite(t)
		began := time.Now()
		s.add("sunspec", 1, time.Minute, slave.AnswererFunc(func(pdu []byte) []byte {
			switch common := pdu[1] == 0x9C && pdu[2] == 0x42; {
			case mute && common:
				return []byte{0x83, 6}
			case time.Since(began) > 10*time.Minute:
				return updated.Answer(pdu)
			}
			return old.Answer(pdu)
		}))
		var answers []string
		ask := func() {
			s.in <- drivers.Request{Device: "d1", Identify: true, Answer: func(a drivers.Answer) {
				answers = append(answers, fmt.Sprint(a.Report.Identified, len(a.Report.Readings) > 0))
			}}
		}
		time.AfterFunc(5*time.Minute, ask)
		time.AfterFunc(15*time.Minute, ask)
		time.AfterFunc(20*time.Minute, func() { mute = true })
		time.AfterFunc(25*time.Minute, ask)
		s.run(30 * time.Minute)
		if got := strings.Join(answers, ", "); got != "true true, true true, false true" {
			t.Errorf("identified and read: %s", got)
		}
		var firmware []string
		for _, r := range s.reports {
			if r.Description != nil {
				firmware = append(firmware, r.Description.Serial+" "+r.Description.Firmware)
			}
			for _, e := range r.Events {
				t.Errorf("event %v", e)
			}
		}
		if fmt.Sprint(firmware) != "[SN-1 1.0 SN-1 1.1]" {
			t.Errorf("descriptions %v", firmware)
		}
	})
}
