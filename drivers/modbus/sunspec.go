package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Constants of a SunSpec chain, and limits for following it.
const (
	sunsHigh   = 0x5375 // "Su"
	sunsLow    = 0x6E53 // "nS"
	commonID   = 1
	endID      = 0xFFFF
	maxModels  = 100
	maxLength  = 2000
	modelHead  = 2 // registers of a model's id and length
	commonNeed = 66
)

// Offsets in the common model (1), from its id register.
const (
	commonMaker    = 2
	commonModel    = 18
	commonFirmware = 42
	commonSerial   = 50
)

// header is the position of a model. Its id and length are read with its values and prove that it has not
// moved.
type header struct {
	at     uint16
	id     uint16
	length int
}

// isIn reports whether the reply contains the header, unchanged.
func (h *header) isIn(a Answer) bool {
	raw := a.register(h.at, modelHead)
	return raw != nil && binary.BigEndian.Uint16(raw) == h.id && int(binary.BigEndian.Uint16(raw[2:])) == h.length
}

func (h *header) span() Span { return Span{Holding, h.at, modelHead + h.length} }

// chain lists the models of one device in address order.
type chain struct {
	base         uint16
	models       []header
	moved        bool      // a reply did not have the expected header
	cut          *chainCut // where it was cut off; nil: followed to its end
	cutCheckedAt time.Time // when the cut was last read again
}

func (c *chain) spans() []Span {
	out := make([]Span, len(c.models))
	for i := range c.models {
		out[i] = c.models[i].span()
	}
	return out
}

func (c *chain) find(ids []uint16) *header {
	for i := range c.models {
		if slices.Contains(ids, c.models[i].id) {
			return &c.models[i]
		}
	}
	return nil
}

// walkCache keeps the replies of a walk along the chain. A lost reply ends a poll and the next poll continues
// from there. Without the cache, a chain of thirty requests could never be completed on a bad line.
type walkCache struct {
	began      time.Time
	replies    map[Span]Answer
	unanswered map[uint16]int // by address of a header: failed reads
}

// walkMax is how long a walk may take. After that the device may be another one.
const walkMax = time.Hour

// readCached reads a span unless the walk has already read it.
func (p *poll) readCached(span Span) (Answer, error) {
	if p.walkCache.replies == nil || p.now.Sub(p.walkCache.began) > walkMax {
		p.walkCache = walkCache{p.now, map[Span]Answer{}, map[uint16]int{}}
	}
	if a, ok := p.walkCache.replies[span]; ok {
		return a, nil
	}
	a, err := p.read(span)
	if err == nil {
		kept := a
		// The transport reuses the buffer for the next reply, so keep a copy.
		kept.Data = slices.Clone(a.Data)
		p.walkCache.replies[span] = kept
	}
	return a, err
}

// endWalk discards the walk and returns the error that ended it.
func (p *poll) endWalk(op string, err error) error {
	p.walkCache = walkCache{}
	return &drivers.Error{Op: op, Kind: drivers.Protocol, Err: err}
}

// walk finds the chain: "SunS" at one of the bases, then the common model, then one model after another by
// their lengths until the end model. An exception at the next header also ends the chain, because some
// devices have no end model. An impossible or unreadable model after the first cuts the chain off there; the
// models before it are used. Each common model begins another device behind the same unit id, and only the
// models of the profile's device are kept (isWanted).
func (p *poll) walk(s *SunSpec) (*chain, error) {
	base, err := p.findBase(s.Bases)
	if err != nil {
		return nil, err
	}
	c := &chain{base: base, cutCheckedAt: p.now}
	at := int(base) + 2
	part := 0
	for n := 0; at+modelHead <= 65536; n++ {
		if n == maxModels {
			c.cut = &chainCut{at: uint16(at), reason: fmt.Errorf("more than %d models", maxModels)}
			break
		}
		h, end, err := p.readHeader(uint16(at))
		if err != nil && n > 0 && p.headerNeverAnswered(base, uint16(at), err) {
			c.cut = &chainCut{at: uint16(at), reason: err}
			break
		}
		if err != nil {
			return nil, err
		}
		if end {
			break
		}
		if h.id == commonID {
			if part >= s.Part && s.isWanted(p.profile.Kind, c) {
				break
			}
			part++
			c.models = nil
		}
		if n == 0 && (h.id != commonID || h.length < commonNeed-1) {
			return nil, p.chainFault(h.at,
				fmt.Errorf("the chain must begin with the common model (got model %d of %d registers)", h.id, h.length))
		}
		if !h.hasPossibleLength() {
			c.cut = &chainCut{h.at, badLength(h.id, h.length)}
			break
		}
		if part >= s.Part {
			c.models = append(c.models, h)
		}
		if at, err = p.nextModel(s, &h); err != nil {
			return nil, err
		}
	}
	switch {
	case len(c.models) == 0 && c.cut != nil:
		return nil, p.chainFault(c.cut.at, c.cut.reason)
	case part < s.Part:
		return nil, p.chainFault(base, fmt.Errorf("the chain has no models of a device %d", s.Part))
	case !s.isWanted(p.profile.Kind, c):
		return nil, p.chainFault(base, fmt.Errorf("the chain has no %s from device %d on (it has %d devices)",
			p.profile.Kind, s.Part, part))
	}
	if err := p.claimChain(c); err != nil {
		return nil, err
	}
	return c, nil
}

