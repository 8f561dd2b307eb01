package firmwarenotes

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bordo/drivers/catalogue"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
)

// section is a generated part of a page, as in README.md.
var section = regexp.MustCompile(`(?s)<!-- generated: ([a-z]+) -->\n(.*?)<!-- end of \w+ -->\n`)

// regenerate replaces what stands between the marks. Each part must have its marks once, and no other may be there.
func regenerate(page string, parts map[string]string) (string, error) {
	left := maps.Clone(parts)
	var fault error
	fresh := section.ReplaceAllStringFunc(page, func(found string) string {
		name := section.FindStringSubmatch(found)[1]
		part, ok := left[name]
		if !ok {
			fault = fmt.Errorf("part %q is unknown, or there twice", name)
		}
		delete(left, name)
		return fmt.Sprintf("<!-- generated: %s -->\n%s<!-- end of %s -->\n", name, part, name)
	})
	if len(left) > 0 {
		fault = fmt.Errorf("parts without marks: %q", slices.Sorted(maps.Keys(left)))
	}
	return fresh, fault
}

// generated makes the parts of a model's page that come from its profile.
func generated(t *testing.T, p *modbus.Profile) map[string]string {
	t.Helper()
	return map[string]string{
		"breve":     inBreve(t, p),
		"defaults":  defaults(t, p),
		"registers": registers(t, p),
		"timing":    timing(p),
	}
}

// serial is the maker's serial setting as "9600 8N1".
func serial(t *testing.T, p *modbus.Profile) (line.Endpoint, string) {
	t.Helper()
	e, err := line.Parse("serial:///dev/x?" + p.Bus)
	if err != nil {
		t.Fatalf("%s: bus %q: %v", p.Model, p.Bus, err)
	}
	letter := map[line.Parity]string{line.NoParity: "N", line.EvenParity: "E", line.OddParity: "O"}[e.Parity]
	return e, fmt.Sprintf("%d 8%s%d", e.Baud, letter, e.Stop)
}

// inBreve is what the installer needs first, in Italian.
func inBreve(t *testing.T, p *modbus.Profile) string {
	t.Helper()
	var b strings.Builder
	var ports []string
	if p.Serial {
		e, short := serial(t, p)
		parity := map[line.Parity]string{line.NoParity: "nessuna parità", line.EvenParity: "parità pari",
			line.OddParity: "parità dispari"}[e.Parity]
		fmt.Fprintf(&b, "- **RS-485, di fabbrica:** %s (%d baud, %s, %d stop),\n  indirizzo %s\n", short, e.Baud,
			parity, e.Stop, units(p, 1))
		ports = append(ports, "serial:///dev/bordo/usb-1-2?"+p.Bus)
	}
	if p.Stream {
		fmt.Fprintf(&b, "- **Ethernet:** porta TCP %d, unità %s\n", p.TCPPort, units(p, 0))
		ports = append(ports, fmt.Sprintf("tcp://192.168.1.40:%d", p.TCPPort))
	}
	fmt.Fprintf(&b, "- **Configurazione:** `port: %s`,\n  `model: %s`, `unit: %d`, `every: %s`\n",
		strings.Join(ports, "`\n  oppure `port: "), p.Model, p.Unit.Default, short(p.Every))
	return b.String()
}

// units is the usual unit id and a few others to try, from the lowest that the line knows: 0 is for all on a serial one.
func units(p *modbus.Profile, lowest int) string {
	const few = 4
	text := strconv.Itoa(p.Unit.Default)
	var others []string
	for _, u := range p.Unit.Probe {
		if u != p.Unit.Default && u >= lowest && len(others) < few {
			others = append(others, strconv.Itoa(u))
		}
	}
	if len(others) > 0 {
		text += " (poi provare " + strings.Join(others, ", ") + ")"
	}
	return text
}

// defaults is how the device leaves the factory.
func defaults(t *testing.T, p *modbus.Profile) string {
	t.Helper()
	rows := [][]string{{"what", "value"}}
	add := func(what, value string) { rows = append(rows, []string{what, value}) }
	if p.Serial {
		_, short := serial(t, p)
		add("serial", short)
	}
	if p.Stream {
		add("TCP port", strconv.Itoa(p.TCPPort))
	}
	add("unit id", fmt.Sprintf("%d (%d to %d)", p.Unit.Default, p.Unit.Range.Min, p.Unit.Range.Max))
	if len(p.Unit.Probe) > 1 {
		add("unit ids that a scan tries",
			strings.Trim(strings.Join(strings.Fields(fmt.Sprint(p.Unit.Probe)), ", "), "[]"))
	}
	for _, id := range []struct {
		what string
		n    *modbus.Naming
	}{{"maker", p.Identity.Maker}, {"model", p.Identity.Model}, {"serial number", p.Identity.Serial},
		{"firmware", p.Identity.Firmware}} {
		switch {
		case id.n == nil:
		case id.n.Field == nil:
			add(id.what, id.n.Text)
		default:
			add(id.what, fmt.Sprintf("read from %s, %s", place(id.n.Field), coding(id.n.Field)))
		}
	}
	for i := range p.Identify {
		add("is one when", condition(&p.Identify[i]))
	}
	return table(rows)
}

