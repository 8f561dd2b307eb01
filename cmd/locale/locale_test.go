package locale

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"bordo/agent"
	"bordo/contract"
)

func TestLanguage(t *testing.T) {
	for env, want := range map[string]Language{
		"": "en", "LANG=it_IT.UTF-8": "it", "LANG=de_DE": "en", "LANG=it_IT LC_ALL=C": "en",
		"LANG=C LC_MESSAGES=it": "it", "LC_ALL=IT": "it",
	} {
		got := OfEnv(func(key string) string {
			for _, kv := range strings.Fields(env) {
				if k, v, _ := strings.Cut(kv, "="); k == key {
					return v
				}
			}
			return ""
		})
		if got != want {
			t.Errorf("%q: %s, want %s", env, got, want)
		}
	}
	var l Language
	if err := l.Set("fr"); err == nil {
		t.Error("fr is taken")
	}
	if err := l.Set("it"); err != nil || l.String() != "it" {
		t.Errorf("it: %q, %v", l.String(), err)
	}
}

// fromData are texts that are translated and come from other packages as values.
var fromData = []string{agent.StoreNotOpen, string(contract.Fault), string(contract.Warning)}

// found is a text in the source of the programs, and where.
type found struct{ text, at string }

// inSource collects what is translated: phrase("..."), Text("..."), text("..."), complain("...") and the patterns of said.
func inSource(t *testing.T) (texts, patterns []found) {
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "../locale/") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.FuncDecl:
				if x.Name.Name == "said" {
					ast.Inspect(x, func(n ast.Node) bool {
						if lit, ok := n.(*ast.BasicLit); ok {
							text, _ := literal(lit)
							patterns = append(patterns, found{text, set.Position(lit.Pos()).String()})
						}
						return true
					})
					return false
				}
			case *ast.CallExpr:
				name := ""
				switch fun := x.Fun.(type) {
				case *ast.Ident:
					name = fun.Name
				case *ast.SelectorExpr:
					name = fun.Sel.Name
				}
				if len(x.Args) > 0 && slices.Contains([]string{"phrase", "Text", "text", "complain"}, name) {
					if text, ok := literal(x.Args[0]); ok && text != "" {
						texts = append(texts, found{text, set.Position(x.Pos()).String()})
					}
				}
			}
			return true
		})
	}
	return texts, patterns
}

// literal is a text that stands in the source, also in pieces.
func literal(e ast.Expr) (string, bool) {
	switch x := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, err == nil && x.Kind == token.STRING
	case *ast.BinaryExpr:
		a, ok1 := literal(x.X)
		b, ok2 := literal(x.Y)
		return a + b, ok1 && ok2
	}
	return "", false
}

var formatVerb = regexp.MustCompile(`%[-+# 0-9.*]*(?:\[\d+\])?[a-zA-Z]`)

// Every text in the source has a translation that takes the same arguments, and every translation has its text in the source.
func TestEveryTextIsTranslated(t *testing.T) {
	texts, patterns := inSource(t)
	if len(texts) < 250 || len(patterns) < 40 {
		t.Fatalf("found %d texts and %d patterns: the test would hold for nothing", len(texts), len(patterns))
	}
	c, used := inItalian(), map[string]bool{}
	for _, x := range texts {
		it, ok := c.texts[x.text]
		if used[x.text] = true; !ok {
			t.Errorf("%s: %q has no translation in it.po", x.at, x.text)
			continue
		}
		if en, it := formatVerb.FindAllString(x.text, -1), formatVerb.FindAllString(it, -1); !slices.Equal(en, it) &&
			!strings.Contains(strings.Join(append(en, it...), ""), "[") {
			t.Errorf("%s: %q takes %q, and its translation %q", x.at, x.text, en, it)
		}
	}
	for _, text := range fromData {
		if used[text] = true; c.texts[text] == "" {
			t.Errorf("%q has no translation in it.po", text)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.texts)) {
		if !used[id] {
			t.Errorf("it.po: %q is in no source", id)
		}
	}
	used = map[string]bool{}
	for _, x := range patterns {
		if used[x.text] = true; c.causes[x.text] == "" {
			t.Errorf("%s: the pattern %q has no translation in it.po", x.at, x.text)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.causes)) {
		if !used[id] {
			t.Errorf("it.po: the pattern %q is in no source", id)
		}
	}
}
