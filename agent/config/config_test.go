package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bordo/drivers"
	"bordo/drivers/all"
)

var update = flag.Bool("update", false, "rewrite the expected texts beside the files in agent/testdata/config")

const testdata = "../testdata/config"

// fakeDriver stands for a protocol: only its catalogue is looked at here.
type fakeDriver struct {
	name   string
	models []drivers.Model
}

func (f fakeDriver) Name() string            { return f.name }
func (f fakeDriver) Models() []drivers.Model { return f.models }
func (f fakeDriver) Link(drivers.Line, []drivers.Device) (drivers.Link, error) {
	return nil, errors.New("this driver has only a catalogue")
}

// fixedDriver takes no models from a site.
type fixedDriver struct{ drivers.Driver }

// TCPPort implements drivers.TCPDriver.
func (f fakeDriver) TCPPort() int { return 502 }

// WithModels stands for a directory with a meter and with an inverter that is built in, and for one with faults.
func (f fakeDriver) WithModels(dir string) (drivers.Driver, error) {
	if dir != "/etc/bordo/profiles" {
		return nil, errors.New(dir + "/a.yaml:2:1: model: must be the file's name\n" + dir + "/b.yaml:7:3: kind: must be meter or io")
	}
	unit := drivers.Range{Min: 1, Max: 9}
	brought := []drivers.Model{
		{Name: "acme-meter", Unit: unit, Every: time.Minute, MinEvery: time.Second, Serial: true, Streams: true, Verified: "unverified"},
		{Name: "fronius-gen24", Unit: unit, Every: 5 * time.Second, MinEvery: time.Second, Streams: true, Verified: "unverified"},
	}
	own := slices.DeleteFunc(slices.Clone(f.models), func(m drivers.Model) bool { return m.Name == "fronius-gen24" })
	return fakeDriver{f.name, append(own, brought...)}, nil
}

// testDrivers are drivers with models of every kind that the checks tell apart.
func testDrivers() []drivers.Driver {
	unit := drivers.Range{Min: 1, Max: 247}
	meter := func(name string) drivers.Model {
		return drivers.Model{Name: name, Unit: unit, Every: 5 * time.Second, MinEvery: time.Second, Streams: true, Serial: true,
			Bus: "baud=9600&parity=none&stop=1"}
	}
	return []drivers.Driver{
		fakeDriver{"modbus", []drivers.Model{
			{Name: "sunspec", Unit: unit, Every: 10 * time.Second, MinEvery: time.Second, Streams: true, Serial: true},
			{Name: "maker-inverter", Kind: "inverter", Unit: unit, Every: 10 * time.Second, MinEvery: time.Second, Streams: true},
			{Name: "maker-meter", Kind: "meter", Part: 2, Unit: unit, Every: 10 * time.Second, MinEvery: time.Second, Streams: true},
			{Name: "maker-meter-2", Kind: "meter", Part: 3, Unit: unit, Every: 10 * time.Second, MinEvery: time.Second, Streams: true},
			meter("eastron-sdm630"), meter("eastron-sdm72d"), meter("carlo-gavazzi-em340"), meter("carlo-gavazzi-em24"),
			{Name: "came-gard-ptx", Unit: drivers.Range{Min: 1, Max: 127}, Every: time.Second, MinEvery: 200 * time.Millisecond,
				Serial: true, Bus: "baud=38400&parity=even&stop=1", BusCan: drivers.BusCan{Baud: []int{38400}, Parity: []string{"even"}}},
			{Name: "waveshare-io", Unit: unit, Every: time.Second, MinEvery: time.Second, Serial: true, BusCan: drivers.BusCan{Baud: []int{9600, 19200}}, Channels: []drivers.Channel{
				{Name: "di1"}, {Name: "di2"}, {Name: "do1", Output: true}, {Name: "ai0", Unit: "mA"}}},
			{Name: "fronius-gen24", Unit: unit, Every: 5 * time.Second, MinEvery: time.Second, Streams: true, Sleeps: true},
		}},
		fixedDriver{fakeDriver{"rfid", []drivers.Model{
			{Name: "rdm6300", Every: time.Minute, MinEvery: time.Second, Serial: true},
		}}},
	}
}

