package sim

import (
	"context"
	"fmt"
	"time"

	"bordo/drivers/catalogue"
)

// device is one simulated piece of hardware, whatever protocol it speaks. The site's lock is held during its calls,
// except about's.
type device interface {
	// about returns what every device has. It is the same during the device's life.
	about() *hardware
	// points lists what the device can report; empty for a recording.
	points() []string
	// moving lists the points that can be stuck alone.
	moving() []string
	// canHave reports whether a fault of the device, or of an exchange with it, has an effect.
	canHave(kind FaultKind) bool
}

// protocol is what the devices of one line speak.
type protocol interface {
	// devices lists the devices of the line, in the order of the scenario.
	devices() []device
	// serve lets the devices answer on one connection until ctx ends (nil) or the connection does, and returns once all
	// of its goroutines have ended. It must keep reading, even if its devices expect nothing: that is how it notices
	// the end of the connection. Devices send through wire.send, which applies the faults of the line. It may be called
	// concurrently, once per connection.
	serve(ctx context.Context, w *wire) error
}

// family is a protocol with the models that speak it.
type family struct {
	knows func(model string) bool
	// line makes the devices of a line, all of this family. The caller holds the site's lock.
	line func(s *Site, b *bus, specs []Device) (protocol, error)
}

// newProtocol creates the devices of a line. The model of the first one decides the protocol of the line. Modbus comes
// last, because it lists the known models in its error.
func (s *Site) newProtocol(b *bus, specs []Device) (protocol, error) {
	for _, f := range s.families {
		if len(specs) > 0 && f.knows(specs[0].Model) {
			return f.line(s, b, specs)
		}
	}
	return newModbusLine(s, b, specs)
}

// hardware is common to all devices: a name, a physical side, and the values that it showed.
type hardware struct {
	spec     Device
	kind     catalogue.DeviceKind
	site     *Site
	bus      *bus
	body     model
	recorded bool   // it only replays recorded answers: nothing in it moves
	truth    *truth // what its points showed
	resets   uint64 // the last window of a counter reset that was carried out
}

func newHardware(s *Site, b *bus, spec Device, kind catalogue.DeviceKind) hardware {
	return hardware{spec: spec, kind: kind, site: s, bus: b, truth: newTruth(s.truthMost)}
}

// about implements device.
func (h *hardware) about() *hardware { return h }

// attend moves the device to a time, before it answers, and reports whether it can hear and answer then: it may be
// silent, or without power. The caller holds the site's lock.
func (h *hardware) attend(now time.Time) bool {
	h.site.nature.advance(now)
	if _, _, silent := h.bus.faults.on(Silent, h.spec.ID, now); silent || h.body.dead() {
		return false
	}
	if _, n, reset := h.bus.faults.on(Reset, h.spec.ID, now); reset && n != h.resets {
		h.resets = n
		h.body.reset()
	}
	return true
}

// has reports whether a fault of this device is on, at the time to which the physics have advanced.
func (h *hardware) has(kind FaultKind) (Fault, bool) {
	f, _, on := h.bus.faults.on(kind, h.spec.ID, h.site.nature.now)
	return f, on
}

// canHave reports whether a fault acts on the wire or on the physical side, whatever the device speaks.
func (h *hardware) canHave(kind FaultKind) bool {
	switch kind {
	case Drop, Late, Garble, Truncate, Echo, Noise, Silent:
		return true
	}
	if h.recorded {
		return false // it replays recorded answers, and nothing in it moves
	}
	switch kind {
	case Broken, Limit:
		return h.kind == catalogue.Inverter
	case Obstacle, Photocell, Loop, Key:
		return h.kind == catalogue.Barrier
	case Wire:
		return h.kind == catalogue.IO
	case Reset: // what has no counters has nothing to reset
		return h.kind != catalogue.UPS && h.kind != catalogue.IO
	}
	return false
}

// channels lists the channels of an I/O module that something is wired to.
func (h *hardware) channels() (keys []string) {
	for _, c := range h.spec.IO {
		keys = append(keys, c.At)
	}
	return keys
}

// article names the device with its kind: "inv-1 is an inverter".
func (h *hardware) article() string {
	if h.recorded {
		return h.spec.ID + " is a recording"
	}
	return h.spec.ID + " is " + aKind(h.kind)
}

// fits says that a device is described as something that its model is not.
func (d Device) fits(kind catalogue.DeviceKind) error {
	for said, is := range map[catalogue.DeviceKind]bool{catalogue.Inverter: d.Inverter != nil,
		catalogue.Meter:   d.Meter != nil,
		catalogue.Barrier: d.Barrier != nil, catalogue.UPS: d.UPS != nil, catalogue.IO: d.IO != nil} {
		switch {
		case !is:
		case said != kind:
			return fmt.Errorf("model %s is %s: %s is not for it, %s is", d.Model, aKind(kind), said, kind)
		case d.From != "" && said != catalogue.IO: // the taps of a recording say what hangs on its channels
			return fmt.Errorf("a recording says what it once said: %s does nothing there", said)
		}
	}
	return nil
}
