package bordo_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

// packageComments wants one package comment for each package: in one file, and not in two that say different things.
func packageComments(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		files := p.product()
		if len(files) == 0 {
			files = p.files
		}
		var with []*source
		for _, s := range files {
			if s.syntax.Doc != nil && strings.TrimSpace(s.syntax.Doc.Text()) != "" {
				with = append(with, s)
			}
		}
		switch {
		case len(with) == 0:
			complaints = append(complaints, p.dir+": has no package comment")
		case len(with) > 1:
			complaints = append(complaints, fmt.Sprintf("%s: has a second package comment", with[1].path))
		default:
			name := with[0].syntax.Name.Name
			text := with[0].syntax.Doc.Text()
			if name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
				complaints = append(complaints,
					fmt.Sprintf("%s: the package comment must begin with \"Package %s\"", with[0].path, name))
			}
		}
	}
	return complaints
}

// packageNames refuses the names under which anything can hide.
func packageNames(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		name := strings.TrimSuffix(p.files[0].syntax.Name.Name, "_test")
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "base", "manager", "misc", "shared",
			"lib"}, name) {
			complaints = append(complaints,
				fmt.Sprintf("%s: a package named %s does not say what it does", p.dir, name))
		}
	}
	return complaints
}

func noInit(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		for _, s := range p.files {
			for _, d := range s.syntax.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					complaints = append(complaints, t.place(f.Pos())+": has an init function")
				}
			}
		}
	}
	return complaints
}

// noChangingVariables finds package-level variables that are written to, or whose address is taken, anywhere in the
// package, and those of a type that exists to be changed. A variable that the linker sets is not written in the source.
func noChangingVariables(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		info := t.uses(p)
		for _, s := range p.product() {
			for _, d := range s.syntax.Decls {
				complaints = append(complaints, t.changeableTypes(d)...)
			}
			ast.Inspect(s.syntax, func(n ast.Node) bool {
				for _, written := range writes(n) {
					if v, ok := info.Uses[written].(*types.Var); ok && v.Parent() != nil && v.Pkg() != nil &&
						v.Parent() == v.Pkg().Scope() {
						complaints = append(complaints,
							fmt.Sprintf("%s: changes the package-level variable %s", t.place(n.Pos()), written.Name))
					}
				}
				return true
			})
		}
	}
	return complaints
}

// writes returns the variables that a node changes: v = …, v[i] = …, v.f++, delete(v, k), clear(v), &v.
func writes(n ast.Node) []*ast.Ident {
	var targets []ast.Expr
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			targets = n.Lhs
		}
	case *ast.IncDecStmt:
		targets = []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			targets = []ast.Expr{n.Key, n.Value}
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			targets = []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (f.Name == "delete" || f.Name == "clear") {
			targets = n.Args[:1]
		}
	}
	var found []*ast.Ident
	for _, e := range targets {
		if id := root(e); id != nil {
			found = append(found, id)
		}
	}
	return found
}

// root is the variable at the left end of v, v[i], v.f, *v.
func root(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.IndexExpr:
		return root(e.X)
	case *ast.SelectorExpr:
		return root(e.X)
	case *ast.StarExpr:
		return root(e.X)
	case *ast.ParenExpr:
		return root(e.X)
	}
	return nil
}

// changeableTypes complains about package-level variables of sync, sync/atomic and channel types.
func (t *tree) changeableTypes(d ast.Decl) []string {
	g, ok := d.(*ast.GenDecl)
	if !ok || g.Tok != token.VAR {
		return nil
	}
	var complaints []string
	for _, spec := range g.Specs {
		v := spec.(*ast.ValueSpec)
		_, channel := v.Type.(*ast.ChanType)
		if sel, ok := v.Type.(*ast.SelectorExpr); ok {
			x, _ := sel.X.(*ast.Ident)
			channel = x != nil && (x.Name == "sync" || x.Name == "atomic")
		}
		if channel {
			complaints = append(complaints,
				fmt.Sprintf("%s: %s exists to be changed", t.place(v.Pos()), v.Names[0].Name))
		}
	}
	return complaints
}

// calls visits every call of a function of another package in a file: os.Exit, time.Sleep.
func calls(s *source, visit func(call *ast.CallExpr, name string)) {
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok {
					visit(call, x.Name+"."+sel.Sel.Name)
				}
			}
		}
		return true
	})
}

// noExitBelowMain lets only main.go of a command end the process.
func noExitBelowMain(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		for _, s := range p.product() {
			if within(p.dir, "cmd") && strings.HasSuffix(s.path, "/main.go") {
				continue
			}
			calls(s, func(call *ast.CallExpr, name string) {
				if name == "os.Exit" || strings.HasPrefix(name, "log.Fatal") || strings.HasPrefix(name, "log.Panic") {
					complaints = append(complaints, fmt.Sprintf("%s: %s outside a main.go", t.place(call.Pos()), name))
				}
			})
		}
	}
	return complaints
}

// noSleepInProduct keeps every wait interruptible: only a line, which times bytes, may sleep.
func noSleepInProduct(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		if within(p.dir, "drivers/line") || p.dir == "drivers/driverstest" { // driverstest is tests
			continue
		}
		for _, s := range p.product() {
			calls(s, func(call *ast.CallExpr, name string) {
				if name == "time.Sleep" {
					complaints = append(complaints, t.place(call.Pos())+": time.Sleep cannot be interrupted")
				}
			})
		}
	}
	return complaints
}

// noSkippedTests: a test that needs more than loopback stands behind the build tag e2e; it does not skip itself.
func noSkippedTests(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		for _, s := range p.files {
			if !s.test {
				continue
			}
			calls(s, func(call *ast.CallExpr, name string) {
				if _, method, _ := strings.Cut(name, "."); slices.Contains([]string{"Skip", "Skipf", "SkipNow"},
					method) || name == "testing.Short" {
					complaints = append(complaints, fmt.Sprintf("%s: %s", t.place(call.Pos()), name))
				}
			})
		}
	}
	return complaints
}

func fileLength(t *tree) []string {
	const limit = 500
	var complaints []string
	for _, p := range t.sorted() {
		for _, s := range p.files {
			if n := bytes.Count(t.files[s.path], []byte("\n")); n >= limit {
				complaints = append(complaints,
					fmt.Sprintf("%s: has %d lines, and fewer than %d are allowed", s.path, n, limit))
			}
		}
	}
	return complaints
}

// bannedPhrases are phrases of a private dialect that no comment of product code uses: the field has a word for each.
var bannedPhrases = regexp.MustCompile(`\b(under way|all the same|whoever|hand(s|ed)? over|tells? whether|likewise|says of|is said|is told|are told)\b`)

// plainProse finds those phrases.
func plainProse(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		for _, s := range p.product() {
			for _, group := range s.syntax.Comments {
				text := strings.Join(strings.Fields(group.Text()), " ")
				if phrase := bannedPhrases.FindString(text); phrase != "" {
					complaints = append(complaints, fmt.Sprintf("%s: a comment says %q (CONTRIBUTING.md, Prose)", s.path, phrase))
				}
			}
		}
	}
	return complaints
}
