package onsite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/scan"
)

// Timeouts for a unit id. An unused id costs the whole timeout, so it is shorter than the slowest device
// needs. A late reply is detected while the next id is probed, and its unit is then probed once more with
// maxWait.
const (
	serialWait = 400 * time.Millisecond
	tcpWait    = time.Second
	minWait    = 500 * time.Millisecond // for a device that is known to exist
	maxWait    = 3 * time.Second
)

// maxIdentify limits the time for identifying one unit over TCP.
const maxIdentify = 20 * time.Second

// briefGap is the pause after a reply. It is enough for nearly all devices. A device that needs more seems to
// answer only some requests; it is identified again with the longest gap of all profiles.
const briefGap = 200 * time.Millisecond

// maxLost is how many consecutive connections may be lost before a host is skipped.
const maxLost = 3

// maxDuplicates is how many additional unit ids may reach the same device before the scan concludes that all
// of them do.
const maxDuplicates = 2

// lineStats counts what was received on a line apart from the expected replies.
type lineStats struct {
	asked      int
	answered   int
	frames     int         // valid frames of others
	frameUnits [256]bool   // the unit ids in those frames
	noise      int         // bytes that belong to no frame
	traffic    int         // bytes received without a request
	busyLine   int         // requests that could not be sent because the line was never silent
	gateway    int         // exceptions of a gateway: no such unit
	echo       bool        // the line echoes what is sent
	lost       int         // connections lost in a row
	firstAt    [2]string   // ports at which the first noise and the first frame were received
	late       map[int]int // units that replied too late
}

// note counts bytes that were received instead of a reply from unit, or without a request (unit 0).
func (h *lineStats) note(port string, unit int, b []byte) {
	frames := findFrames(b)
	if n := noiseBytes(b, frames); n > 0 {
		if h.noise += n; h.firstAt[0] == "" {
			h.firstAt[0] = port
		}
	}
	for _, f := range frames {
		h.frameUnits[f.unit] = true
		if h.frames++; h.firstAt[1] == "" {
			h.firstAt[1] = port
		}
		if unit != 0 && int(f.unit) != unit {
			h.noteLate(int(f.unit))
		}
	}
}

// noteLate counts a late reply of a unit.
func (h *lineStats) noteLate(unit int) {
	if h.late == nil {
		h.late = map[int]int{}
	}
	h.late[unit]++
}

// bus scans the unit ids of one line.
type bus struct {
	*search
	line       wire
	port       string // its URL
	stream     bool
	network    bool // reached over TCP, with either framing
	stats      *lineStats
	seen       []scan.Found
	duplicates int  // further unit ids that reached a device already found
	everyUnit  bool // the host replies to every unit id
	tolerant   bool // it replies with other transaction ids
	framing    bool // it uses the other framing
	inputToo   bool // also probe input registers if holding registers get no reply
}

func (s *search) newBus(l wire, e line.Endpoint, h *lineStats) *bus {
	return &bus{search: s, line: l, port: e.String(), stream: e.Scheme == line.TCP, network: e.Scheme != line.Serial,
		stats: h, inputToo: true}
}

// scanUnits probes unit ids one after the other and reports the devices found. It returns an error if the
// port cannot be used or ctx has ended.
func (b *bus) scanUnits(ctx context.Context, list []int) error {
	for i, unit := range list {
		if b.duplicates > maxDuplicates || b.framing {
			b.addSteps(i - len(list))
			return nil
		}
		if _, known := b.Known[unit]; known {
			b.addSteps(-1)
			continue
		}
		b.nextStep(b.port, unit)
		if err := b.scanUnit(ctx, unit, b.unitWait()); err != nil {
			return err
		}
		for u := range b.stats.late { // once, with a longer timeout
			delete(b.stats.late, u)
			if _, known := b.Known[u]; known || b.hasUnit(u) {
				continue
			}
			if err := b.scanUnit(ctx, u, maxWait); err != nil {
				return err
			}
		}
	}
	return nil
}

// unitWait returns the timeout for a unit id. An address with one device rarely has others, so the timeout is
// halved there.
func (b *bus) unitWait() time.Duration {
	switch {
	case !b.stream:
		return serialWait
	case len(b.seen)+len(b.Known) > 0 && b.stats.gateway == 0:
		return tcpWait / 2
	}
	return tcpWait
}

func (b *bus) hasUnit(unit int) bool {
	for i := range b.seen {
		if b.seen[i].Unit == unit {
			return true
		}
	}
	return false
}

