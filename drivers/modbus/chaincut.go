package modbus

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bordo/drivers"
)

// chainCut is the address at which a SunSpec chain could not be followed further although it has no end model
// there.
type chainCut struct {
	at     uint16
	reason error
}

// cutRecheck is how often the address of a cut is read again: some devices provide their last models only
// while the sun shines.
const cutRecheck = time.Hour

// stuckAfter is how many times in a row a model header must fail to be read before the chain is cut off
// there, provided that the device answers other requests.
const stuckAfter = 2

// hasPossibleLength reports whether a model can have the length in its header.
func (h *header) hasPossibleLength() bool {
	return h.id != 0 && h.length > 0 && h.length <= maxLength && int(h.at)+modelHead+h.length <= 65536
}

// headerNeverAnswered reports whether reading the header at an address failed repeatedly although the device
// is there, which a read of the chain's beginning proves. The chain is not cut off if the device fell asleep
// during the walk.
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

// nextModel returns the address of the next model. Some devices state a length that is wrong by one. If no
// plausible header lies at the stated end, but one lies at the end of the standard length, nextModel returns
// the latter.
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

// isKnown reports whether the header has an id that SunSpec assigns and a plausible length.
func (h *header) isKnown() bool {
	return h.hasPossibleLength() && slices.ContainsFunc(knownIDs,
		func(r [2]uint16) bool { return h.id >= r[0] && h.id <= r[1] })
}

// knownIDs are the id ranges in github.com/sunspec/models, and the vendor range.
var knownIDs = [][2]uint16{
	{1, 19}, {101, 145}, {160, 160}, {201, 220}, {302, 308}, {401, 404}, {501, 502},
	{601, 601}, {701, 715}, {801, 809}, {63001, 65534},
}

// legalLength returns the standard length that is nearest to length: length itself if it is legal, another
// one if it is wrong by one, and -1 if the model cannot be read.
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

// lengthOf is legalLength for the model with the given id; -1 if the profile does not read that model.
func (s *SunSpec) lengthOf(id uint16, length int) int {
	for i := range s.Models {
		if m := &s.Models[i]; slices.Contains(m.IDs, id) {
			return m.legalLength(length)
		}
	}
	return -1
}

// recheckCut reads the address of a cut again, once per cutRecheck. If a model or an end model is there now,
// it has the chain walked again.
func (p *poll) recheckCut() {
	c := p.chain
	if c == nil || c.cut == nil || p.now.Sub(c.cutCheckedAt) < cutRecheck {
		return
	}
	c.cutCheckedAt = p.now
	a, err := p.read(Span{Holding, c.cut.at, modelHead})
	if err != nil {
		return // nothing changed
	}
	id, length := be16(a.Data), int(be16(a.Data[2:]))
	h := header{at: c.cut.at, id: id, length: length}
	c.moved = h.hasPossibleLength() || id == endID
}

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// warning describes where and why the chain was cut off; "" if it was not.
func (c *chain) warning() string {
	if c == nil || c.cut == nil {
		return ""
	}
	var e *drivers.Error
	why := c.cut.reason
	if errors.As(why, &e) && e.Err != nil {
		why = e.Err
	}
	return cutWarning(c.cut.at, why)
}

func cutWarning(at uint16, why error) string {
	return fmt.Sprintf("the SunSpec models end at %v (%v): later models are not read", Address{Holding, at}, why)
}

// ChainWarning describes the cut that a header with an impossible length causes; "" if the length is
// possible.
func ChainWarning(at, id uint16, length int) string {
	if h := (header{at: at, id: id, length: length}); h.hasPossibleLength() || id == endID || id == 0 && length == 0 {
		return ""
	}
	return cutWarning(at, badLength(id, length))
}

func badLength(id uint16, length int) error {
	return fmt.Errorf("model %d cannot have %d registers", id, length)
}
