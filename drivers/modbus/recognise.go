package modbus

import (
	"errors"
	"slices"
	"strings"
	"time"

	"bordo/drivers"
)

// When the identity of a device is read again. A device can be exchanged while the port stays open: on an RS-485 line
// nothing else shows it.
const (
	identifyAfter  = time.Minute // of silence: nobody changes a meter faster
	identifyEvery  = time.Hour   // a meter that was changed between two polls
	identifyTries  = 3           // polls in a row that may fail to read it; then it is left alone for identifyEvery
	identityRepeat = time.Second // between the two readings that have to agree before an identity counts as another
)

// identityWatch says when the identity of a device has to be read again.
type identityWatch struct {
	readAt    time.Time // when it was last read, or given up
	answered  time.Time // when the device last gave anything
	away      bool      // it has given nothing in a poll since
	requested bool      // somebody wants to know, or a counter goes on from another value
	failed    int       // polls in a row in which it could not be read or believed

	connection int       // on which the device was last asked
	renewed    time.Time // when a new connection last had the identity read
}

// noteConnection notes the connection. One that was opened again in place may lead to another device. Some devices close each
// connection after an answer, so that counts once in identifyEvery.
func (w *identityWatch) noteConnection(connection int, now time.Time) {
	if connection != w.connection && now.Sub(w.renewed) >= identifyEvery {
		w.renewed, w.requested = now, true
	}
	w.connection = connection
}

// isDue tells whether the identity has to be read again.
func (w *identityWatch) isDue(now time.Time) bool {
	return w.requested || w.failed > 0 || now.Sub(w.readAt) >= identifyEvery || w.away && now.Sub(w.answered) >= identifyAfter
}

// notePoll notes what a poll says about the device. events are those of the guards: a counter that falls or leaps may be that
// of another device.
func (w *identityWatch) notePoll(p *poll, events []drivers.Event) {
	if p.answered == 0 {
		w.away = true
		return
	}
	if p.identified || !w.away || p.now.Sub(w.answered) < identifyAfter {
		w.away = false
	}
	w.answered = p.now
	w.requested = w.requested && p.stop || slices.ContainsFunc(events, func(e drivers.Event) bool { return e.Type == eventDoubt })
}

// hasNoIdentity tells whether a device has nothing that it could say of itself.
func (w *identityWatch) hasNoIdentity(d *device) bool {
	return d.onceOK && !slices.ContainsFunc(d.items, func(it *item) bool { return it.role == isIdentity })
}

// noteAttempt notes how an attempt to read the identity went.
func (w *identityWatch) noteAttempt(ok bool, now time.Time) {
	if !ok {
		if w.failed++; w.failed < identifyTries {
			return
		}
	}
	w.readAt, w.away, w.failed = now, false, 0
}

// Identify implements drivers.Identifier.
func (d *device) Identify() { d.watch.requested = true }

var _ drivers.Identifier = (*device)(nil)

// noteIdentity notes what the device says of itself.
func (p *poll) noteIdentity(key, text string) {
	if p.reported == nil {
		p.reported = map[string]string{}
	}
	p.reported[key] = text
}

// checkIdentity reads who the device is when that is due, after everything else of the poll. A device that does not give it loses
// nothing: neither its readings nor its good name.
func (p *poll) checkIdentity() {
	p.watch.noteConnection(p.bus.connection, p.now)
	if p.answered == 0 || !p.watch.isDue(p.now) || p.watch.hasNoIdentity(p.device) {
		return
	}
	switch err := p.readIdentity(); {
	case isRefusal(err):
		p.watch.noteAttempt(true, p.now)
	case err != nil:
		p.watch.noteAttempt(false, p.now)
	case p.compareIdentity():
		p.fresh = true
	}
}

// readIdentity asks for what the device says of itself.
func (p *poll) readIdentity() error {
	var items []*item
	for _, it := range p.items {
		if _, bad := p.saved.quarantined(it); it.role == isIdentity && !bad {
			items = append(items, it)
		}
	}
	p.reported, p.texts = nil, nil
	for _, b := range plan(items, p.rules) {
		a, err := p.read(b.Span)
		if err != nil {
			return err
		}
		for _, it := range b.items {
			if it.header != nil && !it.header.isIn(a) {
				p.chain.moved = true
				return &drivers.Error{Op: "identify", Kind: drivers.Protocol, Err: errors.New("the SunSpec models have moved")}
			}
			p.decodeIdentity(it, a)
		}
	}
	return nil
}

// compareIdentity compares who the device is with who it was: what another device or another firmware taught does not hold, and
// its counters are others. Another identity has to be read twice; as long as it was not, the device is unsure. It tells
// whether it is settled who the device is.
func (p *poll) compareIdentity() bool {
	was, now := p.saved, p.currentIdentity()
	p.watch.connection = p.bus.connection
	if isOther := now != (deviceIdentity{was.Serial, was.Firmware}); isOther && was.Serial+was.Firmware != "" && !p.confirmsIdentity(now) {
		if p.watch.noteAttempt(false, p.now); p.watch.failed > 0 {
			p.identityUnsure = true
			return false
		}
		p.reported, now = nil, deviceIdentity{was.Serial, was.Firmware} // it does not say the same twice: it stays who it was
	} else {
		p.watch.noteAttempt(true, p.now)
	}
	p.mergeIdentity()
	p.identified = p.reported != nil && (was.Serial == "" || !isBlankIdentity(p.reported[selfSerial]))
	if now.serial == was.Serial && now.firmware == was.Firmware {
		return true
	}
	if was.Serial != "" && was.Serial != now.serial {
		p.guard.reset()
		p.checked = false
		p.events = append(p.events, drivers.Event{Type: eventIdentity, Data: map[string]any{"serial_before": was.Serial, "serial": now.serial}})
	}
	if was.Serial != "" || was.Firmware != "" {
		p.saved = DriverState{Base: was.Base} // the chain of this device was found there
		p.rebuildRules()
	}
	p.saved.Serial, p.saved.Firmware = now.serial, now.firmware
	return true
}

// mergeIdentity takes over what the device says of itself, as far as it says anything.
func (p *poll) mergeIdentity() {
	for key, was := range map[string]string{selfSerial: p.saved.Serial, selfFirmware: p.saved.Firmware} {
		if p.identity[key] == "" && was != "" {
			p.identity[key] = was
		}
	}
	for key, text := range p.reported {
		if !isBlankIdentity(text) || p.identity[key] == "" {
			p.identity[key] = text
		}
	}
}

// deviceIdentity is who a device says it is. What it does not say now is as it was.
type deviceIdentity struct{ serial, firmware string }

func (p *poll) currentIdentity() deviceIdentity {
	n := deviceIdentity{p.reported[selfSerial], p.reported[selfFirmware]}
	if isBlankIdentity(n.serial) && p.saved.Serial != "" {
		n.serial = p.saved.Serial
	}
	if isBlankIdentity(n.firmware) && p.saved.Firmware != "" {
		n.firmware = p.saved.Firmware
	}
	return n
}

// confirmsIdentity reads the identity once more, some time later, and tells whether it is the same.
func (p *poll) confirmsIdentity(first deviceIdentity) bool {
	return p.txn.pause(time.Now().Add(identityRepeat)) == nil && p.readIdentity() == nil && p.currentIdentity() == first
}

// isBlankIdentity tells whether a text is no identity: empty, only zeros, or all bits set, as devices show while they start.
func isBlankIdentity(text string) bool {
	return strings.Trim(text, "0 .-?") == "" || text == "65535" || text == "4294967295"
}
