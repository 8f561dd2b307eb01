package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/nearest"
)

// Bounds of every.
const (
	minEvery = 100 * time.Millisecond
	maxEvery = 24 * time.Hour
)

// maxNamed is the maximum number of models listed for an unknown name that resembles none of them.
const maxNamed = 8

// models finds a model by its name.
type models struct {
	byName map[string]spec
	names  []string
}

type spec struct {
	drivers.Model
	driver drivers.Driver
}

func index(list []drivers.Driver) models {
	m := models{byName: map[string]spec{}}
	for _, d := range list {
		for _, x := range d.Models() {
			m.byName[x.Name] = spec{x, d}
			m.names = append(m.names, x.Name)
		}
	}
	slices.Sort(m.names)
	return m
}

// taken remembers what may be there only once, and where it was first.
type taken struct {
	lines, ports, devices map[string]value
}

func (r *reader) lines(v value, c *Config) {
	t := taken{map[string]value{}, map[string]value{}, map[string]value{}}
	if _, empty := v.node.(*ast.NullNode); empty { // everything below is commented out
		v.node = nil
	}
	list := v.list(MaxLines)
	if len(list) == 0 && !r.faulty(v) {
		r.warnIn(v, "nothing will be read: there is no line yet (bordo scan ... --add FILE finds devices and writes them here)",
			"non verrà letto nulla: non c'è ancora una linea (bordo scan ... --add FILE trova i dispositivi e li scrive qui)")
	}
	for _, e := range list {
		m, ok := e.keys()
		if !ok {
			continue
		}
		var l Line
		if lid := m.need("id", "a name for the line, such as roof"); read(lid, &l.ID, id) {
			t.once(t.lines, l.ID, lid, "is the id of another line already")
		}
		port := m.need("port", "where the line is, such as tcp://HOST:502 or serial:///dev/NAME?baud=9600")
		open := read(port, &l.Endpoint, endpoint)
		r.devices(m.need("devices", "a list of at least one device"), &l, open, t)
		if open {
			r.opened(port, &l)
			t.once(t.ports, l.Endpoint.Key(), port, "is the port of another line already, list its devices there")
			if c.Simulation && !l.Endpoint.Simulated() {
				port.fault("must be a pseudo terminal or a loopback host, because simulation is true (got %s)", l.Endpoint)
			}
		}
		m.end()
		c.Lines = append(c.Lines, l)
	}
}

// opened completes the endpoint of a line: a port that is left out is that of the protocol of its devices.
func (r *reader) opened(port value, l *Line) {
	if d, ok := l.Driver.(drivers.TCPDriver); ok {
		l.Endpoint = l.Endpoint.WithPort(d.TCPPort())
	} else if l.Driver != nil && l.Endpoint.Portless() {
		port.fault("tcp:// needs a port after the host: %s has none of its own (got %q)", l.Driver.Name(), l.Endpoint)
	}
	r.note(port, "port", cmp.Or(l.Endpoint.Path, l.Endpoint.Host))
}

// faulty reports whether this value has a fault.
func (r *reader) faulty(v value) bool {
	return slices.ContainsFunc(r.faults, func(f Fault) bool { return f.Path == v.path })
}

// once reports a fault if name was used before.
func (taken) once(seen map[string]value, name string, v value, what string) {
	if first, twice := seen[name]; twice {
		v.fault("%s: %s (%s)", what, first.path, v.r.here(first.at))
		return
	}
	seen[name] = v
}

func endpoint(s scalar) (line.Endpoint, error) {
	if s.form != words {
		return line.Endpoint{}, fmt.Errorf("must be a port URL such as tcp://HOST:502 (got %s)", got(s))
	}
	if strings.HasPrefix(s.text, "/") {
		return line.Endpoint{}, fmt.Errorf("must be a port URL such as serial:///dev/NAME?baud=9600 (got %s)", got(s))
	}
	return line.Parse(s.text)
}

// devices reads the devices of a line. open reports whether its endpoint is known.
func (r *reader) devices(v value, l *Line, open bool, t taken) {
	list := v.list(MaxDevices)
	if v.given() && len(list) == 0 && !r.faulty(v) {
		v.fault("must have at least one device")
	}
	units := map[string][]onUnit{}
	var models []value
	for _, e := range list {
		m, ok := e.keys()
		if !ok {
			continue
		}
		var d Device
		if did := m.need("id", "a name for the device, such as inv-1"); read(did, &d.ID, id) {
			if d.ID == contract.NodeDevice {
				did.fault("must not be %q: the box itself has that id", contract.NodeDevice)
			}
			t.once(t.devices, d.ID, did, "is the id of another device already")
		}
		model := m.need("model", "what kind of device it is")
		s, known := r.model(model, l, open)
		unit, every, points := m.get("unit"), m.get("every"), m.get("points")
		if known {
			d.Spec, d.Model = s.Model, s.Name
			r.unit(unit, model, s.Model, &d, units)
			switch {
			case !s.Unsolicited:
				d.Every = s.Every
				read(every, &d.Every, duration(max(s.MinEvery, minEvery), maxEvery))
			case every.given():
				every.fault("must be left out: a %s speaks unasked and is never polled", s.Name)
			}
			d.ChannelMaps = r.taps(points, s.Model)
		} else {
			read(unit, &d.Unit, whole(0, 1<<16-1))
			read(every, &d.Every, duration(minEvery, maxEvery))
		}
		r.report(m.get("report"), &d)
		about := m.get("about")
		d.About = r.about(about)
		d.RatedW = ratedOf(about, d.About)
		read(m.get("personal"), &d.Personal, boolean)
		m.end()
		l.Devices, models = append(l.Devices, d), append(models, model)
	}
	r.shared(l, models)
}

