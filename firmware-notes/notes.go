// Package firmwarenotes holds one page for each model of device: wiring, answers, deviations from its own documents,
// and how the driver handles these. The pages are embedded, so that an installer can read them on site without a
// network: bordo notes MODEL.
//
// This package's tests keep page and driver together. Defaults, registers and timing are generated from the model's
// profile ("make generate"). Each oddity has an id that appears in the profile, in the page and, where it can be shown,
// in a golden exchange or a scenario. The package itself does not know any driver.
package firmwarenotes

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:generate go test . -run TestGenerated -update

//go:embed *.md
var pages embed.FS

// Models returns the models that have a note, in alphabetical order.
func Models() []string {
	files, err := fs.Glob(pages, "*.md")
	if err != nil {
		panic(fmt.Sprintf("firmwarenotes: list pages: %v", err)) // only a malformed pattern does that
	}
	var models []string
	for _, file := range files {
		if model := strings.TrimSuffix(file, ".md"); isModel(model) {
			models = append(models, model)
		}
	}
	return models
}

// Note returns the page of a model for a person, in Markdown: without the front matter and without the markers of its
// generated parts. It returns false if there is no page.
func Note(model string) (string, bool) {
	if !isModel(model) {
		return "", false
	}
	page, err := pages.ReadFile(model + ".md")
	if err != nil {
		return "", false
	}
	var text strings.Builder
	for line := range strings.Lines(body(string(page))) {
		if !isMark(line) {
			text.WriteString(line)
		}
	}
	return text.String(), true
}

// isModel distinguishes a model from the pages about the notes themselves, whose names are in capitals.
func isModel(name string) bool {
	return name != "" && name == strings.ToLower(name)
}

// front separates the front matter from the rest.
const front = "---\n"

// body is a page after its front matter.
func body(page string) string {
	if rest, ok := strings.CutPrefix(page, front); ok {
		if _, rest, ok = strings.Cut(rest, "\n"+front); ok {
			return strings.TrimPrefix(rest, "\n")
		}
	}
	return page
}

// isMark reports whether a line is the beginning or the end of a generated part.
func isMark(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "<!-- generated: ") || strings.HasPrefix(line, "<!-- end of ")
}
