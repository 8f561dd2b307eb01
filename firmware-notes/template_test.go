package firmwarenotes

import (
	"os"
	"strings"
	"testing"
)

// TestTemplate wants that nothing stands in a page that only tells its author what to write.
func TestTemplate(t *testing.T) {
	text, err := os.ReadFile("TEMPLATE.md")
	if err != nil {
		t.Fatal(err)
	}
	const few = 20 // characters that somebody may write by chance
	told := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); len(line) >= few && !isMark(line) && !strings.HasPrefix(line, "## ") &&
			!strings.HasPrefix(line, "firmware:") {
			told[line] = true
		}
	}
	if len(told) < 10 {
		t.Fatalf("the template has %d lines: the test would hold for nothing", len(told))
	}
	everyPage(t, func(t *testing.T, p *page) {
		for line := range strings.Lines(p.text) {
			if line = strings.TrimSpace(line); told[line] {
				t.Errorf("%q stands there as in TEMPLATE.md: write what is known, or leave it out", line)
			}
		}
	})
}
