package modbus

import (
	"cmp"
	"slices"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// role is what an item's value is used for.
type role uint8

const (
	isReading  role = iota
	isIdentity      // part of the device's identity
	isFactor        // scale factor that is too far from its values for one request
	isRating        // rated power
)

// item is one value that is read from a device.
type item struct {
	*Point         // from the profile, or derived from it for this device; never changed
	role           role
	order          int     // position of its reading in a report
	header         *header // header of the SunSpec model that contains it; read along with it
	hasAlternative bool    // it has a fallback, or is one
	piece          *piece  // set if it is a piece of a long text
	// factorApart means that the scale factor is too far away and is read by another request of the same poll.
	factorApart bool
	channelMap  *drivers.ChannelMap // scaling of an analogue channel
	channelUnit string              // unit of an analogue channel
}

// Span returns what must be in one reply.
func (it *item) Span() Span {
	s := it.Point.Span()
	if it.factorApart {
		s = Span{it.At.Table, it.At.Number, it.Length}
	}
	if it.header != nil {
		s = s.join(Span{Holding, it.header.at, modelHead})
	}
	return s
}

// valueSpan returns the registers of the value itself.
func (it *item) valueSpan() Span { return Span{it.At.Table, it.At.Number, it.Length} }

// withFactor returns the item with a scale factor from another reply of this poll; nil if that reply is
// missing.
func (it *item) withFactor(factors map[Address]uint16) *item {
	raw, ok := factors[*it.SF]
	if !ok {
		return nil
	}
	sf := int(int16(raw))
	if sf < -maxFactor || sf > maxFactor {
		return it // decodes to "no value", because the factor is not in its reply
	}
	pt := *it.Point
	pt.SF = nil
	pt.Scale = pt.Scale.shifted(sf)
	out := *it
	out.Point = &pt
	return &out
}

// block is one request and the items that are decoded from its reply.
type block struct {
	Span
	items []*item
}

// cost is what a request, and each additional register, costs in time on a line.
type cost struct{ request, register time.Duration }

// costOn compares the cost of a request with that of reading an unneeded register. On TCP a register costs
// almost nothing.
func costOn(b *bus, m *Timing) cost {
	c := cost{request: m.ReplyUsual + m.Gap, register: b.wireTime(2)}
	if !b.line.Stream {
		c.request += 2*b.silence + b.wireTime(8+5) // a request, and the frame around the reply
	} else {
		c.request += time.Millisecond
	}
	return c
}

// rules limits the requests of a plan: the model's limits, and what was learned about this device.
type rules struct {
	Limits
	readable []Span
	holes    []Span
	cuts     map[*item]bool // items that must not share a block with what precedes them
	cost     cost
}

// plan computes the fewest requests for the items. Neighbours share a block as long as it stays within the
// limits. A gap is read over if all of it is known to be readable and that is cheaper than another request.
// An item is never split. plan is a pure function and does not depend on the order of items.
func plan(items []*item, r rules) []block {
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b *item) int {
		x, y := a.Span(), b.Span()
		return cmp.Or(cmp.Compare(x.Table, y.Table), cmp.Compare(x.First, y.First), cmp.Compare(x.Count, y.Count))
	})
	var out []block
	for _, it := range sorted {
		s := r.toEven(it.Span())
		if len(out) > 0 && !r.cuts[it] {
			last := &out[len(out)-1]
			if joined := r.toEven(last.join(s)); last.Table == s.Table && r.allows(joined) &&
				r.shouldBridge(last.Span, s) {
				last.Span, last.items = joined, append(last.items, it)
				continue
			}
		}
		out = append(out, block{Span: s, items: []*item{it}})
	}
	return out
}

// toEven extends a span to even addresses and lengths if the model needs that.
func (r *rules) toEven(s Span) Span {
	if r.Even && !s.Table.Bits() {
		s.Count += int(s.First & 1)
		s.First &^= 1
		s.Count += s.Count & 1
	}
	return s
}

// allows reports whether one request may read s.
func (r *rules) allows(s Span) bool {
	limit := r.Registers
	if s.Table.Bits() {
		limit = r.Bits
	}
	if s.Count > limit || s.End() > 65536 {
		return false
	}
	return r.Align == 0 || int(s.First)/r.Align == (s.End()-1)/r.Align
}

// shouldBridge reports whether a request may read over the gap between a and b and is cheaper that way.
func (r *rules) shouldBridge(a, b Span) bool {
	n := int(b.First) - a.End()
	if n <= 0 {
		return true
	}
	gap := Span{a.Table, uint16(a.End()), n}
	if time.Duration(n)*r.cost.register > r.cost.request {
		return false
	}
	for _, h := range r.holes {
		if h.Meets(gap) {
			return false
		}
	}
	return covered(gap, r.readable)
}

// covered reports whether every address of s lies in one of the spans.
func covered(s Span, by []Span) bool {
	for s.Count > 0 {
		i := slices.IndexFunc(by, func(o Span) bool { return o.contains(Span{s.Table, s.First, 1}) })
		if i < 0 {
			return false
		}
		n := min(by[i].End(), s.End()) - int(s.First)
		if s.Count -= n; s.Count > 0 {
			s.First += uint16(n)
		}
	}
	return true
}

// halves splits a refused block in two.
func (b block) halves(r rules) (left, right block) {
	mid := len(b.items) / 2
	return r.blockOf(b.items[:mid]), r.blockOf(b.items[mid:])
}

func (r *rules) blockOf(items []*item) block {
	s := items[0].Span()
	for _, it := range items[1:] {
		s = s.join(it.Span())
	}
	return block{Span: r.toEven(s), items: items}
}

// decode returns the item's reading from the reply to its block.
func (it *item) decode(a Answer) drivers.Reading {
	rd := drivers.Reading{Point: it.Key, Quality: drivers.Bad}
	if it.When != nil && !it.When.holds(a) {
		if it.Else.Type() != catalogue.None {
			rd.Value, rd.Quality = it.Else, drivers.Good
		}
		return rd
	}
	rd.Value, rd.Quality = it.Decode(a, it.Is.Type)
	if it.channelUnit != "" && rd.Quality == drivers.Good {
		rd.Value, rd.Quality = measured(rd.Value.Float(), it.channelUnit, it.channelMap)
	}
	if rd.Value.Type() == catalogue.Float && !it.possible(rd.Value.Float()) {
		rd.Value, rd.Quality = catalogue.Value{}, drivers.Bad
	}
	return rd
}

// possible reports whether the point can have the value x, by the catalogue and the model.
func (p *Point) possible(x float64) bool {
	return p.Is.IsPossible(x) && (p.Range == nil || x >= p.Range[0] && x <= p.Range[1])
}

// holds reports whether the condition is met.
func (t *Test) holds(a Answer) bool {
	if t.Type == String {
		v, _ := t.Decode(a, catalogue.Text)
		return t.matchesText(v.Text())
	}
	if a.Table.Bits() {
		set, ok := a.bit(t.At.Number)
		return ok && slices.Contains(t.In, truth(set != t.Invert))
	}
	raw := a.register(t.At.Number, t.Length)
	if raw == nil || a.Table != t.At.Table {
		return false
	}
	bits := t.pattern(raw)
	if t.Type == Bool {
		bits = truth((bits>>t.Bit&1 == 1) != t.Invert)
	}
	return slices.Contains(t.In, bits)
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