// scanUnit probes one unit id and identifies the device that answers.
func (b *bus) scanUnit(ctx context.Context, unit int, wait time.Duration) error {
	took, there, err := b.probe(ctx, unit, wait)
	if err != nil || !there {
		return err
	}
	var f scan.Found
	if wait := min(max(5*took, minWait), maxWait); b.everyUnit && len(b.seen) > 0 {
		f, err = b.compareUnit(ctx, unit, wait)
	} else {
		f, err = b.identify(ctx, unit, wait)
	}
	if err != nil {
		return err
	}
	f.Port = b.port
	for i := range b.seen {
		// Some devices reply to any unit id; only the first counts. Behind a gateway, two devices without an
		// identity are two devices.
		if b.network && sameDevice(&b.seen[i], &f) && (f.Serial != "" || b.stream && b.stats.gateway == 0) {
			if b.duplicates++; b.everyUnit {
				b.duplicates = maxDuplicates + 1 // one comparison is enough
			}
			return nil
		}
	}
	if b.seenAtThisSpeed(&f) {
		return nil
	}
	b.seen = append(b.seen, f)
	b.inputToo = b.inputToo && !b.stream // once a TCP device is found, input registers are no longer probed
	b.emit(scan.Event{Found: &f})
	if b.stream && !b.everyUnit && b.stats.gateway == 0 && len(b.Units) == 0 {
		return b.checkEveryUnit(ctx, took)
	}
	return nil
}

// seenAtThisSpeed reports whether a serial device was already found with another parity or number of stop
// bits at the same speed. Not every device checks those, and a pseudo terminal never does.
func (b *bus) seenAtThisSpeed(f *scan.Found) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stream {
		return false
	}
	for i := range b.serial {
		if o := &b.serial[i]; o.Unit == f.Unit && sameDevice(o, f) && o.Port != f.Port &&
			speedOf(o.Port) == speedOf(f.Port) {
			return true
		}
	}
	b.serial = append(b.serial, *f)
	return false
}

// sameDevice reports whether two results come from one device under two unit ids.
func sameDevice(a, b *scan.Found) bool {
	return a.Model == b.Model && a.Maker == b.Maker && a.Product == b.Product && a.Serial == b.Serial &&
		a.Firmware == b.Firmware
}

func speedOf(port string) int {
	e, err := line.Parse(port)
	if err != nil {
		return 0
	}
	return e.Baud
}

// unlikely are unit ids that hardly any device uses. No device uses all of them.
var unlikely = [...]int{57, 113, 158, 199, 231}

// checkEveryUnit finds out whether a host replies to every unit id. If so, later ids are only compared with
// the device already found: identifying each would take an hour.
func (b *bus) checkEveryUnit(ctx context.Context, took time.Duration) error {
	for _, unit := range unlikely {
		if _, known := b.Known[unit]; known {
			return nil
		}
		_, there, err := b.probe(ctx, unit, min(max(5*took, minWait), maxWait))
		if err != nil || !there {
			return err
		}
	}
	b.everyUnit = true
	b.emit(scan.Event{Trouble: &scan.Trouble{Cause: scan.EveryUnit, Port: b.port,
		Detail: fmt.Sprintf("answers under unit ids %v too", unlikely)}})
	return nil
}

// compareUnit reads the identity of a unit on a host that replies to every unit id, using the profile of the
// device already found.
func (b *bus) compareUnit(ctx context.Context, unit int, wait time.Duration) (scan.Found, error) {
	f := b.seen[len(b.seen)-1]
	f.Unit, f.Warning = unit, ""
	q := b.inquiry(unit, wait, briefGap)
	for _, p := range b.profiles {
		if p.Model == f.Model {
			if p.SunSpec != nil {
				q.sunSpec(ctx, []*modbus.Profile{p}, &f)
			}
			q.readIdentity(ctx, p, &f)
		}
	}
	return f, q.lost
}

// inquiry starts identifying a unit.
func (b *bus) inquiry(unit int, wait, gap time.Duration) *inquiry {
	return &inquiry{
		line: b.line, unit: unit, port: b.port, stream: b.stream, toleratesIDs: b.tolerant,
		replies: map[modbus.Span]reply{}, wait: wait, gap: gap,
	}
}

// identify identifies a unit. If that fails and requests got no reply, it tries again with the longest gap of
// all profiles.
func (b *bus) identify(ctx context.Context, unit int, wait time.Duration) (f scan.Found, err error) {
	until := time.Now().Add(maxIdentify)
	for _, gap := range []time.Duration{briefGap, modbus.LongestGap(b.profiles)} {
		q := b.inquiry(unit, wait, gap)
		if b.stream {
			q.until = until
		}
		if f, err = q.identify(ctx, b.profiles); err != nil || f.Model != "" || q.timeouts == 0 {
			break
		}
	}
	return f, err
}

