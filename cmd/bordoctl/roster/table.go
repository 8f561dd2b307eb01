package roster

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bordo/cmd/terminal"
	"bordo/contract"
)

// Picture says how the table is to be drawn.
type Picture struct {
	Width, Height int
	Lang          string // of sentences: it or en
	Node          string // only this node, with its devices; empty: all nodes
	Link          string // about our own connection, for the head
}

// Table returns the present state: at most Height lines, made for Width columns and cut when they are printed. Nodes
// that need attention come first; what does not fit is counted.
func (r *Roster) Table(p Picture, now time.Time) []string {
	nodes := r.Nodes()
	if p.Node != "" {
		return r.single(nodes, p, now)
	}
	lines := []string{fleetLine(nodes, now), p.Link, "", nodeHead(p.Width)}
	if len(nodes) == 0 {
		return append(lines[:2], "", "Nobody has said anything so far.")
	}
	slices.SortStableFunc(nodes, func(a, b *Node) int { return cmp.Compare(b.trouble(), a.trouble()) })
	left := max(2, p.Height-len(lines))
	troubles := conditionLines(nodes, p.Lang, now, len(nodes) > 1)
	below := min(len(troubles), max(left/3, left-len(nodes)-1))
	if below > 0 {
		left -= 1 + below // with an empty line before
	}
	shown := min(len(nodes), left)
	if shown < len(nodes) {
		shown = max(0, shown-1)
	}
	for _, n := range nodes[:shown] {
		lines = append(lines, n.row(p.Width, now))
	}
	if hidden := nodes[shown:]; len(hidden) > 0 {
		lines = append(lines, hiddenLine(hidden))
	}
	if below > 0 {
		lines = append(lines, "")
		lines = append(lines, few(troubles, below, "conditions")...)
	}
	return lines[:min(len(lines), max(1, p.Height))]
}

// few cuts a list to a number of lines, the last of which counts the rest.
func few(list []string, most int, what string) []string {
	if len(list) <= most {
		return list
	}
	if most <= 0 {
		return nil
	}
	return append(slices.Clone(list[:most-1]), fmt.Sprintf("... and %d more %s", len(list)-most+1, what))
}

func hiddenLine(hidden []*Node) string {
	bad := 0
	for _, n := range hidden {
		if n.trouble() > 0 {
			bad++
		}
	}
	text := "all well"
	if bad > 0 {
		text = fmt.Sprintf("%d of them with trouble", bad)
	}
	return fmt.Sprintf("... and %d more, %s", len(hidden), text)
}

// trouble ranks how much attention a node needs.
func (n *Node) trouble() int {
	switch {
	case n.State == contract.Lost || n.State == Silent:
		return 6
	case n.Conflicts > 0 || n.Missing > 0:
		return 5
	case slices.ContainsFunc(n.Status.Health, func(h contract.Health) bool { return h.Severity == contract.Fault }):
		return 4
	case len(n.Status.Health) > 0:
		return 3
	case n.State == contract.Offline:
		return 2
	case n.State == "":
		return 1
	}
	return 0
}

// fleetLine returns the first line: numbers of nodes by state.
func fleetLine(nodes []*Node, now time.Time) string {
	count := map[contract.State]int{}
	devices, rate := 0, 0.0
	for _, n := range nodes {
		count[n.State]++
		devices += len(n.Devices)
		rate += n.Rate.PerSecond(now)
	}
	text := fmt.Sprintf("%s: %d online", terminal.Count(len(nodes), "node"), count[contract.Online])
	for _, s := range []contract.State{contract.Lost, Silent, contract.Offline} {
		if count[s] > 0 {
			text += fmt.Sprintf(", %d %s", count[s], s)
		}
	}
	return fmt.Sprintf("%s; %s, %s samples/s", text, terminal.Count(devices, "device"), rateText(rate))
}

// fixed are the columns of every width, with their widths; the name takes the remaining space.
var fixed = []struct {
	title string
	width int
}{{"STATE", 7}, {"SINCE", 5}, {"LAST", 5}, {"LAG50", 6}, {"LAG99", 6}, {"RATE/S", 6}, {"BACKLOG", 9}, {"CLOCK", 5},
	{"MISS", 4}}

