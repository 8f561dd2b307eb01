// Package firmwarenotes holds one page for each model of device: how it is wired, what it answers, where it deviates from
// its own documents, and what the driver does about that. The pages are embedded, so that an installer reads them on site
// without a network: bordo notes MODEL.
//
// A page and the driver are held together by this package's tests: defaults, registers and timing are generated from the
// model's profile ("go generate", or "make generate"), and each oddity has an id that stands in the profile, in the page
// and, where it can be shown, in a golden exchange or a scenario. The package itself knows no driver.
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

// Note returns the page of a model as a person reads it, in Markdown: without the front matter, and without the marks
// around its generated parts. It tells whether there is one.
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

// isModel tells a model from the pages about the notes themselves, which are written in capitals.
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

// isMark tells whether a line is the beginning or the end of a generated part.
func isMark(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "<!-- generated: ") || strings.HasPrefix(line, "<!-- end of ")
}
