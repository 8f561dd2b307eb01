package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/nearest"
)

// MaxTaps is the maximum number of points that the configuration may assign to one device.
const MaxTaps = 64

// DefaultAtLeast is the interval at which a device that reports on change reports anyway.
const DefaultAtLeast = 5 * time.Minute

// Report says which polls of a device become records. The zero value makes all of them.
type Report struct {
	OnChange bool
	Deadband Deadband            // how far a number must move to count as a change
	AtLeast  time.Duration       // a sample is due after this long, changed or not
	Points   map[string]Deadband // of single points, instead of Deadband
}

// Deadband is the least change of a number that counts: in the point's unit, or relative to the value last reported.
type Deadband struct {
	Value    float64
	Relative bool // Value is a fraction
}

// Passed reports whether now differs from last by more than the deadband.
func (d Deadband) Passed(last, now float64) bool {
	limit := d.Value
	if d.Relative {
		limit *= max(last, -last)
	}
	return max(now-last, last-now) > limit
}

// String writes the deadband as the configuration has it.
func (d Deadband) String() string {
	if d.Relative {
		return strconv.FormatFloat(d.Value*100, 'f', -1, 64) + "%"
	}
	return strconv.FormatFloat(d.Value, 'f', -1, 64)
}

// taps reads which quantity hangs on which channel of an I/O module.
func (r *reader) taps(v value, s drivers.Model) []drivers.ChannelMap {
	m, ok := v.keys()
	if !ok {
		return nil
	}
	switch {
	case len(s.Channels) == 0:
		v.fault("%s has its points by itself: leave it out", s.Name)
		return nil
	case len(m.order) > MaxTaps:
		v.fault("must have at most %d points (got %d)", MaxTaps, len(m.order))
		return nil
	}
	var out []drivers.ChannelMap
	for _, key := range m.order {
		e := m.get(key)
		p, known := catalogue.PointOf(key)
		if !known {
			r.fault(e.key, e.path, "unknown point %s%s", quote(key), suggestion(key, pointKeys()))
		}
		t := drivers.ChannelMap{Point: key}
		if r.tap(e, s, p, known, &t) {
			out = append(out, t)
		}
	}
	return out
}

func suggestion(name string, known []string) string {
	near := nearest.Names(name, known, 3)
	if len(near) == 0 {
		return ""
	}
	return " (did you mean " + either(near) + "?)"
}

func pointKeys() []string {
	var keys []string
	for _, p := range catalogue.Points() {
		keys = append(keys, p.Key)
	}
	return keys
}

// tap reads one entry of points.
func (r *reader) tap(v value, s drivers.Model, p catalogue.Point, known bool, t *drivers.ChannelMap) bool {
	m, ok := v.keys()
	if !ok {
		return false
	}
	at, invert, from, to := m.need("at", "the channel, such as "+s.Channels[0].Name), m.get("invert"), m.get("range"), m.get("scale")
	m.end()
	var names []string
	for _, c := range s.Channels {
		names = append(names, c.Name)
	}
	if !read(at, &t.Channel, text) {
		return false
	}
	i := slices.Index(names, t.Channel)
	if i < 0 {
		at.fault("%s has no channel %s%s", s.Name, quote(t.Channel), suggestion(t.Channel, names))
		return false
	}
	c := s.Channels[i]
	switch {
	case known && c.Unit == "" && p.Type != catalogue.Bool:
		at.fault("%s is digital and %s is a %s", c.Name, p.Key, p.Type)
	case known && c.Unit != "" && p.Type != catalogue.Float:
		at.fault("%s is analogue and %s is a %s", c.Name, p.Key, p.Type)
	}
	if c.Unit == "" {
		for _, x := range []value{from, to} {
			if x.given() {
				x.fault("%s is digital: only invert goes with it", c.Name)
			}
		}
		read(invert, &t.Invert, boolean)
		return true
	}
	if invert.given() {
		invert.fault("%s is analogue: turn scale around instead", c.Name)
	}
	r.linear(from, to, c, t)
	return true
}

