package modbus

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bordo/drivers"
)

var update = flag.Bool("update", false, "rewrite the generated files")

// TestGenerated checks that the index of embedded models agrees with their profiles.
func TestGenerated(t *testing.T) {
	var models []drivers.Model
	for _, p := range Embedded() {
		m := modelOf(p)
		m.Frames = framesOf(t, p.Model)
		models = append(models, m)
	}
	want, err := json.MarshalIndent(models, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("profiles/models.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, index) {
		t.Error("profiles/models.json is stale: make generate")
	}
}

// framesOf returns the external origins of a model's golden frames.
func framesOf(t *testing.T, model string) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/" + model + "/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no golden case (%v)", model, err)
	}
	origins := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if origin, ok := strings.CutPrefix(line, "origin: "); ok {
				origins[strings.TrimSpace(origin)] = true
				break
			}
		}
	}
	delete(origins, "synthesised")
	return slices.Sorted(maps.Keys(origins))
}