// isWanted reports whether the chain describes the device to read. A meter can be any of the devices behind
// an inverter, so devices without any of the profile's models are skipped.
func (s *SunSpec) isWanted(k catalogue.DeviceKind, c *chain) bool {
	return k != catalogue.Meter || slices.ContainsFunc(s.Models,
		func(m SunSpecModel) bool { return c.find(m.IDs) != nil })
}

// chainPlace is where a device begins: unit id and address.
type chainPlace struct {
	unit int
	at   uint16
}

// claimChain returns an error if another configured device already reads this part of the chain; its energy
// would count twice.
func (p *poll) claimChain(c *chain) error {
	here := chainPlace{p.unit, c.models[0].at}
	if other, taken := p.bus.claimed[here]; taken && other != p.id {
		return p.chainFault(here.at,
			fmt.Errorf("this device of the chain is already read as %s. Choose a model for another part", other))
	}
	if p.bus.claimed == nil {
		p.bus.claimed = map[chainPlace]string{}
	}
	maps.DeleteFunc(p.bus.claimed, func(_ chainPlace, id string) bool { return id == p.id })
	p.bus.claimed[here] = p.id
	return nil
}

func (p *poll) chainFault(at uint16, err error) error {
	return p.endWalk(fmt.Sprintf("walk the SunSpec models at %v", Address{Holding, at}), err)
}

// findBase finds the address of the "SunS" mark. Some devices do not answer at a wrong base, so a timeout
// moves on to the next base. A device that does not answer at all gets one request per base at first, then
// one per poll, because each timeout delays the other devices on the line.
func (p *poll) findBase(bases []uint16) (uint16, error) {
	bases = p.basesInOrder(bases)
	var silent, refusals []error
	for _, base := range bases {
		a, err := p.readCached(Span{Holding, base, 2})
		switch {
		case err == nil && binary.BigEndian.Uint16(a.Data) == sunsHigh &&
			binary.BigEndian.Uint16(a.Data[2:]) == sunsLow:
			p.nextBase = 0
			return base, nil
		case err == nil:
		case isRefusal(err):
			refusals = append(refusals, err)
		case isUnanswered(err):
			silent = append(silent, err)
			if p.nextBase++; drivers.PortLost(err) || p.silentPolls > 0 && p.txn.replyAt.IsZero() {
				return 0, errors.Join(append(silent, refusals...)...)
			}
		default:
			return 0, err
		}
	}
	if len(silent) > 0 {
		return 0, errors.Join(append(silent, refusals...)...)
	}
	none := p.endWalk("look for SunSpec", fmt.Errorf("no \"SunS\" at %v", bases))
	return 0, errors.Join(append([]error{none}, refusals...)...)
}

// basesInOrder returns the bases in the order to try them: first the one where the chain was found before,
// then the others, rotated so that each poll begins with the next one.
func (p *poll) basesInOrder(bases []uint16) []uint16 {
	bases = slices.Clone(bases)
	if b := p.saved.Base; b != nil {
		if i := slices.Index(bases, *b); i > 0 {
			bases = append([]uint16{*b}, slices.Delete(bases, i, i+1)...)
		}
	}
	n := p.nextBase % len(bases)
	return append(bases[n:], bases[:n]...)
}

// isUnanswered reports whether the device did not reply, or closed the connection instead.
func isUnanswered(err error) bool {
	return drivers.KindOf(err) == drivers.Timeout || drivers.CauseOf(err) == drivers.HungUp
}

// readHeader reads id and length of the model at an address.
func (p *poll) readHeader(at uint16) (h header, end bool, err error) {
	a, err := p.readCached(Span{Holding, at, modelHead})
	if isRefusal(err) {
		// Some devices refuse to read two registers at the end model, which has no length. Others refuse
		// whatever follows the last model.
		if a, err = p.readCached(Span{Holding, at, 1}); isRefusal(err) {
			return header{at: at, id: endID}, true, nil
		}
	}
	if err != nil {
		return header{}, false, err
	}
	id := binary.BigEndian.Uint16(a.Data)
	if id == endID || len(a.Data) < 4 {
		return header{at: at, id: endID}, true, nil
	}
	h = header{at: at, id: id, length: int(binary.BigEndian.Uint16(a.Data[2:]))}
	return h, h.id == 0 && h.length == 0, nil // some devices return zeros there instead of an exception
}

