package modbus

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Protocol limits.
const (
	maxRegisters = 125  // per read request
	maxBits      = 2000 // per read request
)

// Defaults for keys that a profile omits.
const (
	defaultReply = time.Second
	defaultUsual = 20 * time.Millisecond
)

var (
	modelName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	quirkID   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)
)

// profile checks and converts a whole profile. It continues after a fault so that all faults of a file are
// reported at once.
func (c *compiler) profile(r *rawProfile) *Profile {
	p := &Profile{Model: r.Model, Title: r.Title, Kind: catalogue.DeviceKind(r.Kind), Verified: r.Verified, Bus: r.Bus}
	p.SleepsNight = p.Kind == catalogue.Inverter // most inverters are powered by the panels alone
	if r.Sleeps != nil {
		p.SleepsNight = *r.Sleeps
	}
	c.kind, c.order = p.Kind, r.Order
	c.head(r, p)
	c.timing(r, p)
	c.na = c.sentinels(r.NA)
	c.ranges = c.unitRanges(r.Ranges)
	p.Readable = c.spans("readable", r.Readable)
	p.Holes = c.spans("holes", r.Holes)
	for i := range r.Identify {
		p.Identify = append(p.Identify, c.test(fmt.Sprintf("identify[%d]", i), &r.Identify[i]))
	}
	p.Identity = c.identity(&r.Identity)
	for i := range r.Points {
		p.Points = append(p.Points, c.point(fmt.Sprintf("points[%d]", i), &r.Points[i]))
	}
	c.checkUnique("points", p.Points)
	c.checkFits("points", p.Points, p, false)
	c.checkOverlaps("points", p.Points)
	for i := range r.Channels {
		p.Channels = append(p.Channels, c.channel(fmt.Sprintf("channels[%d]", i), &r.Channels[i]))
	}
	for i := range r.Commands {
		p.Commands = append(p.Commands, c.command(fmt.Sprintf("commands[%d]", i), &r.Commands[i], p.Points))
	}
	p.Guards = c.guards(&r.Guards)
	for i, q := range r.Quirks {
		if !quirkID.MatchString(q.ID) || q.What == "" {
			c.fault(fmt.Sprintf("quirks[%d]", i), "must have an id such as sdm630-even-addresses and say what it is")
		}
		p.Quirks = append(p.Quirks, Quirk(q))
	}
	p.SunSpec = c.sunspec(r.SunSpec, p)
	if len(p.Points)+len(p.Channels) == 0 && p.SunSpec == nil {
		c.fault("points", "must list at least one point")
	}
	return p
}

// head checks the keys that describe the model and how to reach it.
func (c *compiler) head(r *rawProfile, p *Profile) {
	if r.Schema != 1 {
		c.fault("schema", "must be 1 (got %d)", r.Schema)
	}
	if !modelName.MatchString(r.Model) {
		c.fault("model", "must be vendor-family in lower case (got %q)", r.Model)
	}
	if r.Title == "" {
		c.fault("title", "must be given: the model as a person calls it")
	}
	c.oneOf("kind", r.Kind, kindNames()...)
	c.oneOf("verified", r.Verified, "paper", "capture", "bench", "field")
	for i, l := range r.Links {
		c.oneOf(fmt.Sprintf("links[%d]", i), l, "serial", "tcp")
	}
	p.Serial = len(r.Links) == 0 || slices.Contains(r.Links, "serial")
	p.Stream = len(r.Links) == 0 || slices.Contains(r.Links, "tcp")
	if p.Serial && r.Bus == "" {
		c.fault("bus", "must give the maker's serial settings, such as baud=9600&parity=none&stop=1")
	}
	p.BusCan = c.busCan(r.BusCan, r.Bus)
	p.TCPPort = c.number("tcp_port", r.TCPPort, TCPPort, 1, 65535)
	p.Unit.Range = drivers.Range{Min: 1, Max: 247}
	if len(r.Unit.Range) == 2 {
		p.Unit.Range = drivers.Range{Min: r.Unit.Range[0], Max: r.Unit.Range[1]}
	} else if len(r.Unit.Range) != 0 {
		c.fault("unit.range", "must be two numbers, the lowest and the highest unit id")
	}
	if p.Unit.Range.Min < 0 || p.Unit.Range.Max > 255 || p.Unit.Range.Min > p.Unit.Range.Max {
		c.fault("unit.range", "must lie between 0 and 255, the lower first")
	}
	p.Unit.Default = c.number("unit.default", r.Unit.Default, max(1, p.Unit.Range.Min), p.Unit.Range.Min,
		p.Unit.Range.Max)
	p.Unit.Probe = r.Unit.Probe
	if len(p.Unit.Probe) == 0 {
		p.Unit.Probe = []int{p.Unit.Default}
	}
	for i, u := range p.Unit.Probe {
		if u < p.Unit.Range.Min || u > p.Unit.Range.Max {
			c.fault(fmt.Sprintf("unit.probe[%d]", i), "must be one of the model's unit ids, %d to %d (got %d)",
				p.Unit.Range.Min, p.Unit.Range.Max, u)
		}
	}
	p.Every = c.duration("every.default", r.Every.Default, 10*time.Second, 100*time.Millisecond, 24*time.Hour)
	p.MinEvery = c.duration("every.least", r.Every.Least, min(time.Second, p.Every), 100*time.Millisecond, p.Every)
	c.oneOf("order.words", r.Order.Words, "", "high", "low")
	c.oneOf("order.bytes", r.Order.Bytes, "", "high", "low")
}

