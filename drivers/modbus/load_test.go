package modbus

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"bordo/drivers/catalogue"
)

// Each fault of a profile is a file in testdata/faults. Its comments "# want ..." list the expected faults,
// one per line.
func TestLoadFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files (%v)", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, l := range strings.Split(string(data), "\n") {
			if text, ok := strings.CutPrefix(l, "# want "); ok {
				want = append(want, text)
			}
		}
		name := filepath.Base(file)
		_, err = Load(name, data)
		if err == nil {
			t.Errorf("%s: no fault", name)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), name+":", ""); got != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, strings.Join(want, "\n"))
		}
	}
}

func TestEmbeddedProfiles(t *testing.T) {
	for _, p := range Embedded() {
		if q, err := Named(p.Model); err != nil || q.Title != p.Title {
			t.Errorf("%s: %v", p.Model, err)
		}
	}
	if _, err := Named("no-such"); err == nil {
		t.Error("a missing profile was loaded")
	}
}

// By default an inverter sleeps at night and other devices do not; a profile can change either.
func TestSleepsAtNight(t *testing.T) {
	const text = "schema: 1\nmodel: a-b\ntitle: A B\nkind: %s\nverified: paper\nlinks: [tcp]\n%spoints: [{point: ac_power, at: 'input:0', type: f32}]\n"
	for _, x := range []struct {
		kind, key string
		sleeps    bool
	}{
		{"inverter", "", true}, {"inverter", "sleeps_at_night: false\n", false},
		{"meter", "", false}, {"meter", "sleeps_at_night: true\n", true},
	} {
		p, err := Load("a-b.yaml", fmt.Appendf(nil, text, x.kind, x.key))
		if err != nil {
			t.Fatal(err)
		}
		if got := modelOf(p).Sleeps; got != x.sleeps {
			t.Errorf("%s, %q: sleeps %v", x.kind, x.key, got)
		}
	}
	for _, p := range Embedded() {
		if p.Kind == catalogue.Inverter && !p.SleepsNight {
			t.Errorf("%s does not sleep at night", p.Model)
		}
	}
}

func FuzzLoad(f *testing.F) {
	// Only small files, because the library is slow.
	for _, pattern := range []string{"profiles/came-gard-ptx.yaml", "testdata/faults/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4000 {
			return
		}
		p, err := load("fuzz.yaml", data, nil, false)
		if err == nil && (p.Model == "" || p.Every <= 0 || len(p.Points)+len(p.Channels) == 0 && p.SunSpec == nil) {
			t.Errorf("accepted %+v", p)
		}
	})
}

// PROFILES.md explains every key of a profile.
func TestEveryKeyIsExplained(t *testing.T) {
	doc, err := os.ReadFile("PROFILES.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Slice, reflect.Pointer, reflect.Map:
			walk(typ.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if key != "" && !regexp.MustCompile("`[^`]*\\b"+key+"\\b[^`]*`").Match(doc) {
				t.Errorf("PROFILES.md does not explain %s of %s", key, typ.Name())
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[rawProfile]())
}