// golden compares got with the text beside a file, or rewrites it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\n--- got\n%s--- want\n%s", path, got, want)
	}
}

// filesOf lists what is in testdata with the given ending; none at all is a fault of the test.
func filesOf(t testing.TB, ending string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(testdata, "*"+ending))
	if err != nil || len(list) == 0 {
		t.Fatalf("no *%s in %s (%v)", ending, testdata, err)
	}
	return list
}

// parseFile parses a file of testdata under its bare name, so that the sentences do not depend on where the tests run.
func parseFile(t *testing.T, file string, wordBits int) (*Config, error) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parse(filepath.Base(file), text, testDrivers(), wordBits)
}

func TestBadFiles(t *testing.T) {
	for _, file := range filesOf(t, ".bad.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := parseFile(t, file, 64)
			if err == nil {
				t.Fatal("the file was taken for correct")
			}
			if c != nil {
				t.Error("a configuration came with the faults")
			}
			faults, ok := errors.AsType[Faults](err)
			if !ok {
				t.Fatalf("the error is a %T, not Faults", err)
			}
			name := strings.TrimSuffix(file, ".yaml")
			golden(t, name+".txt", err.Error()+"\n")
			if slices.ContainsFunc(faults, func(f Fault) bool { return f.It != "" }) {
				golden(t, name+".it.txt", faults.Italian()+"\n")
			}
		})
	}
}

// A correct file gives its values with every default filled in; written out they are a file that gives the same again.
func TestGoodFiles(t *testing.T) {
	for _, file := range filesOf(t, ".good.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := parseFile(t, file, 64)
			if err != nil {
				t.Fatal(err)
			}
			got := c.Text()
			for _, w := range c.Warnings {
				got += "# " + w.Error() + "\n"
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
			same(t, c)
		})
	}
}

// same checks that the text of a configuration reads back to the same configuration.
func same(t *testing.T, c *Config) {
	t.Helper()
	again, err := parse(c.File, []byte(c.Text()), testDrivers(), 64)
	if err != nil {
		t.Fatalf("the written configuration is not correct: %v\n%s", err, c.Text())
	}
	// Where things stand and what the text adds up to may differ, all else may not.
	a, b := *c, *again
	for _, x := range []*Config{&a, &b} {
		x.Sum, x.Warnings, x.Placeholders, x.places, x.Timezone, x.Drivers, x.source = "", nil, nil, nil, nil, nil, source{}
		for i := range x.Lines {
			for j, d := range x.Lines[i].Devices {
				if len(d.About) == 0 {
					x.Lines[i].Devices[j].About = nil
				}
			}
		}
	}
	if !reflect.DeepEqual(a, b) || c.Timezone.String() != again.Timezone.String() {
		t.Errorf("read back differs\n%+v\n%+v", a, b)
	}
}

func TestWordSize(t *testing.T) {
	text := []byte("version: 1\ntenant: t\nnode: n\nmqtt: {url: mqtt://127.0.0.1}\nlines: []\nbuffer: {max_size: 513MiB}\n")
	if _, err := parse("x", text, nil, 64); err != nil {
		t.Error(err)
	}
	_, err := parse("x", text, nil, 32)
	want := "x:6:20: buffer.max_size: must be at most 512MiB on a 32-bit system (got 513MiB)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	text := "version: 1\n"
	for i := range 300 {
		text += "key" + strings.Repeat("x", i) + ": 1\n"
	}
	_, err := Parse("x.yaml", []byte(text), nil)
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != MaxFaults+1 || lines[MaxFaults] != "x.yaml: and 203 more" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	if !errors.As(err, new(Fault)) {
		t.Error("the single faults cannot be reached")
	}
}

func TestLoadTellsWhyAFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, "none.yaml"), nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(dir, nil); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: got %v", err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(large, nil)
	if want := large + ":1:1: the file is larger than 1 MiB: not a configuration"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestSumIsOfTheText(t *testing.T) {
	c, err := Parse("x", []byte("version: 1\ntenant: t\nnode: n\nmqtt: {url: mqtt://127.0.0.1}\nlines: []\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	// printf 'version: 1\ntenant: t\nnode: n\nmqtt: {url: mqtt://127.0.0.1}\nlines: []\n' | sha256sum
	if want := "2f65926e3d70bc7ebb3cf9d1f830aa08ebacab96ff4a92d55ae23cc5d4541530"; c.Sum != want {
		t.Errorf("got %s, want %s", c.Sum, want)
	}
}

// An installer reads these warnings in Italian, too.
func TestWarningsInItalian(t *testing.T) {
	for file, want := range map[string]string{
		"plain-password.good.yaml": "mqtt.password_file: la password passa in chiaro",
		"rated.good.yaml":          "about: rated_kw deve essere la potenza in kW, un numero fra 0 e 100000 con il punto decimale, come 6 o 99.9: non viene usato (c'è 6 kW)",
	} {
		c, err := parseFile(t, filepath.Join("..", "testdata", "config", file), 64)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Warnings) == 0 || !strings.Contains(c.Warnings[0].Italian(), want) {
			t.Errorf("%s: %v", file, c.Warnings.Italian())
		}
	}
}

// Whoever has inverters and no coordinates is told what that means at night; nobody else is.
func TestNightWithoutCoordinates(t *testing.T) {
	const inverter, meter = "fronius-gen24", "eastron-sdm630"
	const want = `x:2:7: site: has no lat and lon, so the agent does not know when it is night: each night the silence of a is reported as a fault`
	for _, x := range []struct{ model, site, also, want string }{
		{inverter, "{name: Roof}", "", want},
		{inverter, "{lat: 45.4, lon: 9.7}", "", ""},
		{inverter, "{name: Roof}", "simulation: true, ", ""},
		{meter, "{name: Roof}", "", ""},
	} {
		c, err := parse("x", []byte(`{`+x.also+`version: 1, tenant: t, node: n, mqtt: {url: "mqtts://127.0.0.1"}, buffer: {dir: /tmp/x/b},
site: `+x.site+`, lines: [{id: l, port: "tcp://127.0.0.1:502", devices: [{id: a, model: `+x.model+`, unit: 1}]}]}`), testDrivers(), 64)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, w := range c.Warnings {
			got += w.Error()
			if it := w.Italian(); !strings.HasPrefix(it, "x:2:7: site: mancano lat e lon, ") || !strings.Contains(it, "il silenzio di a ") {
				t.Errorf("in Italian: %q", it)
			}
		}
		if got != x.want {
			t.Errorf("%+v: warned %q", x, got)
		}
	}
}

func TestOpeningHours(t *testing.T) {
	c, err := Parse("x", []byte(`{version: 1, tenant: t, node: n, mqtt: {url: "mqtt://127.0.0.1"}, lines: [],
  site: {opening: {tue: ["09:00-12:30", "14:00-24:00"]}}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	rome := c.Timezone
	for _, x := range []struct {
		at   time.Time
		open bool
	}{
		{time.Date(2026, 11, 24, 8, 59, 59, 0, rome), false}, // a Tuesday
		{time.Date(2026, 11, 24, 9, 0, 0, 0, rome), true},
		{time.Date(2026, 11, 24, 12, 29, 59, 0, rome), true},
		{time.Date(2026, 11, 24, 12, 30, 0, 0, rome), false},
		{time.Date(2026, 11, 24, 23, 59, 59, 0, rome), true},
		{time.Date(2026, 11, 25, 0, 0, 0, 0, rome), false},
		{time.Date(2026, 11, 25, 9, 30, 0, 0, rome), false},
	} {
		if got := c.Site.Opening.At(x.at); got != x.open {
			t.Errorf("%s: got %t", x.at, got)
		}
	}
}

// What the operating systems of others add to a file changes nothing.
func TestLineEndsAndMarks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testdata, "full.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := parse("x", text, testDrivers(), 64)
	if err != nil {
		t.Fatal(err)
	}
	windows := "\ufeff" + strings.ReplaceAll(string(text), "\n", "\r\n")
	other, err := parse("x", []byte(windows), testDrivers(), 64)
	if err != nil {
		t.Fatal(err)
	}
	if plain.Text() != other.Text() || !reflect.DeepEqual(plain.Warnings, other.Warnings) {
		t.Errorf("got\n%s%v\nwant\n%s%v", other.Text(), other.Warnings, plain.Text(), plain.Warnings)
	}
}

// A place is that of the value, whatever stands around it.
func TestPlaces(t *testing.T) {
	for _, x := range []struct{ line, want string }{
		{"timezone: 1", "11"},
		{"timezone: 1   ", "11"},
		{"timezone: 1\t", "11"},
		{"timezone:   1  # why", "13"},
		{"timezone: '1'  ", "11"},
		{"{timezone: 1  , clock: {trust: kernel}  }  ", "12"},
		{"{site: {name: è}, timezone: 1 }", "29"},
	} {
		_, err := Parse("x", []byte("# è\n\n"+x.line+"\n\n"), nil)
		if want := "x:3:" + x.want + ": timezone: "; !strings.Contains(err.Error(), want) {
			t.Errorf("%q: no %q in\n%v", x.line, want, err)
		}
	}
}

// The parser would take minutes on a small box for what no person has written.
func TestEndlessFileIsRefusedEarly(t *testing.T) {
	_, err := Parse("x", []byte("a: ["+strings.Repeat("1,", maxTokens)+"]"), nil)
	if err == nil || !strings.HasSuffix(err.Error(), ": the file goes on for too long to be a configuration") {
		t.Errorf("got %v", err)
	}
	deep := strings.Repeat("[\n", maxDepth+1)
	if _, err := Parse("x", []byte(deep), nil); err == nil || err.Error() != "x:33:1: nested too deeply" {
		t.Errorf("got %v", err)
	}
	dashes := strings.Repeat("- ", maxDepth+1)
	if _, err := Parse("x", []byte(dashes), nil); err == nil || err.Error() != "x:1:65: nested too deeply" {
		t.Errorf("got %v", err)
	}
}

// A site's own models are read with the real loader, and their faults are told with the file's.
func TestProfilesOfTheSite(t *testing.T) {
	dir := t.TempDir()
	text := func(kind string) []byte {
		return []byte("schema: 1\nmodel: acme-meter\ntitle: Acme\nkind: " + kind + "\nverified: field\nbus: baud=9600\npoints:\n  - {point: ac_power, at: input:0, type: i32}\n")
	}
	file := filepath.Join(dir, "acme-meter.yaml")
	config := []byte(`{version: 1, tenant: t, node: n, mqtt: {url: "mqtt://127.0.0.1"}, profiles_dir: ` + dir + `,
  lines: [{id: l, port: "tcp://h", devices: [{id: m, model: acme-meter, unit: 1}]}]}`)
	if err := os.WriteFile(file, text("meter"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("x", config, all.List())
	if err != nil {
		t.Fatal(err)
	}
	if d := c.Lines[0].Devices[0]; d.Spec.Verified != "unverified" || len(c.Drivers) != len(all.List()) {
		t.Errorf("the model is %+v", d.Spec)
	}
	if _, err := c.Lines[0].Driver.Link(c.Lines[0].Endpoint.Line("l"), []drivers.Device{c.Lines[0].Devices[0].Device}); err != nil {
		t.Errorf("the line's driver does not know the model: %v", err)
	}
	if err := os.WriteFile(file, text("clock"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Parse("x", config, all.List())
	if want := "profiles_dir: " + file + ":4:7: kind: must be"; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "unknown model") {
		t.Errorf("no %q alone in\n%v", want, err)
	}
}

// example is the part of the sample that shows lines, with the signs that make it a comment.
var example = regexp.MustCompile(`(?ms)^# lines:\n.*`)

// The file that is installed has no device of its own, and says so; the lines that it shows are correct, too.
func TestSampleOfThePackage(t *testing.T) {
	c, err := Load("../../packaging/bordo.yaml", all.List())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Lines) != 0 || len(c.Warnings) != 1 || c.Warnings[0].Path != "lines" {
		t.Errorf("%d lines, warnings %v", len(c.Lines), c.Warnings)
	}
	text, err := os.ReadFile("../../packaging/bordo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	located := strings.Replace(string(text), "\n# site:", "\nsite:", 1) // as whoever has inverters writes it
	shown := example.ReplaceAllStringFunc(located, func(s string) string {
		return regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(s, "")
	})
	if c, err = Parse("bordo.yaml", []byte(shown), all.List()); err != nil {
		t.Fatalf("the lines that it shows: %v", err)
	}
	if len(c.Warnings) > 0 || len(c.Lines) != 3 {
		t.Errorf("%d lines shown, warnings %v", len(c.Lines), c.Warnings)
	}
	for _, l := range c.Lines {
		for _, d := range l.Devices {
			if d.Spec.Name != d.Model || d.Every < d.Spec.MinEvery {
				t.Errorf("%s: model %q is %q, every %s", d.ID, d.Model, d.Spec.Name, d.Every)
			}
		}
	}
}

// Every placeholder of the sample and of the documents is named with its place and with what to write, unless the brokers are
// on this machine.
func TestPlaceholders(t *testing.T) {
	c, err := Load("../../packaging/bordo.yaml", all.List())
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range c.Placeholders {
		paths = append(paths, f.Path)
	}
	if want := []string{"tenant", "node", "mqtt.url", "mqtt.username"}; !slices.Equal(paths, want) {
		t.Errorf("of the sample: %q, want %q", paths, want)
	}
	const text = `version: 1
tenant: TENANT
node: NODE
mqtt: {url: URL}
lines:
  - id: a
    port: PORT
    devices: [{id: inv-1, model: sunspec, unit: 1, about: {pod: POD}}]
`
	own := map[string]string{"TENANT": "adda", "NODE": "rivolta", "URL": "mqtts://mqtt.adda.test", "PORT": "tcp://192.168.1.40:502", "POD": "IT001E00000001"}
	for key, values := range map[string][]string{
		"TENANT": {"cremasco", "my-tenant"},
		"NODE":   {"quintano", "my-node"},
		"URL":    {"mqtts://broker.example:8883", "mqtt://HOST", "mqtts://mqtt.example.com:8883", `["mqtts://mqtt.adda.test", "mqtts://b.example."]`},
		"PORT":   {"tcp://HOST:502", "serial:///dev/NAME?baud=9600"},
		"POD":    {"IT001E12345678"},
	} {
		for _, v := range values {
			with := func(url string) Faults {
				filled := strings.ReplaceAll(text, key, v)
				if url != "" {
					filled = strings.ReplaceAll(filled, "URL", url)
				}
				for k, x := range own {
					filled = strings.ReplaceAll(filled, k, x)
				}
				c, err := Parse("x", []byte(filled), all.List())
				if err != nil {
					t.Fatalf("%s: %v", v, err)
				}
				return c.Placeholders
			}
			if left := with(""); len(left) != 1 || !strings.Contains(left[0].Error(), " stands for your own: ") || !strings.Contains(left[0].Italian(), " è solo un esempio: scrivere ") {
				t.Errorf("%s: %v", v, left)
			}
			if left := with("mqtt://127.0.0.1:1883"); key != "URL" && len(left) > 0 {
				t.Errorf("%s on this machine alone: %v", v, left)
			}
		}
	}
}
