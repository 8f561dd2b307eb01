package scan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bordo/drivers/catalogue"
	"bordo/drivers/line"
)

// Taken describes an existing configuration, so that the proposal fits into it.
type Taken struct {
	Lines   []string          // ids of lines
	Devices []string          // ids of devices
	Ports   map[string]string // id of the line, by the key of its endpoint
	Buses   map[string]string // settings of its serial port (baud=9600&…), by the same key; absent: not known
}

// Part is a proposed line, or devices of a line that is there.
type Part struct {
	Line     string   // the id of a line that the configuration has; "" for a new one
	ID, Port string   // of a new line
	Entries  []string // devices in braces, and remarks, which begin with #, each without indentation
	Remark   bool     // the whole is a comment: no recognised device, or settings that conflict with those of the port
}

// Proposal is what to write into the configuration.
type Proposal struct {
	Parts   []Part
	Lines   string            // new entries of "lines", empty when there are none
	Devices map[string]string // new entries of "devices" of existing lines, by the id of the line
}

// Propose writes configuration lines for what was found. An unrecognised device becomes a comment. A line without any
// recognised device is a comment as a whole, because a line needs a device. So is a second setting of one port.
func Propose(found []Found, taken Taken) Proposal {
	p := Proposal{Devices: map[string]string{}}
	lines, devices := slices.Clone(taken.Lines), slices.Clone(taken.Devices)
	buses := map[string]string{} // of ports that are in the configuration or proposed
	maps.Copy(buses, taken.Buses)
	for _, group := range byPort(found) {
		e, err := line.Parse(group[0].Port)
		if err != nil {
			continue // it was opened, so it is one
		}
		part := Part{Port: group[0].Port}
		for _, f := range group {
			part.Entries = append(part.Entries, entries(f, &devices)...)
		}
		known := slices.ContainsFunc(group, func(f Found) bool { return f.Model != "" })
		bus, other := buses[e.Key()]
		switch part.Line = taken.Ports[e.Key()]; {
		case other && e.Scheme == line.Serial && bus != settings(e):
			part.Remark, part.ID = true, free(lineWord(e), &lines)
			part.Entries = append([]string{
				"# found with " + settings(e) + ", and this port has " + bus + ": one line has one speed and parity.",
				"# Set these devices to that of the port, or give them an adapter of their own.",
			}, part.Entries...)
		case part.Line != "":
		case known:
			part.ID = free(lineWord(e), &lines)
			buses[e.Key()] = settings(e)
		default:
			part.Remark, part.ID = true, free(lineWord(e), &lines)
		}
		p.add(part)
	}
	if p.Lines != "" && strings.HasPrefix(p.Lines, "  - ") || strings.Contains(p.Lines, "\n  - ") {
		p.Lines = "lines:\n" + p.Lines
	}
	return p
}

// byPort groups what is not configured yet by port and settings, in the order of discovery.
func byPort(found []Found) (groups [][]Found) {
	for _, f := range found {
		if f.Device != "" {
			continue
		}
		i := slices.IndexFunc(groups, func(g []Found) bool { return g[0].Port == f.Port })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

// settings is the part of a serial port's URL behind its path.
func settings(e line.Endpoint) string {
	_, bus, _ := strings.Cut(e.String(), "?")
	return bus
}

// add takes a part, and writes it as text.
func (p *Proposal) add(part Part) {
	p.Parts = append(p.Parts, part)
	remark := ""
	if part.Remark {
		remark = "# "
	}
	if part.Line != "" {
		p.Devices[part.Line] += indented(part.Entries, "      ", remark)
		return
	}
	p.Lines += remark + "  - id: " + part.ID + "\n" + remark + "    port: " + part.Port + "\n" + remark + "    devices:\n"
	p.Lines += indented(part.Entries, "      ", remark)
}

func indented(entries []string, by, remark string) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(remark + by + e + "\n")
	}
	return b.String()
}

// aboutEntry is the remark above a device.
func aboutEntry(f Found) string {
	about := f.Title
	if !f.Sure {
		about = "probably " + about
	}
	if len(f.Others) > 0 {
		about += ", or " + strings.Join(f.Others, ", ")
	}
	if f.Serial != "" {
		about += ", serial " + f.Serial
	}
	return "# " + oneLine(about)
}

// entries writes a device: its details as a comment, and its entry. For an unrecognised device it writes the possible
// models as comments: a person removes the # of one of them.
func entries(f Found, devices *[]string) []string {
	if f.Model != "" {
		id := free(catalogue.DeviceKind(f.Kind).Prefix(), devices)
		return []string{aboutEntry(f), deviceEntry(id, f.Model, f.Unit)}
	}
	about := strings.TrimSpace(f.Maker + " " + f.Product)
	if about == "" {
		about = "a device that says nothing of itself"
	}
	out := []string{fmt.Sprintf("# unit %d answers, model not recognised: %s", f.Unit, oneLine(about))}
	if len(f.Candidates) > 0 {
		out = append(out, "# It could be one of these, the likeliest first: compare with its label, and take away the # of one.")
	}
	for _, c := range f.Candidates {
		others := slices.Clone(*devices) // only one of the candidates will have the id
		id := free(catalogue.DeviceKind(c.Kind).Prefix(), &others)
		out = append(out, "# "+deviceEntry(id, c.Model, f.Unit))
	}
	return out
}

func deviceEntry(id, model string, unit int) string {
	return fmt.Sprintf("- {id: %s, model: %s, unit: %d}", id, model, unit)
}

// oneLine keeps what a device says from ending a remark.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}

// free makes an id that nothing has yet.
func free(word string, taken *[]string) string {
	for n := 1; ; n++ {
		if id := fmt.Sprintf("%s-%d", word, n); !slices.Contains(*taken, id) {
			*taken = append(*taken, id)
			return id
		}
	}
}

func lineWord(e line.Endpoint) string {
	if e.Scheme == line.TCP {
		return "lan"
	}
	return "rs485"
}