// linear reads range and scale, which go together.
func (r *reader) linear(from, to value, c drivers.Channel, t *drivers.ChannelMap) {
	switch {
	case !from.given() && !to.given():
		return
	case !to.given():
		from.fault("needs scale beside it: what the two ends mean in the point's unit")
		return
	case !from.given():
		to.fault("needs range beside it: the two ends in %s", c.Unit)
		return
	}
	ends := func(v value, into *[2]float64, parse func(scalar) (float64, error)) bool {
		list := v.list(2)
		if len(list) != 2 {
			if !r.faulty(v) {
				v.fault("must have two ends, such as [4mA, 20mA] (got %d)", len(list))
			}
			return false
		}
		return read(list[0], &into[0], parse) && read(list[1], &into[1], parse)
	}
	if ends(from, &t.From, withUnit(c.Unit)) && t.From[0] == t.From[1] {
		from.fault("must have two different ends")
	}
	ends(to, &t.To, decimal(-1e9, 1e9, "in the point's unit"))
}

// withUnit accepts a number with a unit: 4mA.
func withUnit(unit string) func(scalar) (float64, error) {
	return func(s scalar) (float64, error) {
		number, ok := strings.CutSuffix(s.text, unit)
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if !ok || err != nil || !(f >= -1e6 && f <= 1e6) {
			return 0, fmt.Errorf("must be a number with its unit, such as 4%s (got %s)", unit, got(s))
		}
		return f, nil
	}
}

// percent is a relative deadband.
var percent = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?%$`)

func deadband(s scalar) (Deadband, error) {
	if m := percent.FindStringSubmatch(s.text); m != nil {
		if f, err := strconv.ParseFloat(m[1], 64); err == nil && f <= 100 {
			return Deadband{f / 100, true}, nil
		}
	} else if f, err := strconv.ParseFloat(s.text, 64); err == nil && s.form == number && f >= 0 && f <= 1e9 {
		return Deadband{Value: f}, nil
	}
	return Deadband{}, fmt.Errorf("must be a share such as 1%% (at most 100%%), or a number in the point's unit (got %s)", got(s))
}

// word is a bare word of the dialect.
type word string

// report reads which polls become records.
func (r *reader) report(v value, d *Device) {
	m, ok := v.keys()
	if !ok {
		return
	}
	on := word("poll")
	read(m.get("on"), &on, oneOf[word]("poll", "change"))
	rep := Report{OnChange: on == "change", AtLeast: max(DefaultAtLeast, d.Every)}
	band, least, points := m.get("deadband"), m.get("at_least"), m.get("points")
	m.end()
	if !rep.OnChange {
		for _, x := range []value{band, least, points} {
			if x.given() {
				x.fault("goes only with on: change")
			}
		}
		return
	}
	read(band, &rep.Deadband, deadband)
	read(least, &rep.AtLeast, duration(max(time.Second, d.Every), maxEvery))
	if pm, ok := points.keys(); ok {
		rep.Points = map[string]Deadband{}
		for _, key := range pm.order {
			e := pm.get(key)
			var b Deadband
			p, known := catalogue.PointOf(key)
			switch {
			case !known:
				r.fault(e.key, e.path, "unknown point %s%s", quote(key), suggestion(key, pointKeys()))
			case p.Type != catalogue.Float || p.Kind == catalogue.Counter:
				r.fault(e.key, e.path, "%s has no deadband: only numbers that go up and down have one", key)
			case read(e, &b, deadband):
				rep.Points[key] = b
			}
		}
	}
	d.Report = rep
}

func (d Device) writePoints(w *writer) {
	if len(d.ChannelMaps) > 0 {
		w.line(4, "points", "")
		for _, t := range d.ChannelMaps {
			text := "{at: " + t.Channel
			if t.Invert {
				text += ", invert: true"
			}
			if t.From != t.To {
				unit := ""
				for _, c := range d.Spec.Channels {
					if c.Name == t.Channel {
						unit = c.Unit
					}
				}
				text += fmt.Sprintf(", range: [%g%s, %g%s], scale: [%g, %g]", t.From[0], unit, t.From[1], unit, t.To[0], t.To[1])
			}
			w.line(5, t.Point, text+"}")
		}
	}
	if d.Report.OnChange {
		w.line(4, "report", "")
		w.line(5, "on", "change")
		w.line(5, "deadband", d.Report.Deadband.String())
		w.line(5, "at_least", span(d.Report.AtLeast))
		if len(d.Report.Points) > 0 {
			w.line(5, "points", "")
			for _, key := range slices.Sorted(maps.Keys(d.Report.Points)) {
				w.line(6, key, d.Report.Points[key].String())
			}
		}
	}
}