// chainItems returns the items of the chain: the identity, and the first model of each family that the device
// has. A point in two families comes from the model that the profile lists first.
func (p *poll) chainItems(c *chain, s *SunSpec) ([]*item, error) {
	items := p.commonItems(&c.models[0])
	families, keys := map[string]bool{}, map[string]*SunSpecModel{}
	for i := range s.Models {
		m := &s.Models[i]
		h := c.find(m.IDs)
		if h == nil || families[m.Family] || m.legalLength(h.length) < 0 {
			continue
		}
		families[m.Family] = true
		points := m.Points
		if m.Repeat != nil {
			repeated, err := p.repeatedPoints(h, m.Repeat)
			if err != nil {
				return nil, err
			}
			points = append(slices.Clip(points), repeated...)
		}
		for _, pt := range points {
			if keys[pt.Key] != nil && !(pt.Fallback && keys[pt.Key] == m) || pt.Span().End() > modelHead+h.length {
				continue // a shorter variant of the model does not have it
			}
			keys[pt.Key] = m
			items = append(items, placedPoint(pt, h, p.rules.Registers)...)
		}
		if m.Rated != nil {
			f := *m.Rated
			moveField(&f, h.at)
			items = append(items, withHeader(ratingItem(f), h, p.rules.Registers))
		}
	}
	return items, nil
}

// commonItems returns the identity items of the common model.
func (d *device) commonItems(h *header) []*item {
	var items []*item
	for _, part := range []struct {
		key    string
		at     uint16
		length int
	}{{selfMaker, commonMaker, 16}, {selfModel, commonModel, 16}, {selfFirmware, commonFirmware, 8},
		{selfSerial, commonSerial, 16}} {
		f := Field{At: Address{Holding, h.at + part.at}, Type: String, Length: part.length}
		for _, it := range pieces(identityItem(part.key, f), d.rules.Registers) {
			items = append(items, withHeader(it, h, d.rules.Registers))
		}
	}
	return items
}

// placedPoint returns the items for a model's point at the model's address in this device. If one request
// cannot reach from the model's header to the point, the header is not read with it. If it cannot reach the
// scale factor either, that becomes a separate item.
func placedPoint(pt Point, h *header, limit int) []*item {
	moveField(&pt.Field, h.at)
	if pt.When != nil {
		w := *pt.When
		moveField(&w.Field, h.at)
		pt.When = &w
	}
	it := withHeader(&item{Point: &pt}, h, limit)
	switch {
	case it.Span().Count <= limit:
		return []*item{it}
	case pt.SF == nil || pt.When != nil || pt.Length > limit:
		return nil // this device cannot read it in one request
	}
	it.factorApart = true
	factor := &item{role: isFactor, Point: &Point{
		Key: "#" + pt.SF.String(), Field: Field{At: *pt.SF, Type: I16, Length: 1}, Pace: pt.Pace,
	}}
	return []*item{withHeader(factor, h, limit), it}
}

// withHeader makes the item include its model's header if one request can reach both.
func withHeader(it *item, h *header, limit int) *item {
	it.header = h
	if it.Span().Count > limit {
		it.header = nil
	}
	return it
}

// moveField adds the address of its model to a field's offsets.
func moveField(f *Field, at uint16) {
	f.At.Number += at
	if f.SF != nil {
		sf := Address{f.SF.Table, f.SF.Number + at}
		f.SF = &sf
	}
}

// repeatedPoints returns the points of the groups that a model repeats.
func (p *poll) repeatedPoints(h *header, q *Repeat) ([]Point, error) {
	count := (modelHead + h.length - q.At) / q.Size
	if q.Count != nil {
		f := *q.Count
		f.At.Number += h.at
		a, err := p.readCached(Span{Holding, f.At.Number, f.Length})
		if err != nil {
			return nil, err
		}
		if v, quality := f.Decode(a, catalogue.Float); quality == drivers.Good && v.Float() >= 1 &&
			int(v.Float()) < count {
			count = int(v.Float())
		}
	}
	var out []Point
	for i, n := 0, 0; i < count && n < catalogue.MaxStrings; i++ {
		shift := uint16(i * q.Size)
		if q.Skip != nil {
			t := *q.Skip
			t.At.Number += h.at + shift
			a, err := p.readCached(Span{Holding, t.At.Number, t.Length})
			if err != nil {
				return nil, err
			}
			if t.holds(a) {
				continue
			}
		}
		n++
		for _, pt := range q.Points {
			pt.Key = strings.ReplaceAll(pt.Key, "{n}", strconv.Itoa(n))
			pt.Is, _ = catalogue.PointOf(pt.Key)
			pt.At.Number += shift // the scale factors precede the groups and do not repeat
			out = append(out, pt)
		}
	}
	return out, nil
}
