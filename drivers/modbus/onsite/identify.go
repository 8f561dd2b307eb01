package onsite

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
	"bordo/drivers/scan"
)

// Points that support a model, and the thresholds for suggesting it. What the device reports about itself
// outweighs everything that its values suggest.
const (
	pointsTest    = 100 // all tests of the profile pass
	pointsSunSpec = 50  // it has a SunSpec chain
	pointsNamed   = 60  // it reports the maker or model
	pointsEnum    = 30  // a type code listed in the profile
	pointsGrid    = 10  // 50 Hz or 230 V at the profile's registers
	pointsText    = 5   // a text or a state word at the profile's registers
	contradiction = 40  // a frequency that no grid has
	sureFrom      = 50
	likelyFrom    = 15
)

// genericSunSpec is the profile for SunSpec devices of any make.
const genericSunSpec = "sunspec"

// maxSilent is how many requests of an identification may time out before the rest is skipped.
const maxSilent = 4

// errSilent is the error of a request that was skipped.
var errSilent = &drivers.Error{Op: "identify", Kind: drivers.Timeout,
	Err: errors.New("the device answers only some requests")}

// inquiry identifies one unit. It reads each span at most once.
type inquiry struct {
	line         wire
	unit         int
	port         string // URL of the line
	stream       bool
	wait         time.Duration // timeout for a reply
	gap          time.Duration // pause after a reply
	until        time.Time     // no requests after this time; zero: no limit
	toleratesIDs bool          // replies may carry another transaction id
	replies      map[modbus.Span]reply
	timeouts     int
	lost         error // the port was lost or the scan was stopped
}

type reply struct {
	answer modbus.Answer
	err    error
}

func (q *inquiry) ask(ctx context.Context, f func(context.Context, *modbus.Session) error) error {
	if q.lost != nil {
		return q.lost
	}
	if q.timeouts >= maxSilent || !q.until.IsZero() && time.Now().After(q.until) {
		return errSilent
	}
	err := q.line.Use(ctx, func(ctx context.Context, s *modbus.Session) error {
		s.Timing, s.KeepTCP = modbus.Timing{ReplyMax: q.wait, TCPReplyMax: q.wait, Gap: q.gap,
			TolerantIDs: q.toleratesIDs}, true
		return f(ctx, s)
	})
	switch {
	case ctx.Err() != nil:
		q.lost = ctx.Err()
	case drivers.KindOf(err) == drivers.Timeout:
		q.timeouts++
	case drivers.PortLost(err), drivers.CauseOf(err) == drivers.HungUp:
		q.timeouts++ // some devices close the connection instead of refusing
	}
	return err
}

// read reads a span, or returns the result of the earlier read.
func (q *inquiry) read(ctx context.Context, span modbus.Span) (modbus.Answer, error) {
	if r, ok := q.replies[span]; ok {
		return r.answer, r.err
	}
	var r reply
	r.err = q.ask(ctx, func(ctx context.Context, s *modbus.Session) (err error) {
		r.answer, err = s.Read(ctx, q.unit, span)
		return err
	})
	q.replies[span] = r
	return r.answer, r.err
}

// decode reads a field with the request that the model needs; the value is absent if the read fails.
func (q *inquiry) decode(ctx context.Context, p *modbus.Profile, f *modbus.Field, as catalogue.Type) catalogue.Value {
	a, err := q.read(ctx, p.Asked(f.Span()))
	if err != nil {
		return catalogue.Value{}
	}
	v, _ := f.Decode(a, as)
	return v
}

