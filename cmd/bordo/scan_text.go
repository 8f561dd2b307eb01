package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"bordo/agent"
	"bordo/cmd/terminal"
	"bordo/drivers/line"
	"bordo/drivers/scan"
)

// watcher shows a person the progress of a scan, and keeps its findings.
type watcher struct {
	c      console
	desk   *client
	lang   *langValue
	asJSON bool
	bar    *bar

	mu       sync.Mutex
	found    []scan.Found // guarded by mu, as all below
	troubles []*scan.Trouble
	unasked  []*scan.Unasked
	through  []string // lines that were asked through the agent
}

func newWatcher(c console, d *client, lang *langValue, asJSON bool) *watcher {
	return &watcher{c: c, desk: d, lang: lang, asJSON: asJSON, bar: newBar(c.err, lang)}
}

// say prints a line beside the bar.
func (w *watcher) say(text string) {
	w.bar.clear()
	if !w.asJSON {
		io.WriteString(w.c.err, terminal.FoldLines(text+"\n", w.bar.width,
			3)) //nolint:errcheck // who does not read any more has stopped it
	}
}

func (w *watcher) began(path string, settings int) {
	w.say(phrase("Looking on %s, with %d speeds and parities.\nIt only reads; Ctrl-C stops it.").in(w.lang, path,
		settings))
}

func (w *watcher) throughAgent(l *agent.LineStatus) {
	w.through = append(w.through, l.ID)
	var has []string
	for _, d := range l.Devices {
		has = append(has, fmt.Sprintf("%d = %s", d.Unit, d.ID))
	}
	text := phrase("Line %s is the running agent's, which has %s already.\nAsking the other numbers through it, between its polls.").in(w.lang, l.ID, strings.Join(has, ", "))
	if strings.HasPrefix(l.Port, "serial:") {
		text += phrase("\nOnly at %s; to try other speeds: systemctl stop bordo").in(w.lang, portText(l.Port))
	}
	w.say(text)
}

// take handles an event of the scan.
func (w *watcher) take(e scan.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case e.Progress != nil:
		w.bar.draw(e.Progress)
	case e.Found != nil:
		e.Found.Device = w.desk.known(e.Found)
		w.found = append(w.found, *e.Found)
		w.say(foundText(*e.Found, w.lang))
	case e.Unasked != nil:
		w.unasked = append(w.unasked, e.Unasked)
	case e.Trouble != nil:
		w.troubles = append(w.troubles, e.Trouble)
		w.say(troubleText(e.Trouble, w.lang))
		if e.Trouble.Cause == scan.NoPort {
			hint := foundPorts()
			switch {
			case strings.Contains(e.Trouble.Detail, fs.ErrPermission.Error()):
				hint = phrase(" (%s)").with(portOwner())
			case strings.Contains(e.Trouble.Detail, "busy: "):
				hint = portHolder().with()
			}
			w.say(" " + sentence(hint, w.lang))
		}
	}
	if w.asJSON {
		lines := json.NewEncoder(w.c.out)
		lines.SetEscapeHTML(false)
		lines.Encode(e) //nolint:errcheck // who does not read any more has stopped it
	}
}

// told reports whether an error was already explained.
func (w *watcher) told(err error) bool {
	return slices.ContainsFunc(w.troubles,
		func(t *scan.Trouble) bool { return t.Cause == scan.NoPort && strings.Contains(err.Error(), t.Detail) })
}

// sum prints what was not scanned and, unless it is written to a file, what to add to the configuration.
func (w *watcher) sum(propose bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.unasked {
		w.say("\n" + unaskedText(u, w.lang))
	}
	if propose {
		w.proposal()
	}
	if slices.ContainsFunc(w.found, func(f scan.Found) bool { return f.Model != "" && f.Device == "" && !f.Sure }) {
		w.say("\n" + phrase("\"Probably\": the values look like that model.\nCompare them with the display: bordo read DEVICE").in(w.lang))
	}
}

// unaskedText says with which speeds nothing was looked for, and how to look there.
func unaskedText(u *scan.Unasked, lang *langValue) string {
	var lines []string
	at := portText(u.Port)
	names := func(ports []string) string {
		var out []string
		for _, p := range ports {
			out = append(out, portText(p))
		}
		return strings.Join(out, ", ")
	}
	if len(u.Settings) > 0 {
		lines = append(lines, phrase("Something answers with %s: with other speeds and parities nothing was looked for (%s).\nTo look there as well: --all-speeds").in(lang, at, names(u.Settings)))
	}
	if len(u.Partly) > 0 {
		lines = append(lines, phrase("With %s only numbers %s were asked. To ask the others: --all-speeds --units 1-247").in(lang, names(u.Partly), rangesText(u.Units)))
	}
	return strings.Join(lines, "\n")
}

// rangesText writes numbers that are sorted as 1-5, 126.
func rangesText(list []int) string {
	var out []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if j > i {
			out = append(out, fmt.Sprintf("%d-%d", list[i], list[j]))
		} else {
			out = append(out, fmt.Sprint(list[i]))
		}
		i = j + 1
	}
	return strings.Join(out, ", ")
}

