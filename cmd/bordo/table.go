package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"bordo/agent"
	"bordo/cmd/terminal"
	"bordo/contract"
)

// maxValues is the maximum number of values per device in the table; --json has all.
const maxValues = 4

// table writes lines of a word and a text.
type table struct {
	strings.Builder
	lang  *langValue
	width int // of the screen, 0 without a terminal
}

func newTable(w io.Writer, l *langValue) *table {
	t := &table{lang: l}
	t.width, _, _ = terminal.Size(w)
	return t
}

// hanging is the column of the texts, and of the continuation of lines that are too wide.
const hanging = 10

// row adds a line. One without a word continues the line before it.
func (t *table) row(word phrase, text phrase, args ...any) {
	line := fmt.Sprintf("%-8s  %s", word.in(t.lang), text.in(t.lang, args...))
	t.WriteString(terminal.Fold(strings.TrimRight(line, " "), t.width, hanging) + "\n")
}

// writeStatus prints the state of the agent. now is the time of day of the reader; note is what to do about the
// configuration, "" for nothing.
func writeStatus(w io.Writer, s agent.Status, now time.Time, lang *langValue, note string) error {
	t := newTable(w, lang)
	t.status(s, now, note)
	_, err := io.WriteString(w, t.String())
	return err
}

func (t *table) status(s agent.Status, now time.Time, note string) {
	t.head(s, now)
	told := map[fault]bool{}
	for _, h := range s.Health {
		if note != "" && h.Code == contract.ConfigChanged {
			continue // said at the end, where it is seen
		}
		t.health(h, now)
		told[fault{h.Dev, h.Detail}] = true
		t.hint(s.Lines, h.Dev)
	}
	t.warnings(s.Lines)
	for _, l := range s.Lines {
		t.line(l, now, told)
	}
	if note != "" {
		t.WriteString("\n")
		t.row(phrase("warning"), phrase("%s"), note)
	}
}

// fault is what the machine says that is wrong with a device.
type fault struct{ device, text string }

func (t *table) head(s agent.Status, now time.Time) {
	simulated := phrase("")
	if s.Simulation {
		simulated = phrase(", simulation")
	}
	t.row(phrase("node"), phrase("%s, bordo %s, up %s, %v%v"),
		s.Node, s.Version, ageText(now, s.Since, t.lang), clockText(s.Clock), simulated)
	broker := phrase("broker")
	switch r := s.Broker; {
	case r.URL == "":
		t.row(broker, phrase("not asked yet"))
	case r.Connected:
		t.row(broker, phrase("%s, connected for %s"), r.URL, ageText(now, r.Since, t.lang))
	default:
		t.row(broker, phrase("%s, not connected for %s, %s%s"),
			r.URL, ageText(now, r.Since, t.lang), count(r.Attempts, attemptNoun, t.lang), reason(r.Error, t.lang))
	}
	if s.Sent.Month != "" {
		t.row(phrase("sent"), phrase("%s in %s"), decimalText(s.Sent.Bytes), s.Sent.Month)
	}
	t.store(s, now)
	if s.Lost > 0 {
		t.row(phrase("lost"), phrase("%s since the node was installed, each told to the centre as a gap"),
			count(int(min(s.Lost, math.MaxInt32)), recordNoun, t.lang))
	}
}

