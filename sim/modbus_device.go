package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
	"bordo/drivers/nearest"
	"bordo/sim/plant"
)

// modbusDevice is a device whose physical side shows in the registers of a Modbus model.
type modbusDevice struct {
	hardware
	profile  *modbus.Profile
	image    *slave.Device
	replay   *replay                 // of a recording; nil for all others
	fields   map[string]modbus.Point // where each point lies, with absolute addresses
	manners  modbus.Timing
	replyMax time.Duration
}

var (
	_ device         = (*modbusDevice)(nil)
	_ slave.Answerer = (*modbusDevice)(nil)
)

// newModbusDevice makes a device of a model that a profile describes. The caller holds the site's lock.
func newModbusDevice(s *Site, l *modbusLine, spec Device) (*modbusDevice, error) {
	profile, err := modbus.Named(spec.Model)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no Modbus model is called %q%s", spec.Model, meant(spec.Model))
	}
	if err != nil {
		return nil, err
	}
	if err := spec.fits(profile.Kind); err != nil {
		return nil, err
	}
	if err := spec.wired(profile.Channels); err != nil {
		return nil, err
	}
	d := &modbusDevice{hardware: newHardware(s, l.bus, spec, profile.Kind), profile: profile,
		manners: profile.Timing, replyMax: profile.Timing.ReplyMax}
	if spec.From != "" {
		f, err := readCapture(spec.From)
		if err != nil {
			return nil, err
		}
		d.body, d.recorded, d.replay = replayBody{}, true, newReplay(f)
		return d, nil
	}
	if d.body, err = newModel(spec, profile.Kind, s.seed, d.has); err != nil {
		return nil, err
	}
	s.nature.add(d.body)
	if l.stream {
		d.replyMax = profile.Timing.TCPReplyMax
	}
	o := slave.Options{Identity: drivers.Description{Serial: serialOf(spec.ID)}, OnCoil: d.coils(profile),
		OnRegisters: d.written}
	if profile.SunSpec != nil {
		o.SunSpec, o.Groups = sunspecModels(profile), max(1, inverterStrings(spec))
	}
	if d.image, err = slave.New(profile, o); err != nil {
		return nil, err
	}
	d.fields = fieldsOf(profile, d.image)
	if b, ok := d.body.(*inverterModel); ok {
		b.alarm = brokenWord(d.fields["alarm"].Flags)
	}
	return d, nil
}

// points implements device.
func (d *modbusDevice) points() []string {
	if d.recorded {
		return nil
	}
	return d.image.Points()
}

// moving implements device: the points that change by themselves and lie in the device's registers.
func (d *modbusDevice) moving() (keys []string) {
	d.body.points(func(point string, _ catalogue.Value) {
		if _, ok := d.fields[point]; ok {
			keys = append(keys, point)
		}
	})
	return keys
}

// canHave implements device.
func (d *modbusDevice) canHave(kind FaultKind) bool {
	switch kind {
	case Exception, Busy, WrongUnit:
		return true
	case Stuck, Null: // of the registers
		return !d.recorded
	}
	return d.hardware.canHave(kind)
}

// checkModbus returns what is impossible for a Modbus device: an invalid or repeated unit id, a shorter poll interval
// than the model allows.
func (d Device) checkModbus(at string, units map[int]bool, bad func(place, format string, args ...any)) {
	if d.Unit < 1 || d.Unit > 247 {
		bad(at+".unit", "must be 1 to 247 (got %d)", d.Unit)
	}
	if units[d.Unit] {
		bad(at+".unit", "%d is there twice on this line", d.Unit)
	}
	units[d.Unit] = true
	if p, err := modbus.Named(d.Model); err == nil && d.Every > 0 && d.Every < p.MinEvery {
		bad(at+".every", "must be at least %s for model %s (got %s)", p.MinEvery, d.Model, d.Every)
	}
}

// wired says that something hangs on a channel that the model does not have.
func (d Device) wired(channels []modbus.Channel) error {
	var names []string
	for _, c := range channels {
		names = append(names, c.Name)
	}
	for i, c := range d.IO {
		if !slices.Contains(names, c.At) {
			return fmt.Errorf("io[%d].at: model %s has no channel %q: must be %s", i, d.Model, c.At, oneOf(names))
		}
	}
	return nil
}

