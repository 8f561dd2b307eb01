package bordo_test

import (
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bordo/agent/config"
	"bordo/drivers"
	"bordo/drivers/all"
)

const (
	sampleFile  = "packaging/bordo.yaml"
	devicesFile = "docs/devices.md" // with the table of supported devices
)

var update = flag.Bool("update", false, "rewrite the generated parts")

// TestGenerated compares the generated part of the page with the models of the drivers; -update rewrites it.
func TestGenerated(t *testing.T) {
	text, err := os.ReadFile(devicesFile)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := regenerate(string(text), map[string]string{"models": modelTable(t, all.List())})
	if err != nil {
		t.Fatalf("%s: %v", devicesFile, err)
	}
	if fresh == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale: make generate", devicesFile)
	}
	if err := os.WriteFile(devicesFile, []byte(fresh), 0o644); err != nil {
		t.Fatal(err)
	}
}

var section = regexp.MustCompile(`(?s)<!-- generated: ([a-z]+) -->\n(.*?)<!-- end of \w+ -->\n`)

// regenerate replaces what stands between the markers. Each part must have its markers once, and no other may be there.
func regenerate(text string, parts map[string]string) (string, error) {
	left := maps.Clone(parts)
	var fault error
	fresh := section.ReplaceAllStringFunc(text, func(found string) string {
		name := section.FindStringSubmatch(found)[1]
		part, ok := left[name]
		if !ok {
			fault = fmt.Errorf("part %q is unknown, or there twice", name)
		}
		delete(left, name)
		return fmt.Sprintf("<!-- generated: %s -->\n%s<!-- end of %s -->\n", name, part, name)
	})
	if len(left) > 0 {
		fault = fmt.Errorf("parts without markers: %q", slices.Sorted(maps.Keys(left)))
	}
	return fresh, fault
}

func TestRegenerate(t *testing.T) {
	parts := map[string]string{"a": "new\n"}
	const good = "x\n<!-- generated: a -->\nold\nolder\n<!-- end of a -->\ny\n"
	got, err := regenerate(good, parts)
	if want := "x\n<!-- generated: a -->\nnew\n<!-- end of a -->\ny\n"; err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"", good + good, strings.ReplaceAll(good, ": a", ": b"),
		strings.Replace(good, "<!-- end", "<!--", 1)} {
		if _, err := regenerate(bad, parts); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// modelTable is the table of supported devices.
func modelTable(t *testing.T, list []drivers.Driver) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| model | device | lines | bus, as delivered | poll | verified |\n|---|---|---|---|---|---|\n")
	for _, driver := range list {
		for _, m := range driver.Models() {
			var lines []string
			if m.Streams {
				lines = append(lines, "`tcp`")
			}
			if m.Serial {
				lines = append(lines, "`serial`", "`serial+tcp`")
			}
			fmt.Fprintf(&b, "| [`%s`](../firmware-notes/%s.md) | %s | %s | %s | %s | %s |\n", m.Name, m.Name, m.Title,
				strings.Join(lines, ", "),
				bus(t, m.Bus), strings.Replace(m.Every.String(), "m0s", "m", 1), evidence(m))
		}
	}
	return b.String()
}

// bus writes the settings of a port URL as electricians do: 9600 8N1.
func bus(t *testing.T, settings string) string {
	t.Helper()
	if settings == "" {
		return "–"
	}
	q, err := url.ParseQuery(settings)
	if err != nil {
		t.Fatal(err)
	}
	bits, parity := q.Get("bits"), q.Get("parity")
	if bits == "" {
		bits = "8"
	}
	if q.Get("baud") == "" || parity == "" || q.Get("stop") == "" {
		t.Fatalf("bus %q lacks baud, parity or stop", settings)
	}
	return fmt.Sprintf("%s %s%s%s", q.Get("baud"), bits, strings.ToUpper(parity[:1]), q.Get("stop"))
}

// evidence tells how far a model was verified, and where the frames come from that its tests decode.
func evidence(m drivers.Model) string {
	if len(m.Frames) == 0 {
		return m.Proof()
	}
	return fmt.Sprintf("%s; %s", m.Proof(), strings.ReplaceAll(strings.Join(m.Frames, ", "), "-", " "))
}

// commented is a key that the sample shows with its default: "  # window: 20     what it is".
var commented = regexp.MustCompile(`(?m)^(  )# ([a-z_]+: \S+)  .*$`)

// TestSample holds the sample configuration to the agent's own reader, to the defaults that its comments name, and to the
// directories that the service unit provides.
func TestSample(t *testing.T) {
	text, err := os.ReadFile(sampleFile)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := config.Parse(sampleFile, text, all.List())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range sample.Warnings {
		if w.Path != "lines" { // there is none yet
			t.Errorf("warning: %v", w)
		}
	}
	if n := len(commented.FindAll(text, -1)); n < 3 {
		t.Errorf("found %d defaults in comments", n)
	}
	spelled, err := config.Parse(sampleFile, commented.ReplaceAll(text, []byte("$1$2")), all.List())
	if err != nil {
		t.Fatalf("with the defaults spelled out: %v", err)
	}
	if !reflect.DeepEqual(spelled.MQTT, sample.MQTT) || spelled.Buffer != sample.Buffer {
		t.Errorf("a comment names something else than the default:\n%+v\n%+v", spelled.MQTT, sample.MQTT)
	}
	unit, err := os.ReadFile("packaging/bordo.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"StateDirectory=bordo\n", "RuntimeDirectory=bordo\n",
		"ConfigurationDirectory=bordo\n", "--config /etc/bordo/bordo.yaml\n"} {
		if !strings.Contains(string(unit), line) {
			t.Errorf("bordo.service lacks %q", line)
		}
	}
	for path, below := range map[string]string{
		sample.Buffer.Dir: "/var/lib/bordo/", sample.Control.Socket: "/run/bordo/",
		sample.MQTT.PasswordFile: "/etc/bordo/",
	} {
		if !strings.HasPrefix(path, below) {
			t.Errorf("%s is not below %s, which the service unit provides", path, below)
		}
	}
}