// probe reads two registers. It reports whether a device answered or refused, and how long that took.
func (b *bus) probe(ctx context.Context, unit int, wait time.Duration) (took time.Duration, there bool, err error) {
	for _, table := range []modbus.Table{modbus.Holding, modbus.Input} {
		if table == modbus.Input && !b.inputToo {
			break
		}
		took, err = b.askAdapting(ctx, unit, modbus.Span{Table: table, First: 0, Count: 2}, wait)
		if ctx.Err() != nil {
			return 0, false, ctx.Err()
		}
		var refusal modbus.Exception
		if !drivers.PortLost(err) && drivers.CauseOf(err) != drivers.HungUp {
			b.stats.lost = 0
		}
		switch {
		case err == nil:
			b.stats.answered++
			return took, true, nil
		case errors.As(err, &refusal) && (refusal.Code == 10 || refusal.Code == 11):
			b.stats.gateway++
			return 0, false, nil
		case errors.As(err, &refusal):
			b.stats.answered++
			return took, true, nil
		case b.framing:
			return 0, false, nil
		case drivers.PortLost(err), drivers.CauseOf(err) == drivers.HungUp:
			if b.stats.lost++; !b.stream || b.stats.lost >= maxLost {
				return 0, false, err
			}
			return 0, false, nil
		case drivers.KindOf(err) == 0:
			return 0, false, err // not a line error: the line cannot be borrowed
		case drivers.KindOf(err) == drivers.Protocol:
			return 0, false, nil // the sender is already counted
		}
	}
	return 0, false, nil
}

// askAdapting sends one request, and repeats it if the reply shows that the host uses other transaction ids.
func (b *bus) askAdapting(ctx context.Context, unit int, span modbus.Span, wait time.Duration) (time.Duration, error) {
	took, err := b.askOnce(ctx, unit, span, wait)
	switch cause := drivers.CauseOf(err); {
	case cause == drivers.WrongTransaction && !b.tolerant:
		b.tolerant = true
		detail := err.Error()
		if e, parsed := line.Parse(b.port); parsed == nil {
			e.TolerantIDs = true
			b.port = e.String()
		}
		b.emit(scan.Event{Trouble: &scan.Trouble{Cause: scan.OtherIDs, Port: b.port, Detail: detail}})
		took, err = b.askOnce(ctx, unit, span, wait)
	case cause == drivers.WrongFraming:
		b.framing = true
	}
	return took, err
}

// askOnce sends one request and counts what was received instead of a reply.
func (b *bus) askOnce(ctx context.Context, unit int, span modbus.Span, wait time.Duration) (took time.Duration,
	err error) {
	err = b.line.Use(ctx, func(ctx context.Context, s *modbus.Session) error {
		s.Timing, s.KeepTCP = modbus.Timing{ReplyMax: wait, TCPReplyMax: wait, Gap: briefGap,
			ConnectWait: b.connectWait(), TolerantIDs: b.tolerant}, true
		asked := false
		s.Trace = func(x modbus.Exchange) {
			if asked = x.Answer != nil || drivers.KindOf(x.Err) != drivers.Protocol || x.Heard != nil; !b.stream {
				b.stats.note(b.port, unit, x.Heard)
			}
		}
		defer func() { s.Trace = nil }()
		began := time.Now()
		_, err := s.Read(ctx, unit, span)
		took = time.Since(began)
		b.stats.asked++
		for _, u := range s.Late() {
			b.stats.noteLate(int(u))
		}
		if b.stats.echo = b.stats.echo || s.Echo(); !asked {
			b.stats.busyLine++
		}
		return err
	})
	return took, err
}

// connectWait returns the longest pause after connecting that any profile requires.
func (b *bus) connectWait() time.Duration {
	wait := time.Duration(0)
	for _, p := range b.profiles {
		if b.stream && p.Stream {
			wait = max(wait, p.Timing.ConnectWait)
		}
	}
	return min(wait, maxWait)
}

// listen counts what is received on the line while nothing is sent.
func (b *bus) listen(ctx context.Context, d time.Duration) error {
	return b.line.Use(ctx, func(ctx context.Context, s *modbus.Session) error {
		heard, err := s.Listen(ctx, d)
		b.stats.traffic += len(heard)
		b.stats.note(b.port, 0, heard)
		return err
	})
}