// timing checks the keys "timing" and "limits".
func (c *compiler) timing(r *rawProfile, p *Profile) {
	t := &r.Timing
	p.Timing = Timing{
		ReplyMax:    c.duration("timing.reply_max", t.ReplyMax, defaultReply, 10*time.Millisecond, time.Minute),
		TCPReplyMax: c.duration("timing.tcp_reply_max", t.TCPReplyMax, defaultReply, 10*time.Millisecond, time.Minute),
		ReplyUsual:  c.duration("timing.reply_usual", t.ReplyUsual, defaultUsual, 0, time.Minute),
		Gap:         c.duration("timing.gap", t.Gap, 0, 0, 10*time.Second),
		ConnectWait: c.duration("timing.connect_wait", t.ConnectWait, 0, 0, time.Minute),
		IdleClose:   c.duration("timing.idle_close", t.IdleClose, 0, 0, 24*time.Hour),
		TolerantIDs: r.Tolerant,
		Clients:     c.number("limits.clients", r.Limits.Clients, 0, 0, 100),
	}
	p.Limits = Limits{
		Registers: c.number("limits.registers", r.Limits.Registers, maxRegisters, 1, maxRegisters),
		Bits:      c.number("limits.bits", r.Limits.Bits, maxBits, 1, maxBits),
		Align:     c.number("limits.align", r.Limits.Align, 0, 0, 65535),
		Even:      r.Limits.Even,
	}
}

// sentinels checks the patterns that mean "no value" for all fields of a type.
func (c *compiler) sentinels(raw map[string][]uint64) map[Type][]uint64 {
	na := map[Type][]uint64{}
	for name, patterns := range raw {
		t := Type(name)
		n, ok := t.registers()
		if !ok || n == 0 {
			c.fault("na."+name, "must be a type of fixed length, such as u16 or i32 (got %q)", name)
			continue
		}
		c.patterns("na."+name, patterns, n)
		na[t] = patterns
	}
	return na
}

// unitRanges checks the possible range of the points of each unit.
func (c *compiler) unitRanges(raw map[string][]float64) map[string][2]float64 {
	out := map[string][2]float64{}
	for unit, r := range raw {
		_, _, known := catalogue.Point{Type: catalogue.Float, Unit: unit}.Possible()
		switch {
		case !known:
			c.fault("ranges."+unit, "must be a unit of the catalogue, such as V, A or W (got %q)", unit)
		case len(r) != 2 || r[0] > r[1]:
			c.fault("ranges."+unit, "must be two numbers, the lowest and the highest possible value")
		default:
			out[unit] = [2]float64{r[0], r[1]}
		}
	}
	return out
}

func (c *compiler) patterns(path string, patterns []uint64, registers int) {
	for i, x := range patterns {
		if registers < 4 && x>>(16*registers) != 0 {
			c.fault(fmt.Sprintf("%s[%d]", path, i), "must fit into %d bits (got 0x%X)", 16*registers, x)
		}
	}
}

func (c *compiler) spans(path string, raw []string) []Span {
	var out []Span
	for i, text := range raw {
		s, err := parseSpan(text)
		if err != nil {
			c.fault(fmt.Sprintf("%s[%d]", path, i), "%v", err)
			continue
		}
		out = append(out, s)
	}
	return out
}

// checkUnique reports points that are listed twice, except one fallback after the point it replaces.
func (c *compiler) checkUnique(path string, points []Point) {
	seen := map[string]int{}
	for i := range points {
		k := points[i].Key
		if points[i].Fallback && seen[k] != 1 {
			c.fault(fmt.Sprintf("%s[%d].fallback", path, i), "must come once, after the point that it replaces")
		} else if !points[i].Fallback && k != "" && seen[k] > 0 {
			c.fault(fmt.Sprintf("%s[%d].point", path, i), "must come once (%q came before)", k)
		}
		seen[k]++
	}
}

