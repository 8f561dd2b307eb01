// Package slave is the device side of Modbus: register images built from the same profiles that the driver
// uses, and servers for TCP and RTU. It is for the simulator and for tests, and is never linked into the
// agent.
//
// All waiting uses package time and channels, so it runs inside testing/synctest over a simulated wire.
// Driver and slave share the profile, so a wrong address goes unnoticed here; golden frames from other
// sources prove the profile.
package slave

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
)

// Answerer replies to the requests of one unit id.
type Answerer interface {
	// Answer takes the PDU of a request (function code and data) and returns that of the reply; nil: no
	// reply. It must not keep either slice. Each connection calls it from one goroutine.
	Answer(pdu []byte) []byte
}

// AnswererFunc is a function that implements Answerer.
type AnswererFunc func(pdu []byte) []byte

// Answer implements Answerer.
func (f AnswererFunc) Answer(pdu []byte) []byte { return f(pdu) }

// Options configures a Device. The zero value works.
type Options struct {
	// Identity is what the device reports about itself: in the common model of a SunSpec chain, otherwise
	// where the profile reads it. Empty fields get a default.
	Identity drivers.Description
	// SunSpec lists the models of the chain after the common model, such as 103 or 113; empty: 103.
	SunSpec []uint16
	// Base is the address of the chain; 0 means 40000 unless AtZero is set.
	Base   uint16
	AtZero bool
	// CommonLength is the length of the common model, 65 or 66; 0: 66.
	CommonLength int
	// Groups is the number of groups in a repeating SunSpec model; 0: 2.
	Groups int
	// Registers and Bits limit a request; 0: the profile's limit. A larger request is refused with exception
	// 3.
	Registers, Bits int
	// Sparse devices refuse registers that no point uses (exception 2); others return 0 for them.
	Sparse bool
	// OnCoil and OnRegisters are called after a write was stored. The reply to an error is exception 4, or
	// the exception itself if the error is an Exception. The device's lock is not held, so they may call Set.
	OnCoil      func(number uint16, on bool) error
	OnRegisters func(first uint16, values []uint16) error
	// Writable reports whether an address may be written; nil: every existing one.
	Writable func(modbus.Address) bool
}

// Exception is a Modbus exception that a hook can return as its error.
type Exception byte

// Error implements error.
func (e Exception) Error() string { return fmt.Sprintf("exception %d", byte(e)) }

// Device is a register image. Its methods may be called from any goroutine.
type Device struct {
	profile *modbus.Profile
	options Options
	limits  modbus.Limits

	mu       sync.Mutex
	cells    map[modbus.Address]uint16          // guarded by mu, like all fields below
	holes    []modbus.Span                      // refused with exception 2
	fields   map[string][]*modbus.Point         // by point key; several SunSpec models can have the same point
	values   map[string]catalogue.Value         // last values given to Set
	shared   map[modbus.Address][]*modbus.Point // points that share a scale factor
	readable []modbus.Span                      // readable addresses besides cells
}

var _ Answerer = (*Device)(nil)

// New returns a device of a profile. Every point is "not available" (0 if the profile has no such pattern)
// until it is Set.
func New(p *modbus.Profile, o Options) (*Device, error) {
	d := &Device{
		profile: p, options: o, limits: p.Limits,
		cells: map[modbus.Address]uint16{}, fields: map[string][]*modbus.Point{}, values: map[string]catalogue.Value{},
		shared: map[modbus.Address][]*modbus.Point{}, readable: slices.Clone(p.Readable),
	}
	if o.Registers > 0 {
		d.limits.Registers = o.Registers
	}
	if o.Bits > 0 {
		d.limits.Bits = o.Bits
	}
	d.holes = slices.Clone(p.Holes)
	if p.SunSpec != nil {
		if err := d.layOutChain(); err != nil {
			return nil, err
		}
	}
	for i := range p.Points {
		d.addPoint(p.Points[i])
	}
	for i := range p.Channels {
		d.setNotAvailable(&p.Channels[i].Field)
	}
	for i := range p.Commands {
		for _, s := range p.Commands[i].Steps {
			d.addStep(s)
		}
	}
	return d, d.identify()
}

// Named is New for an embedded profile.
func Named(model string, o Options) (*Device, error) {
	p, err := modbus.Named(model)
	if err != nil {
		return nil, err
	}
	return New(p, o)
}

// addStep creates the cells that a command writes.
func (d *Device) addStep(s modbus.Step) {
	n, stride := 1, 1
	if s.Choose != nil {
		n, stride = s.Choose.Count, s.Choose.Stride
	}
	for i := range n {
		at := modbus.Address{Table: s.At.Table, Number: s.At.Number + uint16(i*stride)}
		for j := range max(1, s.Field.Length) {
			a := modbus.Address{Table: at.Table, Number: at.Number + uint16(j)}
			if _, ok := d.cells[a]; !ok {
				d.cells[a] = 0
			}
		}
	}
}

// addPoint creates the cells of a point.
func (d *Device) addPoint(p modbus.Point) {
	d.setNotAvailable(&p.Field)
	if p.Fallback {
		return // stays "not available": Set changes the point itself
	}
	d.fields[p.Key] = append(d.fields[p.Key], &p)
	if p.SF != nil {
		d.shared[*p.SF] = append(d.shared[*p.SF], &p)
		if _, ok := d.cells[*p.SF]; !ok {
			d.cells[*p.SF] = usualFactor(p.Is.Unit)
		}
	}
	if p.When != nil {
		d.store(p.When.At, p.When.Registers(p.When.In[0]))
	}
}

// usualFactor returns the power of ten that devices typically use for a unit.
func usualFactor(unit string) uint16 {
	exp := map[string]int16{"A": -2, "V": -1, "Hz": -2, "1": -1, "Cel": -1, "%": -1}[unit]
	return uint16(exp)
}

