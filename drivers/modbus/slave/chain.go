package slave

import (
	"fmt"
	"strconv"
	"strings"

	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
)

// Layout of a SunSpec chain (SunSpec Alliance, model 1).
const (
	usualBase    = 40000
	commonLength = 66
	endModel     = 0xFFFF
)

// layOutChain writes the SunSpec chain: the mark, the common model, the requested models and the end model.
func (d *Device) layOutChain() error {
	o := &d.options
	base := o.Base
	if base == 0 && !o.AtZero {
		base = usualBase
	}
	length := o.CommonLength
	if length == 0 {
		length = commonLength
	}
	ids := o.SunSpec
	if len(ids) == 0 {
		ids = []uint16{103}
	}
	d.raw(base, 0x5375, 0x6E53, 1, uint16(length))
	at := base + 2
	d.layOutCommon(at, length)
	at += 2 + uint16(length)
	for _, id := range ids {
		n, err := d.layOutModel(at, id)
		if err != nil {
			return err
		}
		at += 2 + uint16(n)
	}
	d.raw(at, endModel, 0)
	return nil
}

func (d *Device) raw(at uint16, values ...uint16) {
	d.store(modbus.Address{Table: modbus.Holding, Number: at}, values)
}

// layOutCommon fills the common model.
func (d *Device) layOutCommon(at uint16, length int) {
	d.raw(at+2, make([]uint16, length)...)
	id := d.options.Identity
	for _, part := range []struct {
		off, length int
		text        string
	}{{2, 16, or(id.Maker, "Bordo")}, {18, 16, or(id.Model, "Simulated")}, {42, 8, or(id.Firmware, "1.0")},
		{50, 16, or(id.Serial, "SIM0001")}} {
		f := modbus.Field{At: modbus.Address{Table: modbus.Holding, Number: at + uint16(part.off)},
			Type: modbus.String, Length: part.length}
		text := part.text[:min(len(part.text), 2*part.length)]
		if values, err := f.Encode(catalogue.Words(text), 0); err == nil { // cannot fail: the text was cut to fit
			d.store(f.At, values)
		}
	}
}

// layOutModel writes one model and returns its length.
func (d *Device) layOutModel(at, id uint16) (int, error) {
	for i := range d.profile.SunSpec.Models {
		m := &d.profile.SunSpec.Models[i]
		for _, known := range m.IDs {
			if known == id {
				return d.layOutPoints(at, id, m), nil
			}
		}
	}
	return 0, fmt.Errorf("lay out the SunSpec chain: model %d is not in profile %s", id, d.profile.Model)
}

func (d *Device) layOutPoints(at, id uint16, m *modbus.SunSpecModel) int {
	groups, length := 0, 0
	if len(m.Lengths) > 0 {
		length = m.Lengths[0]
	}
	if r := m.Repeat; r != nil {
		if groups = d.options.Groups; groups == 0 {
			groups = 2
		}
		length = r.At - 2 + groups*r.Size
	}
	for _, p := range m.Points {
		length = max(length, p.Span().End()-2)
	}
	d.raw(at, id, uint16(length))
	d.raw(at+2, make([]uint16, length)...)
	for _, p := range m.Points {
		d.addModel(p, at, 0)
	}
	if r := m.Repeat; r != nil {
		for n := range groups {
			for _, p := range r.Points {
				p.Key = strings.ReplaceAll(p.Key, "{n}", strconv.Itoa(n+1))
				p.Is, _ = catalogue.PointOf(p.Key)
				d.addModel(p, at, n*r.Size)
			}
		}
		if r.Count != nil {
			f := *r.Count
			f.At.Number += at
			d.store(f.At, f.Registers(uint64(groups)))
		}
	}
	for i := range m.Commands {
		for _, s := range m.Commands[i].Steps {
			s.At.Number += at
			d.addStep(s)
		}
	}
	return length
}

// addModel adds a point of the model at the given address.
func (d *Device) addModel(p modbus.Point, at uint16, shift int) {
	p.At.Number += at + uint16(shift)
	if p.SF != nil {
		sf := *p.SF
		sf.Number += at
		p.SF = &sf
		d.cells[sf] = usualFactor(p.Is.Unit)
	}
	if p.When != nil {
		w := *p.When
		w.At.Number += at
		p.When = &w
	}
	d.addPoint(p)
}
