package bordo_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "bordo"

// tree is the source as the rules see it. Directories called testdata, and modules of their own (docs/publiccode), count as
// files but not as packages.
type tree struct {
	files    map[string][]byte // every file, by its slash path
	packages map[string]*pkg   // by directory; "." is the root
	fset     *token.FileSet
}

// pkg is one directory with Go files.
type pkg struct {
	dir   string
	files []*source // by path
}

// source is one parsed Go file.
type source struct {
	path    string
	test    bool
	syntax  *ast.File
	imports []string
	targets []string // the GOARCHs (of linux) that build it; empty where a tag such as e2e is needed
}

// architectures are the targets of "make cross".
var architectures = []string{"amd64", "arm64", "arm", "386"}

func loadTree(root fs.FS) (*tree, error) {
	t := &tree{files: map[string][]byte{}, packages: map[string]*pkg{}, fset: token.NewFileSet()}
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "dist"}, p) || d.Name() == "__pycache__" ||
				d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || p == ".git" { // a file in a worktree
			return nil
		}
		t.files[p], err = fs.ReadFile(root, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tree: %w", err)
	}
	for _, p := range slices.Sorted(maps.Keys(t.files)) {
		if path.Ext(p) != ".go" || strings.Contains("/"+p, "/testdata/") || t.otherModule(p) {
			continue
		}
		if err := t.parse(p); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// otherModule tells whether a file lies below a go.mod that is not the root's.
func (t *tree) otherModule(file string) bool {
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.files[dir+"/go.mod"]; ok {
			return true
		}
	}
	return false
}

func (t *tree) parse(file string) error {
	syntax, err := parser.ParseFile(t.fset, file, t.files[file], parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse %s: %w", file, err)
	}
	s := &source{path: file, test: strings.HasSuffix(file, "_test.go"), syntax: syntax}
	for _, spec := range syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("parse %s: %w", file, err)
		}
		s.imports = append(s.imports, name)
	}
	for _, arch := range architectures {
		ctx := build.Default
		ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = "linux", arch, false
		ctx.OpenFile = func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(t.files[file])), nil }
		match, err := ctx.MatchFile(path.Dir(file), path.Base(file))
		if err != nil {
			return fmt.Errorf("match %s: %w", file, err)
		}
		if match {
			s.targets = append(s.targets, arch)
		}
	}
	dir := path.Dir(file)
	if t.packages[dir] == nil {
		t.packages[dir] = &pkg{dir: dir}
	}
	t.packages[dir].files = append(t.packages[dir].files, s)
	return nil
}

// sorted returns the packages by directory.
func (t *tree) sorted() []*pkg {
	var list []*pkg
	for _, dir := range slices.Sorted(maps.Keys(t.packages)) {
		list = append(list, t.packages[dir])
	}
	return list
}

// product returns the package's files that are not tests.
func (p *pkg) product() []*source {
	return slices.DeleteFunc(slices.Clone(p.files), func(s *source) bool { return s.test })
}

// place is "file:line".
func (t *tree) place(pos token.Pos) string {
	at := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", at.Filename, at.Line)
}

// local turns an import path of ours into a directory of the tree.
func local(importPath string) (dir string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// top is the tree that a directory belongs to: drivers for drivers/modbus.
func top(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// uses type-checks the product files of a package by themselves, for the sake of scopes: imported packages are empty, so
// everything that depends on them stays unknown and is not complained about.
func (t *tree) uses(p *pkg) *types.Info {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	var files []*ast.File
	for _, s := range p.product() {
		files = append(files, s.syntax)
	}
	config := types.Config{Error: func(error) {}, Importer: hollow{}, FakeImportC: true}
	_, _ = config.Check(p.dir, t.fset, files, info) // the errors are those of the hollow imports
	return info
}

// hollow imports every package as an empty one.
type hollow struct{}

func (hollow) Import(importPath string) (*types.Package, error) {
	p := types.NewPackage(importPath, path.Base(importPath))
	p.MarkComplete()
	return p, nil
}