// checkFits reports points whose value, scale factor and condition do not fit into one request of the model.
// With apart (a SunSpec model) the scale factor may be out of reach: it is then read by a separate request of
// the same poll.
func (c *compiler) checkFits(path string, points []Point, p *Profile, apart bool) {
	for i := range points {
		if points[i].At.Table == 0 {
			continue // already reported
		}
		pt := points[i]
		if apart && pt.When == nil {
			pt.SF = nil
		}
		s, limit := pt.Span(), p.Limits.Registers
		if s.Table.Bits() {
			limit = p.Limits.Bits
		}
		if s.Count > limit {
			c.fault(fmt.Sprintf("%s[%d]", path, i),
				"value, scale factor and condition must fit into one request of %d (they span %d)", limit, s.Count)
		}
		for _, h := range p.Holes {
			if s.Meets(h) {
				c.fault(fmt.Sprintf("%s[%d].at", path, i), "must not lie in a hole (%v)", h)
			}
		}
	}
}

// checkOverlaps reports values that begin or end in the middle of another value: one of the two addresses
// must be wrong. A value may lie completely within another one, such as a bit in its register or the low word
// of a number.
func (c *compiler) checkOverlaps(path string, points []Point) {
	for i := range points {
		for j := range i {
			a, b := points[i].valueSpan(), points[j].valueSpan()
			if a.Table != 0 && a.Meets(b) && !a.contains(b) && !b.contains(a) {
				c.fault(fmt.Sprintf("%s[%d].at", path, i), "must not overlap part of %s (%v; this value is at %v)",
					points[j].Key, b, a)
			}
		}
	}
}

func (c *compiler) guards(r *rawGuards) Guards {
	g := Guards{NullFrame: r.NullFrame, Frozen: c.number("guards.frozen", r.Frozen, 0, 0, 100000),
		Counters: r.Counters, RatedW: r.RatedW}
	for i, k := range r.NullFrame {
		if pt, ok := catalogue.PointOf(k); !ok || pt.Type != catalogue.Float {
			c.fault(fmt.Sprintf("guards.null_frame[%d]", i),
				"must be a point of the catalogue that is a number (got %q)", k)
		}
	}
	if r.Rated != nil {
		f := c.field("guards.rated", r.Rated)
		g.Rated = &f
	}
	return g
}

func (c *compiler) identity(r *rawIdentity) Identity {
	return Identity{
		Maker:    c.naming("identity.maker", r.Maker),
		Model:    c.naming("identity.model", r.Model),
		Serial:   c.naming("identity.serial", r.Serial),
		Firmware: c.naming("identity.firmware", r.Firmware),
	}
}

func (c *compiler) naming(path string, r *rawNaming) *Naming {
	if r == nil {
		return nil
	}
	if r.Text != "" {
		if r.Field.At != "" {
			c.fault(path, "must have either text or at")
		}
		return &Naming{Text: r.Text}
	}
	f := c.field(path, &r.Field)
	if f.Type != String && f.Type != Dotted && f.Enum == nil && f.Format == "" {
		f.Format = "%d"
	}
	return &Naming{Field: &f}
}

// kindNames lists the device kinds of the catalogue.
func kindNames() (out []string) {
	for _, k := range catalogue.DeviceKinds() {
		out = append(out, string(k))
	}
	return out
}

func (c *compiler) oneOf(path, got string, allowed ...string) {
	if !slices.Contains(allowed, got) {
		c.fault(path, "must be %s (got %q)",
			strings.Join(slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" }), ", "), got)
	}
}

// number returns got if it is within low and high. 0 means that the key was omitted.
func (c *compiler) number(path string, got, fallback, low, high int) int {
	if got == 0 {
		return fallback
	}
	if got < low || got > high {
		c.fault(path, "must be %d to %d (got %d)", low, high, got)
		return fallback
	}
	return got
}

// duration parses a time such as 500ms or 10s. "" means that the key was omitted.
func (c *compiler) duration(path, got string, fallback, low, high time.Duration) time.Duration {
	if got == "" {
		return fallback
	}
	d, err := time.ParseDuration(got)
	if err != nil || d < low || d > high {
		c.fault(path, "must be a time from %v to %v, such as 500ms or 10s (got %q)", low, high, got)
		return fallback
	}
	return d
}

// busCan checks the serial settings that a model supports; its factory settings must be among them.
func (c *compiler) busCan(r rawBusCan, bus string) drivers.BusCan {
	can := drivers.BusCan{Baud: r.Baud, Parity: r.Parity}
	for i, b := range r.Baud {
		if b < 300 || b > 1_000_000 {
			c.fault(fmt.Sprintf("bus_can.baud[%d]", i), "must be 300 to 1000000 (got %d)", b)
		}
	}
	for i, p := range r.Parity {
		c.oneOf(fmt.Sprintf("bus_can.parity[%d]", i), p, "none", "even", "odd")
	}
	q, err := url.ParseQuery(bus)
	baud, errBaud := strconv.Atoi(q.Get("baud"))
	if err == nil && errBaud == nil && !can.Allows(baud, q.Get("parity")) {
		c.fault("bus_can", "must include the factory settings, %s", bus)
	}
	return can
}
