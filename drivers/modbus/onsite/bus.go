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

// How long a unit is given to answer. A number that nobody has costs this much, so it is less than what the slowest device
// takes; a late answer is heard while the next number is asked, and its unit is asked once more with patience.
const (
	serialWait = 400 * time.Millisecond
	tcpWait    = time.Second
	minWait    = 500 * time.Millisecond // for a device that is known to be there
	maxWait    = 3 * time.Second
)

// maxIdentify is how long it may take to find out over TCP what one unit is.
const maxIdentify = 20 * time.Second

// briefGap is the pause that devices are given after an answer. Nearly all are content with it; one that is not seems to answer
// only some questions, and is asked anew with the longest pause that a profile knows.
const briefGap = 200 * time.Millisecond

// maxLost is how often in a row a connection may be lost before its host is left alone.
const maxLost = 3

// maxDuplicates is under how many further unit ids a device may answer before it is clear that it answers under all of them.
const maxDuplicates = 2

// lineStats is what was heard on a line besides the answers that were asked for.
type lineStats struct {
	asked      int
	answered   int
	frames     int         // sound frames of others
	frameUnits [256]bool   // the units in them
	noise      int         // bytes that are no frame
	traffic    int         // bytes that came without a question
	busyLine   int         // questions that could not be asked because the line was not silent
	gateway    int         // refusals of a gateway: nobody there
	echo       bool        // the line gives back what is sent
	lost       int         // in a row
	firstAt    [2]string   // where the first noise, the first frame was heard
	late       map[int]int // units that answered too late
}

// note takes in what came instead of an answer from unit, or unasked (unit 0).
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

// noteLate notes a unit that answered too late.
func (h *lineStats) noteLate(unit int) {
	if h.late == nil {
		h.late = map[int]int{}
	}
	h.late[unit]++
}

// bus looks for the units of one line.
type bus struct {
	*search
	line       wire
	port       string // its URL
	stream     bool
	network    bool // behind TCP, with whichever frames
	stats      *lineStats
	seen       []scan.Found
	duplicates int  // unit ids under which a device answered that was found before
	everyUnit  bool // the host answers under every unit id
	tolerant   bool // it answers with other transaction ids
	framing    bool // it speaks in the other framing
	inputToo   bool // ask for input registers as well where holding registers are not answered
}

func (s *search) newBus(l wire, e line.Endpoint, h *lineStats) *bus {
	return &bus{search: s, line: l, port: e.String(), stream: e.Scheme == line.TCP, network: e.Scheme != line.Serial, stats: h, inputToo: true}
}

// scanUnits asks numbers one after the other and tells what it finds. The error is that of a port that cannot be used, or ctx's.
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
		for u := range b.stats.late { // with patience, once
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

// unitWait is how long a number is given. Where one device answers at an address, it is rare that there are others.
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

// scanUnit asks one number, and who it is when it answers.
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
		// Some devices answer under any number: the first counts. Behind a gateway two that say nothing of themselves are two.
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
	b.inputToo = b.inputToo && !b.stream // that is for what is reached only with difficulty
	b.emit(scan.Event{Found: &f})
	if b.stream && !b.everyUnit && b.stats.gateway == 0 && len(b.Units) == 0 {
		return b.checkEveryUnit(ctx, took)
	}
	return nil
}

// seenAtThisSpeed tells whether a device of a serial line was found already with another parity or number of stop bits: not
// every device, and no pseudo terminal, minds those.
func (b *bus) seenAtThisSpeed(f *scan.Found) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stream {
		return false
	}
	for i := range b.serial {
		if o := &b.serial[i]; o.Unit == f.Unit && sameDevice(o, f) && o.Port != f.Port && speedOf(o.Port) == speedOf(f.Port) {
			return true
		}
	}
	b.serial = append(b.serial, *f)
	return false
}

// sameDevice tells whether two answers came from one device under two unit ids.
func sameDevice(a, b *scan.Found) bool {
	return a.Model == b.Model && a.Maker == b.Maker && a.Product == b.Product && a.Serial == b.Serial && a.Firmware == b.Firmware
}

func speedOf(port string) int {
	e, err := line.Parse(port)
	if err != nil {
		return 0
	}
	return e.Baud
}

// unlikely are unit ids that hardly any device has, and never all of them.
var unlikely = [...]int{57, 113, 158, 199, 231}

// checkEveryUnit finds out whether a host answers under every unit id. From then on its devices are only compared with the one that
// was found: to identify each would take an hour.
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
	b.emit(scan.Event{Trouble: &scan.Trouble{Cause: scan.EveryUnit, Port: b.port, Detail: fmt.Sprintf("answers under unit ids %v too", unlikely)}})
	return nil
}

// compareUnit compares a unit of a host that answers under every unit id with the device that was found there: it reads what that
// device says of itself.
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

// inquiry begins to find out what a unit is.
func (b *bus) inquiry(unit int, wait, gap time.Duration) *inquiry {
	return &inquiry{
		line: b.line, unit: unit, port: b.port, stream: b.stream, toleratesIDs: b.tolerant,
		replies: map[modbus.Span]reply{}, wait: wait, gap: gap,
	}
}

// identify finds out what a unit is, with more patience when it was not recognised and left questions unanswered.
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

// probe asks for two registers, and tells whether a device answered or refused, and how long that took.
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
			return 0, false, err // not of the line: whoever has it does not lend it
		case drivers.KindOf(err) == drivers.Protocol:
			return 0, false, nil // whoever talks is heard already
		}
	}
	return 0, false, nil
}

// askAdapting asks one question, and once more when the answer shows that the host must be spoken to otherwise.
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

// askOnce asks one question and notes what was heard instead of its answer.
func (b *bus) askOnce(ctx context.Context, unit int, span modbus.Span, wait time.Duration) (took time.Duration, err error) {
	err = b.line.Use(ctx, func(ctx context.Context, s *modbus.Session) error {
		s.Timing, s.KeepTCP = modbus.Timing{ReplyMax: wait, TCPReplyMax: wait, Gap: briefGap, ConnectWait: b.connectWait(), TolerantIDs: b.tolerant}, true
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

// connectWait is how long the slowest device wants to be left alone after a connection was opened.
func (b *bus) connectWait() time.Duration {
	wait := time.Duration(0)
	for _, p := range b.profiles {
		if b.stream && p.Stream {
			wait = max(wait, p.Timing.ConnectWait)
		}
	}
	return min(wait, maxWait)
}

// listen hears what is said without a question.
func (b *bus) listen(ctx context.Context, d time.Duration) error {
	return b.line.Use(ctx, func(ctx context.Context, s *modbus.Session) error {
		heard, err := s.Listen(ctx, d)
		b.stats.traffic += len(heard)
		b.stats.note(b.port, 0, heard)
		return err
	})
}
