package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// first lists the points that people look for first. What does not fit on the screen is left out from the other end.
var first = []string{"state", "ac_power", "ac_energy", "import_energy", "export_energy", "position", "cycles",
	"frequency", "ac_voltage_l1", "temperature", "dc_power", "power_factor"}

// table gives the picture of the moment in at most rows lines.
func (v *view) table(now time.Time, rows int) []string {
	head := []string{
		fmt.Sprintf("Bordo on a simulated site: node %s, %s, %d samples (%d late), %d events",
			v.state, now.Sub(v.started).Truncate(time.Second), v.samples, v.late, v.events),
		"Watch the broker:  " + v.hint(),
		"",
		fmt.Sprintf("%-12s %-18s %14s %-7s %-10s %s", "DEVICE", "POINT", "VALUE", "UNIT", "QUALITY", "AGE"),
	}
	foot := []string{"", "Ctrl-C ends everything and leaves nothing behind."}
	if len(v.devices) == 0 {
		return append(append(head, "waiting for the agent ..."), foot...)
	}
	ids := make([]string, 0, len(v.devices))
	for id := range v.devices {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	body := []string{}
	left := rows - len(head) - len(foot)
	for i, id := range ids {
		share := max(1, left/(len(ids)-i))
		lines := v.devices[id].rows(id, now, share)
		left -= len(lines)
		body = append(body, lines...)
	}
	return append(append(head, body...), foot...)
}

// rows shows a device in at most n lines.
func (d *deviceView) rows(id string, now time.Time, n int) []string {
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
		name := ""
		if i == 0 {
			name = id
		} else {
			age = ""
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%-12s %-18s %14s %-7s %-10s %s", name, key, short(f.value), d.unit(key), f.quality, age), " "))
	}
	if hidden > 0 {
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