// nameWidth is how wide the first column is.
func nameWidth(width int) int {
	left := width
	for _, c := range fixed {
		left -= c.width + 1
	}
	return min(48, max(8, left))
}

func columns(name string, width int, cells []string) string {
	var b strings.Builder
	w := nameWidth(width)
	fmt.Fprintf(&b, "%-*s", w, terminal.Cut(name, w))
	for i, c := range fixed {
		if i == 0 || c.title == "CLOCK" {
			fmt.Fprintf(&b, " %-*s", c.width, terminal.Cut(cells[i], c.width))
		} else {
			fmt.Fprintf(&b, " %*s", c.width, terminal.Cut(cells[i], c.width))
		}
	}
	return strings.TrimRight(b.String(), " ")
}

func nodeHead(width int) string {
	titles := make([]string, len(fixed))
	for i, c := range fixed {
		titles[i] = c.title
	}
	return columns("NODE", width, titles)
}

// row is a node in one line.
func (n *Node) row(width int, now time.Time) string {
	p50, p99, ok := n.Lag.Quantiles()
	since := ago(now, n.Since)
	if n.AtLeast && since != "-" {
		since = ">" + since
	}
	cells := []string{or(string(n.State), "?"), since, ago(now, n.Last), lagText(p50, ok), lagText(p99, ok),
		rateText(n.Rate.PerSecond(now)),
		n.backlogText(now), or(string(n.Clk), "-"), missText(n.Missing, n.Conflicts)}
	return columns(n.Name, width, cells)
}

// ago formats the time since a moment, "-" for never.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	d := max(0, now.Sub(then))
	if d < time.Second {
		return "0s"
	}
	return terminal.Span(d.Truncate(time.Second))
}

func lagText(d time.Duration, ok bool) string {
	if !ok {
		return "-"
	}
	return terminal.Span(d)
}

func rateText(r float64) string {
	switch {
	case r == 0:
		return "0"
	case r < 10:
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return strconv.FormatFloat(r, 'f', 0, 64)
}

// countText is a number in at most five characters.
func countText(n uint64) string {
	switch {
	case n < 10_000:
		return strconv.FormatUint(n, 10)
	case n < 1_000_000:
		return strconv.FormatUint(n/1000, 10) + "k"
	case n < 10_000_000_000:
		return strconv.FormatUint(n/1_000_000, 10) + "M"
	}
	return "lots"
}

// backlogText formats the amount held back and, while it is arriving, its age.
func (n *Node) backlogText(now time.Time) string {
	b := n.Backlog()
	if n.StatusAt.IsZero() {
		return "-"
	}
	if now.Sub(n.HistAt) < time.Minute {
		return countText(b) + " " + ago(now, n.HistFrom)
	}
	return countText(b)
}

func missText(missing uint64, conflicts int) string {
	if conflicts > 0 {
		return "TWIN"
	}
	return countText(missing)
}

// conditionLines lists the open conditions, faults first.
func conditionLines(nodes []*Node, lang string, now time.Time, names bool) []string {
	type open struct {
		node string
		contract.Health
	}
	var all []open
	for _, n := range nodes {
		for _, h := range n.Status.Health {
			all = append(all, open{n.Name, h})
		}
	}
	slices.SortStableFunc(all, func(a, b open) int {
		return cmp.Compare(b2i(b.Severity == contract.Fault), b2i(a.Severity == contract.Fault))
	})
	lines := make([]string, 0, len(all))
	for _, h := range all {
		who := h.Dev
		if names {
			who = strings.TrimSpace(h.node + " " + h.Dev)
		}
		if who != "" {
			who += ", "
		}
		lines = append(lines, terminal.Clean(fmt.Sprintf("%-7s %s%s: %s%s", h.Severity, who,
			ago(now, time.UnixMilli(h.Since)),
			Sentence(h.Text, h.Code, lang), behind(h.Detail))))
	}
	return lines
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
