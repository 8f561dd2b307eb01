package modbus

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"bordo/drivers/catalogue"
)

// numberFormat matches a format for one number: one verb with optional text around it.
var numberFormat = regexp.MustCompile(`^[^%]*%(0?[0-9]{1,2})?[dxX][^%]*$`)

// field checks where a value lies and how it is encoded.
func (c *compiler) field(path string, r *rawField) Field {
	f := Field{Type: Type(r.Type), Words: Order(r.Words), Bytes: Order(r.Bytes), Invert: r.Invert, Enum: r.Enum,
		Format: r.Format}
	f.At = c.address(path+".at", r.At)
	if f.Type == "" && (f.At.Table.Bits() || r.Bit != nil) {
		f.Type = Bool
	}
	c.length(path, r, &f)
	if f.Words == "" {
		f.Words = Order(c.order.Words)
	}
	if f.Bytes == "" {
		f.Bytes = Order(c.order.Bytes)
	}
	c.oneOf(path+".words", r.Words, "", "high", "low")
	c.oneOf(path+".bytes", r.Bytes, "", "high", "low")
	var err error
	if r.Scale != "" {
		if f.Scale, err = parseScale(r.Scale); err != nil {
			c.fault(path+".scale", "%v", err)
		}
	}
	if r.Offset != "" {
		if f.Offset, err = parseScale(r.Offset); err != nil {
			c.fault(path+".offset", "must be a number such as -273.15 (got %q)", r.Offset)
		}
		f.HasOff = true
	}
	if r.SF != "" {
		sf := c.address(path+".sf", r.SF)
		if sf.Table != f.At.Table {
			c.fault(path+".sf", "must lie in the same table as the value")
		}
		f.SF = &sf
	}
	if r.Bit != nil {
		f.Bit = *r.Bit
		if f.Bit < 0 || f.Bit > 15 || f.At.Table.Bits() || f.Type != Bool {
			c.fault(path+".bit", "must be 0 to 15, of one register")
		}
	} else if f.Type == Bool && !f.At.Table.Bits() && f.At.Table != 0 {
		c.fault(path, "must say which bit of the register")
	}
	c.noValuePatterns(path, r, &f)
	c.texts(path, r, &f)
	return f
}

// length checks the type and the number of registers.
func (c *compiler) length(path string, r *rawField, f *Field) {
	n, ok := f.Type.registers()
	switch {
	case !ok:
		c.fault(path+".type",
			"must be bool, u8hi, u8lo, u16, u32, u64, i16, i32, i64, s16, s32, bcd16, bcd32, f32, f64, "+
				"bits, string, dotted or date (got %q)", r.Type)
		n = 1
	case f.At.Table.Bits() && f.Type != Bool && !c.writing:
		c.fault(path+".type", "must be bool: the table holds bits (got %q)", r.Type)
	case n != 0 && r.Length != 0 && r.Length != n:
		c.fault(path+".length", "must be left out: %s takes %d registers (got %d)", f.Type, n, r.Length)
	case f.Type == Date:
		n = map[string]int{daysSince2000: 1, ymdhms: 6}[r.Format]
		if n == 0 {
			c.fault(path+".format", "must be days2000 or ymdhms (got %q)", r.Format)
			n = 1
		}
	case n == 0:
		high := map[Type]int{Bits: 4, String: maxRegisters, Dotted: 8}[f.Type]
		if n = r.Length; n < 1 || n > high {
			c.fault(path+".length", "must be 1 to %d registers for a %s (got %d)", high, f.Type, n)
			n = 1
		}
	}
	f.Length = n
	if int(f.At.Number)+n > 65536 {
		c.fault(path+".at", "must end at 65535 at the latest")
	}
}

// texts checks the texts for flags and the number format.
func (c *compiler) texts(path string, r *rawField, f *Field) {
	bits := slices.Sorted(maps.Keys(r.Flags))
	for _, b := range bits {
		if f.Type != Bits || b < 0 || b >= 16*f.Length {
			c.fault(path+".flags", "must be bits 0 to %d of a field of type bits (got %d)", 16*f.Length-1, b)
			break
		}
		f.Flags = append(f.Flags, Flag{b, r.Flags[b]})
	}
	if f.Type == Bits && len(bits) == 0 && f.Format == "" {
		c.fault(path+".flags", "must name the bits, or format must say how the number is printed")
	}
	if f.Format != "" && f.Type != Date && !numberFormat.MatchString(f.Format) {
		c.fault(path+".format", "must print one number, with %%d, %%x or %%04X (got %q)", f.Format)
	}
}

// address parses an address. Inside a SunSpec model it is an offset from the model's id register.
func (c *compiler) address(path, text string) Address {
	if c.relative {
		n, err := parseNumber(text)
		if err != nil {
			c.fault(path, "must be an offset from the model's id register, such as 14 (got %q)", text)
		}
		return Address{Holding, n}
	}
	a, err := parseAddress(text)
	if err != nil {
		c.fault(path, "%v", err)
	}
	return a
}

