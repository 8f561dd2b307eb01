package modbus

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bordo/drivers/catalogue"
)

// coilOn is the value that function 5 writes to switch a coil on.
const coilOn = 0xFF00

// command checks one command of the profile.
func (c *compiler) command(path string, r *rawCommand, points []Point) Command {
	cmd := Command{Action: r.Action}
	if r.Action == "" {
		c.fault(path+".action", "must name the operation, such as barrier.open")
	}
	c.oneOf(path+".repeat", r.Repeat, "", "safe", "never")
	cmd.Repeat = r.Repeat == "safe"
	for i := range r.Steps {
		cmd.Steps = append(cmd.Steps, c.step(fmt.Sprintf("%s.steps[%d]", path, i), &r.Steps[i]))
	}
	if len(r.Steps) == 0 {
		c.fault(path+".steps", "must list at least one write")
	}
	if r.Check != nil {
		cmd.Check = c.check(path+".check", r.Check, points)
	}
	return cmd
}

func (c *compiler) step(path string, r *rawStep) Step {
	s := Step{At: c.address(path+".at", r.Field.At), Function: byte(r.Function)}
	if s.At.Table != Coil && s.At.Table != Holding {
		c.fault(path+".at", "must be a coil or a holding register")
	}
	if s.Function == 0 {
		s.Function = 6
		if s.At.Table == Coil {
			s.Function = 5
		}
	}
	fits := []int{6, 16}
	if s.At.Table == Coil {
		fits = []int{5, 15}
	}
	if !slices.Contains(fits, int(s.Function)) {
		c.fault(path+".function", "must be %d or %d for a %v (got %d)", fits[0], fits[1], s.At.Table, s.Function)
	}
	if (r.Value == nil) == (r.Arg == "") {
		c.fault(path, "must have either value or arg")
	}
	if r.Value != nil {
		s.Value = *r.Value
		if s.Value > 0xFFFF {
			c.fault(path+".value", "must fit into one register (got 0x%X)", s.Value)
		}
	}
	if r.Arg != "" {
		c.writing = true
		s.Field = c.field(path, &r.Field)
		c.writing = false
		if len(r.Range) != 2 || r.Range[0] > r.Range[1] {
			c.fault(path+".range", "must be two numbers, the lowest and the highest that may be written")
		} else {
			s.Arg = &Arg{Name: r.Arg, Range: [2]float64{r.Range[0], r.Range[1]}, Type: "number"}
		}
		if s.Field.Length > 1 && s.Function != 16 {
			c.fault(path+".function", "must be 16 for a value of %d registers", s.Field.Length)
		}
	}
	if ch := r.Choose; ch != nil {
		s.Choose = &Choose{Arg: ch.Arg, First: ch.First, Count: ch.Count, Stride: max(1, ch.Stride)}
		if ch.Arg == "" || ch.Count < 1 || ch.First < 0 || int(s.At.Number)+(ch.Count-1)*s.Choose.Stride > 65535 {
			c.fault(path+".choose", "must name its argument, the first output and how many there are")
		}
	}
	return s
}

func (c *compiler) check(path string, r *rawCheck, points []Point) *Check {
	k := &Check{
		Point: r.Point, Words: r.Words,
		Within:   c.duration(path+".within", r.Within, 5*time.Second, 10*time.Millisecond, time.Minute),
		Interval: c.duration(path+".interval", r.Interval, 250*time.Millisecond, 10*time.Millisecond, time.Minute),
	}
	if (r.Point == "") == (r.Field == nil) {
		c.fault(path, "must have either point and words, or field")
	}
	if r.Field != nil {
		f := c.field(path+".field", r.Field)
		k.Field = &f
	}
	if r.Point != "" {
		i := slices.IndexFunc(points, func(p Point) bool { return p.Key == r.Point })
		if i < 0 || points[i].Is.Type != catalogue.Text || len(r.Words) == 0 {
			c.fault(path+".point",
				"must be a text point of this profile, with the words that confirm the command (got %q)", r.Point)
		}
	}
	return k
}

