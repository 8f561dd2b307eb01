package contract

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReadmeMessages: every message in the README is a golden, so it is real and valid, and none of the goldens that a reader
// needs is left out.
func TestReadmeMessages(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for name, doc := range goldens(t) {
		known[string(doc)] = name
	}
	var shown []string
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1) {
		var flat bytes.Buffer
		if err := json.Compact(&flat, block[1]); err != nil {
			t.Errorf("%v in\n%s", err, block[1])
			continue
		}
		name := known[flat.String()]
		if name == "" {
			t.Errorf("not a golden:\n%s", block[1])
		}
		shown = append(shown, name)
	}
	for _, name := range []string{"batch-tele", "event-condition-raised", "event-energy-interval", "event-store-opened",
		"event-store-gap",
		"event-clock-set", "event-result", "status-online", "status-lost", "meta-inverter", "ack", "command"} {
		if !slices.Contains(shown, name) {
			t.Errorf("%s is not shown", name)
		}
	}
}

// TestReadmeKeys: every key of status is explained, and every topic is named.
func TestReadmeKeys(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	var status map[string]json.RawMessage
	if err := json.Unmarshal(goldens(t)["status-online"], &status); err != nil {
		t.Fatal(err)
	}
	for key := range status {
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("status key %s is not explained", key)
		}
	}
	for _, kind := range []string{KindTele, KindHist, KindHistz, KindEvent, KindMeta} {
		if !strings.Contains(text, "| `"+kind+"/{dev}` |") {
			t.Errorf("topic %s is not listed", kind)
		}
	}
	for _, kind := range []string{KindStatus, KindCmd, KindRes, KindAck, KindAccess + "/{part}"} {
		if !strings.Contains(text, "| `"+kind+"` |") {
			t.Errorf("topic %s is not listed", kind)
		}
	}
}
