// Package bordo_test holds the tree to the house rules of CONTRIBUTING.md that a machine can decide: the direction of
// imports, what may be linked into the agent, and what must not stand in the source. Each rule is a function of a tree, so
// that testdata/arch can show, with a small tree for each, that it is able to fail.
package bordo_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

// rule is one thing that the tree must keep. complaints are sentences that begin with the place.
type rule struct {
	name  string
	check func(t *tree) []string
}

var rules = []rule{
	{"imports", importDirection},
	{"rooms", roomDirection},
	{"protocols", protocolsByInterface},
	{"modules", moduleOwners},
	{"linked", notLinked},
	{"suite", driversTested},
	{"versions", requiredVersions},
	{"comments", packageComments},
	{"prose", plainProse},
	{"names", packageNames},
	{"init", noInit},
	{"state", noChangingVariables},
	{"exit", noExitBelowMain},
	{"sleep", noSleepInProduct},
	{"skip", noSkippedTests},
	{"length", fileLength},
	{"paths", noMachinePaths},
	{"links", linksResolve},
	{"adr", decisionsComplete},
	{"adr-modules", modulesDecided},
}

func TestTreeKeepsTheRules(t *testing.T) {
	real, err := loadTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(real.packages) < 5 {
		t.Fatalf("found %d packages: the rules would hold for nothing", len(real.packages))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, complaint := range r.check(real) {
				t.Error(complaint)
			}
		})
	}
}

// TestRulesCanFail gives each rule a tree that breaks it. A fixture's comment names the rule in its first line; every line
// after it is a complaint that must come, word by word, and no other may.
func TestRulesCanFail(t *testing.T) {
	files, err := filepath.Glob("testdata/arch/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	t.Run("length", func(t *testing.T) {
		long := fstest.MapFS{"sim/sim.go": {Data: []byte("package sim" + strings.Repeat("\n", 500))}}
		bad, err := loadTree(long)
		if err != nil {
			t.Fatal(err)
		}
		if got := fileLength(bad); len(got) != 1 ||
			got[0] != "sim/sim.go: has 500 lines, and fewer than 500 are allowed" {
			t.Errorf("complaints: %q", got)
		}
		shown["length"] = true
	})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files, err := txtar.FS(archive)
			if err != nil {
				t.Fatal(err)
			}
			bad, err := loadTree(files)
			if err != nil {
				t.Fatal(err)
			}
			name, rest, _ := strings.Cut(strings.TrimSpace(string(archive.Comment)), "\n")
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
			if i < 0 {
				t.Fatalf("no rule is called %q", name)
			}
			got := strings.Join(rules[i].check(bad), "\n")
			if want := strings.TrimSpace(rest); got != want || got == "" {
				t.Errorf("complaints:\n%s\nwant:\n%s", got, want)
			}
			shown[name] = true
		})
	}
	for _, r := range rules {
		if !shown[r.name] {
			t.Errorf("rule %q has no fixture that shows it failing", r.name)
		}
	}
}
