package modbus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each fault of a profile is a file under testdata/faults; its comment lines "# want ..." are the faults, one a line.
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
		t.Error("a profile that does not exist was loaded")
	}
}

func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"profiles/*.yaml", "testdata/faults/*.yaml"} {
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
		if len(data) > 20000 {
			return
		}
		p, err := Load("fuzz.yaml", data)
		if err == nil && (p.Model == "" || p.Every <= 0 || len(p.Points)+len(p.Channels) == 0 && p.SunSpec == nil) {
			t.Errorf("accepted %+v", p)
		}
	})
}