// identify identifies the unit. It returns an error only if ctx ends.
func (q *inquiry) identify(ctx context.Context, profiles []*modbus.Profile) (scan.Found, error) {
	f := scan.Found{Unit: q.unit}
	base, described := q.sunSpec(ctx, profiles, &f)
	names := q.readNames(ctx, &f)
	type candidate struct {
		*modbus.Profile
		score int
	}
	var fits []candidate
	for _, p := range profiles {
		if q.stream && !p.Stream || !q.stream && !p.Serial {
			continue
		}
		score := q.score(ctx, p, base, described, names)
		if q.lost != nil {
			return f, q.lost
		}
		if score >= likelyFrom {
			fits = append(fits, candidate{p, score})
		}
	}
	slices.SortStableFunc(fits, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	for i, c := range fits {
		switch {
		case i == 0:
			f.Model, f.Title, f.Kind, f.Sure = c.Model, c.Title, string(c.Kind), c.score >= sureFrom
			q.readIdentity(ctx, c.Profile, &f)
		case c.score == fits[0].score:
			f.Others = append(f.Others, c.Model)
		}
	}
	if f.Model == "" {
		f.Candidates = q.candidates(ctx, profiles, base, described)
	}
	return f, q.lost
}

// sunSpec looks for the mark "SunS" and reads the common model after it (SunSpec Device Information Model
// Specification: the chain begins at 40000, 50000 or 0).
func (q *inquiry) sunSpec(ctx context.Context, profiles []*modbus.Profile, f *scan.Found) (base uint16, found bool) {
	// Common model: its length, and offsets from its id register.
	const length, maker, product, firmware, serial = 66, 2, 18, 42, 50
	for _, p := range profiles {
		if p.SunSpec == nil {
			continue
		}
		for _, base := range p.SunSpec.Bases {
			a, err := q.read(ctx, modbus.Span{Table: modbus.Holding, First: base, Count: 2})
			if err != nil || string(a.Data) != "SunS" {
				continue
			}
			if a, err = q.read(ctx, modbus.Span{Table: modbus.Holding, First: base + 2, Count: length}); err != nil {
				return base, true
			}
			text := func(offset uint16, registers int) string {
				field := modbus.Field{At: modbus.Address{Table: modbus.Holding, Number: base + 2 + offset},
					Type: modbus.String, Length: registers}
				v, _ := field.Decode(a, catalogue.Text)
				return v.Text()
			}
			f.Maker, f.Product, f.Firmware, f.Serial = text(maker, 16), text(product, 16), text(firmware, 8),
				text(serial, 16)
			f.Warning = q.chainWarning(ctx, base+2, a)
			return base, true
		}
	}
	return 0, false
}

// maxChain limits the number of model headers that are read to check a chain.
const maxChain = 40

// chainWarning follows the chain from its common model and describes where it is cut off; "" if it is
// complete or a header could not be read.
func (q *inquiry) chainWarning(ctx context.Context, at uint16, common modbus.Answer) string {
	const head, end = 2, 0xFFFF
	number := func(a modbus.Answer, i int) int { return int(a.Data[2*i])<<8 | int(a.Data[2*i+1]) }
	next, length := int(at), number(common, 1)
	for range maxChain {
		if next += head + length; next+head > 65536 {
			return ""
		}
		a, err := q.read(ctx, modbus.Span{Table: modbus.Holding, First: uint16(next), Count: head})
		if err != nil {
			return ""
		}
		id := number(a, 0)
		length = number(a, 1)
		if text := modbus.ChainWarning(uint16(next), uint16(id), length); text != "" || id == end || id == 0 {
			return text
		}
	}
	return ""
}

// readNames requests the device's name in the two ways that the protocol offers: function 43, type 14
// (objects 0 to 2: vendor, product, revision) and function 17. It returns everything the device reports about
// itself, in lower case.
func (q *inquiry) readNames(ctx context.Context, f *scan.Found) string {
	names := []string{f.Maker, f.Product}
	err := q.ask(ctx, func(ctx context.Context, s *modbus.Session) error {
		data, err := s.Ask(ctx, q.unit, 43, []byte{14, 1, 0})
		if err == nil {
			o := identificationObjects(data)
			f.Maker, f.Product = cmp.Or(f.Maker, o[0]), cmp.Or(f.Product, o[1])
			f.Firmware = cmp.Or(f.Firmware, o[2])
			names = append(names, o[:]...)
		}
		return err
	})
	if err == nil && len(names) > 2 && names[2]+names[3] != "" {
		return strings.ToLower(strings.Join(names, " "))
	}
	q.ask(ctx, func(ctx context.Context, s *modbus.Session) error { //nolint:errcheck // function 17 is optional
		data, err := s.Ask(ctx, q.unit, 17, nil)
		if text := printable(data); err == nil && len(text) >= 3 {
			f.Product = cmp.Or(f.Product, text)
			names = append(names, text)
		}
		return err
	})
	return strings.ToLower(strings.Join(names, " "))
}

// identificationObjects extracts the first three objects of a device identification (Modbus Application
// Protocol V1.1b3, 6.21). The data holds type, code, conformity, more, next and count, then id, length and
// text of each object.
func identificationObjects(data []byte) (o [3]string) {
	if len(data) < 6 || data[0] != 14 {
		return o
	}
	for rest := data[6:]; len(rest) >= 2; {
		id, n := int(rest[0]), int(rest[1])
		if len(rest) < 2+n {
			break
		}
		if id < len(o) {
			o[id] = printable(rest[2 : 2+n])
		}
		rest = rest[2+n:]
	}
	return o
}

// maxName is the longest name in characters.
const maxName = 60

// printable returns the longest run of printable characters.
func printable(b []byte) string {
	best := []byte(nil)
	for _, run := range bytes.FieldsFunc(b, func(r rune) bool { return r < ' ' || r > '~' }) {
		if run = bytes.TrimSpace(run); len(run) > len(best) {
			best = run
		}
	}
	return string(best[:min(len(best), maxName)])
}

// score rates how well a model fits; 0 if something rules it out.
func (q *inquiry) score(ctx context.Context, p *modbus.Profile, base uint16, described bool, names string) int {
	score := 0
	if len(p.Identify) > 0 {
		// A test without a reply has failed.
		ok, _ := p.Recognises(func(s modbus.Span) (modbus.Answer, error) { return q.read(ctx, s) })
		if !ok {
			return 0
		}
		score += pointsTest
	}
	if p.SunSpec != nil {
		if !described || !slices.Contains(p.SunSpec.Bases, base) {
			return 0
		}
		score += pointsSunSpec
	}
	switch {
	case isNamed(p, names):
		score += pointsNamed
	case p.SunSpec != nil && p.Model != genericSunSpec:
		return 0 // the profile is for one make, and this is another
	}
	return score + q.scoreValues(ctx, p)
}

// isNamed reports whether the device's names contain the maker or all words of the model: those in the
// profile, or else the makers at the beginning of its title.
func isNamed(p *modbus.Profile, names string) bool {
	if strings.TrimSpace(names) == "" {
		return false
	}
	for _, n := range []*modbus.Naming{p.Identity.Model, p.Identity.Maker} {
		if n != nil && n.Text != "" {
			if !containsAll(names, strings.Fields(n.Text)...) {
				continue
			}
			return true
		}
	}
	if p.SunSpec == nil || p.Identity.Maker != nil {
		return false
	}
	// The makers in a title such as "FIMER / ABB / Power-One (SunSpec)".
	title, _, _ := strings.Cut(p.Title, "(")
	for maker := range strings.SplitSeq(title, "/") {
		if words := strings.Fields(maker); len(words) > 0 && words[0] != "SunSpec" && containsAll(names, words[0]) {
			return true
		}
	}
	return false
}

func containsAll(text string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(text, strings.ToLower(w)) {
			return false
		}
	}
	return len(words) > 0
}

