package modbus

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bordo/drivers"
)

// chainCut is where a SunSpec chain could not be followed any further, although no end model stands there.
type chainCut struct {
	at  uint16
	why error
}

// cutRecheck is after how long the place of a cut is read again: some devices give their last models only while the sun
// shines.
const cutRecheck = time.Hour

// stuckAfter is how many times in a row a header must stay unanswered, while the device answers, to cut the chain off
// there.
const stuckAfter = 2

// hasPossibleLength tells whether a model can have its length.
func (h *header) hasPossibleLength() bool {
	return h.id != 0 && h.length > 0 && h.length <= maxLength && int(h.at)+modelHead+h.length <= 65536
}

// headerNeverAnswered tells whether the header at an address was not answered again and again although the device is there:
// it answers where the chain begins. A device that went to sleep on the way is not cut off.
func (p *poll) headerNeverAnswered(base, at uint16, err error) bool {
	var e Exception
	failing := errors.As(err, &e) && (e.Code == 4 || e.Code == 5)
	if !failing && !isUnanswered(err) || p.walkCache.unanswered == nil {
		return false
	}
	if p.walkCache.unanswered[at]++; p.walkCache.unanswered[at] < stuckAfter {
		return false
	}
	if failing {
		return true
	}
	_, err = p.read(Span{Holding, base, 2})
	return err == nil
}

// nextModel gives the address of the next model. A device may count the length of a model wrong by one: where nothing that
// can be a model stands at its end, and something does at the end that the model should have, the chain goes on there.
func (p *poll) nextModel(s *SunSpec, h *header) (int, error) {
	next := int(h.at) + modelHead + h.length
	right := s.lengthOf(h.id, h.length)
	if right < 0 || right == h.length || next+modelHead > 65536 {
		return next, nil
	}
	here, _, err := p.readHeader(uint16(next))
	if err != nil || here.id == endID || here.isKnown() {
		return next, err
	}
	other := int(h.at) + modelHead + right
	if there, _, err := p.readHeader(uint16(other)); err != nil || there.id == endID || there.isKnown() {
		return other, err
	}
	return next, nil
}

// isKnown tells whether a header has an id that SunSpec gives out, and a length that can be.
func (h *header) isKnown() bool {
	return h.hasPossibleLength() && slices.ContainsFunc(knownIDs, func(r [2]uint16) bool { return h.id >= r[0] && h.id <= r[1] })
}

// knownIDs are the ranges of ids in github.com/sunspec/models, and those of vendors.
var knownIDs = [][2]uint16{
	{1, 19}, {101, 145}, {160, 160}, {201, 220}, {302, 308}, {401, 404}, {501, 502},
	{601, 601}, {701, 715}, {801, 809}, {63001, 65534},
}

// legalLength gives the length that a model should have where it has another one; the same where that is right, -1 where it
// is too far from right for the model to be read.
func (m *SunSpecModel) legalLength(length int) int {
	if len(m.Lengths) == 0 {
		return length
	}
	for _, off := range []int{0, -1, 1} {
		if slices.Contains(m.Lengths, length+off) {
			return length + off
		}
	}
	return -1
}

// lengthOf is legal for the model with an id, -1 when none is read.
func (s *SunSpec) lengthOf(id uint16, length int) int {
	for i := range s.Models {
		if m := &s.Models[i]; slices.Contains(m.IDs, id) {
			return m.legalLength(length)
		}
	}
	return -1
}

// recheckCut reads the place of a cut again, rarely, and has the chain walked anew when something else stands there
// now.
func (p *poll) recheckCut() {
	c := p.chain
	if c == nil || c.cut == nil || p.now.Sub(c.cutCheckedAt) < cutRecheck {
		return
	}
	c.cutCheckedAt = p.now
	a, err := p.read(Span{Holding, c.cut.at, modelHead})
	if err != nil {
		return // as before
	}
	id, length := be16(a.Data), int(be16(a.Data[2:]))
	h := header{at: c.cut.at, id: id, length: length}
	c.moved = h.hasPossibleLength() || id == endID
}

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// warning tells a person where a chain was cut off; "" where it was not.
func (c *chain) warning() string {
	if c == nil || c.cut == nil {
		return ""
	}
	var e *drivers.Error
	why := c.cut.why
	if errors.As(why, &e) && e.Err != nil {
		why = e.Err
	}
	return cutWarning(c.cut.at, why)
}

func cutWarning(at uint16, why error) string {
	return fmt.Sprintf("the SunSpec models end at %v (%v): what stands behind is not read", Address{Holding, at}, why)
}

// ChainWarning tells a person that a SunSpec chain is cut off at a model that cannot have its length; "" when it can.
func ChainWarning(at, id uint16, length int) string {
	if h := (header{at: at, id: id, length: length}); h.hasPossibleLength() || id == endID || id == 0 && length == 0 {
		return ""
	}
	return cutWarning(at, badLength(id, length))
}

func badLength(id uint16, length int) error {
	return fmt.Errorf("model %d cannot have %d registers", id, length)
}
