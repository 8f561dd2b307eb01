package schema_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bordo/contract"
	"bordo/contract/schema"
)

// TestGoldens: every message of the contract's test data passes, packed or not, and none does with a key of its own broken.
func TestGoldens(t *testing.T) {
	names, err := filepath.Glob("../testdata/v1/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{"batch": contract.KindTele, "event": contract.KindEvent, "status": contract.KindStatus,
		"meta": contract.KindMeta, "ack": contract.KindAck}
	seen := map[string]bool{}
	for _, name := range names {
		kind, known := kinds[strings.SplitN(strings.TrimSuffix(filepath.Base(name), ".json"), "-", 2)[0]]
		if !known {
			continue
		}
		seen[kind] = true
		payload, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if v := s.Violation(kind, payload); v != "" {
			t.Errorf("%s: %s", name, v)
		}
		first := bytes.IndexByte(payload, ':')
		if v := s.Violation(kind, append(bytes.Clone(payload[:first+1]),
			append([]byte(`"x","y":`), payload[first+1:]...)...)); v == "" {
			t.Errorf("%s: its first value is wrong, and nobody says so", name)
		}
		if kind != contract.KindTele {
			continue
		}
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(payload); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		if v := s.Violation(contract.KindHistz, z.Bytes()); v != "" {
			t.Errorf("%s packed: %s", name, v)
		}
		if s.Violation(contract.KindHistz, payload) == "" {
			t.Errorf("%s passes as packed", name)
		}
	}
	if len(seen) != len(kinds) {
		t.Errorf("goldens only of %v", seen)
	}
}