// scoreValues rates how plausible the values are for a model.
func (q *inquiry) scoreValues(ctx context.Context, p *modbus.Profile) int {
	score := 0
	for _, n := range []*modbus.Naming{p.Identity.Model, p.Identity.Serial, p.Identity.Firmware} {
		if n == nil || n.Field == nil {
			continue
		}
		switch v := q.decode(ctx, p, n.Field, catalogue.Text).Text(); {
		case n.Field.Type == modbus.String && len(v) >= 3 && !strings.Contains(v, "?"):
			score += pointsText
		case isListed(n.Field, v):
			score += pointsEnum
		}
	}
	for i := range p.Points {
		pt := &p.Points[i]
		switch pt.Key {
		case "frequency":
			switch x := q.decode(ctx, p, &pt.Field, catalogue.Float).Float(); {
			case x > 47 && x < 53:
				score += pointsGrid
			case x != 0: // a sleeping inverter measures 0
				score -= contradiction
			}
		case "ac_voltage_l1", "ac_voltage_l2", "ac_voltage_l3":
			if x := q.decode(ctx, p, &pt.Field, catalogue.Float).Float(); x > 180 && x < 280 {
				score += pointsGrid / 2
			}
		case "state":
			if v := q.decode(ctx, p, &pt.Field, catalogue.Text).Text(); isListed(&pt.Field, v) {
				score += pointsText
			}
		}
	}
	return score
}

// isListed reports whether a word belongs to a number other than 0 in the field's Enum. A 0 proves nothing
// because it is so common.
func isListed(f *modbus.Field, word string) bool {
	for n, w := range f.Enum {
		if n != 0 && w == word && word != "" {
			return true
		}
	}
	return false
}

// readIdentity fills in the identity that the model's profile reads from the device.
func (q *inquiry) readIdentity(ctx context.Context, p *modbus.Profile, f *scan.Found) {
	for _, part := range []struct {
		n  *modbus.Naming
		to *string
	}{{p.Identity.Maker, &f.Maker}, {p.Identity.Model, &f.Product}, {p.Identity.Serial, &f.Serial},
		{p.Identity.Firmware, &f.Firmware}} {
		switch {
		case part.n == nil:
		case part.n.Field != nil:
			if v := q.decode(ctx, p, part.n.Field, catalogue.Text); v.Text() != "" {
				*part.to = v.Text()
			} else if v := q.decode(ctx, p, part.n.Field, catalogue.Float); v.Type() == catalogue.Float {
				*part.to = v.String()
			}
		case *part.to == "":
			*part.to = part.n.Text
		}
	}
}
