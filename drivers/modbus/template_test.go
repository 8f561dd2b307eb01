package modbus_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"bordo/drivers"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus"
	goldenfile "bordo/drivers/modbus/golden"
	"bordo/drivers/modbus/slave"
)

// newModel runs what "make new-model" runs, in a given directory.
func newModel(t *testing.T, into, name string) (output string, code int) {
	t.Helper()
	cmd := exec.Command("bash", "../../.ci/new-model", name, into)
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// The files of a new model are a valid profile, a golden case that it decodes, and a note. All tests pass
// before anything is filled in, so a later failure concerns what was filled in.
func TestNewModel(t *testing.T) {
	into := t.TempDir()
	if output, code := newModel(t, into, "acme-meter3"); code != 0 || !strings.Contains(output, "make generate") {
		t.Fatalf("exit code %d: %s", code, output)
	}
	if output, code := newModel(t, into, "acme-meter3"); code != 1 || !strings.Contains(output, "is there already") {
		t.Errorf("again: exit code %d: %s", code, output)
	}
	for _, name := range []string{"", "acme", "Acme-Meter", "acme_meter", "../x-y", "acme-"} {
		if output, code := newModel(t, into, name); code != 2 ||
			!strings.Contains(output, "vendor-family in lower case") {
			t.Errorf("%q: exit code %d: %s", name, code, output)
		}
	}
	var files []string
	err := filepath.WalkDir(into, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, into+"/"))
		}
		return err
	})
	if got := strings.Join(files, " "); err != nil ||
		got != "drivers/modbus/profiles/acme-meter3.yaml drivers/modbus/testdata/acme-meter3/basic.txtar firmware-notes/acme-meter3.md" {
		t.Fatalf("created %s (%v)", got, err)
	}
	text := func(i int) []byte {
		data, err := os.ReadFile(filepath.Join(into, files[i]))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	p, err := modbus.Load("acme-meter3.yaml", text(0))
	if err != nil {
		t.Fatal(err)
	}
	f, err := goldenfile.Parse("basic.txtar", text(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nmodel: acme-meter3\n", "quirks: [acme-meter3-oddity]",
		"\n### acme-meter3-oddity\n"} {
		if !strings.Contains(string(text(2)), want) || p.Quirks[0].ID != "acme-meter3-oddity" {
			t.Errorf("the note has no %q", want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		here, there := driverstest.Wire(0)
		unit, replay := slave.NewReplay(f)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- slave.ServeRTU(ctx, there, map[byte]slave.Answerer{unit: replay}, slave.RTU{}) }()
		rep, _, err := modbus.Of(p).Capture(ctx, drivers.Line{Baud: 9600, CharLen: 10}, here,
			drivers.Device{ID: "d", Model: p.Model, Unit: int(unit)})
		if err != nil || rep.Err != nil {
			t.Errorf("%v, %v", err, rep.Err)
		}
		got := map[string]float64{}
		for _, r := range rep.Readings {
			got[r.Point] = r.Value.Float()
		}
		if len(f.Readings) != 2 || got["ac_power"] != 1234 || got["frequency"] != 50 {
			t.Errorf("golden case decodes to %v, want %v", got, f.Readings)
		}
		cancel()
		<-ended
	})
}

// No line of the templates that only instructs the author remains in one of our files.
func TestNoTemplateTextRemains(t *testing.T) {
	templateLines := map[string]bool{}
	for _, file := range []string{"template/profile.yaml", "template/basic.txtar"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if regexp.MustCompile(`VENDOR|FAMILY|DOCUMENT|its documents do not say`).MatchString(line) {
				templateLines[strings.TrimSpace(line)] = true
			}
		}
	}
	if len(templateLines) < 6 {
		t.Fatalf("the templates have only %d such lines", len(templateLines))
	}
	profiles, err := filepath.Glob("profiles/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	goldens, err := filepath.Glob("testdata/*-*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(profiles, goldens...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			if n++; templateLines[strings.TrimSpace(line)] {
				t.Errorf("%s:%d: %q is still the template's text", file, n, strings.TrimSpace(line))
			}
		}
	}
}