// point checks one point.
func (c *compiler) point(path string, r *rawPoint) Point {
	p := Point{Field: c.field(path, &r.Field), Pace: Pace(r.Pace)}
	key := strings.ReplaceAll(r.Point, "{n}", "1")
	var ok bool
	if p.Is, ok = catalogue.PointOf(key); !ok {
		c.fault(path+".point", "must be a point of the catalogue (bordo points)%s (got %q)", similarPoints(key),
			r.Point)
	}
	p.Key, p.Fallback = r.Point, r.Fallback
	c.oneOf(path+".pace", r.Pace, "", "fast", "slow", "once")
	if p.Pace == "" {
		p.Pace = Fast
	}
	if u, ok := c.ranges[p.Is.Unit]; ok && p.Is.Type == catalogue.Float {
		p.Range = &u
	}
	if len(r.Range) == 2 && r.Range[0] <= r.Range[1] {
		p.Range = &[2]float64{r.Range[0], r.Range[1]}
	} else if len(r.Range) != 0 {
		c.fault(path+".range", "must be two numbers, the lowest and the highest possible value")
	}
	if r.When != nil {
		t := c.test(path+".when", r.When)
		p.When = &t
		if t.At.Table != p.At.Table {
			c.fault(path+".when.at", "must lie in the same table as the value")
		}
	}
	if r.Else != nil {
		p.Else = c.value(path+".else", r.Else, p.Is.Type)
	}
	if ok {
		c.checkType(path, &p)
	}
	return p
}

// value converts a constant value of a point, such as the key "else".
func (c *compiler) value(path string, raw any, as catalogue.Type) catalogue.Value {
	v := catalogue.Value{}
	switch x := raw.(type) {
	case string:
		v = catalogue.Words(x)
	case bool:
		v = catalogue.Truth(x)
	case float64:
		v = catalogue.Number(x)
	case uint64:
		v = catalogue.Number(float64(x))
	case int64:
		v = catalogue.Number(float64(x))
	}
	if v.Type() != as {
		c.fault(path, "must be a %s, as the point is (got %v)", as, raw)
	}
	return v
}

// checkType reports an encoding that cannot produce the catalogue's type of the point.
func (c *compiler) checkType(path string, p *Point) {
	switch p.Is.Type {
	case catalogue.Bool:
		if p.Type != Bool {
			c.fault(path+".type", "must be bool: %s is true or false (got %q)", p.Key, p.Type)
		}
	case catalogue.Float:
		if p.Type == Bool || p.Type == Bits || p.Type == String || p.Type == Date || p.Type == Dotted {
			c.fault(path+".type", "must be a number: %s is one (got %q)", p.Key, p.Type)
		}
	case catalogue.Text:
		switch p.Type {
		case Bool, F32, F64:
			c.fault(path+".type", "must give a text: %s is one (got %q)", p.Key, p.Type)
		case String, Date, Dotted, Bits:
		default:
			if len(p.Enum) == 0 && p.Format == "" {
				c.fault(path, "must have enum or format: %s is a text", p.Key)
			}
		}
	}
	if p.Key == "state" {
		c.checkStates(path, p)
	}
}

// checkStates checks the words of the point "state".
func (c *compiler) checkStates(path string, p *Point) {
	words := catalogue.InverterStates
	if c.kind == catalogue.Barrier {
		words = catalogue.BarrierStates
	}
	for raw, word := range p.Enum {
		if !slices.Contains(words, word) {
			c.fault(fmt.Sprintf("%s.enum.%d", path, raw), "must be %s (got %q)", strings.Join(words, ", "), word)
		}
	}
	if p.Type == Bits || p.Type == String || p.Format != "" {
		c.fault(path, "must have an enum only: state is one of the catalogue's words")
	}
}

// test checks a condition.
func (c *compiler) test(path string, r *rawTest) Test {
	t := Test{Field: c.field(path, &r.Field), In: r.In, Starts: r.Starts, Contains: r.Contains}
	text := t.Starts != "" || len(t.Contains) > 0
	if text == (len(t.In) > 0) || text != (t.Type == String) {
		c.fault(path, "must have in for a number, or starts or contains for a string")
	}
	return t
}

func (c *compiler) channel(path string, r *rawChannel) Channel {
	if !regexp.MustCompile(`^[a-z]+[0-9]+$`).MatchString(r.Name) {
		c.fault(path+".channel", "must be a name such as di1, do1 or ai0 (got %q)", r.Name)
	}
	ch := Channel{Name: r.Name, Field: c.field(path, &r.Field), Unit: r.Unit, Write: r.Write}
	if ch.Write && ch.At.Table != Coil && ch.At.Table != Holding {
		c.fault(path+".write", "must be a coil or a holding register to be written")
	}
	return ch
}
