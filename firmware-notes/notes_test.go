package firmwarenotes

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"bordo/drivers/all"
	"bordo/drivers/modbus"
	"bordo/sim"
)

var update = flag.Bool("update", false, "rewrite the generated parts")

const (
	goldens   = "../drivers/modbus/testdata"
	scenarios = "../sim/scenarios"
)

// The headings of a page, in order. The first is for who stands before the device, and in Italian.
var headings = []string{
	"In breve (installatore)",
	"Wiring and defaults",
	"Identify",
	"Registers",
	"Timing",
	"Quirks",
	"Commands and safety",
	"Firmware history",
	"Open questions",
}

// frontMatter is the head of a page.
type frontMatter struct {
	Model    string   `yaml:"model"`
	Driver   string   `yaml:"driver"`
	Firmware []string `yaml:"firmware"` // versions that the facts come from; "not stated" where a source does not say
	Verified string   `yaml:"verified"`
	Sources  []source `yaml:"sources"`
	Quirks   []string `yaml:"quirks"`
}

// source is where facts come from.
type source struct {
	What string `yaml:"what"`
	Page string `yaml:"page"` // page, chapter, file or table
}

// page is a note, taken apart.
type page struct {
	file     string
	text     string
	front    frontMatter
	sections map[string]string
	order    []string
}

func readPage(t *testing.T, file string) *page {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &page{file: file, text: string(data), sections: map[string]string{}}
	head, rest, ok := strings.Cut(strings.TrimPrefix(p.text, front), "\n"+front)
	if !ok || !strings.HasPrefix(p.text, front) {
		t.Fatalf("%s: must begin with front matter between lines of ---", file)
	}
	if err := yaml.UnmarshalWithOptions([]byte(head), &p.front, yaml.Strict()); err != nil {
		t.Fatalf("%s: front matter: %v", file, err)
	}
	for _, part := range strings.Split("\n"+rest, "\n## ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		p.order = append(p.order, name)
		p.sections[name] = text
	}
	return p
}

// everyPage runs a test for each model that has a note.
func everyPage(t *testing.T, test func(t *testing.T, p *page)) {
	t.Helper()
	models := Models()
	if len(models) < 3 {
		t.Fatalf("found %d notes: the tests would hold for nothing", len(models))
	}
	for _, model := range models {
		t.Run(model, func(t *testing.T) { test(t, readPage(t, model+".md")) })
	}
}

// TestModels wants a note for each model and a model for each note.
func TestModels(t *testing.T) {
	var models []string
	for _, d := range all.List() {
		for _, m := range d.Models() {
			models = append(models, m.Name)
		}
	}
	for _, m := range models {
		if _, ok := Note(m); !ok {
			t.Errorf("model %s has no note: copy TEMPLATE.md to %s.md", m, m)
		}
	}
	for _, m := range Models() {
		if !slices.Contains(models, m) {
			t.Errorf("note %s.md is of no model", m)
		}
	}
}

func TestNote(t *testing.T) {
	text, ok := Note("eastron-sdm630")
	if !ok || !strings.HasPrefix(text, "# ") {
		t.Fatalf("the page begins with %.40q", text)
	}
	if strings.Contains(text, "<!--") || strings.Contains(text, "verified:") {
		t.Error("front matter or marks are left in the page")
	}
	for _, none := range []string{"", "TEMPLATE", "LEFT-OUT", "no-such", "../notes", "eastron-sdm630.md"} {
		if _, ok := Note(none); ok {
			t.Errorf("there is a note %q", none)
		}
	}
	if models := Models(); !slices.IsSorted(models) || slices.Contains(models, "TEMPLATE") {
		t.Errorf("models: %v", models)
	}
}

// TestFrontMatter holds the head of each page against the model that it is of.
func TestFrontMatter(t *testing.T) {
	verified := map[string]string{} // by driver and model
	for _, d := range all.List() {
		for _, m := range d.Models() {
			verified[d.Name()+" "+m.Name] = m.Verified
		}
	}
	everyPage(t, func(t *testing.T, p *page) {
		f := p.front
		if f.Model+".md" != p.file {
			t.Errorf("model %q, want the file's name", f.Model)
		}
		if !slices.Contains([]string{"paper", "capture", "bench", "field"}, f.Verified) {
			t.Errorf("verified must be paper, capture, bench or field (got %q)", f.Verified)
		}
		if len(f.Firmware) == 0 || slices.Contains(f.Firmware, "") {
			t.Error("firmware must list the versions that the facts come from, or \"not stated\"")
		}
		if len(f.Sources) == 0 {
			t.Error("sources must list at least one")
		}
		for _, s := range f.Sources {
			if s.What == "" || s.Page == "" {
				t.Errorf("a source must have what and page (got %+v)", s)
			}
		}
		m, ok := verified[f.Driver+" "+f.Model]
		if !ok {
			t.Fatalf("driver %q has no model %q", f.Driver, f.Model)
		}
		if m != f.Verified {
			t.Errorf("verified is %s here and %s in the driver", f.Verified, m)
		}
	})
}