// sunspec checks the key "sunspec".
func (c *compiler) sunspec(r *rawSunSpec, p *Profile) *SunSpec {
	if r == nil {
		return nil
	}
	s := &SunSpec{Bases: r.Bases}
	s.Part, s.Stated = c.number("sunspec.part", r.Part, 1, 1, 10), r.Part != 0
	if len(r.Bases) == 0 {
		c.fault("sunspec.bases", "must list the addresses where the chain may begin")
	}
	if len(r.Models) == 0 && r.ModelsOf == "" {
		c.fault("sunspec.models", "must list what is read of each model, or models_of must name a profile that does")
	}
	seen := map[uint16]bool{}
	c.relative = true
	defer func() { c.relative = false }()
	for i := range r.Models {
		path := fmt.Sprintf("sunspec.models[%d]", i)
		m := c.sunspecModel(path, &r.Models[i], p)
		for _, id := range m.IDs {
			if seen[id] || id == 1 || id == 0 || id == 0xFFFF {
				c.fault(path+".ids", "must come once, and not be 0, 1 or 65535 (got %d)", id)
			}
			seen[id] = true
		}
		s.Models = append(s.Models, m)
	}
	if r.ModelsOf != "" {
		s.Models = append(s.Models, c.modelsOf(r.ModelsOf, seen, p)...)
	}
	return s
}

// modelsOf copies the SunSpec models of another embedded profile, except those that this profile describes
// itself. They must fit into this model's requests.
func (c *compiler) modelsOf(name string, own map[uint16]bool, p *Profile) []SunSpecModel {
	const path = "sunspec.models_of"
	if c.other == nil {
		c.fault(path, "must be left out of a profile whose models others use")
		return nil
	}
	o, err := c.other(name)
	if err != nil || o.SunSpec == nil || !o.SunSpec.hasModelsFor(p.Kind) {
		c.fault(path,
			"must name an embedded profile with SunSpec models for kind %s; "+
				"sunspec has them for inverter and meter (got %q)", p.Kind, name)
		return nil
	}
	var out []SunSpecModel
	for _, m := range o.SunSpec.Models {
		if o.Kind != p.Kind && m.Kind != p.Kind {
			continue // a meter does not need the models of an inverter
		}
		m.IDs = slices.DeleteFunc(slices.Clone(m.IDs), func(id uint16) bool { return own[id] })
		if len(m.IDs) == 0 {
			continue
		}
		c.checkFits(path, m.Points, p, true)
		if m.Repeat != nil {
			c.checkFits(path, m.Repeat.Points, p, true)
		}
		out = append(out, m)
	}
	return out
}

// hasModelsFor reports whether any of the models belongs to a kind of device.
func (s *SunSpec) hasModelsFor(k catalogue.DeviceKind) bool {
	return slices.ContainsFunc(s.Models, func(m SunSpecModel) bool { return m.Kind == k })
}

func (c *compiler) sunspecModel(path string, r *rawSunSpecModel, p *Profile) SunSpecModel {
	m := SunSpecModel{IDs: r.IDs, Kind: cmp.Or(catalogue.DeviceKind(r.Kind), p.Kind), Title: r.Title, Family: r.Family,
		Lengths: r.Lengths}
	c.oneOf(path+".kind", r.Kind, "", string(catalogue.Inverter), string(catalogue.Meter))
	if len(r.IDs) == 0 || r.Family == "" {
		c.fault(path, "must have ids and a family")
	}
	for i := range r.Points {
		m.Points = append(m.Points, c.point(fmt.Sprintf("%s.points[%d]", path, i), &r.Points[i]))
	}
	c.checkUnique(path+".points", m.Points)
	c.checkFits(path+".points", m.Points, p, true)
	for i := range r.Commands {
		m.Commands = append(m.Commands, c.command(fmt.Sprintf("%s.commands[%d]", path, i), &r.Commands[i], m.Points))
	}
	if r.Rated != nil {
		f := c.field(path+".rated", r.Rated)
		m.Rated = &f
	}
	if q := r.Repeat; q != nil {
		m.Repeat = c.repeat(path+".repeat", q)
	}
	return m
}

func (c *compiler) repeat(path string, r *rawRepeat) *Repeat {
	q := &Repeat{At: r.At, Size: r.Size}
	if r.At < 2 || r.Size < 1 {
		c.fault(path, "must say at which offset the first group begins and how many registers each has")
	}
	if r.Count != nil {
		f := c.field(path+".count", r.Count)
		q.Count = &f
	}
	if r.Skip != nil {
		t := c.test(path+".skip", r.Skip)
		q.Skip = &t
	}
	for i := range r.Points {
		q.Points = append(q.Points, c.point(fmt.Sprintf("%s.points[%d]", path, i), &r.Points[i]))
	}
	return q
}
