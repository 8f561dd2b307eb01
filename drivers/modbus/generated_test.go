package modbus

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"bordo/drivers"
)

var update = flag.Bool("update", false, "rewrite the generated files")

// TestGenerated: the index of the embedded models says what their profiles say.
func TestGenerated(t *testing.T) {
	var models []drivers.Model
	for _, p := range Embedded() {
		models = append(models, modelOf(p))
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