// timing is how the driver speaks to the device.
func timing(p *modbus.Profile) string {
	m, l := p.Timing, p.Limits
	rows := [][]string{{"what", "value"}}
	add := func(what, value string, shown bool) {
		if shown {
			rows = append(rows, []string{what, value})
		}
	}
	add("polled every", fmt.Sprintf("%s, never faster than %s", short(p.Every), short(p.MinEvery)), true)
	add("latest answer on a serial line (`reply_max`)", short(m.ReplyMax), p.Serial)
	add("latest answer on TCP (`tcp_reply_max`)", short(m.TCPReplyMax), p.Stream)
	add("usual answer", short(m.ReplyUsual), true)
	add("pause between requests", short(m.Gap), m.Gap > 0)
	add("pause after connecting", short(m.ConnectWait), m.ConnectWait > 0)
	add("closes an idle connection after", short(m.IdleClose), m.IdleClose > 0)
	add("connections at once", strconv.Itoa(m.Clients), m.Clients > 0)
	add("transaction ids", "not trusted: answers are told by unit, function and length", m.TolerantIDs)
	add("registers in one request", strconv.Itoa(l.Registers), usesRegisters(p))
	add("bits in one request", strconv.Itoa(l.Bits), usesBits(p))
	add("no request crosses a multiple of", strconv.Itoa(l.Align), l.Align > 0)
	add("addresses and counts", "even only", l.Even)
	add("read over, where that is cheaper", spans(p.Readable), len(p.Readable) > 0)
	add("never read", spans(p.Holes), len(p.Holes) > 0)
	add("silence at night", "asleep, not broken", p.SleepsNight)
	return table(rows)
}

func usesRegisters(p *modbus.Profile) bool {
	return p.SunSpec != nil || slices.ContainsFunc(p.Points, func(q modbus.Point) bool { return !q.At.Table.Bits() }) ||
		slices.ContainsFunc(p.Channels, func(c modbus.Channel) bool { return !c.At.Table.Bits() })
}

func usesBits(p *modbus.Profile) bool {
	return slices.ContainsFunc(p.Points, func(q modbus.Point) bool { return q.At.Table.Bits() }) ||
		slices.ContainsFunc(p.Channels, func(c modbus.Channel) bool { return c.At.Table.Bits() })
}

// registers is where every value lies.
func registers(t *testing.T, p *modbus.Profile) string {
	t.Helper()
	var parts []string
	if len(p.Points) > 0 {
		parts = append(parts, pointTable(p.Points, place))
	}
	if s := p.SunSpec; s != nil {
		parts = append(parts, sunspec(t, p, s))
	}
	if len(p.Channels) > 0 {
		parts = append(parts, channelTable(p.Channels))
	}
	if len(p.Commands) > 0 {
		parts = append(parts, "Written only by a command:\n\n"+commandTable(p.Commands))
	}
	if g := guards(&p.Guards); g != "" {
		parts = append(parts, "Guards:\n\n"+g)
	}
	return strings.Join(parts, "\n")
}

// sunspec lists the models, or says whose they are.
func sunspec(t *testing.T, p *modbus.Profile, s *modbus.SunSpec) string {
	t.Helper()
	var bases []string
	for _, b := range s.Bases {
		bases = append(bases, strconv.Itoa(int(b)))
	}
	text := fmt.Sprintf("The chain of models begins at holding register %s.\n", strings.Join(bases, ", or "))
	if base, err := modbus.Named("sunspec"); err != nil {
		t.Fatal(err)
	} else if p.Model != "sunspec" && reflect.DeepEqual(base.SunSpec.Models, s.Models) {
		return text + fmt.Sprintf("What is read of each model stands in the note `sunspec`: models %s.\n",
			ids(s.Models))
	}
	text += "Addresses count from a model's id register.\n"
	for _, m := range s.Models {
		text += fmt.Sprintf("\n**Model %s**, %s\n\n", ids([]modbus.SunSpecModel{m}), or(m.Title, m.Family))
		text += pointTable(m.Points, offset)
		if r := m.Repeat; r != nil {
			text += fmt.Sprintf("\nGroups of %d registers from offset %d:\n\n%s", r.Size, r.At,
				pointTable(r.Points, offset))
		}
		if len(m.Commands) > 0 {
			text += "\nWritten only by a command:\n\n" + commandTable(m.Commands)
		}
	}
	return text
}

func ids(models []modbus.SunSpecModel) string {
	var out []string
	for _, m := range models {
		for _, id := range m.IDs {
			out = append(out, strconv.Itoa(int(id)))
		}
	}
	return strings.Join(out, ", ")
}

// pointTable lists points, and below the table the words of those that have any.
func pointTable(points []modbus.Point, at func(*modbus.Field) string) string {
	rows := [][]string{{"point", "unit", "at", "coding", "remarks"}}
	var words []string
	for i := range points {
		q := &points[i]
		key, n := q.Key, strings.ReplaceAll(q.Key, "{n}", "1")
		is, ok := catalogue.PointOf(n)
		if !ok {
			is = q.Is
		}
		rows = append(rows, []string{"`" + key + "`", is.Unit, at(&q.Field), coding(&q.Field), remarks(q)})
		if w := wordList(&q.Field); w != "" {
			words = append(words, fmt.Sprintf("- `%s`: %s\n", key, w))
		}
	}
	text := table(rows)
	if len(words) > 0 {
		text += "\n" + strings.Join(words, "")
	}
	return text
}

func channelTable(channels []modbus.Channel) string {
	rows := [][]string{{"channel", "unit", "at", "coding", "direction"}}
	for i := range channels {
		c := &channels[i]
		direction := "input"
		if c.Write {
			direction = "output"
		}
		rows = append(rows, []string{"`" + c.Name + "`", c.Unit, place(&c.Field), coding(&c.Field), direction})
	}
	return table(rows)
}
