package main

import (
	"context"
	"flag"
	"io"
	"strings"

	"bordo/cmd/terminal"
	"bordo/drivers/catalogue"
)

func pointsCommand(l *langValue) command {
	return command{
		name:  "points",
		brief: phrase("the names that a value can have: for terminals and for profiles").in(l),
		text: phrase(`Lists the catalogue of points: the name to write under points in the configuration or in a profile, the unit and what it
is. With a TEXT only those that have it in them: bordo points door. Counters only rise. DC inputs are numbered from 1 to
32.`).in(l),
		takes: phrase("[TEXT]").in(l),
		most:  1,
		flags: func(set *flag.FlagSet) action {
			asJSON := jsonFlag(set, l)
			langFlag(set, l)
			return func(_ context.Context, c console, operands []string) error {
				return points(c, strings.Join(operands, ""), *asJSON, l)
			}
		},
	}
}

// points prints the points of the catalogue whose name or label, in either language, has text in it.
func points(c console, text string, asJSON bool, l *langValue) error {
	var found []catalogue.Point
	for _, p := range catalogued() {
		if strings.Contains(strings.ToLower(p.Key+"\n"+p.It+"\n"+p.En), strings.ToLower(text)) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return phrase("no point has %q in it; all of them: bordo points").fault(text)
	}
	if asJSON {
		return writePointsJSON(c, found)
	}
	t := terminal.Table{Head: strings.Split(phrase("point,unit,kind,what it is").in(l), ",")}
	for _, p := range found {
		t.Rows = append(t.Rows, []string{p.Key, unitText(p), kindText(p, l), l.Of(p.It, p.En)})
	}
	width, _, _ := terminal.Size(c.out)
	_, err := io.WriteString(c.out, t.Text(width))
	return err
}

// catalogued returns all points, with DC input 1 representing the numbered ones.
func catalogued() []catalogue.Point {
	list := append([]catalogue.Point(nil), catalogue.Points()...)
	for _, key := range []string{"dc1_voltage", "dc1_current", "dc1_power"} {
		if p, ok := catalogue.PointOf(key); ok {
			list = append(list, p)
		}
	}
	return list
}

func unitText(p catalogue.Point) string {
	if p.Unit == "" || p.Unit == "1" {
		return "-"
	}
	return p.Unit
}

// kindText says how a point behaves, and of a state whether it is one of two.
func kindText(p catalogue.Point, l *langValue) string {
	switch {
	case p.Type == catalogue.Bool:
		return phrase("yes/no").in(l)
	case p.Kind == catalogue.Counter:
		return phrase("counter").in(l)
	case p.Kind == catalogue.Gauge:
		return phrase("gauge").in(l)
	case p.Kind == catalogue.StateKind:
		return phrase("state").in(l)
	}
	return phrase("text").in(l)
}

func writePointsJSON(c console, list []catalogue.Point) error {
	type point struct {
		Point string            `json:"point"`
		Type  string            `json:"type"`
		Unit  string            `json:"unit,omitempty"` // UCUM
		Kind  string            `json:"kind"`
		Label map[string]string `json:"label"`
		Words []string          `json:"words,omitempty"` // that a state can be
	}
	var out []point
	for _, p := range list {
		out = append(out, point{p.Key, p.Type.String(), p.Unit, string(p.Kind),
			map[string]string{"it": p.It, "en": p.En}, p.Enum})
	}
	return writeJSON(c, out)
}