// model finds a model and checks that it works on the line.
func (r *reader) model(v value, l *Line, open bool) (spec, bool) {
	var name string
	if !read(v, &name, text) {
		return spec{}, false
	}
	s, known := r.models.byName[name]
	if !known {
		near := nearest.Names(name, r.models.names, 3)
		switch {
		case r.partial: // it may be one of those
		case len(near) > 0:
			v.fault("unknown model %s (did you mean %s?)", quote(name), either(near))
		case len(r.models.names) <= maxNamed:
			v.fault("unknown model %s (known here: %s)", quote(name), strings.Join(r.models.names, ", "))
		default:
			v.fault("unknown model %s (there are %d, named vendor-family)", quote(name), len(r.models.names))
		}
		return spec{}, false
	}
	if open {
		r.placed(v, s, l.Endpoint)
	}
	switch {
	case l.Driver == nil:
		l.Driver = s.driver
	case l.Driver.Name() != s.driver.Name():
		v.fault("speaks %s and cannot share a line with devices that speak %s", s.driver.Name(), l.Driver.Name())
	}
	return s, true
}

// placed checks a model against the kind of its port.
func (r *reader) placed(v value, s spec, e line.Endpoint) {
	switch {
	case e.Scheme == line.TCP && !s.Streams:
		v.fault("%s cannot be reached through tcp://: it needs serial:// or rtu+tcp://", s.Name)
	case e.Scheme != line.TCP && !s.Serial:
		v.fault("%s cannot be reached through %s://: it needs tcp://", s.Name, e.Written())
	case e.Scheme == line.Serial && !s.BusCan.Allows(e.Baud, string(e.Parity)):
		r.warnIn(v, fmt.Sprintf("%s can have %s only and this line has %s: it will not answer; give it a line of its own, or set the line and the other devices so",
			s.Name, settingsOf(s.BusCan, " or "), busOf(e)),
			fmt.Sprintf("%s può avere solo %s e questa linea ha %s: non risponderà; dargli una linea sua, o impostare così la linea e gli altri dispositivi",
				s.Name, settingsOf(s.BusCan, " o "), busOf(e)))
	case e.Scheme == line.Serial && s.Bus != "" && !sameBus(s.Bus, e):
		r.warnIn(v, fmt.Sprintf("%s leaves the factory with %s and this line has %s: right only if the device was set so", s.Name, s.Bus, busOf(e)),
			fmt.Sprintf("%s esce di fabbrica con %s e questa linea ha %s: va bene solo se il dispositivo è stato impostato così", s.Name, s.Bus, busOf(e)))
	}
}

// busOf is the settings of a serial port.
func busOf(e line.Endpoint) string { return strings.TrimPrefix(e.String(), "serial://"+e.Path+"?") }

// settingsOf lists the settings that a model can have.
func settingsOf(b drivers.BusCan, or string) string {
	var baud, parts []string
	for _, n := range b.Baud {
		baud = append(baud, strconv.Itoa(n))
	}
	if len(baud) > 0 {
		parts = append(parts, "baud="+strings.Join(baud, or))
	}
	if len(b.Parity) > 0 {
		parts = append(parts, "parity="+strings.Join(b.Parity, or))
	}
	return strings.Join(parts, ", ")
}

// shared warns of two devices of one line that have no setting in common. at are their models.
func (r *reader) shared(l *Line, at []value) {
	if l.Endpoint.Scheme != line.Serial {
		return
	}
	for i, a := range l.Devices {
		for j, b := range l.Devices[:i] {
			if i >= len(at) || a.Spec.Name == b.Spec.Name || common(a.Spec.BusCan, b.Spec.BusCan) {
				continue
			}
			r.warnIn(at[i], fmt.Sprintf("%s (%s) and %s (%s) cannot share a line, which has one speed and parity: give one of them a line of its own (see %s)",
				a.Spec.Name, settingsOf(a.Spec.BusCan, " or "), b.Spec.Name, settingsOf(b.Spec.BusCan, " or "), at[j].path),
				fmt.Sprintf("%s (%s) e %s (%s) non possono stare sulla stessa linea, che ha una sola velocità e parità: dare a uno dei due una linea sua (vedi %s)",
					a.Spec.Name, settingsOf(a.Spec.BusCan, " o "), b.Spec.Name, settingsOf(b.Spec.BusCan, " o "), at[j].path))
		}
	}
}

