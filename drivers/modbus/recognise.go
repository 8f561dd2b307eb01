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

// watch says when the identity of a device has to be read again.
type watch struct {
	at       time.Time // when it was last read, or given up
	answered time.Time // when the device last gave anything
	away     bool      // it has given nothing in a poll since
	asked    bool      // somebody wants to know, or a counter goes on from another value
	failed   int       // polls in a row in which it could not be read or believed

	connection int       // on which the device was last asked
	renewed    time.Time // when a new connection last had the identity read
}

// connected notes the connection. One that was opened again in place may lead to another device. Some devices close each
// connection after an answer, so that counts once in identifyEvery.
func (w *watch) connected(connection int, now time.Time) {
	if connection != w.connection && now.Sub(w.renewed) >= identifyEvery {
		w.renewed, w.asked = now, true
	}
	w.connection = connection
}

// due tells whether the identity has to be read again.
func (w *watch) due(now time.Time) bool {
	return w.asked || w.failed > 0 || now.Sub(w.at) >= identifyEvery || w.away && now.Sub(w.answered) >= identifyAfter
}

// after notes what a poll says about the device. events are those of the guards: a counter that falls or leaps may be that
// of another device.
func (w *watch) after(p *poll, events []drivers.Event) {
	if p.taken == 0 {
		w.away = true
		return
	}
	if p.identified || !w.away || p.now.Sub(w.answered) < identifyAfter {
		w.away = false
	}
	w.answered = p.now
	w.asked = w.asked && p.stop || slices.ContainsFunc(events, func(e drivers.Event) bool { return e.Type == eventDoubt })
}

// dumb tells whether a device has nothing that it could say of itself.
func (w *watch) dumb(d *device) bool {
	return d.onceOK && !slices.ContainsFunc(d.items, func(it *item) bool { return it.role == isSelf })
}

// done notes how an attempt to read the identity went.
func (w *watch) done(ok bool, now time.Time) {
	if !ok {
		if w.failed++; w.failed < identifyTries {
			return
		}
	}
	w.at, w.away, w.failed = now, false, 0
}

// Identify implements drivers.Identifier.
func (d *device) Identify() { d.who.asked = true }

var _ drivers.Identifier = (*device)(nil)

// hear notes what the device says of itself.
func (p *poll) hear(key, text string) {
	if p.said == nil {
		p.said = map[string]string{}
	}
	p.said[key] = text
}

// identify reads who the device is when that is due, after everything else of the poll. A device that does not give it loses
// nothing: neither its readings nor its good name.
func (p *poll) identify() {
	p.who.connected(p.bus.connection, p.now)
	if p.taken == 0 || !p.who.due(p.now) || p.who.dumb(p.device) {
		return
	}
	switch err := p.askSelf(); {
	case refuses(err):
		p.who.done(true, p.now)
	case err != nil:
		p.who.done(false, p.now)
	case p.recognise():
		p.fresh = true
	}
}

// askSelf asks for what the device says of itself.
func (p *poll) askSelf() error {
	var items []*item
	for _, it := range p.items {
		if _, bad := p.saved.quarantined(it); it.role == isSelf && !bad {
			items = append(items, it)
		}
	}
	p.said, p.texts = nil, nil
	for _, b := range plan(items, p.rules) {
		a, err := p.read(b.Span)
		if err != nil {
			return err
		}
		for _, it := range b.items {
			if it.head != nil && !it.head.holds(a) {
				p.chain.moved = true
				return &drivers.Error{Op: "identify", Kind: drivers.Protocol, Err: errors.New("the SunSpec models have moved")}
			}
			p.tell(it, a)
		}
	}
	return nil
}

// recognise compares who the device is with who it was: what another device or another firmware taught does not hold, and
// its counters are others. Another identity has to be read twice; as long as it was not, the device is unsure. It tells
// whether it is settled who the device is.
func (p *poll) recognise() bool {
	was, now := p.saved, p.newcomer()
	p.who.connection = p.bus.connection
	if isOther := now != (newcomer{was.Serial, was.Firmware}); isOther && was.Serial+was.Firmware != "" && !p.repeats(now) {
		if p.who.done(false, p.now); p.who.failed > 0 {
			p.unsure = true
			return false
		}
		p.said, now = nil, newcomer{was.Serial, was.Firmware} // it does not say the same twice: it stays who it was
	} else {
		p.who.done(true, p.now)
	}
	p.learn()
	p.identified = p.said != nil && (was.Serial == "" || !blank(p.said[selfSerial]))
	if now.serial == was.Serial && now.firmware == was.Firmware {
		return true
	}
	if was.Serial != "" && was.Serial != now.serial {
		p.guard.forget()
		p.checked = false
		p.events = append(p.events, drivers.Event{Type: eventIdentity, Data: map[string]any{"serial_before": was.Serial, "serial": now.serial}})
	}
	if was.Serial != "" || was.Firmware != "" {
		p.saved = DriverState{Base: was.Base} // the chain of this device was found there
		p.apply()
	}
	p.saved.Serial, p.saved.Firmware = now.serial, now.firmware
	return true
}

// learn takes over what the device says of itself, as far as it says anything.
func (p *poll) learn() {
	for key, was := range map[string]string{selfSerial: p.saved.Serial, selfFirmware: p.saved.Firmware} {
		if p.self[key] == "" && was != "" {
			p.self[key] = was
		}
	}
	for key, text := range p.said {
		if !blank(text) || p.self[key] == "" {
			p.self[key] = text
		}
	}
}

// newcomer is who a device says it is. What it does not say now is as it was.
type newcomer struct{ serial, firmware string }

func (p *poll) newcomer() newcomer {
	n := newcomer{p.said[selfSerial], p.said[selfFirmware]}
	if blank(n.serial) && p.saved.Serial != "" {
		n.serial = p.saved.Serial
	}
	if blank(n.firmware) && p.saved.Firmware != "" {
		n.firmware = p.saved.Firmware
	}
	return n
}

// repeats reads the identity once more, some time later, and tells whether it is the same.
func (p *poll) repeats(first newcomer) bool {
	return p.turn.pause(time.Now().Add(identityRepeat)) == nil && p.askSelf() == nil && p.newcomer() == first
}

// blank tells whether a text is no identity: empty, only zeros, or all bits set, as devices show while they start.
func blank(text string) bool {
	return strings.Trim(text, "0 .-?") == "" || text == "65535" || text == "4294967295"
}
