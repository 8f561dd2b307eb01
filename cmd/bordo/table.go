package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"bordo/agent"
	"bordo/cmd/terminal"
	"bordo/contract"
)

// maxValues is how many values of a device the table shows; --json has all.
const maxValues = 4

// writeStatus shows a person how the agent is. now is the time of day of whoever looks.
func writeStatus(w io.Writer, s agent.Status, now time.Time, lang *langValue) error {
	var b strings.Builder
	head(&b, s, now)
	for _, h := range s.Health {
		if !toldBelow(h, s.Lines) {
			fmt.Fprintf(&b, "%-8s  %s\n", h.Severity, healthText(h, now, lang))
		}
	}
	for _, l := range s.Lines {
		lineText(&b, l, now)
	}
	width, _, seen := terminal.Size(w)
	for row := range strings.Lines(b.String()) {
		// The table pads its last column where a device has nothing to say.
		row = strings.TrimRight(row, " \n")
		if seen {
			row = fold(row, width)
		}
		if _, err := io.WriteString(w, row+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// hanging is how far a line that goes on is set in: below the text behind its first word.
const hanging = 10

// fold breaks a line of a table that is too wide for a terminal between words.
func fold(row string, width int) string {
	var b strings.Builder
	for width > 2*hanging && utf8.RuneCountInString(row) > width {
		r := []rune(row)
		at := width
		for at > hanging && r[at] != ' ' {
			at--
		}
		if at <= hanging { // one word, such as a long URL
			at = width
		}
		b.WriteString(strings.TrimRight(string(r[:at]), " ") + "\n")
		row = strings.Repeat(" ", hanging) + strings.TrimLeft(string(r[at:]), " ")
	}
	return b.String() + row
}

// toldBelow tells whether a condition says no more than the lines and devices below it.
func toldBelow(h contract.Health, lines []agent.LineStatus) bool {
	for _, l := range lines {
		for _, d := range l.Devices {
			if d.ID == h.Dev && h.Detail != "" && (h.Detail == d.Error || !l.Open && h.Detail == l.Error) {
				return true
			}
		}
	}
	return false
}

func head(b *strings.Builder, s agent.Status, now time.Time) {
	simulated := ""
	if s.Simulation {
		simulated = ", simulation"
	}
	fmt.Fprintf(b, "%-8s  %s, bordo %s, up %s, %s%s\n", "node", s.Node, s.Version, terminal.Age(now, s.Since), clockText(s.Clock), simulated)
	switch r := s.Broker; {
	case r.URL == "":
		fmt.Fprintf(b, "%-8s  not asked yet\n", "broker")
	case r.Connected:
		fmt.Fprintf(b, "%-8s  %s, connected for %s\n", "broker", r.URL, terminal.Age(now, r.Since))
	default:
		fmt.Fprintf(b, "%-8s  %s, not connected for %s, %s%s\n", "broker", r.URL, terminal.Age(now, r.Since), count(r.Attempts, "attempt"), reason(r.Error))
	}
	if s.Sent.Month != "" {
		fmt.Fprintf(b, "%-8s  %s in %s\n", "sent", decimalText(s.Sent.Bytes), s.Sent.Month)
	}
	storeText(b, s, now)
	if s.Lost > 0 {
		fmt.Fprintf(b, "%-8s  %s since the node was installed, each told to the centre as a gap\n", "lost", count(int(min(s.Lost, math.MaxInt32)), "record"))
	}
}

// storeText is the state of the store, and what it costs the card.
func storeText(b *strings.Builder, s agent.Status, now time.Time) {
	if s.Store.Error != "" {
		fmt.Fprintf(b, "%-8s  %s\n", "store", s.Store.Error)
		return
	}
	n := uint64(0)
	for _, k := range s.Store.Backlog {
		n += k.N
	}
	fmt.Fprintf(b, "%-8s  %s of %s, %s not acknowledged, epoch %s\n", "store", byteText(s.Store.Bytes), byteText(s.Store.Max),
		count(int(min(n, math.MaxInt32)), "record"), s.Store.Epoch)
	if s.Store.Fault != "" {
		fmt.Fprintf(b, "%-8s  cannot write: %s\n", "", s.Store.Fault)
	}
	since := "in the last day"
	if now.Sub(s.Since) < 24*time.Hour {
		since = "since the start"
	}
	fmt.Fprintf(b, "%-8s  %s to the card %s\n", "written", byteText(s.Store.WrittenDay), since)
}

// decimalText is an amount of data as those count it who sell it.
func decimalText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1e3)
}

// reason puts an error behind what it explains.
func reason(err string) string {
	if err == "" {
		return ""
	}
	return ": " + err
}

func clockText(c contract.Clock) string {
	switch c {
	case contract.ClockSync:
		return "clock set"
	case contract.ClockEst:
		return "clock estimated"
	}
	return "clock not set"
}

func healthText(h contract.Health, now time.Time, lang *langValue) string {
	text := phrase{h.Text.It, h.Text.En}.in(lang)
	if text == "" {
		text = h.Code
	}
	if h.Dev != "" {
		text = h.Dev + ": " + text
	}
	return fmt.Sprintf("%s, for %s%s", text, terminal.Age(now, time.UnixMilli(h.Since)), reason(h.Detail))
}

func lineText(b *strings.Builder, l agent.LineStatus, now time.Time) {
	state := "open"
	if !l.Open {
		state = "closed" + reason(l.Error)
	}
	if e := l.Errors; e != nil && e.Framing+e.Parity+e.Overrun > 0 {
		state += fmt.Sprintf(", damaged characters: %d framing, %d parity, %d overrun (baud, parity or wiring)", e.Framing, e.Parity, e.Overrun)
	}
	fmt.Fprintf(b, "\n%-8s  %s, %s, %s\n", "line", l.ID, l.Port, state)
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	for _, d := range l.Devices {
		last := "never answered"
		if !d.Last.IsZero() {
			last = "answered " + terminal.Age(now, d.Last) + " ago"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", d.ID, d.Model, last, strings.Join(deviceText(d), ", "))
	}
	t.Flush() //nolint:errcheck // a strings.Builder takes everything
}

// deviceText is the fault of a device, if it has one, and its first values.
func deviceText(d agent.DeviceStatus) []string {
	var text []string
	switch {
	case d.Asleep:
		text = append(text, "asleep")
	case d.Error != "":
		text = append(text, strings.ReplaceAll(d.Error, "\n", "; "))
	}
	if len(d.Quarantined) > 0 {
		text = append(text, "refuses "+strings.Join(d.Quarantined, " "))
	}
	for _, v := range d.Values {
		if len(text) >= maxValues {
			break
		}
		if v.Value != nil && v.Value != "" {
			text = append(text, pointText(v))
		}
	}
	return text
}

func pointText(p agent.PointStatus) string {
	var v string
	switch x := p.Value.(type) {
	case float64:
		// Adding 0 turns what was rounded to -0 into 0.
		v = strconv.FormatFloat(math.Round(x*1000)/1000+0, 'f', -1, 64)
	case bool:
		v = map[bool]string{true: "yes", false: "no"}[x]
	default:
		v = fmt.Sprint(x)
	}
	if p.Unit != "" && p.Unit != "1" {
		v += " " + p.Unit
	}
	if p.Quality != contract.QualityGood {
		v += "?"
	}
	return p.Point + " " + v
}

func byteText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return strconv.FormatFloat(math.Round(10*float64(n)/float64(u.size))/10, 'f', -1, 64) + " " + u.name
		}
	}
	return count(int(n), "byte")
}
