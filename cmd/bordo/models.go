package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"bordo/agent/config"
	"bordo/cmd/terminal"
	"bordo/drivers"
	"bordo/drivers/all"
)

func modelsVerb() verb {
	return verb{
		name:  "models",
		brief: "the models of device that this program knows",
		text: `Lists every model with its kind, the serial settings that it is delivered with, and how far it was verified:

  unverified  made from documents alone, or one of profiles_dir: compare the first readings with the display
  paper       made from documents, and its tests decode frames that are not ours
  capture, bench, field   checked against what a real one answered, on the bench, at a site`,
		flags: func(set *flag.FlagSet) action {
			path := configFlag(set)
			asJSON := set.Bool("json", false, "print everything, as JSON")
			return func(_ context.Context, c console, _ []string) error { return models(c, *path, *asJSON) }
		},
	}
}

// siteDrivers are the built-in drivers, with the models of the site where there is a configuration. Where there is one with
// faults they are told, and the built-in drivers must do.
func siteDrivers(c console, path string) ([]drivers.Driver, *config.Config) {
	cfg, err := load(path)
	switch {
	case err == nil:
		return cfg.Drivers, cfg
	case !errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(c.err, "bordo: the configuration has faults, so it is left out of this: bordo check --config %s\n", path)
	}
	return all.List(), nil
}

func models(c console, path string, asJSON bool) error {
	var list []drivers.Model
	known, _ := siteDrivers(c, path)
	for _, d := range known {
		list = append(list, d.Models()...)
	}
	slices.SortFunc(list, func(a, b drivers.Model) int { return cmp.Compare(a.Name, b.Name) })
	if asJSON {
		return writeModelsJSON(c, list)
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "MODEL\tKIND\tBUS\tVERIFIED\tWHAT IT IS")
	for _, m := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Name, m.Kind, busText(m.Bus), m.Proof(), m.Title)
	}
	t.Flush() //nolint:errcheck // a strings.Builder takes everything
	return terminal.Write(c.out, b.String())
}

func writeModelsJSON(c console, list []drivers.Model) error {
	type model struct {
		Model    string   `json:"model"`
		Title    string   `json:"title"`
		Kind     string   `json:"kind"`
		Bus      string   `json:"bus,omitempty"`
		Serial   bool     `json:"serial"`
		TCP      bool     `json:"tcp"`
		Every    string   `json:"every"`
		Verified string   `json:"verified"`
		Frames   []string `json:"frames,omitempty"` // where those come from that its tests decode
		Points   []string `json:"points,omitempty"`
	}
	var out []model
	for _, m := range list {
		out = append(out, model{m.Name, m.Title, m.Kind, m.Bus, m.Serial, m.Streams, m.Every.String(), m.Proof(), m.Frames, m.Points})
	}
	return writeJSON(c, out)
}

// writeJSON prints a value for another program.
func writeJSON(c console, v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false) // a port URL stays one
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return nil
}

// busText is the short form of serial settings: 9600 8N1.
func busText(bus string) string {
	q, err := url.ParseQuery(bus)
	if err != nil || bus == "" {
		return "-"
	}
	parity := strings.ToUpper(cmp.Or(q.Get("parity"), "none")[:1])
	return fmt.Sprintf("%s %s%s%s", cmp.Or(q.Get("baud"), "9600"), cmp.Or(q.Get("bits"), "8"), parity, cmp.Or(q.Get("stop"), "1"))
}
