package modbus

import (
	"errors"
	"slices"
	"strings"
	"time"

	"bordo/drivers"
)

// When a device's identity is read again. A device can be replaced while the port stays open; on an RS-485
// line nothing else reveals that.
const (
	identifyAfter  = time.Minute // without a reply: replacing a meter takes longer than this
	identifyEvery  = time.Hour   // finds a meter that was replaced between two polls
	identifyTries  = 3           // failed attempts in consecutive polls before the next one waits for identifyEvery
	identityRepeat = time.Second // between the two readings that must agree before a new identity is accepted
)

// identityWatch decides when a device's identity must be read again.
type identityWatch struct {
	readAt    time.Time // when the identity was last read, or the attempt abandoned
	answered  time.Time // when the device last delivered anything
	away      bool      // it has delivered nothing in some poll since
	requested bool      // a caller requested it, the connection changed, or a counter was doubted
	failed    int       // consecutive polls in which it could not be read or was not accepted

	connection int       // the connection on which the device was last polled
	renewed    time.Time // when a new connection last caused the identity to be read
}

// noteConnection requests the identity if the connection has changed, because a connection that was reopened
// in place may lead to another device. Some devices close each connection after a reply, so this happens once
// per identifyEvery.
func (w *identityWatch) noteConnection(connection int, now time.Time) {
	if connection != w.connection && now.Sub(w.renewed) >= identifyEvery {
		w.renewed, w.requested = now, true
	}
	w.connection = connection
}

// isDue reports whether the identity must be read again.
func (w *identityWatch) isDue(now time.Time) bool {
	return w.requested || w.failed > 0 || now.Sub(w.readAt) >= identifyEvery ||
		w.away && now.Sub(w.answered) >= identifyAfter
}

// notePoll updates the watch after a poll. events are those of the guard: a counter that falls or jumps may
// belong to another device.
func (w *identityWatch) notePoll(p *poll, events []drivers.Event) {
	if p.answered == 0 {
		w.away = true
		return
	}
	if p.identified || !w.away || p.now.Sub(w.answered) < identifyAfter {
		w.away = false
	}
	w.answered = p.now
	w.requested = w.requested && p.stop ||
		slices.ContainsFunc(events, func(e drivers.Event) bool { return e.Type == eventDoubt })
}

// hasNoIdentity reports whether the device has no item that identifies it.
func (w *identityWatch) hasNoIdentity(d *device) bool {
	return d.onceOK && !slices.ContainsFunc(d.items, func(it *item) bool { return it.role == isIdentity })
}

// noteAttempt records whether an attempt to read the identity succeeded.
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

// noteIdentity stores a part of the identity that the device reported.
func (p *poll) noteIdentity(key, text string) {
	if p.reported == nil {
		p.reported = map[string]string{}
	}
	p.reported[key] = text
}

// checkIdentity reads the device's identity at the end of a poll if that is due. A failure does not affect
// the poll's readings.
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

// readIdentity reads the items of the device's identity.
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
				return &drivers.Error{Op: "identify", Kind: drivers.Protocol,
					Err: errors.New("the SunSpec models have moved")}
			}
			p.decodeIdentity(it, a)
		}
	}
	return nil
}

// compareIdentity compares the reported identity with the stored one. If the device or its firmware has
// changed, what was learned about it is discarded. A different identity must be read twice; until then the
// device counts as unsure. compareIdentity reports whether the identity is settled.
func (p *poll) compareIdentity() bool {
	was, now := p.saved, p.currentIdentity()
	p.watch.connection = p.bus.connection
	if isOther := now != (deviceIdentity{was.Serial, was.Firmware}); isOther && was.Serial+was.Firmware != "" &&
		!p.confirmsIdentity(now) {
		if p.watch.noteAttempt(false, p.now); p.watch.failed > 0 {
			p.identityUnsure = true
			return false
		}
		// The two readings differ: keep the stored identity.
		p.reported, now = nil, deviceIdentity{was.Serial, was.Firmware}
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
		p.events = append(p.events, drivers.Event{Type: eventIdentity,
			Data: map[string]any{"serial_before": was.Serial, "serial": now.serial}})
	}
	if was.Serial != "" || was.Firmware != "" {
		p.saved = DriverState{Base: was.Base} // the chain of this device was found there
		p.rebuildRules()
	}
	p.saved.Serial, p.saved.Firmware = now.serial, now.firmware
	return true
}

// mergeIdentity stores the reported identity. Blank parts do not replace known ones.
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

// deviceIdentity identifies a device. Parts that the device does not report keep their stored value.
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

// confirmsIdentity reads the identity again after identityRepeat and reports whether it is the same.
func (p *poll) confirmsIdentity(first deviceIdentity) bool {
	return p.txn.pause(time.Now().Add(identityRepeat)) == nil && p.readIdentity() == nil && p.currentIdentity() == first
}

// isBlankIdentity reports whether a text identifies nothing: empty, only zeros, or all bits set, as devices
// report while starting.
func isBlankIdentity(text string) bool {
	return strings.Trim(text, "0 .-?") == "" || text == "65535" || text == "4294967295"
}