// common reports whether two models support a common setting, as far as is known.
func common(a, b drivers.BusCan) bool {
	baud := len(a.Baud) == 0 || len(b.Baud) == 0 || slices.ContainsFunc(a.Baud, func(n int) bool { return slices.Contains(b.Baud, n) })
	parity := len(a.Parity) == 0 || len(b.Parity) == 0 || slices.ContainsFunc(a.Parity, func(p string) bool { return slices.Contains(b.Parity, p) })
	return baud && parity
}

// sameBus compares the maker's defaults with a port, as far as they go.
func sameBus(bus string, e line.Endpoint) bool {
	q, err := url.ParseQuery(bus)
	if err != nil {
		return true
	}
	set := map[string]string{
		"baud": strconv.Itoa(e.Baud), "parity": string(e.Parity), "bits": strconv.Itoa(e.Bits), "stop": strconv.Itoa(e.Stop),
	}
	for key := range q {
		if has, known := set[key]; known && has != q.Get(key) {
			return false
		}
	}
	return true
}

// onUnit is a device that has a unit id.
type onUnit struct {
	at    value
	model drivers.Model
}

func (r *reader) unit(v, model value, s drivers.Model, d *Device, units map[string][]onUnit) {
	at, key := v, ""
	switch {
	case s.Unit == drivers.Range{}:
		if v.given() {
			v.fault("%s has no unit id: leave it out", s.Name)
			return
		}
		at = model
	case !v.given():
		v.fault("is missing: the unit id of the device, %s", between(s.Unit.Min, s.Unit.Max))
		return
	case !read(v, &d.Unit, whole(s.Unit.Min, s.Unit.Max)):
		return
	default:
		key = strconv.Itoa(d.Unit)
	}
	for _, first := range units[key] {
		if r.twice(at, key, first, s) {
			return
		}
	}
	units[key] = append(units[key], onUnit{at, s})
}

// twice reports a fault if a second device cannot share the unit id of a first one. It can when a profile declares its
// model as a further device behind the same unit id: a part.
func (r *reader) twice(at value, unit string, first onUnit, s drivers.Model) bool {
	part := func(m drivers.Model) int { return max(1, m.Part) }
	switch {
	case unit == "":
		at.fault("%s has no unit id, so only one can be on a line: see %s (%s)", s.Name, first.at.path, r.here(first.at.at))
	case s.Part+first.model.Part == 0:
		at.fault("is the unit id of another device of this line already: %s (%s)", first.at.path, r.here(first.at.at))
	case part(s) == part(first.model) && s.Kind == first.model.Kind:
		at.fault("is the unit id of another device of this line already, and %s and %s both are part %d behind it: %s (%s)",
			first.model.Name, s.Name, part(s), first.at.path, r.here(first.at.at))
	default:
		return false
	}
	return true
}

func (r *reader) about(v value) map[string]any {
	m, ok := v.keys()
	if !ok {
		return nil
	}
	if len(m.order) > MaxAbout {
		v.fault("must have at most %d keys (got %d)", MaxAbout, len(m.order))
		return nil
	}
	out := map[string]any{}
	for _, key := range m.order {
		e := m.get(key)
		if en, it := m.decimalComma(key); en != "" {
			r.faultIn(e.key, e.path, en, it)
			continue
		}
		if contract.CheckKey(key) != nil {
			r.fault(e.key, e.path, "a key must be 1 to 64 of a-z, 0-9 and _, beginning with a letter")
			continue
		}
		var x any
		if read(e, &x, free) {
			out[key] = x
			if key == "pod" {
				r.note(e, "about.pod", fmt.Sprint(x))
			}
		}
	}
	return out
}

// mostRatedKW exceeds the power of any plant that one device measures.
const mostRatedKW = 100_000

// ratedOf returns the rated power given in about, in W; 0 if there is none. It warns of an impossible value and ignores
// it.
func ratedOf(v value, about map[string]any) float64 {
	given, ok := about["rated_kw"]
	if !ok {
		return 0
	}
	kw, ok := given.(float64)
	if !ok || kw <= 0 || kw > mostRatedKW {
		v.r.warnIn(v, fmt.Sprintf("rated_kw must be the rated power in kW, a number above 0 and up to %d such as 6 or 99.9: it is left aside (got %v)", mostRatedKW, given),
			fmt.Sprintf("rated_kw deve essere la potenza in kW, un numero fra 0 e %d con il punto decimale, come 6 o 99.9: non viene usato (c'è %v)", mostRatedKW, given))
		return 0
	}
	return kw * 1000
}

// plainNumber is a number that survives as one: neither a code with leading zeros nor more digits than a float64 holds.
var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,6})?$`)

// free accepts any scalar: a truth value, a number, or else the text as written.
func free(s scalar) (any, error) {
	switch {
	case s.form == truth:
		return boolean(s)
	case s.form == number && len(s.text) <= 16 && plainNumber.MatchString(s.text):
		f, err := strconv.ParseFloat(s.text, 64)
		if err != nil {
			return nil, errors.New("must be a number that can be written with 15 digits")
		}
		return f, nil
	}
	return text(s)
}

// either lists names: a, b or c.
func either(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