// meant lists the models that were probably meant by a misspelt name.
func meant(model string) string {
	var names []string
	for _, m := range modbus.New().Models() {
		names = append(names, m.Name)
	}
	near := nearest.Names(model, names, 3)
	if len(near) == 0 {
		return ": bordo models lists them"
	}
	return " (did you mean " + strings.Join(near, ", ") + "?)"
}

// serialOf makes a serial number of eight digits: some models keep it as a number.
func serialOf(id string) string {
	return fmt.Sprintf("%08d", 10000000+plant.NewDice(0, id).Word(0)%90000000)
}

// brokenWord is what a model calls an internal fault: the first of its alarms that says so, else its first.
func brokenWord(flags []modbus.Flag) string {
	for _, f := range flags {
		if strings.Contains(f.Text, "hardware") || strings.Contains(f.Text, "internal") {
			return f.Text
		}
	}
	if len(flags) > 0 {
		return flags[0].Text
	}
	return ""
}

func inverterStrings(spec Device) int {
	if spec.Inverter == nil {
		return 1
	}
	return spec.Inverter.Strings
}

// sunspecModels returns the chain of a three-phase inverter: integers with scale factors and, where the profile has
// them, its strings and its controls.
func sunspecModels(p *modbus.Profile) []uint16 {
	var ids []uint16
	for _, want := range []uint16{103, 160, 123} {
		for _, m := range p.SunSpec.Models {
			for _, id := range m.IDs {
				if id == want {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}

// coils ties the commands of a barrier's profile to its motor.
func (d *modbusDevice) coils(p *modbus.Profile) func(number uint16, on bool) error {
	b, ok := d.body.(*barrierModel)
	if !ok {
		return nil
	}
	orders := map[uint16]plant.Order{}
	for _, c := range p.Commands {
		for _, s := range c.Steps {
			if s.At.Table == modbus.Coil {
				orders[s.At.Number] = plant.Order(strings.TrimPrefix(c.Action, "barrier."))
			}
		}
	}
	return func(number uint16, on bool) error {
		if order, ok := orders[number]; ok && on {
			b.Obey(order) // a controller that must not move says so in its state only
		}
		return nil
	}
}

// written makes an inverter obey the limit that is now in its registers.
func (d *modbusDevice) written(uint16, []uint16) error {
	b, ok := d.body.(*inverterModel)
	p, has := d.fields["power_limit"]
	if ok && has {
		if v := d.read(&p, false); v.Type() == catalogue.Float {
			b.limitPct = v.Float()
		}
	}
	return nil
}

// Answer implements slave.Answerer: it updates the registers to the present state before it answers.
func (d *modbusDevice) Answer(pdu []byte) []byte {
	d.site.mu.Lock()
	defer d.site.mu.Unlock()
	now := time.Now()
	if !d.attend(now) {
		return nil
	}
	if d.replay != nil {
		return d.replay.Answer(pdu)
	}
	if _, _, null := d.bus.faults.on(Null, d.spec.ID, now); null {
		return d.nullAnswer(pdu, now)
	}
	d.refresh(now)
	return d.image.Answer(pdu)
}

// refresh puts the physical values into the registers and remembers what the registers then hold: that, rounded as the
// model rounds, is the truth an agent can see.
func (d *modbusDevice) refresh(now time.Time) {
	if stuck, _, on := d.bus.faults.on(Stuck, d.spec.ID, now); !on || stuck.Point != "" {
		d.renew(stuck.Point, now)
	}
	for point, p := range d.fields {
		d.truth.note(point, d.read(&p, false), now)
	}
}

// renew writes the present state into the registers, except for a point that is stuck.
func (d *modbusDevice) renew(stuck string, now time.Time) {
	d.body.points(func(point string, v catalogue.Value) {
		p, ok := d.fields[point]
		if !ok || stuck == point {
			return
		}
		if err := d.image.Set(point, v); err != nil {
			d.site.log.Debug("value does not fit", "device", d.spec.ID, "point", p.Key, "err", err)
		}
	})
	d.wire(now)
}

// read decodes a point from the registers as they are, or as if they were all 0, under the point's own conditions.
func (d *modbusDevice) read(p *modbus.Point, null bool) catalogue.Value {
	if p.When != nil && !p.When.Holds(d.answer(p.When.Span(), null)) {
		return p.Else
	}
	v := d.decode(&p.Field, p.Is.Type, null)
	if p.Range != nil && v.Type() == catalogue.Float && (v.Float() < p.Range[0] || v.Float() > p.Range[1]) {
		return catalogue.Value{}
	}
	return v
}

func (d *modbusDevice) decode(f *modbus.Field, as catalogue.Type, null bool) catalogue.Value {
	v, q := f.Decode(d.answer(f.Span(), null), as)
	if q == drivers.Bad {
		return catalogue.Value{}
	}
	return v
}

// answer returns what the device would answer for a span.
func (d *modbusDevice) answer(span modbus.Span, null bool) modbus.Answer {
	words := make([]uint16, span.Count)
	if !null {
		words = d.image.Registers(modbus.Address{Table: span.Table, Number: span.First}, span.Count)
	}
	if span.Table.Bits() {
		return modbus.Answer{Span: span, Data: packed(words)}
	}
	data := make([]byte, 0, 2*len(words))
	for _, w := range words {
		data = append(data, byte(w>>8), byte(w))
	}
	return modbus.Answer{Span: span, Data: data}
}

// packed packs bits as Modbus does.
func packed(bits []uint16) []byte {
	out := make([]byte, (len(bits)+7)/8)
	for i, b := range bits {
		out[i/8] |= byte(b&1) << (i % 8)
	}
	return out
}

// nullAnswer answers every reading with zeros.
func (d *modbusDevice) nullAnswer(pdu []byte, now time.Time) []byte {
	for point, p := range d.fields {
		d.truth.note(point, d.read(&p, true), now)
	}
	answer := d.image.Answer(pdu)
	if len(answer) > 2 && answer[0] >= 1 && answer[0] <= 4 {
		clear(answer[2:])
	}
	return answer
}

// fieldsOf finds where the points of an image lie. Of two points with one key the first counts, as in the image.
func fieldsOf(p *modbus.Profile, image *slave.Device) map[string]modbus.Point {
	fields := map[string]modbus.Point{}
	add := func(point modbus.Point, shift uint16) {
		if _, ok := fields[point.Key]; ok {
			return
		}
		point.At.Number += shift
		if point.SF != nil {
			sf := *point.SF
			sf.Number += shift
			point.SF = &sf
		}
		if point.When != nil {
			when := *point.When
			when.At.Number += shift
			point.When = &when
		}
		fields[point.Key] = point
	}
	if p.SunSpec != nil {
		eachModel(p, image, func(m *modbus.SunSpecModel, at, length uint16) {
			for _, point := range m.Points {
				add(point, at)
			}
			if r := m.Repeat; r != nil {
				for n := range (int(length) + 2 - r.At) / r.Size {
					for _, point := range r.Points {
						point.Key = strings.ReplaceAll(point.Key, "{n}", strconv.Itoa(n+1))
						if is, ok := catalogue.PointOf(point.Key); ok {
							point.Is = is
						}
						sf := point.SF
						add(point, at+uint16(n*r.Size))
						if f := fields[point.Key]; sf != nil { // scale factors occur once, before the groups
							fixed := *sf
							fixed.Number += at
							f.SF = &fixed
							fields[point.Key] = f
						}
					}
				}
			}
		})
	}
	for _, point := range p.Points {
		add(point, 0)
	}
	return fields
}

// eachModel walks the SunSpec chain of an image.
func eachModel(p *modbus.Profile, image *slave.Device, see func(m *modbus.SunSpecModel, at, length uint16)) {
	const end = 0xFFFF
	word := func(at uint16) uint16 {
		return image.Registers(modbus.Address{Table: modbus.Holding, Number: at}, 1)[0]
	}
	at := uint16(40002)
	for range 32 {
		id, length := word(at), word(at+1)
		if id == end || length == 0 {
			return
		}
		for i := range p.SunSpec.Models {
			for _, known := range p.SunSpec.Models[i].IDs {
				if known == id {
					see(&p.SunSpec.Models[i], at, length)
				}
			}
		}
		at += 2 + length
	}
}
