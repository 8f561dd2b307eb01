package modbus_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bordo/drivers"
	"bordo/drivers/modbus"
)

// files creates a directory with files.
func files(t *testing.T, text map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range text {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func embeddedText(t *testing.T, model string) string {
	t.Helper()
	text, err := os.ReadFile("profiles/" + model + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const localMeter = `schema: 1
model: acme-meter
title: Acme meter
kind: meter
verified: field
bus: baud=9600&parity=none&stop=1
points:
  - {point: ac_power, at: input:0, type: i32}
commands:
  - {action: relay.pulse, steps: [{at: coil:1, value: 0xFF00}]}
channels:
  - {channel: do1, at: coil:1, type: bool, write: true}
`

// A site's own profiles are read strictly, are never verified, and never write.
func TestSiteProfiles(t *testing.T) {
	dir := files(t, map[string]string{
		"acme-meter.yaml":    localMeter,
		"came-gard-ptx.yaml": embeddedText(t, "came-gard-ptx"),
		"sunspec.yaml":       embeddedText(t, "sunspec"),
		".hidden.yaml":       "nonsense", "README.txt": "nonsense", "acme-meter.yaml~": "nonsense",
	})
	if err := os.Mkdir(filepath.Join(dir, "old.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	own := modbus.New()
	extended, err := own.WithModels(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := extended
	if len(d.Models()) != len(own.Models())+1 {
		t.Errorf("%d models, want one more than %d", len(d.Models()), len(own.Models()))
	}
	for _, model := range []string{"acme-meter", "came-gard-ptx", "sunspec"} {
		p, ok := d.Profile(model)
		if !ok || p.Verified != "unverified" || len(p.Commands) > 0 ||
			slices.ContainsFunc(p.Channels, func(c modbus.Channel) bool { return c.Write }) {
			t.Errorf("%s: %v, verified by %s, %d commands", model, ok, p.Verified, len(p.Commands))
		}
		if p.SunSpec != nil && slices.ContainsFunc(p.SunSpec.Models,
			func(m modbus.SunSpecModel) bool { return len(m.Commands) > 0 }) {
			t.Errorf("%s: a SunSpec model has commands", model)
		}
	}
	for _, model := range []string{"came-gard-ptx", "sunspec"} {
		p, _ := own.Profile(model)
		n := len(p.Commands)
		if p.SunSpec != nil {
			for _, m := range p.SunSpec.Models {
				n += len(m.Commands)
			}
		}
		if p.Verified == "unverified" || n == 0 {
			t.Errorf("the embedded profile %s was changed: %s, %d commands", model, p.Verified, n)
		}
	}
	if _, err := d.Link(drivers.Line{ID: "l", Stream: true},
		[]drivers.Device{{ID: "m", Model: "acme-meter", Unit: 1}}); err != nil {
		t.Error(err)
	}
}

func TestSiteProfilesWithFaults(t *testing.T) {
	dir := files(t, map[string]string{
		"acme-meter.yaml": strings.Replace(localMeter, "type: i32", "type: i33", 1),
		"acme-other.yaml": strings.Replace(localMeter, "kind: meter", "kind: meters", 1),
	})
	_, err := modbus.New().WithModels(dir)
	want := []string{
		dir + "/acme-meter.yaml:8:", `type`,
		dir + "/acme-other.yaml:4:7: kind: must be",
	}
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in\n%v", w, err)
		}
	}
	dir = files(t, map[string]string{"other.yaml": localMeter})
	if _, err := modbus.New().WithModels(dir); err == nil ||
		err.Error() != dir+`/other.yaml:1:1: model: must be the file's name (got "acme-meter")` {
		t.Errorf("got %v", err)
	}
	if _, err := modbus.New().WithModels(dir + "/none"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
	many := map[string]string{}
	for i := range 257 {
		many[fmt.Sprintf("acme-m%d.yaml", i)] = strings.Replace(localMeter, "acme-meter", fmt.Sprintf("acme-m%d", i), 1)
	}
	if _, err := modbus.New().WithModels(files(t, many)); err == nil ||
		!strings.Contains(err.Error(), "more than 256") {
		t.Errorf("got %v", err)
	}
}
