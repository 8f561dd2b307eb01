package roster

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"bordo/cmd/terminal"
)

// csvHead are the columns of WriteCSV. They are added to at the end, never changed.
var csvHead = []string{
	"tenant", "node", "state", "site", "lat", "lon", "version", "hardware", "configuration", "clock", "simulated",
	"tls_until", "told",
	"device", "name", "maker", "model", "profile", "serial", "firmware", "points", "every_s", "pod", "role", "about",
	"quarantined",
}

// WriteCSV writes a row for each device, and one for each node without any, as RFC 4180 CSV. Times are RFC 3339, UTC.
func WriteCSV(w io.Writer, nodes []*Node) error {
	out := csv.NewWriter(w)
	rows := [][]string{csvHead}
	for _, n := range nodes {
		head := n.csv()
		devices := 0
		for _, d := range n.List() {
			if d.Meta != nil {
				rows = append(rows, append(slices.Clone(head), d.csv()...))
				devices++
			}
		}
		if devices == 0 {
			rows = append(rows, append(head, make([]string, len(csvHead)-len(head))...))
		}
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	return nil
}

func (n *Node) csv() []string {
	s := n.Status
	site, lat, lon := "", "", ""
	if s.Site != nil {
		site, lat, lon = s.Site.Name, coordinate(s.Site.Lat), coordinate(s.Site.Lon)
	}
	return []string{n.Tenant, n.Name, string(n.State), plain(site), lat, lon, plain(s.Ver), plain(s.HW), s.Cfg,
		string(n.Clk), strconv.FormatBool(s.Sim),
		stamp(s.TLSUntil), stamp(s.TS)}
}

func coordinate(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func stamp(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

// plain keeps a spreadsheet from taking for a formula what a device calls itself.
func plain(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

func (d *Device) csv() []string {
	m := d.Meta
	about := ""
	if len(m.About) > 0 {
		if b, err := json.Marshal(m.About); err == nil { // it came as JSON
			about = string(b)
		}
	}
	every := ""
	if m.Every > 0 {
		every = strconv.FormatFloat(float64(m.Every)/1000, 'f', -1, 64)
	}
	return []string{d.Name, plain(m.Name), plain(m.Maker), plain(m.Model), plain(m.Profile), plain(m.Serial),
		plain(m.Firmware), strconv.Itoa(len(m.Points)),
		every, plain(aboutText(m.About["pod"])), plain(aboutText(m.About["role"])), about,
		strings.Join(m.Quarantined, " ")}
}

func aboutText(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// Inventory is the list for a person: each node with its devices below it.
func Inventory(nodes []*Node, now time.Time) string {
	var b strings.Builder
	devices := 0
	for i, n := range nodes {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintln(&b, terminal.Clean(n.head(now)))
		t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		for _, d := range n.List() {
			if d.Meta != nil {
				devices++
				fmt.Fprintln(t, "  "+strings.Join(d.cells(), "\t"))
			}
		}
		t.Flush() //nolint:errcheck // a strings.Builder takes everything
	}
	fmt.Fprintf(&b, "\n%s, %s\n", terminal.Count(len(nodes), "node"), terminal.Count(devices, "device"))
	return b.String()
}

// head is the line of a node.
func (n *Node) head(now time.Time) string {
	s := n.Status
	text := fmt.Sprintf("%s/%s  %s", n.Tenant, n.Name, or(string(n.State), "no status"))
	if !n.StatusAt.IsZero() {
		text += fmt.Sprintf(", told %s ago, bordo %s, hardware %s, configuration %.8s, clock %s",
			terminal.Age(now, n.StatusAt), s.Ver, or(s.HW, "-"), or(s.Cfg, "-"), n.Clk)
	}
	if s.Site != nil && s.Site.Name != "" {
		text += ", " + s.Site.Name
	}
	if s.Sim {
		text += ", simulated"
	}
	if s.TLSUntil != 0 {
		text += ", certificate until " + time.UnixMilli(s.TLSUntil).UTC().Format(time.DateOnly)
	}
	return text
}

func (d *Device) cells() []string {
	m := d.Meta
	cells := []string{d.Name, or(strings.TrimSpace(m.Maker+" "+m.Model), m.Profile), or(m.Serial, "-"),
		or(m.Firmware, "-"), fmt.Sprintf("%d points", len(m.Points)),
		"every " + (time.Duration(m.Every) * time.Millisecond).String(), or(m.Name, "-")}
	var about []string
	for _, key := range slices.Sorted(maps.Keys(m.About)) {
		about = append(about, key+"="+fmt.Sprint(m.About[key]))
	}
	if len(m.Quarantined) > 0 {
		about = append(about, "refuses "+strings.Join(m.Quarantined, " "))
	}
	cells = append(cells, strings.Join(about, " "))
	for i := range cells {
		cells[i] = terminal.Clean(cells[i])
	}
	return cells
}
