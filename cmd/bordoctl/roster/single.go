package roster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bordo/cmd/terminal"
	"bordo/contract"
)

// ExpiresSoon is how long before its end a certificate causes a warning.
const ExpiresSoon = 30 * 24 * time.Hour

// single shows one node and its devices; the same name can be that of several tenants.
func (r *Roster) single(nodes []*Node, p Picture, now time.Time) []string {
	nodes = slices.DeleteFunc(nodes, func(n *Node) bool { return n.Name != p.Node })
	lines := []string{p.Link}
	if len(nodes) == 0 {
		return append(lines, "", fmt.Sprintf("Nothing has been heard of %s so far.", p.Node))
	}
	for _, n := range nodes {
		lines = append(lines, "")
		for _, sentence := range n.sentences(now) {
			lines = append(lines, strings.Split(terminal.Fold(sentence, p.Width, 2), "\n")...)
		}
		lines = append(lines, conditionLines([]*Node{n}, p.Lang, now, false)...)
		lines = append(lines, "", deviceHead())
		devices := n.List()
		for i, d := range devices {
			if len(lines) >= p.Height-1 && i < len(devices)-1 {
				lines = append(lines, fmt.Sprintf("... and %d more devices", len(devices)-i))
				break
			}
			lines = append(lines, d.row(now))
			left := len(devices) - i // this one and those that still need a line
			lines = append(lines, d.values(p.Width, (p.Height-len(lines)-left+1)/left)...)
		}
	}
	return lines[:min(len(lines), max(1, p.Height))]
}

// sentences describe the state of a node.
func (n *Node) sentences(now time.Time) []string {
	s := n.Status
	first := fmt.Sprintf("%s/%s is %s", n.Tenant, n.Name, or(string(n.State), "unknown: no status has come"))
	if !n.Since.IsZero() {
		for_ := " for "
		if n.AtLeast {
			for_ = " for at least "
		}
		first += for_ + terminal.Age(now, n.Since)
	}
	if s.Site != nil && s.Site.Name != "" {
		first += ", " + s.Site.Name
	}
	if s.Sim {
		first += ", simulated"
	}
	lines := []string{first}
	if s.Ver != "" {
		lines = append(lines, fmt.Sprintf("bordo %s, hardware %s, configuration %.8s, session %s, epoch %s", s.Ver,
			or(s.HW, "-"), or(s.Cfg, "-"), s.Sess, s.Ep))
		lines = append(lines, n.backlogSentence(now))
	}
	p50, p99, ok := n.Lag.Quantiles()
	lag := "no live sample so far"
	if ok {
		lag = fmt.Sprintf("%s samples/s, lag %s, 99 of 100 within %s, last %s ago", rateText(n.Rate.PerSecond(now)),
			terminal.Span(p50), terminal.Span(p99), ago(now, n.Last))
	}
	lines = append(lines, lag+", clock "+or(string(n.Clk), "unknown"))
	if n.Missing > 0 || n.Gaps > 0 || n.Conflicts > 0 {
		lines = append(lines, fmt.Sprintf("missing %d, gaps told %d, conflicts of identity %d", n.Missing, n.Gaps,
			n.Conflicts))
	}
	if text, soon := Certificate(s, now); soon {
		lines = append(lines, text)
	}
	for i := range lines {
		lines[i] = terminal.Clean(lines[i])
	}
	return lines
}

func (n *Node) backlogSentence(now time.Time) string {
	text := "nothing held back"
	if b := n.Backlog(); b > 0 {
		text = fmt.Sprintf("%d records held back in %d epochs", b, len(n.Status.Backlog))
	}
	text += ", as told " + terminal.Age(now, n.StatusAt) + " ago"
	if !n.HistAt.IsZero() {
		text += fmt.Sprintf("; history came %s ago, taken %s ago", ago(now, n.HistAt), ago(now, n.HistFrom))
	}
	if n.Status.Lost != nil && *n.Status.Lost > 0 {
		text += fmt.Sprintf("; %d lost in its life", *n.Status.Lost)
	}
	return text
}

// Certificate says until when the certificate of a node is valid; soon reports whether that needs a warning.
func Certificate(s contract.Status, now time.Time) (text string, soon bool) {
	if s.TLSUntil == 0 {
		return "", false
	}
	until := time.UnixMilli(s.TLSUntil)
	switch left := until.Sub(now); {
	case left <= 0:
		return fmt.Sprintf("the certificate of %s has expired on %s", s.Node, until.UTC().Format(time.DateOnly)), true
	case left < ExpiresSoon:
		return fmt.Sprintf("the certificate of %s ends in %d days, on %s", s.Node, int(left/(24*time.Hour)),
			until.UTC().Format(time.DateOnly)), true
	}
	return "", false
}

func deviceHead() string {
	return fmt.Sprintf("%-12s %-16s %5s %6s %6s %6s %6s %4s", "DEVICE", "MODEL", "LAST", "LAG50", "LAG99", "RATE/S",
		"EVERY", "BAD")
}

// row is a device in one line, without its values.
func (d *Device) row(now time.Time) string {
	model, every := "-", "-"
	if d.Meta != nil {
		model = or(strings.TrimSpace(d.Meta.Maker+" "+d.Meta.Model), or(d.Meta.Profile, "-"))
		if d.Meta.Every > 0 {
			every = terminal.Span(time.Duration(d.Meta.Every) * time.Millisecond)
		}
	}
	p50, p99, ok := d.Lag.Quantiles()
	return strings.TrimRight(fmt.Sprintf("%-12s %-16s %5s %6s %6s %6s %6s %4d", terminal.Cut(d.Name, 12),
		terminal.Cut(terminal.Clean(model), 16), ago(now, d.Last),
		lagText(p50, ok), lagText(p99, ok), rateText(d.Rate.PerSecond(now)), every, len(d.Q)), " ")
}

// values returns those of the last live sample, in the order of the description, in at most the given number of lines.
func (d *Device) values(width, most int) []string {
	text := terminal.Clean(d.told())
	if text == "" || most < 1 {
		return nil
	}
	lines := strings.Split(terminal.Fold("  "+text, width, 2), "\n")
	if len(lines) > most {
		last := strings.TrimRight(lines[most-1], ", ")
		if at := strings.LastIndex(last, ", "); at > 0 && utf8.RuneCountInString(last)+len(", …") > width {
			last = last[:at]
		}
		lines = append(lines[:most-1], last+", …")
	}
	return lines
}

// told formats the values of the last live sample.
func (d *Device) told() string {
	var keys []string
	units := map[string]string{}
	if d.Meta != nil {
		for _, p := range d.Meta.Points {
			units[p.Key] = p.Unit
			if _, ok := d.V[p.Key]; ok {
				keys = append(keys, p.Key)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.V)) {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	var out []string
	for _, key := range keys {
		text := or(fmt.Sprint(d.V[key]), "none") // no alarm
		if f, ok := d.V[key].(float64); ok {
			text = strconv.FormatFloat(f, 'f', -1, 64)
		}
		if u := units[key]; u != "" && u != "1" {
			text += " " + u
		}
		out = append(out, key+" "+text)
	}
	return strings.Join(out, ", ")
}
