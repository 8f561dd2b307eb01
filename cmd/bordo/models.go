package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"bordo/agent/config"
	"bordo/cmd/terminal"
	"bordo/drivers"
	"bordo/drivers/all"
)

func modelsCommand(l *langValue) command {
	return command{
		name:  "models",
		brief: phrase("the models of device that this program knows").in(l),
		text: phrase(`Lists every model with its kind, the serial settings that it is delivered with, and how far it was verified:

  unverified  made from documents alone, or one of profiles_dir: compare the first readings with the display
  paper       made from documents, and its tests decode frames that are not ours
  capture, bench, field   checked against what a real one answered, on the bench, at a site`).in(l),
		flags: func(set *flag.FlagSet) action {
			path, asJSON := configFlag(set, l), jsonFlag(set, l)
			langFlag(set, l)
			return func(_ context.Context, c console, _ []string) error { return models(c, *path, *asJSON, l) }
		},
	}
}

// siteDrivers returns the built-in drivers, extended by the models of the site if there is a configuration. If that has
// faults, it reports them and returns the built-in drivers alone.
func siteDrivers(c console, path string, l *langValue) ([]drivers.Driver, *config.Config) {
	cfg, err := load(path)
	switch {
	case err == nil:
		return cfg.Drivers, cfg
	case !errors.Is(err, fs.ErrNotExist):
		leftOut(c, path, l)
	}
	return all.List(), nil
}

// leftOut says that a configuration with faults is not used.
func leftOut(c console, path string, l *langValue) {
	c.tell(phrase("bordo: the configuration has faults, so it is left out of this: bordo check --config %s").in(l,
		path))
}

func models(c console, path string, asJSON bool, l *langValue) error {
	var list []drivers.Model
	known, _ := siteDrivers(c, path, l)
	for _, d := range known {
		list = append(list, d.Models()...)
	}
	slices.SortFunc(list, func(a, b drivers.Model) int { return cmp.Compare(a.Name, b.Name) })
	if asJSON {
		return writeModelsJSON(c, list)
	}
	t := terminal.Table{Head: strings.Split(phrase("model,kind,bus,verified,what it is").in(l), ",")}
	for _, m := range list {
		t.Rows = append(t.Rows, []string{m.Name, string(m.Kind), busText(m.Bus), m.Proof(), m.Title})
	}
	width, _, _ := terminal.Size(c.out)
	_, err := io.WriteString(c.out, t.Text(width))
	return err
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
		out = append(out, model{m.Name, m.Title, string(m.Kind), m.Bus, m.Serial, m.Streams, m.Every.String(),
			m.Proof(), m.Frames, m.Points})
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
	return fmt.Sprintf("%s %s%s%s", cmp.Or(q.Get("baud"), "9600"), cmp.Or(q.Get("bits"), "8"), parity,
		cmp.Or(q.Get("stop"), "1"))
}