// setNotAvailable fills a field with its "not available" pattern. Flags and single bits are cleared.
func (d *Device) setNotAvailable(f *modbus.Field) {
	var bits uint64
	switch {
	case len(f.NA) > 0 && f.Type != modbus.Bool:
		bits = f.NA[0]
	case f.Type == modbus.F32:
		bits = 0x7FC00000
	case f.Type == modbus.F64:
		bits = 0x7FF8 << 48
	}
	if f.Type == modbus.String {
		d.store(f.At, make([]uint16, f.Length))
		return
	}
	d.store(f.At, f.Registers(bits))
}

func (d *Device) store(at modbus.Address, values []uint16) {
	for i, v := range values {
		d.cells[modbus.Address{Table: at.Table, Number: at.Number + uint16(i)}] = v
	}
}

// identify writes the device's identity where the profile reads it.
func (d *Device) identify() error {
	id, o := d.profile.Identity, d.options.Identity
	var errs []error
	for _, part := range []struct {
		n    *modbus.Naming
		text string
	}{{id.Maker, o.Maker}, {id.Model, o.Model}, {id.Serial, or(o.Serial, "1")}, {id.Firmware, or(o.Firmware, "1")}} {
		if part.n == nil || part.n.Field == nil {
			continue
		}
		d.setNotAvailable(part.n.Field)
		if part.text != "" {
			values, err := part.n.Field.Encode(catalogue.Words(part.text), 0)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			d.store(part.n.Field.At, values)
		}
	}
	for _, t := range d.profile.Identify {
		if len(t.In) > 0 {
			d.store(t.At, t.Registers(t.In[0]))
		}
	}
	return errors.Join(errs...)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Points lists the points that can be Set.
func (d *Device) Points() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var keys []string
	for k := range d.fields {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Set gives a point a value in the catalogue's unit; an absent value makes it "not available". If several
// SunSpec models have the point, all are set. If the value does not fit the scale factor, the factor is
// raised for all points that share it, as real devices do. Set returns an error if the model has no such
// point or cannot represent the value.
func (d *Device) Set(point string, v catalogue.Value) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	fields, ok := d.fields[point]
	if !ok {
		return fmt.Errorf("set %s: %s has no such point", point, d.profile.Model)
	}
	for _, p := range fields {
		if err := d.set(p, v); err != nil {
			return fmt.Errorf("set %s: %w", point, err)
		}
	}
	return nil
}

func (d *Device) set(p *modbus.Point, v catalogue.Value) error {
	if v.Type() == catalogue.None {
		d.setNotAvailable(&p.Field)
		delete(d.values, p.Key)
		return nil
	}
	if v.Type() != p.Is.Type {
		return fmt.Errorf("must be a %v (got %v)", p.Is.Type, v.Type())
	}
	if p.SF != nil {
		return d.setScaled(p, v)
	}
	values, err := p.Encode(v, 0)
	if err != nil {
		return err
	}
	d.storePoint(p, values)
	d.values[p.Key] = v
	return nil
}

// storePoint stores a value. A single bit leaves the other bits of its register unchanged.
func (d *Device) storePoint(p *modbus.Point, values []uint16) {
	if p.Type == modbus.Bool && !p.At.Table.Bits() {
		values[0] |= d.cells[p.At] &^ (1 << p.Bit)
	}
	d.store(p.At, values)
}

// setScaled raises the scale factor until the value fits and rewrites all points that share the factor.
func (d *Device) setScaled(p *modbus.Point, v catalogue.Value) error {
	sf := int(int16(d.cells[*p.SF]))
	before := sf
	values, err := p.Encode(v, sf)
	for ; err != nil && sf < 10; values, err = p.Encode(v, sf) {
		sf++
	}
	if err != nil {
		return err
	}
	d.values[p.Key] = v
	d.store(p.At, values)
	if sf == before {
		return nil
	}
	d.cells[*p.SF] = uint16(int16(sf))
	for _, q := range d.shared[*p.SF] {
		if old, ok := d.values[q.Key]; ok {
			values, err := q.Encode(old, sf)
			if err != nil {
				return fmt.Errorf("rescale %s: %w", q.Key, err)
			}
			d.store(q.At, values)
		}
	}
	return nil
}

// Value returns the value last Set, or an absent value.
func (d *Device) Value(point string) catalogue.Value {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.values[point]
}

// Registers returns the content of count registers (or bits), whether they exist or not.
func (d *Device) Registers(at modbus.Address, count int) []uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]uint16, count)
	for i := range out {
		out[i] = d.cells[modbus.Address{Table: at.Table, Number: at.Number + uint16(i)}]
	}
	return out
}

// SetRegisters stores raw registers (or bits: 0 or 1) and makes them exist.
func (d *Device) SetRegisters(at modbus.Address, values ...uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.store(at, values)
}

// Refuse makes the device refuse every request that touches the span (exception 2).
func (d *Device) Refuse(s modbus.Span) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holes = append(d.holes, s)
}

// Allow undoes Refuse for exactly this span.
func (d *Device) Allow(s modbus.Span) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holes = slices.DeleteFunc(d.holes, func(h modbus.Span) bool { return h == s })
}

// exists reports whether an address can be read.
func (d *Device) exists(a modbus.Address) bool {
	one := modbus.Span{Table: a.Table, First: a.Number, Count: 1}
	meets := func(s modbus.Span) bool { return s.Meets(one) }
	if slices.ContainsFunc(d.holes, meets) {
		return false
	}
	if _, ok := d.cells[a]; ok || !d.options.Sparse {
		return true
	}
	return slices.ContainsFunc(d.readable, meets)
}

// number16 decodes a big-endian register.
func number16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