// TestHeadings wants every heading, once, in order and with something below it.
func TestHeadings(t *testing.T) {
	for _, file := range append(Models(), "TEMPLATE") {
		t.Run(file, func(t *testing.T) {
			p := readPage(t, file+".md")
			if !slices.Equal(p.order, headings) {
				t.Errorf("headings:\n%q\nwant:\n%q", p.order, headings)
			}
			for _, h := range headings {
				if strings.TrimSpace(p.sections[h]) == "" {
					t.Errorf("nothing stands below %q", h)
				}
			}
		})
	}
}

// TestInBreve wants what an installer asks for: where the wires go, where the menu is, what to do when nothing answers.
func TestInBreve(t *testing.T) {
	everyPage(t, func(t *testing.T, p *page) {
		text := p.sections[headings[0]]
		for _, label := range []string{"- **Collegamento:** ", "- **Menu:** ", "- **Se non risponde:** "} {
			if strings.Count(text, label) != 1 {
				t.Errorf("%q must stand there once", label)
			}
		}
	})
}

// TestGenerated compares the parts of each page between marks with the model's profile; -update rewrites them.
func TestGenerated(t *testing.T) {
	everyPage(t, func(t *testing.T, p *page) {
		if p.front.Driver != "modbus" {
			return // its defaults stand in code, where there is no profile to make them from
		}
		profile, err := modbus.Named(p.front.Model)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := regenerate(p.text, generated(t, profile))
		if err != nil {
			t.Fatalf("%s: %v", p.file, err)
		}
		if fresh == p.text {
			return
		}
		if !*update {
			t.Fatalf("%s is stale: make generate", p.file)
		}
		if err := os.WriteFile(p.file, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRegenerate(t *testing.T) {
	parts := map[string]string{"a": "new\n"}
	const good = "x\n<!-- generated: a -->\nold\nolder\n<!-- end of a -->\ny\n"
	got, err := regenerate(good, parts)
	if want := "x\n<!-- generated: a -->\nnew\n<!-- end of a -->\ny\n"; err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"x\n", good + good, strings.ReplaceAll(good, "generated: a", "generated: b")} {
		if _, err := regenerate(bad, parts); err == nil {
			t.Errorf("%q: no fault", bad)
		}
	}
}

// TestCommands wants the page to speak of every command that the profile allows, and to say so where there is none.
func TestCommands(t *testing.T) {
	everyPage(t, func(t *testing.T, p *page) {
		if p.front.Driver != "modbus" {
			return
		}
		profile, err := modbus.Named(p.front.Model)
		if err != nil {
			t.Fatal(err)
		}
		commands := profile.Commands
		if profile.SunSpec != nil {
			for _, m := range profile.SunSpec.Models {
				commands = append(slices.Clip(commands), m.Commands...)
			}
		}
		text := strings.Join(strings.Fields(p.sections["Commands and safety"]), " ")
		for _, c := range commands {
			if _, verb, _ := strings.Cut(c.Action, "."); !strings.Contains(text, "`"+c.Action+"`") &&
				!strings.Contains(text, strings.ToUpper(verb)) {
				t.Errorf("%s can be written, and the page does not speak of it", c.Action)
			}
		}
		if none := strings.HasPrefix(text, "Nothing is written") ||
			strings.HasPrefix(text, "Nothing can be written"); none != (len(commands) == 0) {
			t.Errorf("the profile has %d commands, and Commands and safety begins with %.40q: it must begin with \"Nothing is written\" when there are none, and only then", len(commands), text)
		}
	})
}

// The labels of a quirk, in order.
var quirkLabels = []string{"Symptom", "Evidence", "The driver", "Sim fault", "Shown"}

// TestQuirks ties each oddity of a model to its profile, to a fault of the simulator and to what shows it.
func TestQuirks(t *testing.T) {
	shown := evidence(t)
	everyPage(t, func(t *testing.T, p *page) {
		if want := quirksOf(t, p); !slices.Equal(p.front.Quirks, want) {
			t.Errorf("front matter lists the quirks %q, the model has %q", p.front.Quirks, want)
		}
		entries := strings.Split("\n"+p.sections["Quirks"], "\n### ")[1:]
		var ids []string
		for _, e := range entries {
			id, text, _ := strings.Cut(e, "\n")
			ids = append(ids, id)
			labels := quirk(t, id, text)
			checkFault(t, id, labels["Sim fault"])
			checkShown(t, p.front.Model, id, labels["Shown"], shown)
		}
		if !slices.Equal(ids, p.front.Quirks) {
			t.Errorf("below Quirks stand %q, the front matter lists %q (a model without oddities: quirks: [] and \"None known.\")", ids, p.front.Quirks)
		}
	})
}

// quirksOf lists what the profile says of a page's model.
func quirksOf(t *testing.T, p *page) []string {
	t.Helper()
	if p.front.Driver != "modbus" {
		return p.front.Quirks
	}
	profile, err := modbus.Named(p.front.Model)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, q := range profile.Quirks {
		ids = append(ids, q.ID)
	}
	return ids
}

// quirk takes an entry apart: lines "- Symptom: ..." in the order of quirkLabels.
func quirk(t *testing.T, id, text string) map[string]string {
	t.Helper()
	labels := map[string]string{}
	var order []string
	for _, part := range strings.Split("\n"+text, "\n- ")[1:] {
		label, value, ok := strings.Cut(part, ": ")
		if !ok || strings.TrimSpace(value) == "" {
			t.Errorf("%s: %q must be a label, a colon and a text", id, part)
		}
		order = append(order, label)
		labels[label] = strings.Join(strings.Fields(value), " ")
	}
	if !slices.Equal(order, quirkLabels) {
		t.Errorf("%s: has %q, want %q", id, order, quirkLabels)
	}
	return labels
}

// checkFault wants a fault of the simulator, or the reason why there is none.
func checkFault(t *testing.T, id, text string) {
	t.Helper()
	name, why, reasoned := strings.Cut(text, ": ")
	if name == "none" && reasoned && why != "" {
		return
	}
	kinds := sim.FaultKinds("line")
	if word, _, _ := strings.Cut(text, " "); !slices.Contains(kinds, sim.FaultKind(strings.Trim(word, "`,"))) {
		t.Errorf("%s: sim fault must be one of %v, or \"none: \" and why (got %q)", id, kinds, text)
	}
}

// checkShown wants the golden or the scenario that shows a quirk to name it, or the reason why none can.
func checkShown(t *testing.T, model, id, text string, shown map[string][]string) {
	t.Helper()
	named := shown[id]
	if why, no := strings.CutPrefix(text, "not shown: "); no {
		if len(named) > 0 {
			t.Errorf("%s: is named in %v, so it is shown", id, named)
		}
		if why == "" {
			t.Errorf("%s: why is it not shown?", id)
		}
		return
	}
	for _, file := range strings.Split(text, ", ") {
		at := filepath.ToSlash(filepath.Join(goldens, model, strings.Trim(file, "`")))
		if strings.HasSuffix(strings.Trim(file, "`"), ".yaml") {
			at = filepath.ToSlash(filepath.Join(scenarios, strings.Trim(file, "`")))
		}
		if !slices.Contains(named, at) {
			t.Errorf("%s: is not named in %s", id, at)
		}
	}
}

// evidence finds which golden exchanges and scenarios name which quirk.
func evidence(t *testing.T) map[string][]string {
	t.Helper()
	var ids []string
	for _, m := range Models() {
		ids = append(ids, readPage(t, m+".md").front.Quirks...)
	}
	found := map[string][]string{}
	for _, root := range []string{goldens, scenarios} {
		err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if regexp.MustCompile(`\b` + regexp.QuoteMeta(id) + `\b`).Match(data) {
					found[id] = append(found[id], filepath.ToSlash(at))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

var origin = regexp.MustCompile(`(?m)^origin: *(\S+)`)

// TestVerified lets a page claim more than paper only with a golden exchange of that origin.
func TestVerified(t *testing.T) {
	everyPage(t, func(t *testing.T, p *page) {
		if p.front.Verified == "paper" || p.front.Driver != "modbus" {
			return
		}
		files, err := filepath.Glob(filepath.Join(goldens, p.front.Model, "*.txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if m := origin.FindSubmatch(data); m != nil && string(m[1]) == "capture" {
				return
			}
		}
		t.Errorf("verified: %s, but no golden exchange below %s says origin: capture", p.front.Verified,
			filepath.Join(goldens, p.front.Model))
	})
}

// TestLeftOut wants the page of models that are left out to name none that is there.
func TestLeftOut(t *testing.T) {
	data, err := os.ReadFile("LEFT-OUT.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Models() {
		if strings.Contains(string(data), fmt.Sprintf("## %s\n", m)) {
			t.Errorf("LEFT-OUT.md names %s, which is there", m)
		}
	}
}
