package scan

import (
	"fmt"
	"slices"
	"strings"

	"bordo/drivers/line"
)

// Taken is what a configuration has already, so that what is proposed fits into it.
type Taken struct {
	Lines   []string          // ids of lines
	Devices []string          // ids of devices
	Ports   map[string]string // id of the line, by the key of its endpoint
}

// Proposal is what to write into the configuration.
type Proposal struct {
	Lines   string            // new entries of "lines", empty when there is none
	Devices map[string]string // new entries of "devices" of lines that are there, by the id of the line
}

// Propose writes the lines of a configuration for what was found. What was not recognised stands there as a remark; a line
// on which nothing was recognised is a remark as a whole, because a line needs a device.
func Propose(found []Found, taken Taken) Proposal {
	p := Proposal{Devices: map[string]string{}}
	lines, devices := slices.Clone(taken.Lines), slices.Clone(taken.Devices)
	var ports []string
	byPort := map[string][]Found{}
	for _, f := range found {
		if f.Device != "" {
			continue
		}
		if _, ok := byPort[f.Port]; !ok {
			ports = append(ports, f.Port)
		}
		byPort[f.Port] = append(byPort[f.Port], f)
	}
	for _, port := range ports {
		e, err := line.Parse(port)
		if err != nil {
			continue // it was opened, so it is one
		}
		var entries []string
		known := false
		for _, f := range byPort[port] {
			entry := unknownEntry(f)
			if f.Model != "" {
				known = true
				id := free(kindWord(f.Kind), &devices)
				entries = append(entries, aboutEntry(f))
				entry = fmt.Sprintf("- {id: %s, model: %s, unit: %d}", id, f.Model, f.Unit)
			}
			entries = append(entries, entry)
		}
		if id, there := taken.Ports[e.Key()]; there {
			p.Devices[id] += indented(entries, "      ", "")
			continue
		}
		id, remark := "", ""
		if !known {
			remark = "# "
			id = "LINE"
		} else {
			id = free(lineWord(e), &lines)
		}
		p.Lines += remark + "  - id: " + id + "\n" + remark + "    port: " + port + "\n" + remark + "    devices:\n"
		p.Lines += indented(entries, "      ", remark)
	}
	if p.Lines != "" && strings.HasPrefix(p.Lines, "  - ") || strings.Contains(p.Lines, "\n  - ") {
		p.Lines = "lines:\n" + p.Lines
	}
	return p
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

func unknownEntry(f Found) string {
	about := strings.TrimSpace(f.Maker + " " + f.Product)
	if about == "" {
		about = "a device that says nothing of itself"
	}
	return fmt.Sprintf("# unit %d answers, model not recognised: %s", f.Unit, oneLine(about))
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

func kindWord(kind string) string {
	if word := map[string]string{"inverter": "inv", "meter": "meter", "barrier": "barrier", "io": "io", "ups": "ups"}[kind]; word != "" {
		return word
	}
	return "dev"
}

func lineWord(e line.Endpoint) string {
	if e.Scheme == line.TCP {
		return "lan"
	}
	return "rs485"
}