// store prints the state of the store, and its writes to flash.
func (t *table) store(s agent.Status, now time.Time) {
	store := phrase("store")
	if s.Store.Error != "" {
		t.row(store, phrase(s.Store.Error))
		return
	}
	n := uint64(0)
	for _, k := range s.Store.Backlog {
		n += k.N
	}
	t.row(store, phrase("%s of %s, %s not acknowledged, epoch %s"),
		byteText(s.Store.Bytes, t.lang), byteText(s.Store.Max, t.lang),
		count(int(min(n, math.MaxInt32)), recordNoun, t.lang), s.Store.Epoch)
	if s.Store.FromMemory {
		t.row(phrase(""), phrase("IN MEMORY ONLY: a power cut costs what is not delivered"))
	}
	if s.Store.Fault != "" {
		t.row(phrase(""), phrase("cannot write: %s"), s.Store.Fault)
	}
	since := phrase("in the last day")
	if now.Sub(s.Since) < 24*time.Hour {
		since = phrase("since the start")
	}
	t.row(phrase("written"), phrase("%s to the card %v"), byteText(s.Store.WrittenDay, t.lang), since)
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

// reason formats an error that explains the text before it.
func reason(err string, l *langValue) string {
	if err == "" {
		return ""
	}
	return ": " + causeText(err, l)
}

func clockText(c contract.Clock) phrase {
	switch c {
	case contract.ClockSync:
		return phrase("clock set")
	case contract.ClockEst:
		return phrase("clock estimated")
	}
	return phrase("clock not set")
}

// health prints a condition: what is wrong, where to look first, and the machine's message.
func (t *table) health(h contract.Health, now time.Time) {
	word := phrase(h.Severity) // fault or warning
	text := t.lang.Of(h.Text.It, h.Text.En)
	if text == "" {
		text = h.Code
	}
	if h.Dev != "" {
		text = h.Dev + ": " + text
	}
	t.row(word, phrase("%s, for %s%s"), text, ageText(now, time.UnixMilli(h.Since), t.lang), reason(h.Detail, t.lang))
	if h.Flaps > 0 {
		t.row(phrase(""), phrase("intermittent: came back %s"), count(h.Flaps, timeNoun, t.lang))
	}
	if h.OKSince > 0 {
		t.row(phrase(""), phrase("not seen for %s: closes unless it comes back"),
			ageText(now, time.UnixMilli(h.OKSince), t.lang))
	}
}

// hint prints what to change in the configuration, after the condition of a device for which that helps.
func (t *table) hint(lines []agent.LineStatus, device string) {
	for _, l := range lines {
		for _, d := range l.Devices {
			if hint := causeHint(d.Cause, l.Port); d.ID == device && *t.lang == "it" && hint != "" {
				t.row(phrase(""), hint)
			}
		}
	}
}

// warnings prints what is not read of devices that otherwise answer well.
func (t *table) warnings(lines []agent.LineStatus) {
	for _, l := range lines {
		for _, d := range l.Devices {
			if d.Warning != "" {
				t.row(phrase("warning"), phrase("%s: not everything is read: %s"), d.ID, d.Warning)
			}
		}
	}
}

// line prints a line with its devices. It does not repeat faults of theirs that were already printed.
func (t *table) line(l agent.LineStatus, now time.Time, told map[fault]bool) {
	state := phrase("open").in(t.lang)
	if !l.Open {
		state = phrase("closed").in(t.lang)
		if asleep := func(d agent.DeviceStatus) bool { return d.Asleep }; slices.ContainsFunc(l.Devices, asleep) &&
			!slices.ContainsFunc(l.Devices, func(d agent.DeviceStatus) bool { return !d.Asleep }) {
			state = phrase("closed, it is night").in(t.lang)
		} else if !slices.ContainsFunc(l.Devices,
			func(d agent.DeviceStatus) bool { return told[fault{d.ID, l.Error}] }) {
			state += reason(l.Error, t.lang)
		}
	}
	if e := l.Errors; e != nil && e.Framing+e.Parity+e.Overrun > 0 {
		state += phrase(", damaged characters: %d framing, %d parity, %d overrun (baud, parity or wiring)").in(t.lang,
			e.Framing, e.Parity, e.Overrun)
	}
	t.WriteString("\n")
	t.row(phrase("line"), phrase("%s, %s, %s"), l.ID, l.Port, state)
	devices := terminal.Table{Inset: 2}
	for _, d := range l.Devices {
		last := phrase("never answered").in(t.lang)
		if !d.Last.IsZero() {
			last = phrase("answered %s ago").in(t.lang, ageText(now, d.Last, t.lang))
		}
		devices.Rows = append(devices.Rows,
			[]string{d.ID, d.Model, last, strings.Join(deviceText(d, t.lang, told), ", ")})
	}
	t.WriteString(devices.Text(t.width))
}

// deviceText returns the fault of a device, unless it was already printed, and its first values.
func deviceText(d agent.DeviceStatus, l *langValue, told map[fault]bool) []string {
	var text []string
	switch {
	case d.Asleep:
		text = append(text, phrase("asleep").in(l))
	case d.Error != "" && !told[fault{d.ID, d.Error}]:
		text = append(text, strings.ReplaceAll(causeText(d.Error, l), "\n", "; "))
	}
	if len(d.Quarantined) > 0 {
		text = append(text, phrase("refuses ").in(l)+strings.Join(d.Quarantined, " "))
	}
	for _, v := range d.Values {
		if len(text) >= maxValues {
			break
		}
		if v.Value != nil && v.Value != "" {
			text = append(text, pointText(v, l))
		}
	}
	return text
}

func pointText(p agent.PointStatus, l *langValue) string {
	var v string
	switch x := p.Value.(type) {
	case float64:
		// Adding 0 turns a rounded -0 into 0.
		v = strconv.FormatFloat(math.Round(x*1000)/1000+0, 'f', -1, 64)
	case bool:
		v = map[bool]phrase{true: phrase("yes"), false: phrase("no")}[x].in(l)
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

func byteText(n int64, l *langValue) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return strconv.FormatFloat(math.Round(10*float64(n)/float64(u.size))/10, 'f', -1, 64) + " " + u.name
		}
	}
	return count(int(n), byteNoun, l)
}