// proposal prints what to write into the configuration.
func (w *watcher) proposal() {
	d := w.desk
	p := d.propose(w.found)
	file := defaultConfig
	if d.cfg != nil {
		file = d.cfg.File
	}
	for _, id := range slices.Sorted(maps.Keys(p.Devices)) {
		w.say("\n" + phrase("To be added in %s, to the devices of line %s:").in(w.lang, file, id) + "\n")
		fmt.Fprint(w.c.out, p.Devices[id])
	}
	if p.Lines == "" {
		return
	}
	what := phrase("To be written into %s (then: bordo check):")
	if d.cfg != nil && len(d.cfg.Lines) > 0 { // a second "lines:" would be a fault
		what = phrase("To be added in %s, at the end of lines: (then: bordo check):")
		p.Lines = strings.TrimPrefix(p.Lines, "lines:\n")
	}
	w.say("\n" + what.in(w.lang, file) + "\n")
	fmt.Fprint(w.c.out, p.Lines)
	w.say("\n" + phrase("bordo scan writes it by itself with --add %s").in(w.lang, file))
}

// foundText is a device in one line.
func foundText(f scan.Found, lang *langValue) string {
	what := f.Title
	switch {
	case f.Model == "":
		what = phrase("answers, model not recognised").in(lang)
	case !f.Sure:
		what = phrase("probably ").in(lang) + what
	}
	if name := strings.TrimSpace(f.Maker + " " + f.Product); name != "" && !strings.Contains(what, name) {
		what += ", " + name
	}
	if f.Serial != "" {
		what += phrase(", serial ").in(lang) + f.Serial
	}
	if f.Warning != "" {
		what += phrase(", not everything can be read: ").in(lang) + f.Warning
	}
	if f.Device != "" {
		what += phrase(" = %s, configured already").in(lang, f.Device)
	}
	if len(f.Candidates) > 0 && f.Model == "" {
		var models []string
		for _, c := range f.Candidates {
			models = append(models, c.Model)
		}
		what += phrase("; perhaps ").in(lang) + strings.Join(models, ", ")
	}
	return fmt.Sprintf("+ %s, %s %d: %s", portText(f.Port), phrase("number").in(lang), f.Unit, what)
}

// portText is a port as a person calls it: an address, or the settings of a serial line.
func portText(port string) string {
	e, err := line.Parse(port)
	if err != nil {
		return port
	}
	if e.Scheme != line.Serial {
		return e.Host
	}
	_, bus, _ := strings.Cut(port, "?")
	return busText(bus)
}

// troubleText returns what is probably wrong, and what to do about it.
func troubleText(t *scan.Trouble, lang *langValue) string {
	p, known := map[scan.Cause]phrase{
		scan.NoPort:      phrase("The port cannot be used."),
		scan.OtherMaster: phrase("Another master asks on this line: two masters disturb each other.\n  Disconnect the other one (logger, display, another program), then try again."),
		scan.Garbage:     phrase("Something is heard, but no frames: wrong speed or parity, or interference.\n  1) speed and parity in the menu  2) keep the cable away from power cables\n  3) the 120 ohm resistor at both ends only  4) connect GND as well"),
		scan.OnlyEcho:    phrase("The adapter hears only itself: it works, but nobody answers.\n  1) swap A and B  2) has the device power?  3) Modbus switched on in its menu?"),
		scan.Silence:     phrase("Nothing at all is heard.\n  1) swap A and B (the most common cause)  2) has the device power?\n  3) the right terminals? the cable whole?  4) Modbus switched on in its menu?"),
		scan.Refused:     phrase("The address is there, but Modbus is not listening.\n  Switch on Modbus TCP in the device's menu; the port is often 502 or 1502."),
		scan.Unreachable: phrase("No answer from this address.\n  1) network cable, Wi-Fi  2) the right address?  3) the same network?"),
		scan.NotModbus:   phrase("The connection opens, but nobody answers.\n  1) another program holds the device (many take one connection only)\n  2) its Modbus number is another one: --units 1-247  3) the port is not Modbus"),
		scan.NobodyThere: phrase("The gateway answers, the devices behind it do not.\n  Check the RS-485 line behind it: A and B, power, speed, parity."),
		scan.EveryUnit:   phrase("This address answers under every Modbus number: usually that is one device.\n  In the configuration, use the number that was found first."),
		scan.OtherIDs:    phrase("The gateway answers with another transaction id.\n  When it always does that, write ?ids=tolerant at the end of the port."),
		scan.RTUFrames:   phrase("RTU frames are spoken here, not Modbus TCP: this is a serial server.\n  Write rtu+tcp:// instead of tcp://."),
		scan.TCPFrames:   phrase("Modbus TCP is spoken here, not RTU frames.\n  Write tcp:// instead of rtu+tcp://."),
	}[t.Cause]
	if !known {
		return "! " + string(t.Cause) + ": " + t.Detail
	}
	detail := t.Detail
	if !strings.HasPrefix(detail, "open ") { // an error of a port names it
		detail = strings.TrimPrefix(portText(t.Port)+": "+detail, ": ")
	}
	if said := causeText(detail, lang); said != detail {
		detail = said
		if e, err := line.Parse(t.Port); err == nil && e.Scheme == line.Serial {
			detail = e.Path + ": " + said
		}
	}
	return "! " + p.in(lang) + "\n  (" + detail + ")"
}
