package bordo_test

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// noMachinePaths keeps the places where the project was written out of it. The words are put together here so that this
// file does not complain about itself.
func noMachinePaths(t *tree) []string {
	words := []string{"/wo" + "rk/", "../sha" + "red", "/ro" + "ot/go"}
	var complaints []string
	for _, file := range slices.Sorted(maps.Keys(t.files)) {
		if strings.HasPrefix(file, "testdata/arch/") || bytes.IndexByte(t.files[file], 0) >= 0 {
			continue // they show this rule failing; a program that was built here knows where
		}
		for i, line := range strings.Split(string(t.files[file]), "\n") {
			for _, word := range words {
				if strings.Contains(line, word) {
					complaints = append(complaints, fmt.Sprintf("%s:%d: %s is a path of some machine", file, i+1, word))
				}
			}
		}
	}
	return complaints
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)

// linksResolve follows every relative link of the Markdown files.
func linksResolve(t *tree) []string {
	var complaints []string
	for _, file := range slices.Sorted(maps.Keys(t.files)) {
		if path.Ext(file) != ".md" || strings.Contains("/"+file, "/testdata/") {
			continue
		}
		for i, line := range strings.Split(string(t.files[file]), "\n") {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], ":") {
					continue
				}
				target := path.Join(path.Dir(file), m[1])
				if !t.exists(target) {
					complaints = append(complaints,
						fmt.Sprintf("%s:%d: links to %s, which is not there", file, i+1, m[1]))
				}
			}
		}
	}
	return complaints
}

// exists tells whether a path is a file, or a directory with files.
func (t *tree) exists(p string) bool {
	if _, ok := t.files[p]; ok {
		return true
	}
	for file := range t.files {
		if strings.HasPrefix(file, p+"/") {
			return true
		}
	}
	return false
}

var decision = regexp.MustCompile(`^docs/adr/(\d{4})-[a-z0-9-]+\.md$`)

// decisionsComplete wants of each decision the four parts, a title with its number, and numbers without holes.
func decisionsComplete(t *tree) []string {
	var complaints []string
	next := 1
	for _, file := range slices.Sorted(maps.Keys(t.files)) {
		if path.Dir(file) != "docs/adr" {
			continue
		}
		m := decision.FindStringSubmatch(file)
		if m == nil {
			complaints = append(complaints, file+": is not named NNNN-title.md")
			continue
		}
		text := string(t.files[file])
		if number := fmt.Sprintf("%04d", next); m[1] != number {
			complaints = append(complaints, fmt.Sprintf("%s: should be number %s", file, number))
		}
		next++
		if !strings.HasPrefix(text, "# "+m[1]+" ") {
			complaints = append(complaints, fmt.Sprintf("%s: the title must begin with \"# %s \"", file, m[1]))
		}
		for _, part := range []string{"Context", "Options", "Decision", "What would change it"} {
			if !strings.Contains(text, "\n## "+part+"\n") {
				complaints = append(complaints, fmt.Sprintf("%s: has no part %q", file, part))
			}
		}
	}
	return complaints
}

// modulesDecided wants every module that go.mod requires directly named in a decision, with its version.
func modulesDecided(t *tree) []string {
	var decisions strings.Builder
	for _, file := range slices.Sorted(maps.Keys(t.files)) {
		if path.Dir(file) == "docs/adr" {
			decisions.Write(t.files[file])
		}
	}
	var complaints []string
	have := requirements(t)
	used := directImports(t)
	for _, m := range slices.Sorted(maps.Keys(have)) {
		if slices.ContainsFunc(used, func(name string) bool { return within(name, m) }) &&
			!strings.Contains(decisions.String(), fmt.Sprintf("%s %s", m, have[m])) {
			complaints = append(complaints, fmt.Sprintf("go.mod: no decision names %s %s", m, have[m]))
		}
	}
	return complaints
}

// directImports is what the source itself imports, in tests too, whatever go.mod says of it.
func directImports(t *tree) []string {
	var names []string
	for _, p := range t.sorted() {
		for _, s := range p.files {
			names = append(names, s.imports...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
