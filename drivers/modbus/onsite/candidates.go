package onsite

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"

	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/scan"
)

// maxCandidates is how many models a person is offered.
const maxCandidates = 5

// What speaks for a candidate beside its values.
const (
	pointsAnswered = 10 // the device gives the registers that the model has
	pointsBus      = 10 // the line has the settings that the model is delivered with
	pointsUnit     = 1  // and the unit id
)

// candidates lists the models that a device could be, the likeliest first. Left out are those of another kind of line, those
// whose tests the device does not meet, and, where the device gives the registers of some model, those of which it gives none.
func (q *inquiry) candidates(ctx context.Context, profiles []*modbus.Profile, base uint16, described bool) []scan.Candidate {
	type candidate struct {
		scan.Candidate
		points   int
		answered bool
	}
	var list []candidate
	for _, p := range profiles {
		if q.stream && !p.Stream || !q.stream && !p.Serial || p.SunSpec != nil && (!described || !slices.Contains(p.SunSpec.Bases, base)) {
			continue
		}
		if len(p.Identify) > 0 {
			if ok, _ := p.Recognises(func(s modbus.Span) (modbus.Answer, error) { return q.read(ctx, s) }); !ok { // not answered is not met
				continue
			}
		}
		c := candidate{scan.Candidate{Model: p.Model, Title: p.Title, Kind: string(p.Kind)}, max(0, q.scoreValues(ctx, p)), q.answersRegisters(ctx, p)}
		if c.answered {
			c.points += pointsAnswered
		}
		if !q.stream && hasFactorySettings(p.Bus, q.port) {
			c.points += pointsBus
		}
		if p.Unit.Default == q.unit {
			c.points += pointsUnit
		}
		list = append(list, c)
	}
	if slices.ContainsFunc(list, func(c candidate) bool { return c.answered }) {
		list = slices.DeleteFunc(list, func(c candidate) bool { return !c.answered })
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.points, a.points), cmp.Compare(a.Model, b.Model))
	})
	var out []scan.Candidate
	for _, c := range list[:min(len(list), maxCandidates)] {
		out = append(out, c.Candidate)
	}
	return out
}

// answersRegisters tells whether the device answers for any register by which a model is known, or for its first point.
func (q *inquiry) answersRegisters(ctx context.Context, p *modbus.Profile) bool {
	var spans []modbus.Span
	for _, n := range []*modbus.Naming{p.Identity.Serial, p.Identity.Firmware, p.Identity.Model} {
		if n != nil && n.Field != nil {
			spans = append(spans, n.Field.Span())
		}
	}
	if len(p.Points) > 0 {
		spans = append(spans, p.Points[0].Field.Span())
	}
	return slices.ContainsFunc(spans, func(s modbus.Span) bool {
		_, err := q.read(ctx, p.Asked(s))
		return err == nil
	})
}

// hasFactorySettings tells whether a port has the settings that a model leaves the factory with.
func hasFactorySettings(bus, port string) bool {
	e, err := line.Parse(port)
	set, errBus := url.ParseQuery(bus)
	return err == nil && errBus == nil && set.Get("baud") == strconv.Itoa(e.Baud) && set.Get("parity") == string(e.Parity)
}
