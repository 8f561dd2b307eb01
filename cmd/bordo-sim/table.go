package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"bordo/cmd/terminal"
)

// first lists the points that people look for first. What does not fit on the screen is left out from the other end.
var first = []string{"state", "ac_power", "ac_energy", "import_energy", "export_energy", "position", "cycles",
	"frequency", "ac_voltage_l1", "temperature", "dc_power", "power_factor"}

// narrow is a screen on which a row has no room for its unit, quality and age: a phone has 40 columns.
const narrow = 70

// table gives the picture of the moment in at most rows lines of width columns.
func (v *view) table(now time.Time, width, rows int) []string {
	head := []string{
		fmt.Sprintf("Bordo on a simulated site: node %s, %s, %s (%d late), %s",
			v.state, now.Sub(v.started).Truncate(time.Second), terminal.Count(v.samples, "sample"), v.late,
			terminal.Count(v.events, "event")),
		"Watch the broker:  " + v.hint(),
		"",
	}
	foot := []string{"", "Ctrl-C ends everything and leaves nothing behind."}
	if width < narrow {
		head = []string{
			fmt.Sprintf("Bordo, simulated: %s, %s", v.state, terminal.Count(v.samples, "sample")),
			strings.Replace(v.hint(), "-h 127.0.0.1 ", "", 1), "", // mosquitto_sub connects to this machine by default
		}
		foot = []string{"", "Ctrl-C ends everything."}
	}
	if len(v.devices) == 0 {
		return append(append(head, "waiting for the agent ..."), foot...)
	}
	head = append(head, row(width, "DEVICE", "POINT", "VALUE", "UNIT", "QUALITY", "AGE"))
	ids := make([]string, 0, len(v.devices))
	for id := range v.devices {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	body := []string{}
	left := rows - len(head) - len(foot)
	for i, id := range ids {
		share := max(1, left/(len(ids)-i))
		lines := v.devices[id].rows(id, now, width, share)
		left -= len(lines)
		body = append(body, lines...)
	}
	return append(append(head, body...), foot...)
}

// row formats a line of the table. On a narrow screen the unit follows the value, unless that is bad, and the rest is
// omitted.
func row(width int, device, point, value, unit, quality, age string) string {
	if width < narrow {
		if quality == "bad" {
			value, unit = quality, ""
		}
		return strings.TrimRight(fmt.Sprintf("%-9s %-13s %10s %s", terminal.Cut(device, 9), terminal.Cut(point, 13),
			terminal.Cut(value, 10), unit), " ")
	}
	return strings.TrimRight(fmt.Sprintf("%-12s %-18s %14s %-7s %-10s %s", device, point, value, unit, quality, age),
		" ")
}

// rows shows a device in at most n lines.
func (d *deviceView) rows(id string, now time.Time, width, n int) []string {
	keys := sortedKeys(d.fields)
	slices.SortStableFunc(keys, func(a, b string) int { return rank(a) - rank(b) })
	hidden := 0
	if len(keys) > n {
		keys, hidden = keys[:n], len(keys)-n
	}
	age := "-"
	if !d.at.IsZero() {
		age = now.Sub(d.at).Truncate(100 * time.Millisecond).String()
	}
	var lines []string
	for i, key := range keys {
		f := d.fields[key]
		if i > 0 {
			id, age = "", ""
		}
		lines = append(lines, row(width, id, key, short(f.value), d.unit(key), f.quality, age))
	}
	if hidden > 0 && width >= narrow {
		lines[len(lines)-1] += fmt.Sprintf("   (%d more points)", hidden)
	}
	return lines
}

// rank sorts the points of first before all others.
func rank(key string) int {
	if i := slices.Index(first, key); i >= 0 {
		return i
	}
	return len(first)
}

// short rounds a number to two decimals: a table is for people.
func short(value string) string {
	f, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return value
	}
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}
