package audit

import (
	"fmt"
	"strings"
	"time"

	"bordo/cmd/terminal"
	"bordo/contract/consumer"
)

// shownMost is the maximum number of faults of a check in the text; JSON has all.
const shownMost = 20

// Text is the report for a person.
func (r Report) Text() string {
	var b strings.Builder
	devices, samples, late, events, resent, gaps, open := 0, 0, 0, 0, 0, 0, uint64(0)
	for _, n := range r.Nodes {
		devices, samples, late, events = devices+n.Devices, samples+n.Samples, late+n.Late, events+n.Events
		resent, gaps, open = resent+n.Resent, gaps+n.Gaps, open+n.Open
	}
	fmt.Fprintf(&b, "Heard for %s: %s, %s, %s, %s (%d late), %s.\n",
		time.Duration(r.To-r.From)*time.Millisecond/time.Second*time.Second, terminal.Count(len(r.Nodes), "node"),
		terminal.Count(devices, "device"),
		terminal.Count(r.Messages, "message"), terminal.Count(samples, "sample"), late, terminal.Count(events, "event"))
	fmt.Fprintf(&b, "Harmless: %d records came again, alike; %d gaps were told; %d numbers are held back or open.\n",
		resent, gaps, open)
	if text := r.clockText(); text != "" {
		fmt.Fprintln(&b, text)
	}
	b.WriteByte('\n')
	for _, g := range good {
		r.check(&b, g.check, g.text)
	}
	if r.Rest > 0 {
		fmt.Fprintf(&b, "and %d faults more, of which only the number is known\n", r.Rest)
	}
	if len(r.Notes) > 0 {
		b.WriteByte('\n')
	}
	for i, n := range r.Notes {
		if i == shownMost {
			fmt.Fprintf(&b, "note: and %d more notes\n", len(r.Notes)-i)
			break
		}
		fmt.Fprintln(&b, terminal.Clean("note: "+n))
	}
	b.WriteString("\n" + r.verdict() + "\n")
	return b.String()
}

func (r Report) verdict() string {
	if r.OK {
		return "All that was heard is as the contract says."
	}
	nodes := map[string]bool{}
	for _, f := range r.Faults {
		if f.Node != "" {
			nodes[f.Tenant+"/"+f.Node] = true
		}
	}
	return fmt.Sprintf("%s, of %s.", terminal.Count(len(r.Faults)+r.Rest, "fault"), terminal.Count(len(nodes), "node"))
}

// clockText describes the clock with the largest deviation.
func (r Report) clockText() string {
	worst, at := int64(0), -1
	for i, n := range r.Nodes {
		if n.Sent != nil && (at < 0 || abs(n.Sent.Median) > abs(worst)) {
			worst, at = n.Sent.Median, i
		}
	}
	if at < 0 {
		return ""
	}
	n := r.Nodes[at]
	return fmt.Sprintf("From being sent to arriving here: at most %s in the middle (%s/%s).",
		terminal.Span(time.Duration(worst)*time.Millisecond), n.Tenant, n.Node)
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// check writes one check and its findings.
func (r Report) check(b *strings.Builder, check Check, fine string) {
	var mine []Fault
	for _, f := range r.Faults {
		if f.Check == check {
			mine = append(mine, f)
		}
	}
	if len(mine) == 0 {
		fmt.Fprintf(b, "ok    %-9s %s\n", check, fine)
		return
	}
	times := 0
	for _, f := range mine {
		times += f.N
	}
	fmt.Fprintf(b, "FAULT %-9s %d, %d times\n", check, len(mine), times)
	lines := 0
	for i, f := range mine {
		first, alike := sameDetail(mine, f)
		if first < i {
			continue // printed with the first one
		}
		if lines++; lines > shownMost {
			b.WriteString("        and more: --json has them\n")
			break
		}
		text := f.line()
		if alike > 0 {
			text += fmt.Sprintf(", and %d more alike", alike)
		}
		fmt.Fprintln(b, terminal.Clean("        "+text))
	}
}

// sameDetail finds the first fault with the same text as f, and how many more there are. Ranges are always printed.
func sameDetail(list []Fault, f Fault) (first, more int) {
	first = -1
	for i, g := range list {
		switch {
		case g.Detail != f.Detail || len(f.Ranges) > 0 && (g.Node != f.Node || g.Tenant != f.Tenant || g.Ep != f.Ep):
		case first < 0:
			first = i
		default:
			more++
		}
	}
	return first, more
}

// line formats a fault.
func (f Fault) line() string {
	var who []string
	switch {
	case f.Node != "" && f.Dev != "":
		who = append(who, f.Tenant+"/"+f.Node+" "+f.Dev)
	case f.Node != "":
		who = append(who, f.Tenant+"/"+f.Node)
	case f.Topic != "":
		who = append(who, fmt.Sprintf("%q", f.Topic))
	}
	if f.Ep != "" {
		who = append(who, "epoch "+f.Ep+" "+rangesText(f.Ranges))
	}
	text := strings.TrimPrefix(strings.Join(who, ", ")+": "+f.Detail, ": ")
	if f.Topic != "" && f.Node != "" {
		text += " (" + f.Topic + ")"
	}
	if f.N > 1 && f.Check != CheckMissing {
		text += fmt.Sprintf(", %d times", f.N)
	}
	return text
}

// rangesText formats numbers as ranges, with their count.
func rangesText(ranges []consumer.Range) string {
	const most = 8
	var out []string
	n := uint64(0)
	for i, r := range ranges {
		n += r[1] - r[0] + 1
		switch {
		case i == most:
			out = append(out, "...")
		case i > most:
		case r[0] == r[1]:
			out = append(out, fmt.Sprint(r[0]))
		default:
			out = append(out, fmt.Sprintf("%d-%d", r[0], r[1]))
		}
	}
	text := strings.Join(out, " ")
	if n > 1 {
		text += fmt.Sprintf(" (%d numbers)", n)
	}
	return text
}
