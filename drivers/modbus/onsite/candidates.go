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

// maxCandidates is the largest number of models to suggest.
const maxCandidates = 5

// Points that support a candidate in addition to its values.
const (
	pointsAnswered = 10 // the device answers for registers of the model
	pointsBus      = 10 // the line has the factory settings of the model
	pointsUnit     = 1  // the unit id is the model's default
)

// candidates lists the models that the device could be, the most likely first. It omits models for another
// kind of line and those whose tests fail. If the device answers for the registers of any model, models whose
// registers it does not answer are omitted.
func (q *inquiry) candidates(ctx context.Context, profiles []*modbus.Profile, base uint16,
	described bool) []scan.Candidate {
	type candidate struct {
		scan.Candidate
		points   int
		answered bool
	}
	var list []candidate
	for _, p := range profiles {
		if q.stream && !p.Stream || !q.stream && !p.Serial ||
			p.SunSpec != nil && (!described || !slices.Contains(p.SunSpec.Bases, base)) {
			continue
		}
		if len(p.Identify) > 0 {
			// A test without a reply has failed.
			if ok, _ := p.Recognises(func(s modbus.Span) (modbus.Answer, error) { return q.read(ctx, s) }); !ok {
				continue
			}
		}
		c := candidate{scan.Candidate{Model: p.Model, Title: p.Title, Kind: string(p.Kind)},
			max(0, q.scoreValues(ctx, p)), q.answersRegisters(ctx, p)}
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

// answersRegisters reports whether the device answers for any register that identifies the model, or for its
// first point.
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

// hasFactorySettings reports whether a port has the factory serial settings of a model.
func hasFactorySettings(bus, port string) bool {
	e, err := line.Parse(port)
	set, errBus := url.ParseQuery(bus)
	return err == nil && errBus == nil && set.Get("baud") == strconv.Itoa(e.Baud) &&
		set.Get("parity") == string(e.Parity)
}
